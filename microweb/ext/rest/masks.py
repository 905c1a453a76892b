"""Masks: which fields of an answer a client wants, as it writes them in ``X-Fields: {name,address{city}}``.

A mask only leaves fields out: what marshalling did not produce cannot be asked for. ``marshal`` applies them.
"""

from __future__ import annotations

from typing import Any

from microweb.errors import BadRequest

__all__ = ["Mask"]

MAX_DEPTH = 16
"""How many braces may stand inside each other; deeper answers are rare and are masked as a whole."""

Fields = dict[str, "Fields | None"]


class Mask:
    """A choice of fields: names separated by commas, braces for what is inside, ``*`` for all others.

    >>> mask = Mask("{name,address{city}}")
    >>> mask.apply({"name": "Ada", "age": 36, "address": {"city": "London", "street": "St James's Square"}})
    {'name': 'Ada', 'address': {'city': 'London'}}

    Raises:
        BadRequest: it is not written so, or has more than 16 levels.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self.fields = parse(text)

    def apply(self, data: Any) -> Any:
        """What the mask leaves of ``data``, a dict or a list of them; anything else is left alone."""
        return select(data, self.fields)

    def __repr__(self) -> str:
        return f"Mask({self.text!r})"


def select(data: Any, fields: Fields) -> Any:
    """What ``fields`` leave of ``data``."""
    if isinstance(data, list):
        return [select(item, fields) for item in data]
    if not isinstance(data, dict):
        return data
    chosen: dict[str, Any] = {}
    for name in data if "*" in fields else fields:
        if name in data:
            inner = fields.get(name)
            chosen[name] = data[name] if inner is None else select(data[name], inner)
    return chosen


def parse(text: str) -> Fields:
    """The fields that a mask names; one pass, no recursion.

    Raises:
        BadRequest: it is no mask.
    """
    # SECURITY: test_a_mask_of_nothing_but_braces_is_refused: the client writes this.
    text = text.strip()
    if text.startswith("{") and text.endswith("}"):
        text = text[1:-1]
    fields: Fields = {}
    around: list[Fields] = []
    name = ""
    for piece in pieces_of(text):
        if piece == ",":
            name = ""
        elif piece == "{":
            if not name or len(around) + 1 >= MAX_DEPTH:
                raise refused()
            inner: Fields = {}
            fields[name] = inner
            around.append(fields)
            fields, name = inner, ""
        elif piece == "}":
            if not around:
                raise refused()
            fields, name = around.pop(), ""
        elif name or not (piece == "*" or piece.replace("-", "_").replace(".", "_").isidentifier()):
            raise refused()
        else:
            name = piece
            fields[name] = None
    if around:
        raise refused()
    return fields


def pieces_of(text: str) -> list[str]:
    """Names and punctuation, in order."""
    for mark in ",{}":
        text = text.replace(mark, f"\n{mark}\n")
    return [piece for piece in map(str.strip, text.split("\n")) if piece]


def refused() -> BadRequest:
    """The answer to a mask that cannot be read."""
    return BadRequest(f"A mask is written {{name,address{{city}}}}, with at most {MAX_DEPTH} levels (X-Fields).")
