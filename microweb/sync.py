"""For modules of plain ``def`` functions: the proxy ``request`` as views see it, and two ways to what is async.

``request`` is the one of ``microweb``; only its type differs, so that an editor offers Flask's attributes.
``call_from_thread`` runs an async function while the view waits for it, in the task of its request. ``run_sync``
runs one where there is no request: at import time, or in a script.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from microweb.helperloops import run_sync
from microweb.proxies import request as any_request
from microweb.workers import call_from_thread

if TYPE_CHECKING:
    from microweb.requests import SyncRequest

    request: SyncRequest
else:
    request = any_request

__all__ = ["call_from_thread", "request", "run_sync"]
