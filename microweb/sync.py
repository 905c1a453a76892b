"""For modules of plain ``def`` views: the proxy ``request`` as they see it, and a way to what is async.

``request`` is the one of ``microweb``; only its type differs, so that an editor offers Flask's attributes.
``call_from_thread`` runs an async function while the view waits for it, in the task of its request.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from microweb.proxies import request as any_request
from microweb.workers import call_from_thread

if TYPE_CHECKING:
    from microweb.requests import SyncRequest

    request: SyncRequest
else:
    request = any_request

__all__ = ["call_from_thread", "request"]
