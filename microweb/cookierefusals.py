"""Why browsers would refuse the session cookie that a config describes.

Both functions read the config's own keys and list reasons in words; nothing is written or refused here. How a cookie
is written is in ``cookies``. Called by ``limits``, which reports the reasons when an app is set up, and by
``sessions``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["cookie_conflicts", "what_needs_secure"]


def what_needs_secure(settings: Mapping[str, Any]) -> list[str]:
    """List what browsers refuse about the session cookie, if it is not ``Secure`` (RFC 6265bis §5.7, CHIPS)."""
    name = settings["SESSION_COOKIE_NAME"]
    needs_secure = {
        "SESSION_COOKIE_SAMESITE 'None'": (settings["SESSION_COOKIE_SAMESITE"] or "").lower() == "none",
        "SESSION_COOKIE_PARTITIONED": settings["SESSION_COOKIE_PARTITIONED"],
        f"the name {name!r}": name.lower().startswith(("__host-", "__secure-")),
    }
    return [what for what, applies in needs_secure.items() if applies]


def cookie_conflicts(settings: Mapping[str, Any]) -> list[str]:
    """List what browsers would refuse about the session cookie (RFC 6265bis §5.7), a line each."""
    name = settings["SESSION_COOKIE_NAME"]
    host_only = name.lower().startswith("__host-")
    conflicts: list[str] = []
    if settings["SESSION_COOKIE_SECURE"] is False:
        conflicts += [
            f"SESSION_COOKIE_SECURE: expected True or None, for browsers refuse {what} without it; came False"
            for what in what_needs_secure(settings)
        ]
    if host_only and settings["SESSION_COOKIE_DOMAIN"] is not None:
        conflicts.append(f"SESSION_COOKIE_DOMAIN: expected None, for the name {name!r} allows no domain")
    if host_only and (settings["SESSION_COOKIE_PATH"] or settings["APPLICATION_ROOT"]) != "/":
        conflicts.append(f"SESSION_COOKIE_PATH: expected '/', for the name {name!r} allows no other path")
    return conflicts
