"""What stands in a guest book, and what may. Nothing in here knows of the web or of a database."""

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["Entry", "InvalidEntry", "check_entry"]

LONGEST_NAME = 80
LONGEST_MESSAGE = 2_000


@dataclass(frozen=True)
class Entry:
    """One signature. ``signed_at`` is UTC, as in ``2026-03-01T12:30:00+00:00``."""

    id: int
    name: str
    message: str
    signed_at: str


class InvalidEntry(Exception):
    """What was sent is no entry: ``problems`` says why, by field, and ``fields`` is what was sent."""

    def __init__(self, problems: Mapping[str, str], fields: Mapping[str, str]) -> None:
        super().__init__(problems)
        self.problems = problems
        self.fields = fields


def check_entry(fields: Mapping[str, object]) -> tuple[str, str]:
    """The name and the message in ``fields``, trimmed.

    Raises:
        InvalidEntry: one is missing, empty, too long or no text.
    """
    problems: dict[str, str] = {}
    texts: dict[str, str] = {}
    for field, longest in (("name", LONGEST_NAME), ("message", LONGEST_MESSAGE)):
        value = fields.get(field, "")
        texts[field] = value.strip() if isinstance(value, str) else ""
        if not isinstance(value, str):
            problems[field] = "This has to be text."
        elif not texts[field]:
            problems[field] = "Please fill this in."
        elif len(texts[field]) > longest:
            problems[field] = f"Please use at most {longest} characters; these are {len(texts[field])}."
    if problems:
        raise InvalidEntry(problems, texts)
    return texts["name"], texts["message"]
