"""An error taken apart: its frames with source and local variables, its causes, and the request it came from.

Everything that is shown is made text here, once, shortened and with secrets left out. What the consoles work
on, the namespaces of the frames, is kept beside it. Called by ``console.py``; what it looks like, ``page.py`` says.
"""

from __future__ import annotations

import linecache
import re
import sysconfig
import traceback
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from reprlib import Repr
from types import TracebackType
from typing import Any

from microweb.redaction import HIDDEN, is_secret_name, redacted
from microweb.requests import Request

__all__ = ["ErrorRecord", "ExceptionRecord", "FrameRecord"]

SOURCE_LINES = 5
"""Lines of source that are shown before and after the one that ran."""
LONGEST_VALUE = 400
LONGEST_LINE = 300
LONGEST_MESSAGE = 4_000
LONGEST_TEXT = 30_000
MOST_VARIABLES = 60
FIRST_FRAMES, LAST_FRAMES = 15, 35
"""Of a longer traceback (endless recursion has a thousand frames) the first and the last ones are shown."""
MOST_EXCEPTIONS = 8

CREDENTIALS = re.compile("authorization|cookie", re.IGNORECASE)
"""Headers, and what programs call after them, that let in whoever knows their value."""
OWN_FOLDER = str(Path(__file__).parents[1]) + "/"
LIBRARY_FOLDERS = (OWN_FOLDER, *(f"{path}/" for name, path in sysconfig.get_paths().items() if name != "data"))
NAMED_VALUE = re.compile(r"""\b(\w+)(['"]?\s?[=:]\s?)('[^']*'?|"[^"]*"?|[^\s,)}\]]+)""")


class FrameRecord:
    """One frame: where it stands, the source around it, its variables as text, and its namespaces."""

    __slots__ = ("filename", "function", "global_names", "kind", "line", "local_names", "source", "variables")

    def __init__(self, traceback: TracebackType, everywhere: Mapping[str, Any]) -> None:
        frame = traceback.tb_frame
        self.filename = frame.f_code.co_filename
        self.line = traceback.tb_lineno
        self.function = frame.f_code.co_name
        self.local_names: dict[str, Any] = dict(frame.f_locals)
        self.global_names: dict[str, Any] = frame.f_globals
        # Jinja rewrites its tracebacks: such a frame has the file and the line of the template.
        self.kind = "template" if "__jinja_exception__" in frame.f_globals else kind_of(self.filename)
        self.source = find_source(self.filename, self.line, frame.f_globals)
        is_module = frame.f_locals is frame.f_globals
        names = self.local_names
        if self.kind == "template":
            names = {name: value for name, value in names.items() if value is not everywhere.get(name, ...)}
        self.variables = [] if is_module else list(describe_variables(names))


class ExceptionRecord:
    """One exception of a chain; ``relation`` says how the one before it is connected with it.

    ``everywhere`` is what all templates know, and what no frame of one shows therefore.
    """

    __slots__ = ("frames", "left_out", "message", "name", "relation")

    def __init__(self, error: BaseException, relation: str, everywhere: Mapping[str, Any]) -> None:
        kind = type(error)
        self.name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
        self.message = shorten(message_of(error), LONGEST_MESSAGE)
        self.relation = relation
        found = list(walk(error.__traceback__))
        self.left_out = max(0, len(found) - FIRST_FRAMES - LAST_FRAMES)
        if self.left_out:
            found = found[:FIRST_FRAMES] + found[-LAST_FRAMES:]
        self.frames = [FrameRecord(each, everywhere) for each in found]

    def find_main_frame(self) -> FrameRecord | None:
        """The frame somebody wants to see first: the innermost of a template, else of the program."""
        for kind in ("template", "program"):
            for frame in reversed(self.frames):
                if frame.kind == kind:
                    return frame
        return self.frames[-1] if self.frames else None


class ErrorRecord:
    """An unhandled error of one request, for showing; ``text`` is the traceback as Python writes it."""

    def __init__(self, key: str, error: BaseException, request: Request) -> None:
        self.key = key
        self.request = request
        templates = request.app._templates
        everywhere = {} if templates is None else templates.environment.globals
        self.exceptions = [
            ExceptionRecord(found, relation, everywhere) for found, relation in islice(chain(error), MOST_EXCEPTIONS)
        ]
        self.text = cut_middle("".join(traceback.format_exception(error, limit=-LAST_FRAMES)))
        self.frames = [frame for each in self.exceptions for frame in each.frames]
        self.details = list(describe_request(request))

    @property
    def title(self) -> str:
        """Name and message of the error on one line."""
        first = self.exceptions[0]
        message = first.message.partition("\n")[0]
        return f"{first.name}: {message}" if message else first.name


def walk(traceback: TracebackType | None) -> Iterator[TracebackType]:
    """The entries of a traceback, outermost first."""
    while traceback is not None:
        yield traceback
        traceback = traceback.tb_next


def chain(error: BaseException) -> Iterator[tuple[BaseException, str]]:
    """The error, what it came from, and the errors of a group, each with a word on how they are connected."""
    seen: set[int] = set()
    waiting = [(error, "")]
    while waiting:
        found, relation = waiting.pop(0)
        if id(found) in seen:
            continue
        seen.add(id(found))
        yield found, relation
        if isinstance(found, BaseExceptionGroup):
            waiting += [(inner, "One of the errors of the group") for inner in found.exceptions]
        if found.__cause__ is not None:
            waiting.append((found.__cause__, "It was raised from this one"))
        elif found.__context__ is not None and not found.__suppress_context__:
            waiting.append((found.__context__, "It happened while this one was handled"))


