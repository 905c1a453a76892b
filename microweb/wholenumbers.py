"""Whole numbers that were written with a fraction, ``2.0``: JSON has one kind of number, and they are whole.

So say JSON Schema (2020-12 validation, §6.1.1) and with it the documents of ``microweb.openapi``; msgspec reads a
float. ``validation.py`` asks here before it refuses a body, and never for one that is right.
"""

from typing import Any

from microweb import json

__all__ = ["rewrite_whole_numbers"]

EXACT = 2**53
"""Beyond it not every whole number is a float (RFC 8259 §6)."""


def rewrite_whole_numbers(value: Any) -> bytes | None:
    """JSON of a plain value with whole numbers in the place of floats that are; None if there are none."""
    holder = [json.loads(json.dumps(value), max_depth=10_000)]
    waiting: list[Any] = [holder]
    is_changed = False
    while waiting:
        here = waiting.pop()
        for key, item in enumerate(here) if isinstance(here, list) else list(here.items()):
            if isinstance(item, list | dict):
                waiting.append(item)
            elif isinstance(item, float) and item.is_integer() and abs(item) < EXACT:
                here[key] = int(item)
                is_changed = True
    return json.dumps(holder[0]) if is_changed else None
