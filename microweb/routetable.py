"""The route table: which target answers a method and a path.

A tree of path segments, built once by ``freeze``. The most specific rule wins whatever the order in which
rules were added: at each segment from the left a literal, then a mixture, then converters by weight,
then a path that spans segments, then a mount; when the way taken leads nowhere, the next one is tried.
What the table answers is always a target: a miss (404, 405, a redirect) has targets too, made by the
``miss`` function given to ``freeze``.

The table does not look into targets and owners, knows no scope and no request, and builds no URLs. The app
fills it when it starts and asks it once per request.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from typing import Any, Generic, Literal, NamedTuple, TypeVar

from microweb.converters import NO_MATCH, AnyConverter
from microweb.errors import FrozenError, SetupError
from microweb.patterns import HostPattern, Pattern
from microweb.quoting import PATH, quote_again, quote_path, quote_raw_path, raw_is_other
from microweb.routetree import (
    CONVERT,
    INT,
    MOUNT,
    SEVERAL,
    STRING,
    TAIL,
    WEBSOCKET,
    Leaf,
    Rule,
    Tree,
    find,
    find_owner,
)
from microweb.segments import is_absolute, merge_slashes, split_path

__all__ = [
    "AbsoluteTarget",
    "Miss",
    "MissKind",
    "RouteTable",
]

T = TypeVar("T")
Owner = TypeVar("Owner")

MissKind = Literal[
    "not_found",  # 404
    "method_not_allowed",  # 405 with ``allow``
    "options",  # OPTIONS on a path whose routes leave it to us: an empty answer with ``allow``
    "add_slash",  # 308 to the path with a slash at its end
    "merge_slashes",  # 308 to the path with one slash where it has several
    "bad_path",  # 400: the escapes in the path are no UTF-8
]


class Miss(NamedTuple, Generic[Owner]):
    """What to answer where no route does; ``owner`` is the one whose prefix is the deepest on the path.

    ``allow`` holds the methods that the path does answer to, sorted; it is empty unless the kind is
    ``method_not_allowed`` or ``options``.
    """

    kind: MissKind
    owner: Owner
    allow: tuple[str, ...] = ()

    def location(self, path: str, raw_path: bytes | None) -> str:
        """The path that a redirect goes to, percent-encoded, for the path that missed; never ``//host``."""
        if raw_path is None or raw_is_other(path, raw_path):
            target = quote_path(path)
        else:
            target = quote_again(quote_raw_path(raw_path.partition(b"?")[0]), PATH)
        if self.kind == "add_slash":
            target += "/"
        else:
            target = "/".join(merge_slashes(target.split("/")))
        # SECURITY: test_routetable.py::test_a_redirect_never_leads_to_another_host
        return "/" + target.lstrip("/")


class AbsoluteTarget(LookupError):
    """What was asked for is a whole URL and no path: a request target in absolute form (RFC 9112 §3.2.2).

    An exception, so that paths pay nothing for it: only where nothing else was found is it looked for.
    """


