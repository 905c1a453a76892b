"""Flashed messages: words for the next page, kept in the session until it shows them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal, overload

from microweb.proxies import find_incoming

__all__ = ["flash", "get_flashed_messages"]

KEY = "_flashes"


def flash(message: str, category: str = "message") -> None:
    """Keep ``message`` for the next page that asks for messages.

    Raises:
        SetupError: no secret key is set.
        OutsideContextError: there is no current request.
    """
    session = find_incoming("flash").session
    session[KEY] = [*session.get(KEY, ()), (category, message)]


@overload
def get_flashed_messages(with_categories: Literal[False] = False, category_filter: Iterable[str] = ()) -> list[str]: ...
@overload
def get_flashed_messages(
    with_categories: Literal[True], category_filter: Iterable[str] = ()
) -> list[tuple[str, str]]: ...
@overload
def get_flashed_messages(with_categories: bool, category_filter: Iterable[str] = ()) -> list[Any]: ...
def get_flashed_messages(with_categories: bool = False, category_filter: Iterable[str] = ()) -> list[Any]:
    """The messages flashed since they were last asked for; asked again in one request, the same ones.

    With ``with_categories`` they are pairs of category and message.

    Raises: as ``flash``.
    """
    incoming = find_incoming("get_flashed_messages")
    if incoming._flashes is None:
        session = incoming.session
        incoming._flashes = [tuple(pair) for pair in session.pop(KEY, ())]
    wanted = set(category_filter)
    found = [pair for pair in incoming._flashes if not wanted or pair[0] in wanted]
    return found if with_categories else [message for _, message in found]
