"""Pages of long answers: which part is asked for, and ``Link`` headers to the others (RFC 8288).

A ``PageWindow`` is what ``?page=2&per_page=50`` asks for; a ``CursorWindow`` what ``?cursor=...`` does, for lists that
grow while they are read. Both give a page, whose ``items`` and ``headers`` a method returns.
"""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from typing import Any, Generic, TypeVar
from urllib.parse import urlencode

from microweb import request
from microweb.errors import InvalidParameters

__all__ = ["CursorPage", "CursorWindow", "Page", "PageWindow", "paginate"]

T = TypeVar("T")

MAX_CURSOR = 1024
"""Characters; a cursor holds the sort key of one item."""

MAX_PAGE = 10**9
"""A database refuses an offset beyond 64 bits, and that would be a 500."""


class PageWindow:
    """The page that the current request asks for, as ``?page=2&per_page=50``.

    ``per_page`` is the size for who names none, ``max_per_page`` the most that a client gets.

    >>> from microweb import App
    >>> from microweb.ext.rest import PageWindow
    >>> with App(__name__).test_request_context("/todos?page=3&per_page=10"):
    ...     window = PageWindow()
    ...     window.offset, window.limit, window.page_of(["x"], total=21).headers["Link"].split(", ")[0]
    (20, 10, '</todos?page=1&per_page=10>; rel="first"')

    Raises:
        InvalidParameters: (422) a number is none, or out of range.
    """

    def __init__(
        self, *, per_page: int = 20, max_per_page: int = 100, page_name: str = "page", per_page_name: str = "per_page"
    ) -> None:
        self.page_name = page_name
        self.per_page_name = per_page_name
        self.page = read_number(page_name, 1, MAX_PAGE)
        self.per_page = read_number(per_page_name, per_page, max_per_page)

    @property
    def offset(self) -> int:
        """How many items come before the page."""
        return (self.page - 1) * self.per_page

    @property
    def limit(self) -> int:
        """The most items on the page."""
        return self.per_page

    def page_of(self, items: Sequence[T], total: int | None = None) -> Page[T]:
        """The page with these items; without ``total`` a full page is taken to have a next one."""
        return Page(items, self, total)


class Page(Generic[T]):
    """One page of a list: ``return page.items, 200, page.headers``.

    ``headers`` has ``Link`` with ``first``, ``prev``, ``next`` and ``last``, and ``X-Total-Count`` where it is known.
    Links have no scheme and host: the client resolves them (RFC 8288 §3.1), and nothing of a forged Host gets in.
    """

    def __init__(self, items: Sequence[T], window: PageWindow, total: int | None) -> None:
        self.items = items
        self.total = total
        self.page = window.page
        self.per_page = window.per_page
        self.pages = None if total is None else max(1, -(-total // window.per_page))
        """How many pages there are; None if nobody counted."""
        has_next = window.page < self.pages if self.pages is not None else len(items) >= window.per_page
        numbers = {
            "first": 1,
            "prev": min(window.page - 1, self.pages or window.page) if window.page > 1 else None,
            "next": window.page + 1 if has_next else None,
            "last": self.pages,
        }
        self.links = {
            relation: link_to(**{window.page_name: number, window.per_page_name: window.per_page})
            for relation, number in numbers.items()
            if number is not None
        }
        """The URLs by relation."""

    @property
    def headers(self) -> dict[str, str]:
        """``Link``, and ``X-Total-Count``."""
        counted = {} if self.total is None else {"X-Total-Count": str(self.total)}
        return {"Link": write_links(self.links), **counted}


def paginate(items: Sequence[T], *, per_page: int = 20, max_per_page: int = 100) -> Page[T]:
    """The page of a list in memory that the current request asks for.

    Raises:
        InvalidParameters: (422) a number is none, or out of range.
    """
    window = PageWindow(per_page=per_page, max_per_page=max_per_page)
    return window.page_of(items[window.offset : window.offset + window.limit], len(items))


class CursorWindow:
    """The part of a list that the current request asks for, as ``?cursor=...&per_page=50``.

    ``after`` is what ``page_of(next=...)`` was given for the page before, or None at the beginning: the sort key of
    its last item. It is readable and not signed: check it as any other input, and ask the database with parameters.

    Raises:
        InvalidParameters: (422) the cursor is none of ours, or the number is out of range.
    """

    def __init__(self, *, per_page: int = 20, max_per_page: int = 100) -> None:
        self.per_page = read_number("per_page", per_page, max_per_page)
        cursor = request.args.get("cursor")
        self.after = None if cursor is None else read_cursor(cursor)

    @property
    def limit(self) -> int:
        """The most items on the page."""
        return self.per_page

    def page_of(self, items: Sequence[T], *, next: Any = None, prev: Any = None) -> CursorPage[T]:
        """The page with these items; ``next`` and ``prev`` are JSON values to continue from, None where it ends."""
        return CursorPage(items, self.per_page, next, prev)


class CursorPage(Generic[T]):
    """One part of a list: ``return page.items, 200, page.headers``, with ``next`` and ``prev`` in ``Link``."""

    def __init__(self, items: Sequence[T], per_page: int, next: Any, prev: Any) -> None:
        self.items = items
        self.links = {
            relation: link_to(cursor=write_cursor(key), per_page=per_page)
            for relation, key in (("prev", prev), ("next", next))
            if key is not None
        }
        """The URLs by relation."""

    @property
    def headers(self) -> dict[str, str]:
        """``Link``, if there is another part."""
        return {"Link": write_links(self.links)} if self.links else {}


# Writing and reading -----------------------------------------------------------------------------


def link_to(**changes: Any) -> str:
    """The path and query of the current request with other parameters."""
    # SECURITY: test_a_link_holds_nothing_that_could_end_it: the query comes from the client.
    kept = [(name, value) for name, value in request.args.items(multi=True) if name not in changes]
    return f"{request.url.path}?{urlencode([*kept, *changes.items()])}"


def write_links(links: dict[str, str]) -> str:
    """The ``Link`` header (RFC 8288 §3)."""
    return ", ".join(f'<{target}>; rel="{relation}"' for relation, target in links.items())


def read_number(name: str, default: int, most: int) -> int:
    """A parameter from 1 to ``most``.

    Raises:
        InvalidParameters: it is not.
    """
    text = request.args.get(name)
    if text is None:
        return min(default, most)
    if not (text.isascii() and text.isdigit() and len(text) < 20 and 1 <= int(text) <= most):
        raise InvalidParameters([{"in": "query", "name": name, "reason": f"expected int from 1 to {most}"}])
    return int(text)


def write_cursor(key: Any) -> str:
    """A JSON value as one word of a query."""
    return urlsafe_b64encode(json.dumps(key, separators=(",", ":")).encode()).rstrip(b"=").decode("ascii")


def read_cursor(cursor: str) -> Any:
    """The value that ``write_cursor`` was given.

    Raises:
        InvalidParameters: it is none of ours.
    """
    # SECURITY: test_a_cursor_that_is_none_is_refused: the client may send anything.
    refused = InvalidParameters([{"in": "query", "name": "cursor", "reason": "expected a cursor of an earlier answer"}])
    if len(cursor) > MAX_CURSOR or not cursor.isascii():
        raise refused
    try:
        return json.loads(urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except (ValueError, RecursionError):
        raise refused from None
