"""JSON between bytes and values: what ``jsonify`` sends and what ``await request.json()`` reads.

A thin face of msgspec that fixes three things: every way in which a body can be bad becomes one
``BadRequest`` with a text that helps its sender, nesting is limited by a number and not by how much
stack happens to be left, and values that msgspec does not know (``Markup``, subclasses of ``str``)
still have a JSON form. It does not look at content types, body limits or requests; the request, the
response and the binder call it.

msgspec takes 9 ms and 2 MB to import (``import asyncio``: 44 ms, 19 MB), and not every program speaks JSON:
it is imported with the first value written or read.
"""

from __future__ import annotations

import builtins
from codecs import BOM_UTF8, BOM_UTF16_BE, BOM_UTF16_LE
from collections.abc import Callable, Mapping
from functools import lru_cache
from itertools import accumulate
from threading import Thread
from typing import Any, TypeVar, overload

from microweb.errors import BadRequest

__all__ = ["MAX_DEPTH", "check_depth", "dumps", "find_decoder", "is_deeper_than", "loads", "make_bad_request"]

T = TypeVar("T")

MAX_DEPTH = 64
"""How many arrays and objects may stand inside each other; System.Text.Json has the same default."""


# Writing -----------------------------------------------------------------------------------------


def encode_unknown(value: Any) -> Any:
    """Give the JSON form of what msgspec cannot write itself; it asks for values and for keys."""
    if hasattr(value, "__html__") and not isinstance(value, type):
        # str(): __html__ of Markup returns Markup, which would come back here for ever.
        return str.__str__(value) if isinstance(value, str) else str.__str__(value.__html__())
    for plain in (str, int, float):
        if isinstance(value, plain):
            # None and bool come here only as keys of a dict; the standard library writes them so too.
            return str(value).lower() if isinstance(value, bool) else plain(value)
    if value is None:
        return "null"
    if hasattr(value, "model_dump") and not isinstance(value, type):
        return value.model_dump(mode="json")  # A pydantic model writes itself, as it does where it is the whole answer.
    if isinstance(value, Mapping):
        # Multi-dicts, each key with its first value, and the proxy of the session.
        return dict(value)
    kind = builtins.type(value)
    forgotten = "; was an `await` forgotten?" if hasattr(value, "__await__") else ""
    raise TypeError(f"a value of type {kind.__module__}.{kind.__qualname__} has no JSON form{forgotten}")


def start_dumping(value: Any) -> bytes:
    """Make the encoder, put it in the place of ``dumps``, and use it."""
    global dumps
    if dumps is start_dumping:
        import msgspec

        dumps = msgspec.json.Encoder(enc_hook=encode_unknown).encode
    return dumps(value)


# PERF(walk.json): from its second use on this is the encoder's own method, which costs no Python call. That holds
# for a call of ``json.dumps``; a name bound by ``from microweb.json import dumps`` stays the starter.
dumps: Callable[[Any], bytes] = start_dumping
"""Write a value as compact UTF-8 JSON, the keys of its dicts in their own order.

Beyond JSON's own types: dates, times and durations (ISO 8601), ``UUID``, ``Decimal`` (as a string),
bytes (base64), enums (their value), sets, tuples, dataclasses, attrs classes, msgspec Structs,
TypedDicts, pydantic models, other mappings, and objects with ``__html__`` (as a string). NaN and infinities
become ``null``.

Raises:
    TypeError: a value has no JSON form; the message names its type.
    ValueError: a string holds a lone surrogate, or an integer has more than 4300 digits.
"""


# Reading -----------------------------------------------------------------------------------------

decode_any: Callable[[bytes], Any] | None = None
"""The decode method for values of any type, once it was needed."""


@lru_cache(maxsize=512)
def find_decoder(type: Any, strict: bool = True) -> Callable[[bytes], Any]:
    """Find the function that reads ``type``, made once. What it gives has the defaults of all dataclasses in it.

    Raises:
        TypeError: msgspec cannot read this type.
    """
    global decode_any
    import msgspec

    decode = msgspec.json.Decoder(type, strict=strict).decode
    if type is Any:
        decode_any = decode
        return decode
    from microweb.defaults import make_completer
    from microweb.oddities import refuse_oddities

    decode = refuse_oddities(decode, type, strict=strict)
    complete = make_completer(type, {})
    if complete is None:
        return decode

    def decode_whole(data: bytes) -> Any:
        value = decode(data)
        complete(value)
        return value

    return decode_whole


@overload
def loads(data: bytes, type: builtins.type[T], *, max_depth: int = MAX_DEPTH, strict: bool = True) -> T: ...
@overload
def loads(data: bytes, type: Any = Any, *, max_depth: int = MAX_DEPTH, strict: bool = True) -> Any: ...
def loads(data: bytes, type: Any = Any, *, max_depth: int = MAX_DEPTH, strict: bool = True) -> Any:
    """Read one JSON text, checked against ``type`` where one is given.

    ``strict=False`` also takes numbers and booleans written as strings. Of colliding keys the last
    one wins. One UTF-8 byte order mark is skipped (RFC 8259 §8.1); no encoding but UTF-8 is read.

    Raises:
        BadRequest: the text is not JSON, is nested too deeply, or does not fit ``type``; its
            ``__cause__`` is msgspec's error, a ``msgspec.ValidationError`` if only ``type`` is to blame.
        TypeError: msgspec cannot read this type.
    """
    # PERF(walk.echo): a level takes two bytes, one of them an opening bracket: one length or two counts settle it.
    if len(data) > max_depth * 2:
        check_depth(data, max_depth)
    try:
        if type is Any and decode_any is not None:
            return decode_any(data)
        return find_decoder(type, strict)(data)
    except ValueError as error:  # msgspec's DecodeError, or a UnicodeDecodeError
        if data.startswith(BOM_UTF8) and not data.startswith(BOM_UTF8, 3):
            return loads(data[3:], type, max_depth=max_depth, strict=strict)
        raise make_bad_request(data, error) from error
    except RecursionError:
        # Whoever reads this stands so deep that what is left of the stack holds fewer than max_depth levels.
        return read_on_fresh_stack(data, type, strict)


