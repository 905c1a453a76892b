"""A read-only mapping whose keys may have several values: what a query string, a form or a cookie header is.

Not a container to collect things in: it is built once from the pairs that a parser found and never
changes, so a cached request may hand the same one to everybody. Built by ``querystring``
(arguments), ``forms`` and ``formreading`` (fields and files) and ``cookies``; read by views.
"""

from __future__ import annotations

from collections.abc import Callable, ItemsView, Iterable, Iterator, Mapping, ValuesView
from typing import Any, Generic, Literal, TypeVar, overload

from microweb.absences import OF_A_MULTI_DICT, without
from microweb.errors import BadRequestKeyError

__all__ = ["MultiDict"]

V = TypeVar("V")
T = TypeVar("T")
D = TypeVar("D")


@without(OF_A_MULTI_DICT, may_be_set=True)
class MultiDict(Mapping[str, V], Generic[V]):
    """An immutable mapping from a key to one or more values, in order of arrival.

    Used as a plain mapping it shows the first value of each key; ``getlist`` shows them all. ``kind``
    is the word for a key in the 400 that a missing one becomes.

    >>> args = MultiDict([("tag", "a"), ("tag", "b"), ("page", "2")])
    >>> args["tag"], args.getlist("tag"), args.get("page", type=int), args.get("size", 10, type=int)
    ('a', ['a', 'b'], 2, 10)
    """

    __slots__ = ("_kind", "_lists")

    def __init__(self, pairs: Iterable[tuple[str, V]] = (), *, kind: str = "field") -> None:
        lists: dict[str, list[V]] = {}
        for key, value in pairs:
            if key in lists:
                lists[key].append(value)
            else:
                lists[key] = [value]
        self._lists = lists
        self._kind = kind

    def __getitem__(self, key: str) -> V:
        """The first value of ``key``.

        Raises:
            BadRequestKeyError: there is none; unhandled it is answered 400. It is a ``KeyError`` too.
        """
        try:
            return self._lists[key][0]
        except KeyError:
            raise BadRequestKeyError(key, self._kind) from None

    @overload
    def get(self, key: str, /) -> V | None: ...
    @overload
    def get(self, key: str, /, default: V, type: None = ...) -> V: ...
    @overload
    def get(self, key: str, /, default: D, type: None = ...) -> V | D: ...
    @overload
    def get(self, key: str, /, default: None = None, *, type: Callable[[V], T]) -> T | None: ...
    @overload
    def get(self, key: str, /, default: None, type: Callable[[V], T]) -> T | None: ...
    @overload
    def get(self, key: str, /, default: D, type: Callable[[V], T]) -> T | D: ...
    def get(self, key: str, /, default: Any = None, type: Callable[[V], Any] | None = None) -> Any:
        """The first value of ``key``, passed through ``type``; ``default`` where that has no answer.

        No answer is: the key is missing, or ``type`` raised ``ValueError`` or ``TypeError``.
        """
        values = self._lists.get(key)
        if values is None:
            return default
        if type is None:
            return values[0]
        try:
            return type(values[0])
        except (ValueError, TypeError):
            return default

    @overload
    def getlist(self, key: str, type: None = None) -> list[V]: ...
    @overload
    def getlist(self, key: str, type: Callable[[V], T]) -> list[T]: ...
    def getlist(self, key: str, type: Callable[[V], Any] | None = None) -> list[Any]:
        """Every value of ``key`` in order, passed through ``type``; those it refuses are left out."""
        values = self._lists.get(key, ())
        if type is None:
            return list(values)
        converted: list[Any] = []
        for value in values:
            try:
                converted.append(type(value))
            except (ValueError, TypeError):
                continue
        return converted

    def items(self, multi: bool = False) -> ItemsView[str, V]:
        """Keys with their first values; with ``multi`` a pair for each value, repeats beside each other."""
        return _EveryItem(self) if multi else ItemsView(self)

    def values(self) -> ValuesView[V]:
        """The first value of each key."""
        return ValuesView(self)

    def lists(self) -> Iterator[tuple[str, list[V]]]:
        """Each key with the list of its values."""
        return ((key, list(values)) for key, values in self._lists.items())

    @overload
    def to_dict(self, flat: Literal[True] = True) -> dict[str, V]: ...
    @overload
    def to_dict(self, flat: Literal[False]) -> dict[str, list[V]]: ...
    @overload
    def to_dict(self, flat: bool) -> dict[str, V] | dict[str, list[V]]: ...
    def to_dict(self, flat: bool = True) -> dict[str, V] | dict[str, list[V]]:
        """A plain dict of the first values, or with ``flat=False`` of the lists."""
        if flat:
            return {key: values[0] for key, values in self._lists.items()}
        return {key: list(values) for key, values in self._lists.items()}

    def copy(self) -> MultiDict[V]:
        """An equal one; as neither can change, it is the same one."""
        return self

    __copy__ = copy

    def __contains__(self, key: object) -> bool:
        return key in self._lists

    def __iter__(self) -> Iterator[str]:
        return iter(self._lists)

    def __len__(self) -> int:
        return len(self._lists)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, MultiDict):
            return bool(self._lists == other._lists)
        if isinstance(other, Mapping):
            # A plain mapping is equal when it says all of it: a repeat cannot stand in one.
            return {key: [value] for key, value in other.items()} == self._lists
        return NotImplemented

    def __repr__(self) -> str:
        return f"{type(self).__name__}({list(self.items(multi=True))!r})"


class _EveryItem(ItemsView[str, V]):
    __slots__ = ()
    _mapping: MultiDict[V]

    def __iter__(self) -> Iterator[tuple[str, V]]:
        for key, values in self._mapping.lists():
            for value in values:
                yield key, value

    def __contains__(self, item: object) -> bool:
        return any(item == each for each in self)

    def __len__(self) -> int:
        return sum(len(values) for _, values in self._mapping.lists())
