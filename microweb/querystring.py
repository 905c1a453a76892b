"""Query strings, and urlencoded forms, which are written alike: reading and building them as browsers do.

The request reads its arguments with this file, ``forms.py`` its fields; ``url_for`` and ``URL.replace`` write with it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from microweb.errors import BadRequest
from microweb.multidict import MultiDict
from microweb.quoting import PARAMETER, quote, unquote

__all__ = ["build_query", "parse_pairs", "parse_query"]

NO_ARGUMENTS: MultiDict[str] = MultiDict(kind="argument")


def parse_query(raw: bytes, *, max_parameters: int = 1000) -> MultiDict[str]:
    """Read a query string or an urlencoded form as browsers write them; never fails on odd bytes.

    Raises:
        BadRequest: more than ``max_parameters`` pairs; empty ones between two ``&`` count.
    """
    if not raw:
        return NO_ARGUMENTS
    if raw.count(b"&") >= max_parameters:
        raise BadRequest(f"The query has more than {max_parameters} parameters (MAX_QUERY_PARAMETERS).")
    return MultiDict(parse_pairs(raw), kind="argument")


def parse_pairs(raw: bytes) -> Iterable[tuple[str, str]]:
    """Read names and values as ``application/x-www-form-urlencoded`` writes them, in order of arrival.

    They are what ``urllib.parse.parse_qsl`` gives that keeps blank values; bytes that are no UTF-8 become U+FFFD.
    """
    text = raw.decode("utf-8", "replace")
    if "+" in text:
        text = text.replace("+", " ")
    fields = [field.partition("=") for field in text.split("&") if field]
    if "%" not in text:
        return [(name, value) for name, _, value in fields]
    if "\0" in text or "%00" in text:
        return [(unquote(name), unquote(value)) for name, _, value in fields]
    # PERF(bodies.form-urlencoded): all in one call, with a NUL for what stands between them. It is ASCII, so it ends a
    # sequence of UTF-8 as the end of the text would, and it is no digit of an escape.
    texts = unquote("\0".join([f"{name}\0{value}" for name, _, value in fields])).split("\0")
    return zip(texts[::2], texts[1::2], strict=True)


def build_query(values: Mapping[str, Any] | Iterable[tuple[str, Any]]) -> str:
    """Write a query string; ``parse_query`` reads it back.

    Lists, tuples and sets repeat their name, ``None`` is left out, everything else is written as
    ``str`` writes it. The order is kept.

    >>> build_query({"q": "a b", "tag": ["x", "y"], "page": None})
    'q=a+b&tag=x&tag=y'
    """
    pairs: Iterable[tuple[Any, Any]]
    if isinstance(values, MultiDict):
        pairs = values.items(multi=True)
    else:
        pairs = values.items() if isinstance(values, Mapping) else values
    fields: list[str] = []
    for name, value in pairs:
        for each in value if isinstance(value, list | tuple | set | frozenset) else (value,):
            if each is not None:
                fields.append(f"{quote_parameter(name)}={quote_parameter(each)}")
    return "&".join(fields)


def quote_parameter(value: Any) -> str:
    return quote(str(value), PARAMETER + b" ").replace(" ", "+")
