"""What an operation answers: from a return annotation, a description, and what its inputs and path make possible."""

from __future__ import annotations

import types
from collections.abc import AsyncIterable, Collection, Iterator, Mapping, Sequence
from functools import reduce
from http import HTTPStatus
from operator import or_
from typing import Any, Literal, NoReturn, get_args, get_origin

from microweb.assembly import Placement
from microweb.callables import Unresolved, find_hints
from microweb.errorhandlers import ErrorHandlers, HandlerSet
from microweb.errors import HTTPException
from microweb.events import EventStream
from microweb.openapi.schemas import Schema, Schemas
from microweb.responses import JSONResponse, Response
from microweb.structs import choices, has_structs

__all__ = ["PROBLEM", "Answers"]

PROBLEM: Schema = {
    "type": "object",
    "description": "What went wrong (RFC 9457).",
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "errors": {
            "type": "array",
            "description": "Every value that was refused.",
            "items": {
                "type": "object",
                "properties": {
                    "in": {"type": "string", "description": "query, header, cookie, form or body"},
                    "name": {"type": "string"},
                    "reason": {"type": "string"},
                },
                "required": ["in", "name", "reason"],
            },
        },
    },
    "required": ["title", "status"],
}
STRUCTURED = frozenset(("application/json", "application/msgpack"))
"""The media types whose values are those of JSON; of others it is not known what a program makes of them."""

SUCCESS = "2XX"
"""The key of an answer whose status is decided by the view."""


class Answers:
    """The Responses Object of one operation, as it is put together."""

    def __init__(
        self, schemas: Schemas, placements: list[Placement], data_types: Sequence[str], *, has_only_data: bool = False
    ) -> None:
        self.schemas = schemas
        self.data_types = data_types
        """The media types that data is sent in."""
        self.has_only_data = has_only_data
        self.placements = placements
        """The one that the operation stands in, and those that may own its path when that misses."""
        self.found: dict[str, dict[str, Any]] = {}

    def add_returned(self, returns: Any, declared: Mapping[int, Any]) -> None:
        """What the view returns, at the statuses that were declared for it, if any."""
        answers = [self.read_returns(each) for each in split_returns(returns)]
        named = [status for status in declared if status < 400]
        if named:
            successes = [content for statuses, content in answers if min(statuses, default="") < "400"]
            whole = join_contents(successes) if successes else None
            for status in named:
                self.found[str(status)] = self.write(status, declared[status], whole)
        for statuses, content in answers:
            for key in statuses:
                if not named or key >= "400":
                    known = self.found.get(key)
                    whole = content if known is None else join_contents([known.get("content"), content])
                    self.found[key] = {"description": describe_status(key)} | with_content(whole, key)

    def add_errors(self, declared: Mapping[int, Any], misses: Collection[int]) -> None:
        """The errors that were declared; ``misses`` are those that whoever owns the path may answer."""
        for status, given in sorted(declared.items()):
            if status >= 400:
                owners = self.placements if status in misses else self.placements[:1]
                content = self.content_of_error(status, owners)
                if str(status) in self.found:  # The view returns it too.
                    content = join_contents([self.found[str(status)].get("content"), content])
                self.found[str(status)] = self.write(status, given, content)

    def write(self, status: int, given: Any, content: dict[str, Any] | None) -> dict[str, Any]:
        """One Response Object, from what ``describe`` takes for it."""
        if isinstance(given, dict):
            return {"description": describe_status(str(status)), **given}
        text, kind = given if isinstance(given, tuple) else (given, None) if is_text(given) else (None, given)
        if kind is not None:
            _, content = self.read_returns(kind)
        return {"description": text or describe_status(str(status))} | with_content(content, str(status))

    # What is in them -------------------------------------------------------------------------------

    def read_returns(self, returns: Any) -> tuple[list[str], dict[str, Any] | None]:
        """The statuses that an annotation tells, and the content; None if it does not tell it."""
        hint = returns
        statuses = ["200"]
        if get_origin(returns) is tuple and get_args(returns)[1:] != (...,):
            hint, *others = get_args(returns)
            if any(other is int for other in others):
                statuses = [SUCCESS]
            literals = [value for other in others if get_origin(other) is Literal for value in get_args(other)]
            statuses = [str(value) for value in literals if isinstance(value, int)] or statuses
        if hint is None or hint is type(None):
            return (statuses if hint is not returns else [SUCCESS]), None
        content: dict[str, Any] = {}
        for choice in [] if isinstance(hint, Unresolved) else choices(hint):
            media = self.read_choice(choice)
            if media is None:
                return ([SUCCESS] if statuses == ["200"] else statuses), None
            for name, schema in media.items():
                content[name] = schema if name not in content else either(content[name], schema)
        if not content:
            return ([SUCCESS] if hint is not NoReturn else []), None
        return statuses, {name: {"schema": schema} if schema else {} for name, schema in content.items()}

    def read_choice(self, choice: Any) -> dict[str, Schema] | None:
        """The media type of a value of one type, with its schema; None if the type does not tell."""
        kind = get_origin(choice) or choice
        if choice is NoReturn:
            return {}
        if not isinstance(kind, type) or kind in (Any, object, tuple):
            return None
        if issubclass(kind, HTTPException):
            return self.write_problem()
        if self.has_only_data and issubclass(kind, str | bytes | int | float):
            return self.write_data(choice)
        if issubclass(kind, str):
            return {"text/html": {"type": "string"}}
        if issubclass(kind, bytes):
            return {"application/octet-stream": {}}
        if issubclass(kind, JSONResponse):
            return {"application/json": {}}
        if issubclass(kind, EventStream):
            return {"text/event-stream": {}}
        if issubclass(kind, Response | types.GeneratorType | AsyncIterable | Iterator):
            return None
        if issubclass(kind, dict | list | set | frozenset | Mapping) or has_structs(choice):
            return self.write_data(choice)
        return None

    def write_data(self, kind: Any) -> dict[str, Schema]:
        """The media types of data, with its schema where that is known."""
        schema = self.schemas.of_answer(kind)
        return {name: schema if name in STRUCTURED or name.endswith("+json") else {} for name in self.data_types}

    def content_of_error(self, status: int, owners: list[Placement]) -> dict[str, Any] | None:
        """What an error of a status is answered with, wherever in ``owners`` it is; None if that is not known."""
        found: dict[str, Any] = {}
        for owner in owners:
            content = self.content_of_handler(status, owner)
            if content is None:
                return None
            for name, media in content.items():
                known = found.setdefault(name, media)
                if known != media:
                    found[name] = {}
        return found

    def content_of_handler(self, status: int, placement: Placement) -> dict[str, Any] | None:
        """What the error handler of a status gives, or the built-in pages."""
        handlers = [
            HandlerSet(
                {status: (found.function, "") for status, found in router.status_handlers.items()},
                {kind: (found.function, "") for kind, found in router.class_handlers.items()},
            )
            for router in reversed(placement.chain)
        ]
        known = HTTPException.by_status.get(status)
        found = ErrorHandlers(handlers, report).find(known() if known is not None else HTTPException(status))
        if found is not None:
            returns = find_hints(found[0]).get("return")
            # A handler that returns the error leaves it to the built-in pages.
            if not (isinstance(returns, type) and issubclass(returns, HTTPException)):
                return self.read_returns(returns)[1]
        return {name: {"schema": schema} for name, schema in self.write_problem().items()}

    def write_problem(self) -> dict[str, Schema]:
        """What microweb makes of an error: for programs, and for browsers."""
        self.schemas.components.setdefault("Problem", PROBLEM)
        return {"application/problem+json": {"$ref": "#/components/schemas/Problem"}, "text/html": {"type": "string"}}


