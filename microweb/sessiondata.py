"""What is in a session, as bytes and as text for a cookie: JSON, with tags for the types that JSON lacks.

Values come back as what they were: tuples, bytes, dates, UUIDs and ``Markup`` as well as JSON's own types. The
tags are an object with one key that starts with a space; such a dict of the program's own is tagged itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from microweb import json
from microweb.errors import BadRequest
from microweb.signing import decode_base64, encode_base64

__all__ = ["from_text", "pack", "to_text", "unpack"]

PLAIN = (str, int, float, bool, type(None))
PLAIN_SET = frozenset[type](PLAIN)

NESTED = frozenset({dict, list})


def pack(data: Mapping[str, Any]) -> bytes:
    """The data as bytes.

    Raises:
        TypeError: a value has no form that could be read back; the message names its key and type.
    """
    # PERF(pages.session): most sessions hold nothing that needs a tag.
    if PLAIN_SET.issuperset(map(type, data.values())):
        return json.dumps(data)
    tagged = {}
    for key, value in data.items():
        if type(value) in PLAIN:
            tagged[key] = value
        else:
            try:
                tagged[key] = tag(value, json.MAX_DEPTH - 1)
            except TypeError as error:
                raise TypeError(f"the session cannot hold {key!r}: {error}") from None
    return json.dumps(tagged)


def unpack(packed: bytes) -> dict[str, Any]:
    """The data again.

    Raises:
        ValueError: these bytes are not from ``pack``.
    """
    try:
        data = json.loads(packed)
    except BadRequest as error:
        raise ValueError(str(error)) from None
    if not isinstance(data, dict):
        raise ValueError("session data is a JSON object")
    try:
        for key, value in data.items():
            if type(value) in NESTED:
                data[key] = untag(value)
    except (AttributeError, TypeError) as error:
        raise ValueError(f"a tag in session data holds what it may not: {error}") from None
    return data


def to_text(data: Mapping[str, Any]) -> bytes:
    """The data as URL-safe base64, compressed when that helps; a leading dot says so."""
    packed = pack(data)
    if len(packed) > 1024:
        import zlib

        compressed = zlib.compress(packed)
        if len(compressed) < len(packed) - 1:
            return b"." + encode_base64(compressed)
    return encode_base64(packed)


def from_text(payload: bytes) -> dict[str, Any] | None:
    """The data in a verified payload; None if an older version of the program wrote something else."""
    try:
        if payload.startswith(b"."):
            return unpack(decompress(decode_base64(payload[1:])))
        return unpack(decode_base64(payload))
    except ValueError:
        return None


def decompress(data: bytes) -> bytes:
    """What ``to_text`` has compressed.

    Raises:
        ValueError: it was not compressed, or is cut.
    """
    import zlib

    try:
        return zlib.decompress(data)
    except zlib.error as error:
        raise ValueError(str(error)) from None


def tag(value: Any, room: int) -> Any:
    """The value in JSON's own types, which may stand ``room`` deep inside each other."""
    kind = type(value)
    if kind in PLAIN:
        return value
    if room < 2:
        # Reading refuses what is deeper; a tag takes a level of its own.
        raise TypeError(f"it is nested deeper than {json.MAX_DEPTH} levels, of which a tuple takes two")
    if kind is list:
        return [tag(item, room - 1) for item in value]
    if kind is tuple:
        return {" t": [tag(item, room - 2) for item in value]}
    if isinstance(value, dict):
        for key in value:
            if not isinstance(key, str):
                raise TypeError(f"keys must be str, not {type(key).__name__}")
        is_like_a_tag = len(value) == 1 and next(iter(value)).startswith(" ")
        tagged = {key: tag(item, room - 1 - is_like_a_tag) for key, item in value.items()}
        return {" o": tagged} if is_like_a_tag else tagged
    if isinstance(value, bytes):
        from base64 import b64encode

        return {" b": b64encode(value).decode("ascii")}
    if hasattr(value, "__html__"):
        return {" m": str(value.__html__())}
    from datetime import date, datetime
    from uuid import UUID

    if isinstance(value, UUID):
        return {" u": value.hex}
    if isinstance(value, datetime):
        return {" d": value.isoformat()}
    if isinstance(value, date):
        return {" D": value.isoformat()}
    if isinstance(value, PLAIN):
        return next(plain(value) for plain in (bool, int, float, str) if isinstance(value, plain))
    raise TypeError(f"{kind.__name__} has no JSON form")


def untag(value: Any) -> Any:
    """What ``tag`` was given."""
    if isinstance(value, list):
        return [untag(item) for item in value]
    if not isinstance(value, dict):
        return value
    if len(value) == 1:
        ((key, inner),) = value.items()
        if key == " t":
            return tuple(untag(item) for item in inner)
        if key == " o":
            return {name: untag(item) for name, item in inner.items()}
        if key == " b":
            from base64 import b64decode

            return b64decode(inner)
        if key == " m":
            from markupsafe import Markup

            return Markup(inner)  # noqa: S704 - it was Markup when it was signed
        if key == " u":
            from uuid import UUID

            return UUID(inner)
        if key in (" d", " D"):
            from datetime import date, datetime

            return (datetime if key == " d" else date).fromisoformat(inner)
    return {key: untag(item) for key, item in value.items()}
