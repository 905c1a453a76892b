"""The URL map: from an endpoint's name and values back to its path.

Of the rules of one endpoint the one is taken that uses most of the values. The map knows no request
and no app: it returns a path, the values left over and the host of the rule; relative names, the
mount's path, scheme and query string are for ``url_for``, which calls it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from microweb.errors import BuildError
from microweb.patterns import HostPattern, Pattern

__all__ = ["Built", "UnknownEndpoint", "UrlMap"]


class UnknownEndpoint(BuildError):
    """There is no endpoint of this name here, but perhaps further up."""


class Built(NamedTuple):
    """A percent-encoded path, the values that are left over for the query, and the host of the rule."""

    path: str
    query: dict[str, Any]
    host: str | None


class Candidate:
    """One rule of an endpoint."""

    __slots__ = ("arguments", "defaults", "host", "methods", "pattern", "required")

    def __init__(
        self,
        pattern: Pattern,
        methods: frozenset[str] | None,
        defaults: Mapping[str, Any],
        host: HostPattern | None,
    ) -> None:
        self.pattern = pattern
        self.methods = methods
        self.defaults = defaults
        self.host = host
        self.required = (*pattern.variables, *(host.variables if host is not None else ()))
        self.arguments = frozenset((*self.required, *defaults))

    def takes(self, method: str | None) -> bool:
        return method is None or self.methods is None or method in self.methods

    def agrees_with(self, values: Mapping[str, Any]) -> bool:
        """Whether no value contradicts a default: ``defaults={"page": 1}`` is no rule for page 2."""
        return all(name not in values or values[name] == default for name, default in self.defaults.items())

    def missing(self, values: Mapping[str, Any]) -> list[str]:
        return [name for name in self.required if name not in values]

    def build(self, values: Mapping[str, Any]) -> Built:
        query = {name: value for name, value in values.items() if name not in self.arguments}
        host = None if self.host is None else self.host.build(values)
        return Built(self.pattern.build(values), query, host)


class UrlMap:
    """The rules of each endpoint, for building.

    >>> from microweb.rulereading import parse_pattern
    >>> urls = UrlMap()
    >>> urls.add("list", parse_pattern("/list/"), methods=frozenset({"GET"}), defaults={"page": 1})
    >>> urls.add("list", parse_pattern("/list/<int:page>"), methods=frozenset({"GET"}))
    >>> urls.build("list", {"page": 1}).path, urls.build("list", {"page": 2, "by": "name"})
    ('/list/', Built(path='/list/2', query={'by': 'name'}, host=None))
    """

    __slots__ = ("_candidates", "uses_hosts")

    def __init__(self) -> None:
        self.uses_hosts = False
        """Whether any rule has a host, so that ``build`` should be told the current one."""
        self._candidates: dict[str, list[Candidate]] = {}

    def add(
        self,
        endpoint: str,
        pattern: Pattern,
        *,
        methods: frozenset[str] | None,
        defaults: Mapping[str, Any] | None = None,
        host: HostPattern | None = None,
    ) -> None:
        """Add a rule; ``methods`` None fits every method, as for websocket routes."""
        if methods is not None and "GET" in methods:
            methods |= {"HEAD"}
        if host is not None:
            self.uses_hosts = True
        candidates = self._candidates.setdefault(endpoint, [])
        candidates.append(Candidate(pattern, methods, defaults or {}, host))
        # As in werkzeug: the rule with the most arguments first, then the one with the most defaults.
        candidates.sort(key=lambda candidate: (-len(candidate.arguments), -len(candidate.defaults)))

    def build(
        self,
        endpoint: str,
        values: Mapping[str, Any],
        *,
        method: str | None = None,
        current_host: str | None = None,
    ) -> Built:
        """Build the path of an endpoint; a value of None counts as not given.

        Without a method, rules for GET are tried first. A rule on ``current_host`` is taken before rules
        on other hosts.

        Raises:
            UnknownEndpoint: there is none of that name.
            BuildError: none of its rules fits.
        """
        candidates = self._candidates.get(endpoint)
        if candidates is None:
            raise UnknownEndpoint(f"There is no endpoint {endpoint!r}.{self._suggest(endpoint)}")
        given = {name: value for name, value in values.items() if value is not None}
        reasons: list[str] = []
        for asked in ("GET", None) if method is None else (method,):
            first: Built | None = None
            for candidate in candidates:
                if not candidate.takes(asked):
                    continue
                missing = candidate.missing(given)
                if missing:
                    reasons.append(f"{candidate.pattern.rule!r} needs {', '.join(map(repr, missing))}")
                    continue
                if not candidate.agrees_with(given):
                    reasons.append(f"{candidate.pattern.rule!r} is only for {dict(candidate.defaults)!r}")
                    continue
                try:
                    built = candidate.build(given)
                except BuildError as error:
                    reasons.append(f"{candidate.pattern.rule!r}: {error}")
                    continue
                if built.host is None or built.host == current_host:
                    return built
                first = first or built
            if first is not None:
                return first
        why = "; ".join(dict.fromkeys(reasons)) or f"none of its rules takes {method}"
        raise BuildError(f"No URL can be built for the endpoint {endpoint!r} with {sorted(given)}: {why}.")

    def _suggest(self, endpoint: str) -> str:
        from difflib import get_close_matches

        near = get_close_matches(endpoint, self._candidates, 3)
        return f" Did you mean {' or '.join(map(repr, near))}?" if near else ""