async def report(request: Any, error: BaseException) -> None:
    """Stand where the app reports an error: handlers are only looked up here."""
    raise AssertionError("a document called an error handler")


def is_text(given: Any) -> bool:
    return isinstance(given, str)


def split_returns(returns: Any) -> list[Any]:
    """A return annotation, or its parts: each ``(body, status)`` of a union has statuses of its own."""
    options = [] if isinstance(returns, Unresolved) else choices(returns)
    tuples = [each for each in options if get_origin(each) is tuple]
    if not tuples or len(options) == 1:
        return [returns]
    others = [each for each in options if each not in tuples]
    return ([reduce(or_, others)] if others else []) + tuples


def join_contents(contents: Sequence[dict[str, Any] | None]) -> dict[str, Any] | None:
    """What is in an answer that is one of several; None if one of them is not known."""
    joined: dict[str, Any] = {}
    for content in contents:
        if content is None:
            return None
        for name, media in content.items():
            known = joined.setdefault(name, media)
            if known != media:
                is_told = "schema" in known and "schema" in media
                joined[name] = {"schema": either(known["schema"], media["schema"])} if is_told else {}
    return joined


def either(known: Schema, schema: Schema) -> Schema:
    """One of two schemas; the first may be of several already."""
    return {"anyOf": [*known["anyOf"], schema] if list(known) == ["anyOf"] else [known, schema]}


def with_content(content: dict[str, Any] | None, status: str) -> dict[str, Any]:
    has_none = status in ("204", "205") or status.startswith(("1", "3"))
    return {} if content is None or has_none else {"content": content}


def describe_status(status: str) -> str:
    """What a status means in HTTP."""
    if status == SUCCESS:
        return "Success"
    known = HTTPException.by_status.get(int(status))
    if known is not None:
        return known.default_description
    try:
        return HTTPStatus(int(status)).phrase
    except ValueError:
        return f"Status {status}"
