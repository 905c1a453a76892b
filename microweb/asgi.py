"""The words of ASGI: scopes, messages and the three callables, as types.

Only names, no behaviour. Everything above speaks to servers and mounted apps in these types
(ASGI 3.0, https://asgi.readthedocs.io/en/latest/specs/main.html). Scopes and messages are plain
mappings at run time: servers differ in which optional keys they send, so code reads optional keys
with ``.get``.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, TypeAlias

__all__ = ["ASGIApp", "Message", "RawHeaders", "Receive", "Scope", "Send"]

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
ASGIApp: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]

RawHeaders: TypeAlias = list[tuple[bytes, bytes]]
"""Header lines as ASGI carries them: lower-case names, both sides bytes, order and repeats kept."""
