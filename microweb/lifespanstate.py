"""What the lifespans of an app have put into the state, as the requests of this app are to see it.

A server has one lifespan state and gives each request a copy (ASGI lifespan protocol, "Lifespan State"). Apps that are
mounted in each other start together and share it, and several may use one name in it. The app around goes first:
what stands there stays, and what a mounted app has under the same name is its own, seen by its own requests only.

Each app has one of these. ``app.py`` fills it while the app starts, requests read it as ``app.lifespan_state``, and
``mounts.py`` asks what a mounted app is to see. It runs no lifespan: ``lifespan.py`` and ``foreignlifespan.py`` do.
"""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from typing import Any, Protocol

__all__ = ["LifespanState", "add_missing"]


class Around(Protocol):
    """What has the state that another adds to: the start of the outermost app, or the app that one is mounted in."""

    @property
    def state(self) -> Mapping[str, Any]:
        """The state; empty while nothing is started."""
        ...


class LifespanState:
    """The state of one app's lifespans: what all apps share, and what is its own beside that.

    ``runtime`` has the state where the app is not mounted in another. ``enter`` may come twice with no ``leave``
    between: of a start whose loop was closed nobody hears that it ended.

    >>> class Runtime:
    ...     state = {}
    >>> outer, inner = LifespanState(Runtime()), LifespanState(Runtime())
    >>> outer.enter(Runtime.state)
    >>> outer.add({"pool": "outer"})
    >>> inner.enter(Runtime.state, outer)
    >>> inner.add({"pool": "inner", "cache": "inner"})
    >>> outer.state
    {'pool': 'outer', 'cache': 'inner'}
    >>> inner.state
    {'pool': 'inner', 'cache': 'inner'}
    """

    __slots__ = ("_around", "_mounted", "_own", "_runtime", "_shared")

    def __init__(self, runtime: Around) -> None:
        self._runtime: Around = runtime
        self._around: Around = runtime
        self._shared: MutableMapping[str, Any] | None = None
        # Emptied and filled again, never replaced: each app that this one is mounted in has it too.
        self._own: dict[str, Any] = {}
        self._mounted: dict[int, Mapping[str, Any]] = {}

    @property
    def state(self) -> Mapping[str, Any]:
        """What all requests of this app see; empty while it is not started."""
        around = self._around.state
        return {**around, **self._own} if self._own else around

    def enter(self, shared: MutableMapping[str, Any], around: LifespanState | None = None) -> None:
        """Begin a start, whose apps share one state; ``around`` is that of the app that this one is mounted in."""
        self.leave()
        self._shared = shared
        if around is not None:
            self._around = around

    def is_entered_for(self, shared: MutableMapping[str, Any]) -> bool:
        """Whether this very start was the last that began here."""
        return self._shared is shared

    def leave(self) -> None:
        """Forget the start, and all that it has brought."""
        self._around = self._runtime
        self._shared = None
        self._own.clear()
        self._mounted.clear()

    def add(self, given: Mapping[str, Any]) -> None:
        """Add what a lifespan of this app has yielded, between ``enter`` and ``leave``."""
        assert self._shared is not None
        if self._around is self._runtime:
            self._shared.update(given)
        else:
            add_missing(self._shared, given)
            seen = self.state  # Apps in between may have something else under a name than all apps share.
            self._own.update({name: value for name, value in given.items() if seen.get(name) is not value})

    def add_inner(self, app: object, inner: LifespanState) -> None:
        """Note a microweb app that is mounted in this one, and the state that it fills itself."""
        self._mounted[id(app)] = inner._own

    def add_foreign(self, app: object, own: Mapping[str, Any]) -> None:
        """Note another app that is mounted in this one, and what it has under names that are taken."""
        self._mounted[id(app)] = own

    def knows(self, app: object) -> bool:
        """Whether this mounted app was noted since ``enter``."""
        return id(app) in self._mounted

    def seen_by(self, mounted: object, state: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        """The ``state`` of a request to this app, with what the mounted app's own lifespan has made of a name."""
        own = self._mounted.get(id(mounted))
        if not own:
            return state
        ours = self.state
        # What a layer has set for this request is meant for the mounted app.
        return {**state, **{name: value for name, value in own.items() if state.get(name) is ours.get(name)}}


def add_missing(shared: MutableMapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Add what stands under new names in ``given``; returns what is there under names that stand for something else.

    >>> shared = {"pool": 1}
    >>> add_missing(shared, {"pool": 2, "cache": 3}), shared
    ({'pool': 2}, {'pool': 1, 'cache': 3})
    """
    return {name: value for name, value in given.items() if shared.setdefault(name, value) is not value}
