"""Middleware that many programs need, each to be added with ``app.add_middleware(...)``.

They use nothing of microweb but its public names, so any of them can be copied and changed.
"""

from microweb.middleware.timeout import Timeout

__all__ = ["Timeout"]