def make_bad_request(data: bytes, error: Exception) -> BadRequest:
    """Make the answer to a body on which a decoder raised ``error``, for those who hold a decoder themselves.

    >>> import msgspec
    >>> make_bad_request(b"[1,", msgspec.DecodeError("Input data was truncated")).description
    'The JSON is incomplete: it ends at byte 3, inside a value or a surrogate pair.'
    """
    if not data:
        return BadRequest("The body is empty where JSON is expected.")
    import msgspec

    if isinstance(error, msgspec.ValidationError):
        return BadRequest(f"The JSON has an unexpected value: {error}.")
    if b"\0" in data[:2] or data[:2] in (BOM_UTF16_LE, BOM_UTF16_BE):
        return BadRequest("The JSON must be UTF-8, and this looks like UTF-16 or UTF-32.")
    try:
        data.decode()
    except UnicodeDecodeError as undecodable:
        return BadRequest(f"The JSON must be UTF-8, and byte {undecodable.start} is not.")
    if str(error) == "Input data was truncated":
        return BadRequest(f"The JSON is incomplete: it ends at byte {len(data)}, inside a value or a surrogate pair.")
    return BadRequest(f"The {str(error).replace('is malformed', 'cannot be read')}.")


def check_depth(data: bytes, max_depth: int) -> None:
    """Refuse JSON that is nested deeper than ``max_depth``.

    Raises:
        BadRequest: it is.
    """
    # SECURITY: test_json.py::test_the_verdict_on_depth_is_the_same_at_any_stack_depth
    # PERF(walk.echo): a level of array takes two bytes and one of object five (`{"":` and `}`), but for the innermost,
    # so in a short text the number of arrays settles it. Taking them out and looking at the length counts them fastest.
    arrays = len(data) - len(data.replace(b"[", b"")) if 91 in data else 0
    if arrays + (len(data) - 2 * arrays + 3) // 5 <= max_depth:
        return
    if arrays + data.count(b"{") > max_depth and is_deeper_than(data, max_depth):
        raise BadRequest(f"The JSON is nested deeper than {max_depth} levels (JSON_MAX_DEPTH).")


def is_deeper_than(data: bytes, max_depth: int) -> bool:
    """Say whether ``data`` is nested in more than ``max_depth`` arrays and objects, in linear time.

    Exact for every JSON text; of other bytes the answer means nothing, and the decoder refuses them anyway.
    """
    if b"\\" in data:
        # In JSON a backslash stands only inside a string: without escapes every quote opens or closes one.
        data = data.replace(b"\\\\", b"").replace(b'\\"', b"")
    # Two quotes side by side can go: what follows them stays as much inside, or outside, a string as it was.
    outline = data.translate(None, delete=NOT_OUTLINE).replace(b'""', b"")
    depth = 0
    in_string = 0
    # By slices, so that a bomb is refused at its first slice and the pieces of a split stay few.
    for start in range(0, len(outline), 16384):
        pieces = outline[start : start + 16384].split(b'"')
        in_string, brackets = (in_string + len(pieces) - 1) % 2, b"".join(pieces[in_string::2])
        depths = list(accumulate(memoryview(brackets.translate(STEPS)).cast("b"), initial=depth))
        if max(depths) > max_depth:
            return True
        depth = depths[-1]
    return False


NOT_OUTLINE = bytes(set(range(256)) - set(b'[]{}"'))
STEPS = bytes.maketrans(b"[{]}", b"\x01\x01\xff\xff")
"""A bracket as the signed step that it takes in depth: up one or down one."""


def read_on_fresh_stack(data: bytes, type: Any, strict: bool) -> Any:
    """Read ``data`` in a thread of its own, whose stack is empty; its depth was found acceptable before.

    With fewer than about ten frames left not even this can begin, nor could any answer be made.
    """
    values: list[Any] = []
    failures: list[BaseException] = []

    def read() -> None:
        try:
            values.append(find_decoder(type, strict)(data))
        except RecursionError:
            failures.append(BadRequest("The JSON is nested deeper than this server can read."))
        except ValueError as error:
            failures.append(make_bad_request(data, error))
            failures[0].__cause__ = error
        except BaseException as error:  # noqa: BLE001 - whatever a type's own code raises is raised by the caller
            failures.append(error)

    thread = Thread(target=read, name="microweb-json")
    thread.start()
    thread.join()
    if values:
        return values[0]
    # Taken out of the list: its traceback will hold this frame, which must not hold it in turn.
    raise failures.pop()
