"""What stands in a guest book, and what may. Nothing in here knows of the web or of a database."""

from datetime import datetime
from typing import Annotated, Literal

import msgspec

__all__ = [
    "LARGEST",
    "LONGEST_MESSAGE",
    "LONGEST_NAME",
    "Change",
    "Entry",
    "EntryNumber",
    "Message",
    "Name",
    "find_problems",
    "tidy",
]

LARGEST = 2**63 - 1
"""The largest number of an entry: SQLite holds no larger one."""

EntryNumber = Annotated[int, msgspec.Meta(ge=1, le=LARGEST)]


LONGEST_NAME = 80
LONGEST_MESSAGE = 2_000

BLANK = r"\u0000-\u0020\u007f-\u00a0\u00ad\u1680\u2000-\u200f\u2028-\u202f\u205f-\u206f\u3000\ufeff"
"""What leaves no ink on paper, as the inside of a character class."""

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=LONGEST_NAME, pattern=f"[^{BLANK}]")]
Message = Annotated[str, msgspec.Meta(min_length=1, max_length=LONGEST_MESSAGE, pattern=f"[^{BLANK}]")]

CONTROLS = dict.fromkeys([*range(32), *range(127, 160)])
LINES = CONTROLS | {ord(character): character for character in "\n\t"}


class Entry(msgspec.Struct, frozen=True):
    """One signature. ``visitor`` is whoever may change it, and nobody's business; ``photo`` the name of a file."""

    id: int
    name: str
    message: str
    photo: str | None
    visitor: str
    signed_at: datetime
    changed_at: datetime | None


class Change(msgspec.Struct, frozen=True):
    """Something that happened to an entry. ``entry`` is how it stands now; None when it is gone."""

    number: int
    kind: Literal["signed", "changed", "removed"]
    id: int
    entry: Entry | None


def tidy(text: str, *, lines: bool = False) -> str:
    """``text`` without control characters and outer blanks; ``lines`` keeps its line breaks and tabs."""
    return text.replace("\r\n", "\n").translate(LINES if lines else CONTROLS).strip()


def find_problems(name: str, message: str) -> dict[str, str]:
    """What is wrong with an entry, in words for the guest, by field; both texts are tidy."""
    problems: dict[str, str] = {}
    for field, text, kind, longest in (
        ("name", name, Name, LONGEST_NAME),
        ("message", message, Message, LONGEST_MESSAGE),
    ):
        if len(text) > longest:
            problems[field] = f"Please use at most {longest} characters; these are {len(text)}."
        elif not is_valid(text, kind):
            problems[field] = "Please fill this in."
    return problems


def is_valid(text: str, kind: object) -> bool:
    """Whether a text is a name or a message, by the same rules as in the API."""
    try:
        msgspec.convert(text, kind)
    except msgspec.ValidationError:
        return False
    return True
