"""The proxies as ``def`` code sees them: ``from microweb.sync import request`` in a module of plain views.

The objects are those of ``microweb``; only the type differs, so that an editor offers Flask's attributes.
"""

from typing import TYPE_CHECKING

from microweb.proxies import request as any_request

if TYPE_CHECKING:
    from microweb.requests import SyncRequest

    request: SyncRequest
else:
    request = any_request

__all__ = ["request"]