def kind_of(filename: str) -> str:
    """Whether a file is the program's own or a library's, this framework's and Python's included."""
    is_library = filename.startswith((*LIBRARY_FOLDERS, "<frozen")) or "site-packages" in filename
    return "library" if is_library else "program"


def find_source(filename: str, line: int, names: dict[str, Any]) -> list[tuple[int, str]]:
    """The numbered lines around one; none, if there is no such file any more."""
    linecache.checkcache(filename)
    lines = linecache.getlines(filename, names)
    first = max(1, line - SOURCE_LINES)
    found = lines[first - 1 : line + SOURCE_LINES]
    return [(first + offset, shorten(text.rstrip("\n"), LONGEST_LINE)) for offset, text in enumerate(found)]


# Values ------------------------------------------------------------------------------------------


class Shortener(Repr):
    """Writes a value in few characters, whatever it holds."""

    def __init__(self) -> None:
        super().__init__()
        self.maxlevel = 4
        self.maxdict = self.maxlist = self.maxtuple = self.maxset = self.maxfrozenset = 12
        self.maxstring = self.maxother = self.maxlong = LONGEST_VALUE


def describe_variables(names: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Names and values as text, without what Python or Jinja put there for themselves."""
    for name, value in islice(names.items(), MOST_VARIABLES):
        if not name.startswith("__"):
            yield name, describe_value(name, value)


def describe_value(name: str, value: Any) -> str:
    """A value as text: shortened, secrets left out. Never raises an ``Exception``."""
    # SECURITY: test_a_secret_is_not_on_the_page, test_a_value_that_cannot_be_shown_does_not_break_the_page
    try:
        shown = HIDDEN if is_hidden_name(name) else redacted({name: without_secrets(value)})[name]
        return mask(shorten(Shortener().repr(shown), LONGEST_VALUE))
    except Exception as error:  # noqa: BLE001 - the program's own __repr__
        return f"<{type(value).__name__} that cannot be shown: {type(error).__name__}>"


def without_secrets(value: Any, depth: int = 4) -> Any:
    """The first of what a plain container holds, with secrets replaced; any other value as it is."""
    if not depth and (isinstance(value, Mapping) or type(value) in (list, tuple)):
        # No deeper than the ``Shortener`` looks: it may hold itself, or millions.
        return value and ({...: ...} if isinstance(value, Mapping) else type(value)((...,)))
    if isinstance(value, Mapping):
        return redacted(
            {
                key: HIDDEN if is_hidden_name(key) else without_secrets(inner, depth - 1)
                for key, inner in islice(value.items(), 20)
            }
        )
    if type(value) in (list, tuple):
        if len(value) == 2 and is_hidden_name(value[0]):
            return type(value)((value[0], HIDDEN))  # A header, as the scope and an answer have it.
        return type(value)(without_secrets(inner, depth - 1) for inner in value[:20])
    return value


def is_hidden_name(name: object) -> bool:
    """Whether what bears this name, a text or the bytes of a header, may be a secret or lets somebody in."""
    text = name.decode("latin-1") if isinstance(name, bytes) else name
    return isinstance(text, str) and (is_secret_name(text) or CREDENTIALS.search(text) is not None)


def mask(text: str) -> str:
    """A ``repr`` without the values that stand beside the name of a secret: ``User(password=<hidden>)``."""

    def replace(found: re.Match[str]) -> str:
        return f"{found[1]}{found[2]}<hidden>" if is_hidden_name(found[1]) else found[0]

    return NAMED_VALUE.sub(replace, text)


def message_of(error: BaseException) -> str:
    """What an exception says. Never raises an ``Exception``."""
    try:
        return str(error)
    except Exception as failure:  # noqa: BLE001 - the program's own __str__
        return f"(its message cannot be shown: {type(failure).__name__})"


def shorten(text: str, length: int) -> str:
    """``text``, cut if it is longer."""
    return text if len(text) <= length else f"{text[:length]}… ({len(text):,} characters)"


def cut_middle(text: str) -> str:
    """A traceback without its middle, if it is long: what matters stands at its ends."""
    if len(text) <= LONGEST_TEXT:
        return text
    half = LONGEST_TEXT // 2
    return f"{text[:half]}\n… ({len(text) - 2 * half:,} characters are left out)\n{text[-half:]}"


# The request -------------------------------------------------------------------------------------


def describe_request(request: Request) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """What is shown of the request, in groups; nothing is read from it that has not arrived."""
    scope = request.scope
    client = scope.get("client")
    route = request.route
    yield (
        "Request",
        [
            ("method", scope["method"]),
            ("path", shorten(request.path, LONGEST_VALUE)),
            ("route", route.rule if route is not None else "(none)"),
            ("endpoint", request.endpoint or "(none)"),
            ("client", client[0] if client else "(unknown)"),
        ],
    )
    if request._view_args:
        yield "Path variables", list(describe_variables(request.view_args))
    try:
        query = list(request.args.items(multi=True))
    except Exception as error:  # noqa: BLE001 - more parameters than allowed may be the very error that is shown
        query = [("(unreadable)", message_of(error))]
    if query:
        yield "Query", [(name, describe_value(name, value)) for name, value in query[:MOST_VARIABLES]]
    lines: list[tuple[str, str]] = []
    for raw_name, raw_value in scope["headers"][:MOST_VARIABLES]:
        name, value = raw_name.decode("latin-1"), raw_value.decode("latin-1")
        lines.append((name, "<hidden>" if is_hidden_name(name) else shorten(value, LONGEST_VALUE)))
    yield "Headers", lines
