"""Whole numbers that were written with a fraction, ``2.0``: JSON has one kind of number, and they are whole.

So say JSON Schema (2020-12 validation, §6.1.1) and with it the documents of ``microweb.openapi``; msgspec reads a
float. ``validation.py`` asks here before it refuses a body, and never for one that is right.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec

from microweb import json

__all__ = ["rewrite_whole_numbers"]

EXACT = 2**53
"""Beyond it not every whole number is a float (RFC 8259 §6)."""


def rewrite_whole_numbers(value: Any) -> bytes | None:
    """JSON of a plain value with whole numbers in the place of floats that are; None if there are none."""
    text = json.dumps(value)
    is_changed = False

    def read_number(digits: str) -> float:
        nonlocal is_changed
        number = float(digits)
        if number.is_integer() and abs(number) < EXACT:
            is_changed = True
            return int(number)
        return number

    # The decoder calls us for floats alone: a body may hold millions of other values.
    decode = msgspec.json.Decoder(float_hook=read_number).decode
    try:
        read = decode(text)
    except RecursionError:
        with ThreadPoolExecutor(1) as threads:  # As deep as it is, it was read before: on an empty stack.
            read = threads.submit(decode, text).result()
    return json.dumps(read) if is_changed else None