class RouteTable(Generic[T, Owner]):
    """All rules of an app, and the answer to each method and path.

    ``add`` and its companions take rules in any order, ``freeze`` ends that and builds the tree; from then
    on ``match`` gives ``(target, values)`` for whatever comes in. ``values`` is a fresh dict, or None when
    the rule has neither variables nor defaults. A target can be anything but None.

    >>> from microweb.rulereading import parse_pattern
    >>> table = RouteTable[str, str]("the app")
    >>> show = parse_pattern("/user/<int:id>")
    >>> table.add(show, "show", methods=frozenset({"GET"}), owner="the app", place="app.py:5")
    >>> table.freeze(lambda miss: f"{miss.kind} {miss.allow}")
    >>> table.match("GET", "/user/7", None, None)
    ('show', {'id': 7})
    >>> table.match("POST", "/user/7", None, None)
    ("method_not_allowed ('GET', 'HEAD', 'OPTIONS')", None)
    """

    __slots__ = (
        "_exact_hosts",
        "_http",
        "_make_miss",
        "_misses",
        "_owner",
        "_owners",
        "_root",
        "_shapes",
        "_websocket",
        "_wildcard_hosts",
        "rules",
        "uses_hosts",
        "whole_paths",
    )

    def __init__(self, owner: Owner) -> None:
        self.rules: list[Rule[T, Owner]] = []
        """Everything that was added, in that order."""
        self.uses_hosts = False
        """Whether the host matters; known when the table is frozen."""
        self._owner = owner
        self._owners: list[tuple[Pattern, Owner, HostPattern | None]] = []
        self._shapes: dict[Hashable, list[Rule[T, Owner]]] = {}
        self._http: Tree[T, Owner] = Tree()
        self._websocket: Tree[T, Owner] = Tree()
        self._exact_hosts: dict[str, tuple[Tree[T, Owner], Tree[T, Owner]]] = {}
        self._wildcard_hosts: dict[Hashable, tuple[HostPattern, Tree[T, Owner], Tree[T, Owner]]] = {}
        self._make_miss: Callable[[Miss[Owner]], T] | None = None
        self._misses: dict[tuple[MissKind, int, tuple[str, ...]], tuple[T, None]] = {}
        self._root = self._http.root
        self.whole_paths: Mapping[str, Mapping[str, tuple[T, None]]] = self._http.static
        """What ``match`` answers, by path and method, for paths without a variable where the host does not matter."""

    # Filling it ----------------------------------------------------------------------------------

    def add(
        self,
        pattern: Pattern,
        target: T,
        *,
        methods: frozenset[str] | None,
        owner: Owner,
        place: str,
        host: HostPattern | None = None,
        strict_slashes: bool = True,
        defaults: Mapping[str, Any] | None = None,
    ) -> None:
        """Add a route; with ``methods`` None it is a websocket route. ``place`` is what errors name.

        Raises:
            SetupError: the rule is there already, can never match, or has one name for two values.
            FrozenError: the table is built.
        """
        if methods is not None and not methods:
            raise SetupError(f"The rule {pattern.rule!r} ({place}) has no methods, so it can never match.")
        if not pattern.rule:
            raise SetupError(f"The rule {pattern.rule!r} ({place}) must start with a slash.")
        for name in defaults or ():
            if name in pattern.variables or (host is not None and name in host.variables):
                raise SetupError(
                    f"The rule {pattern.rule!r} ({place}) has a default for its own variable {name!r}, "
                    "which would always hide what the URL says."
                )
        kind: Literal["http", "websocket"] = "websocket" if methods is None else "http"
        self._register(Rule(kind, pattern, target, methods, owner, place, host, strict_slashes, defaults))

    def add_mount(
        self, pattern: Pattern, target: T, *, owner: Owner, place: str, host: HostPattern | None = None
    ) -> None:
        """Add a target for everything at or under a prefix, with any method, websockets included.

        Routes beside it that are at least as specific, segment by segment, go first.

        Raises:
            SetupError: something is mounted there already, or a path converter is in the prefix.
            FrozenError: the table is built.
        """
        if pattern.tail is not None:
            raise SetupError(
                f"The mount {pattern.rule!r} ({place}) has a variable that spans segments, "
                "so nobody could say where the mount begins."
            )
        self._register(Rule("mount", pattern, target, None, owner, place, host, True, None))

    def add_owner(self, pattern: Pattern, owner: Owner, *, host: HostPattern | None = None) -> None:
        """Give the misses at or under a prefix to ``owner``; the deepest prefix on a path counts.

        Of two owners with one prefix the first keeps it. An empty prefix without a host owns nothing: the
        whole site is the app's.

        Raises:
            SetupError: a path converter is in the prefix.
            FrozenError: the table is built.
        """
        self._check_open()
        if pattern.tail is not None:
            raise SetupError(f"The prefix {pattern.rule!r} has a variable that spans segments.")
        if pattern.segments or host is not None:
            self._owners.append((pattern, owner, host))

    def _check_open(self) -> None:
        if self._make_miss is not None:
            raise FrozenError("The routes are frozen, because the app has begun to serve; add them before.")

    def _register(self, rule: Rule[T, Owner]) -> None:
        self._check_open()
        if rule.host is not None:
            for name in rule.host.variables:
                if name in rule.pattern.variables:
                    raise SetupError(
                        f"The rule {rule.pattern.rule!r} ({rule.place}) has the variable {name!r} "
                        f"in its path and in its host {rule.host.rule!r}."
                    )
        same = self._shapes.setdefault(shape_of(rule), [])
        for other in same:
            methods = (rule.methods or {rule.kind}) & (other.methods or {rule.kind})
            if methods:
                raise SetupError(
                    f"The rule {rule.pattern.rule!r} ({rule.place}) is there already: {other.pattern.rule!r} "
                    f"({other.place}) matches the same paths for {', '.join(sorted(methods))}."
                )
        same.append(rule)
        self.rules.append(rule)

    # Building it ---------------------------------------------------------------------------------

    def freeze(self, miss: Callable[[Miss[Owner]], T]) -> None:
        """Build the tree; ``miss`` makes the target of each miss.

        It is called now for every owner, and for the methods of every path. Only where rules of
        different shapes and methods meet on one path, the target for their methods together is made
        when it is first asked for; their number is limited by the rules, not by what clients ask.

        Raises:
            SetupError: a rule can never match.
            FrozenError: the table is built.
        """
        self._check_open()
        for rule in self.rules:
            self._check_reachable(rule)
        self._make_miss = miss
        for rule in self.rules:
            http, websocket = self._trees_of(rule.host)
            if rule.kind != "websocket":
                http.add(rule)
            if rule.kind != "http":
                websocket.add(rule)
        for pattern, owner, host in self._owners:
            self._trees_of(host)[0].descend(pattern).owners.append(owner)
        self._wildcard_hosts = dict(sorted(self._wildcard_hosts.items(), key=lambda item: item[1][0].order))
        self.uses_hosts = bool(self._exact_hosts or self._wildcard_hosts)
        redirects: tuple[MissKind, ...] = ("add_slash", "merge_slashes", "bad_path")
        for owner in [self._owner, *(owner for _, owner, _ in self._owners)]:
            for kind in redirects:
                self._get_miss(kind, owner)
        trees = [self._http, self._websocket]
        for pair in self._exact_hosts.values():
            trees += pair
        for _, http, websocket in self._wildcard_hosts.values():
            trees += [http, websocket]
        for tree in trees:
            tree.finish(self._owner, self._get_leaf_miss)

    def _trees_of(self, host: HostPattern | None) -> tuple[Tree[T, Owner], Tree[T, Owner]]:
        if host is None:
            return self._http, self._websocket
        if host.is_static:
            return self._exact_hosts.setdefault(host.build({}), (Tree(), Tree()))
        return self._wildcard_hosts.setdefault(host.key, (host, Tree(), Tree()))[1:]

    def _check_reachable(self, rule: Rule[T, Owner]) -> None:
        """Refuse a rule that lists with ``any`` nothing but what other rules, which go first, spell out."""
        for position, segment in enumerate(rule.pattern.segments):
            if not segment.is_single or not isinstance(segment.variables[0].converter, AnyConverter):
                continue
            covering: list[Rule[T, Owner]] = []
            for item in segment.variables[0].converter.items:
                found = [
                    other
                    for other in self._shapes.get(shape_of(rule, position, item), ())
                    if rule.strict_slashes or not other.strict_slashes
                ]
                methods = frozenset[str]().union(*(other.methods or {rule.kind} for other in found))
                if not methods >= (rule.methods or {rule.kind}):
                    break
                covering += found
            else:
                raise SetupError(
                    f"The rule {rule.pattern.rule!r} ({rule.place}) can never match: before it come "
                    + ", ".join(f"{other.pattern.rule!r} ({other.place})" for other in covering)
                    + "."
                )

    def _get_miss(self, kind: MissKind, owner: Owner, allow: tuple[str, ...] = ()) -> tuple[T, None]:
        key = (kind, id(owner), allow)
        found = self._misses.get(key)
        if found is None:
            assert self._make_miss is not None, "a route table is asked after freeze()"
            found = self._misses[key] = (self._make_miss(Miss(kind, owner, allow)), None)
        return found

    def _get_leaf_miss(self, owner: Owner, leaf: Leaf[T] | None) -> tuple[T, None]:
        if leaf is None or WEBSOCKET in leaf.methods:
            return self._get_miss("not_found", owner)
        if "OPTIONS" not in leaf.methods:
            self._get_miss("options", owner, allow_of([leaf]))
        return self._get_miss("method_not_allowed", owner, allow_of([leaf]))

    # Asking it -----------------------------------------------------------------------------------

    def match(
        self, method: str, path: str, raw_path: bytes | None, host: str | None
    ) -> tuple[T, dict[str, Any] | None]:
        """The target for a request, with its values.

        ``path`` is the decoded path below the mount, ``raw_path`` what the client sent for it, ``host`` the
        host in lower case without its port. The raw path counts where it keeps a slash inside a segment,
        unless it belongs to another path.

        An exception from a converter of the program that is no ``ValueError`` comes through.

        Raises:
            AbsoluteTarget: the path is a whole URL.
        """
        # PERF(walk.last-of-200): 37 is the percent sign; CPython 3.11 takes eight times as long to look for b"%".
        if (
            raw_path is not None and 37 in raw_path and (b"%2F" in raw_path or b"%2f" in raw_path or "\ufffd" in path)
        ) or (self.uses_hosts and len(self._find_trees(host, 0)) > 1):
            return self._search(method, path, raw_path, host)
        answers = self.whole_paths.get(path)
        if answers is not None:
            answer = answers.get(method)
            if answer is not None:
                return answer
        return self.descend(method, path, host)

    def descend(self, method: str, path: str, host: str | None = None) -> tuple[T, dict[str, Any] | None]:
        """What ``match`` gives for a path that ``whole_paths`` has no answer for and whose raw path hides no slash."""
        # PERF(walk.last-of-200): the first way at each node, and never back; what this cannot answer is searched. One
        # loop without calls for the kinds of segment that are common, the most common ones first.
        node = self._root
        values: dict[Any, Any] = {}
        for part in path.split("/"):
            child = node.static.get(part)
            if child is not None:
                node = child
                continue
            kind = node.kind
            if kind == INT:
                if part.isdigit() and part.isascii():
                    try:
                        values[node.name] = int(part)
                    except ValueError:  # More digits than int() takes.
                        break
                    node = node.child
                    continue
            elif kind == STRING:
                if part:
                    values[node.name] = part
                    node = node.child
                    continue
            elif kind == CONVERT:
                value = node.convert(part)
                if value is not NO_MATCH:
                    values[node.name] = value
                    node = node.child
                    continue
            elif kind == SEVERAL:
                for convert, name, following in node.options:
                    value = convert(part)
                    if value is not NO_MATCH:
                        values[name] = value
                        node = following
                        break
                else:
                    break
                continue
            elif kind == TAIL:
                target = node.child.plain.get(method)
                if part and target is not None:
                    values[node.name] = path.split("/", node.depth)[-1]
                    return target, values
            elif kind == MOUNT:
                return node.mounted
            break
        else:
            target = node.plain.get(method)
            if target is not None:
                return target, values
            renamed = node.renamed.get(method)
            if renamed is not None:
                target, names = renamed
                for old, new in names:
                    values[new] = values.pop(old)
                return target, values
            if node.end is not None:
                return self._search(method, path, None, host)
        if node.sealed and "//" not in path:
            return node.miss
        return self._search(method, path, None, host)

    def match_websocket(self, path: str, raw_path: bytes | None, host: str | None) -> tuple[T, dict[str, Any] | None]:
        """The target for a websocket, with its values; a miss is always ``not_found``.

        Raises: as ``match``.
        """
        parts, _ = split_path(path, raw_path)
        for tree, host_values in self._find_trees(host, 1):
            values = [*host_values]
            entry = find(tree.root, parts, WEBSOCKET, values, [])
            if entry is not None:
                return entry.target, entry.name_values(values)
        if is_absolute(parts):
            raise AbsoluteTarget
        return self._get_miss("not_found", self._find_owner(parts, host))

    def _search(
        self, method: str, path: str, raw_path: bytes | None, host: str | None
    ) -> tuple[T, dict[str, Any] | None]:
        """What ``match`` does, without its shortcuts."""
        parts, is_utf8 = split_path(path, raw_path)
        if not is_utf8:
            return self._get_miss("bad_path", self._find_owner(parts, host))
        trees = self._find_trees(host, 0)
        lacking: list[Leaf[T]] = []
        for tree, host_values in trees:
            values = [*host_values]
            entry = find(tree.root, parts, method, values, lacking)
            if entry is not None:
                if entry.redirect:
                    return self._get_miss("add_slash", self._find_owner(parts, host))
                return entry.target, entry.name_values(values)
        merged = merge_slashes(parts)
        owner = self._find_owner(merged, host)
        if len(merged) < len(parts):
            for tree, _ in trees:
                if find(tree.root, merged, method, [], lacking) is not None:
                    return self._get_miss("merge_slashes", owner)
        if not lacking:
            if is_absolute(parts):
                raise AbsoluteTarget
            return self._get_miss("not_found", owner)
        kind: MissKind = "options" if method == "OPTIONS" else "method_not_allowed"
        return self._get_miss(kind, owner, allow_of(lacking))

    def _find_trees(self, host: str | None, index: int) -> list[tuple[Tree[T, Owner], tuple[Any, ...]]]:
        """The trees to search for a host, the most specific first, with the values that the host gives."""
        trees: list[tuple[Tree[T, Owner], tuple[Any, ...]]] = []
        if self.uses_hosts and host is not None:
            exact = self._exact_hosts.get(host)
            if exact is not None:
                trees.append((exact[index], ()))
            for pattern, *pair in self._wildcard_hosts.values():
                values = pattern.match(host)
                if values is not None:
                    trees.append((pair[index], values))
        trees.append((self._websocket if index else self._http, ()))
        return trees

    def _find_owner(self, parts: list[str], host: str | None) -> Owner:
        best = (0, self._owner)
        if self._owners:
            for tree, _ in self._find_trees(host, 0):  # The owners of what websockets miss are there too.
                found = find_owner(tree.root, parts)
                if found is not None and found[0] > best[0]:
                    best = found
        return best[1]


def shape_of(rule: Rule[T, Owner], position: int | None = None, item: str = "") -> Hashable:
    """Equal for rules that match the same paths; the segment at ``position`` is replaced, if one is given."""
    keys = [segment.key for segment in rule.pattern.segments]
    if position is not None:
        keys[position] = (item,)
    slash = rule.pattern.trailing_slash and rule.kind != "mount"
    return (rule.kind, None if rule.host is None else rule.host.key, tuple(keys), slash)


def allow_of(leaves: list[Leaf[T]]) -> tuple[str, ...]:
    return tuple(sorted({"OPTIONS"}.union(*(leaf.methods for leaf in leaves))))
