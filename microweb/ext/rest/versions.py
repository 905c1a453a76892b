"""Versions by media type: ``Accept: application/vnd.shop.v2+json`` is served by what stands under ``/v2``.

Versions by prefix need nothing of this: each ``Api`` has its own ``prefix``. This is a door in front of them, plain
ASGI around the whole app, so that routes, guards and logs see one path, the one with the version in it.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from typing import Any

from microweb.ext.rest.api import Api

__all__ = ["MediaTypeVersions"]

Scope = MutableMapping[str, Any]
Channel = Callable[..., Awaitable[Any]]

WEIGHT = re.compile(r";[ \t]*q=(0?\.[0-9]+|[01](?:\.[0-9]*)?)", re.IGNORECASE)
"""How much an item of ``Accept`` is wanted (RFC 9110 §12.4.2); Java's client leaves out the nought."""


class MediaTypeVersions:
    """Lead requests for an unversioned path to the ``Api`` whose ``media_type`` they accept.

    ``apis`` are the versions, each with a ``media_type`` and a prefix of its own below ``under``; ``default`` is the
    one for who names none, None for a 404 then. Paths that begin with a version's prefix stay as they are.

    >>> from microweb import App
    >>> from microweb.ext.rest import Api, MediaTypeVersions
    >>> app = App(__name__)
    >>> old = Api(app, prefix="/api/v1", media_type="application/vnd.shop.v1+json")
    >>> new = Api(app, prefix="/api/v2", media_type="application/vnd.shop.v2+json")
    >>> app.add_asgi_middleware(MediaTypeVersions, apis=[old, new], default=new, under="/api")

    Raises:
        ValueError: an ``Api`` has no media type, or a prefix outside of ``under``.
    """

    def __init__(self, app: Channel, *, apis: Iterable[Api], default: Api | None = None, under: str = "") -> None:
        self.app = app
        self.under = under.rstrip("/")
        self.default = None if default is None else default.prefix
        self.prefixes: Mapping[str, str] = {str(api.media_type).lower(): api.prefix for api in apis}
        for media_type, prefix in self.prefixes.items():
            if "/" not in media_type or not prefix.startswith(f"{self.under}/"):
                raise ValueError(
                    f"each Api of MediaTypeVersions has a media_type and a prefix below {self.under or '/'!r}; "
                    f"found {media_type!r} and {prefix!r}"
                )

    async def __call__(self, scope: Scope, receive: Channel, send: Channel) -> None:
        """Serve one connection."""
        if scope["type"] == "http":
            prefix = self.choose(scope)
            if prefix is not None:
                scope = self.moved(scope, prefix)
        await self.app(scope, receive, send)

    def choose(self, scope: Scope) -> str | None:
        """The prefix of the version that is meant; None for a path that is to stay."""
        path: str = scope["path"]
        root: str = scope.get("root_path", "")
        local = path[len(root) :] if root and path.startswith(root) else path
        if not lies_under(local, self.under) or any(lies_under(local, prefix) for prefix in self.prefixes.values()):
            return None
        chosen, most = self.default, 0.0
        for name, value in scope["headers"]:
            if name == b"accept":
                for item in value.decode("latin-1").split(","):
                    prefix = self.prefixes.get(item.partition(";")[0].strip().lower())
                    if prefix is not None and (weight := weight_of(item)) > most:
                        chosen, most = prefix, weight
        return chosen

    def moved(self, scope: Scope, prefix: str) -> Scope:
        """The scope with the version in its path."""
        # SECURITY: test_both_spellings_of_a_path_move_together: the router compares them.
        path, root = scope["path"], scope.get("root_path", "")
        base = root if root and path.startswith(root) else ""
        moved = {**scope, "path": base + prefix + path[len(base + self.under) :]}
        raw: bytes | None = scope.get("raw_path")
        if raw is not None:
            plain = (base + self.under).encode()
            if not raw.startswith(plain):
                return scope  # The beginning is escaped where it need not be: no client of ours writes that.
            moved["raw_path"] = (base + prefix).encode() + raw[len(plain) :]
        return moved


def weight_of(item: str) -> float:
    """How much the client wants it, from 1, which need not be said, down to 0, which is not at all."""
    found = WEIGHT.search(item)
    return 1.0 if found is None else float(found[1])


def lies_under(path: str, prefix: str) -> bool:
    """Whether a path is ``prefix`` or begins with it and a slash."""
    return not prefix or path == prefix or path.startswith(f"{prefix}/")
