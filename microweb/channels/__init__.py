"""Publish and subscribe, for websockets and event streams: what one view publishes, others receive.

``hub.py`` has the channels themselves, which reach the subscribers of one process; ``redis.py`` those that reach
every process on the same Redis. ``app.channels`` is a ``Channels`` until the program puts another one there.
"""

from __future__ import annotations

from microweb.channels.hub import Channels
from microweb.channels.subscription import Subscription, TooSlow

__all__ = ["Channels", "Subscription", "TooSlow"]
