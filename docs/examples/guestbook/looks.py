"""What the templates need to show a time and a name."""

from datetime import datetime
from zlib import crc32

from microweb import App

__all__ = ["add_filters"]

COLOURS = 8
"""How many colours the style sheet has for initials."""


def add_filters(app: App) -> None:
    """Give an app's templates their filters."""
    app.template_filter("day")(show_day)
    app.template_filter("moment")(show_moment)
    app.template_filter("initials")(find_initials)
    app.template_filter("colour")(find_colour)


def show_day(time: datetime) -> str:
    """As in ``1 March 2026``."""
    return f"{time.day} {time:%B %Y}"


def show_moment(time: datetime) -> str:
    """As in ``1 March 2026, 12:30 UTC``."""
    return f"{show_day(time)}, {time:%H:%M} UTC"


def find_initials(name: str) -> str:
    """One or two letters for a name."""
    words = name.split()
    return "".join(word[0] for word in (words[:1] + words[1:][-1:])).upper()


def find_colour(name: str) -> int:
    """The number of a colour; always the same for the same name."""
    return crc32(name.encode()) % COLOURS
