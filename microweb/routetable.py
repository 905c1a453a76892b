"""The route table: which target answers a method and a path.

A tree of path segments, built once by ``freeze``. The most specific rule wins whatever the order in which
rules were added: at each segment from the left a literal, then a mixture, then converters by weight,
then a path that spans segments, then a mount; when the way taken leads nowhere, the next one is tried.
What the table answers is always a target: a miss (404, 405, a redirect) has targets too, made by the
``miss`` function given to ``freeze``.

The table does not look into targets and owners, knows no scope and no request, and builds no URLs. The app
fills it when it starts and asks it once per request.
"""

from collections.abc import Callable, Hashable, Iterator, Mapping
from typing import Any, Generic, Literal, NamedTuple, TypeVar

from microweb.errors import FrozenError, SetupError
from microweb.patterns import (
    NO_MATCH,
    AnyConverter,
    Convert,
    HostPattern,
    IntConverter,
    Pattern,
    Segment,
    StringConverter,
    Tail,
)
from microweb.url import PATH, quote_again, quote_path, unquote

__all__ = ["Miss", "MissKind", "RouteTable", "Rule", "split_mount"]

T = TypeVar("T")
O = TypeVar("O")  # noqa: E741 - owner, as T is target

MissKind = Literal[
    "not_found",  # 404
    "method_not_allowed",  # 405 with ``allow``
    "options",  # OPTIONS on a path whose routes leave it to us: an empty answer with ``allow``
    "add_slash",  # 308 to the path with a slash at its end
    "merge_slashes",  # 308 to the path with one slash where it has several
    "bad_path",  # 400: the escapes in the path are no UTF-8
]


class Miss(NamedTuple, Generic[O]):
    """What to answer where no route does; ``owner`` is the one whose prefix is the deepest on the path.

    ``allow`` holds the methods that the path does answer to, sorted; it is empty unless the kind is
    ``method_not_allowed`` or ``options``.
    """

    kind: MissKind
    owner: O
    allow: tuple[str, ...] = ()

    def location(self, path: str, raw_path: bytes | None) -> str:
        """The path that a redirect goes to, percent-encoded, for the path that missed; never ``//host``."""
        if raw_path is None or raw_is_other(path, raw_path):
            target = quote_path(path)
        else:
            target = quote_again(raw_path.partition(b"?")[0].decode("latin-1"), PATH)
        if self.kind == "add_slash":
            target += "/"
        else:
            target = "/".join(merge_slashes(target.split("/")))
        # SECURITY: test_routetable.py::test_a_redirect_never_leads_to_another_host
        return "/" + target.lstrip("/")


class Rule(NamedTuple, Generic[T, O]):
    """One entry of the table, as it was added. ``methods`` is None for a websocket route and for a mount."""

    kind: Literal["http", "websocket", "mount"]
    pattern: Pattern
    target: T
    methods: frozenset[str] | None
    owner: O
    place: str
    host: HostPattern | None
    strict_slashes: bool
    defaults: Mapping[str, Any] | None


WEBSOCKET = "websocket"
"""The one method of a websocket route, in a tree of their own: no HTTP method gets there."""


class Entry(Generic[T]):
    """A rule's answer at a leaf: its target, or the redirect to it."""

    __slots__ = ("defaults", "names", "redirect", "target")

    def __init__(self, rule: Rule[T, Any], *, redirect: bool = False) -> None:
        self.target = rule.target
        self.names = (*(rule.host.variables if rule.host is not None else ()), *rule.pattern.variables)
        self.defaults = rule.defaults or None
        self.redirect = redirect

    def name_values(self, values: list[Any]) -> dict[str, Any] | None:
        if self.defaults is not None:
            return {**dict(zip(self.names, values, strict=True)), **self.defaults}
        return dict(zip(self.names, values, strict=True)) if values else None


class Leaf(Generic[T]):
    """What stands at the end of a path: an entry for each method."""

    __slots__ = ("methods",)

    def __init__(self, methods: dict[str, Entry[T]]) -> None:
        self.methods = methods

    def choose(self, method: str, lacking: "list[Leaf[T]]") -> Entry[T] | None:
        entry = self.methods.get(method)
        if entry is None:
            lacking.append(self)
        return entry


# What the fast walk does at a node for a segment that is no literal there. OTHER is left to the full search.
NOTHING, INT, STRING, CONVERT, PATH_TAIL, MOUNT, OTHER = range(7)


class Node(Generic[T, O]):
    """A place in the tree, reached by ``depth`` segments."""

    __slots__ = (
        "child",
        "convert",
        "depth",
        "edges",
        "ends",
        "exact",
        "kind",
        "miss",
        "mount",
        "mounted",
        "name",
        "owners",
        "plain",
        "renamed",
        "sealed",
        "slashed",
        "static",
        "tails",
    )

    def __init__(self, depth: int) -> None:
        self.depth = depth
        self.static: dict[str, Node[T, O]] = {}
        self.edges: list[Edge[T, O]] = []
        self.tails: list[TailEdge[T]] = []
        self.mount: Entry[T] | None = None
        self.owners: list[O] = []
        # The rules that end here, without and with a slash behind.
        self.exact: list[Rule[T, O]] = []
        self.slashed: list[Rule[T, O]] = []
        # The rest is made by ``finish``: the end of a path here,
        self.ends: Leaf[T] | None = None
        # its targets that need no more than the values as the fast walk names them, or their own names,
        self.plain: dict[str, T] = {}
        self.renamed: dict[str, tuple[T, tuple[str, ...]]] = {}
        # what the fast walk does here,
        self.kind = NOTHING
        self.name: Any = None
        self.child: Node[T, O] = self
        self.convert: Convert | None = None
        self.mounted: tuple[T, None] | None = None
        # and whether nothing else is left to try when it ends here; ``miss`` is then the answer.
        self.sealed = False
        self.miss: tuple[T, None] | None = None


class Edge(Generic[T, O]):
    """The way from a node to the next one through a segment with variables."""

    __slots__ = ("child", "convert", "names", "segment", "single")

    def __init__(self, segment: Segment, depth: int) -> None:
        self.segment = segment
        self.convert = segment.convert
        self.single = segment.is_single
        self.child: Node[T, O] = Node(depth)
        self.names: set[str] = set()


class TailEdge(Generic[T]):
    """The way from a node to the end of a path that spans segments."""

    __slots__ = ("exact", "exact_leaf", "short_leaf", "slashed", "slashed_leaf", "tail")

    def __init__(self, tail: Tail) -> None:
        self.tail = tail
        self.exact: list[Rule[T, Any]] = []
        self.slashed: list[Rule[T, Any]] = []
        self.exact_leaf: Leaf[T] | None = None
        self.slashed_leaf: Leaf[T] | None = None
        # For the rules with a slash at their end, when the path lacks it.
        self.short_leaf: Leaf[T] | None = None


# Searching ---------------------------------------------------------------------------------------


def find(
    node: Node[T, O], parts: list[str], method: str, values: list[Any], lacking: list[Leaf[T]]
) -> Entry[T] | None:
    """Search everything under a node; ``values`` gets the values, ``lacking`` the leaves without the method."""
    # The recursion is as deep as the longest rule, whatever the path.
    depth = node.depth
    if depth == len(parts):
        entry = None if node.ends is None else node.ends.choose(method, lacking)
        return node.mount if entry is None else entry
    part = parts[depth]
    child = node.static.get(part)
    if child is not None:
        entry = find(child, parts, method, values, lacking)
        if entry is not None:
            return entry
    count = len(values)
    for edge in node.edges:
        value = edge.convert(part)
        if value is NO_MATCH:
            continue
        if edge.single:
            values.append(value)
        else:
            values.extend(value)
        entry = find(edge.child, parts, method, values, lacking)
        if entry is not None:
            return entry
        del values[count:]
    for tail in node.tails:
        entry = find_tail(tail, parts, depth, method, values, lacking)
        if entry is not None:
            return entry
    return node.mount


def find_tail(
    edge: TailEdge[T], parts: list[str], start: int, method: str, values: list[Any], lacking: list[Leaf[T]]
) -> Entry[T] | None:
    stop = len(parts)
    slashed_leaf = edge.slashed_leaf if parts[-1] == "" else None
    for leaf, end, before_slash in (
        (slashed_leaf, stop - 1, True),
        (edge.exact_leaf, stop, False),
        (edge.short_leaf, stop, True),
    ):
        if leaf is not None:
            found = edge.tail.match(parts, start, end, before_slash=before_slash)
            if found is not NO_MATCH:
                entry = leaf.choose(method, lacking)
                if entry is not None:
                    values.extend(found)
                    return entry
    return None


def find_owner(node: Node[T, O], parts: list[str]) -> tuple[int, O] | None:
    """The deepest owner at or under a node on the way of a path, with its depth."""
    best = (node.depth, node.owners[0]) if node.owners else None
    if node.depth < len(parts):
        part = parts[node.depth]
        child = node.static.get(part)
        children = [] if child is None else [child]
        children += [edge.child for edge in node.edges if edge.convert(part) is not NO_MATCH]
        for child in children:
            found = find_owner(child, parts)
            if found is not None and (best is None or found[0] > best[0]):
                best = found
    return best


# Building ----------------------------------------------------------------------------------------


class Tree(Generic[T, O]):
    """The rules of one host (or of all hosts), either for HTTP or for websockets."""

    __slots__ = ("root", "static")

    def __init__(self) -> None:
        # The first segment of a path is the empty text before its first slash.
        self.root: Node[T, O] = Node(0)
        self.root.static[""] = Node(1)
        self.static: dict[str, dict[str, tuple[T, None]]] = {}

    def descend(self, pattern: Pattern) -> Node[T, O]:
        """The node where the pattern's fixed segments end, made if it is not there."""
        node = self.root.static[""]
        for segment in pattern.fixed:
            if segment.literal is not None:
                node = node.static.setdefault(segment.literal, Node(node.depth + 1))
                continue
            for edge in node.edges:
                if edge.segment.key == segment.key:
                    break
            else:
                edge = Edge(segment, node.depth + 1)
                node.edges.append(edge)
            edge.names.update(variable.name for variable in segment.variables)
            node = edge.child
        return node

    def add(self, rule: Rule[T, O]) -> None:
        node = self.descend(rule.pattern)
        if rule.kind == "mount":
            node.mount = Entry(rule)
        elif rule.pattern.tail is None:
            (node.slashed if rule.pattern.trailing_slash else node.exact).append(rule)
        else:
            for edge in node.tails:
                if edge.tail.key == rule.pattern.tail.key:
                    break
            else:
                edge = TailEdge(rule.pattern.tail)
                node.tails.append(edge)
            (edge.slashed if rule.pattern.trailing_slash else edge.exact).append(rule)

    def finish(self, owner: O, get_miss: "Callable[[MissKind, O, Leaf[T] | None], tuple[T, None]]") -> None:
        """Turn what was added into what matching needs."""
        finish_node(self, self.root, owner, get_miss, "", (), sealed=True)


def finish_node(
    tree: Tree[T, O],
    node: Node[T, O],
    owner: O,
    get_miss: "Callable[[MissKind, O, Leaf[T] | None], tuple[T, None]]",
    path: str | None,
    names: tuple[Any, ...] | None,
    *,
    sealed: bool,
) -> None:
    """Finish a node and those under it.

    ``path`` is the path to it, None when variables are on the way; ``names`` are those that the fast walk gives
    these variables, None when it does not come here; ``sealed`` says that no node on the way has
    something to try after this one.
    """
    if node.owners:
        owner = node.owners[0]
    node.edges.sort(key=lambda edge: edge.segment.order)
    node.tails.sort(key=lambda edge: edge.tail.order)
    if node.ends is None:
        node.ends = make_leaf(node.exact, node.slashed, redirect=True)
    slashed = make_leaf(node.slashed, node.exact, redirect=False)
    if slashed is not None:
        end = node.static[""] = Node(node.depth + 1)
        end.ends = slashed
        if path == "" and node.depth == 1:
            node.ends = slashed  # An empty path is "/" (RFC 9110 §4.2.3).
    if node.ends is not None:
        get_miss("method_not_allowed", owner, node.ends)
        for method, entry in node.ends.methods.items():
            if entry.redirect or entry.defaults is not None or names is None:
                continue
            if entry.names == names:
                node.plain[method] = entry.target
            else:
                node.renamed[method] = (entry.target, entry.names)
        if path is not None and node.plain:
            tree.static[path] = {method: (target, None) for method, target in node.plain.items()}
    for tail in node.tails:
        # A path that may end with a slash takes it; only a literal behind it can lack one.
        others = [] if tail.tail.ends_in_path else tail.exact
        tail.exact_leaf = make_leaf(tail.exact, [], redirect=False)
        tail.slashed_leaf = make_leaf(tail.slashed, others, redirect=False)
        tail.short_leaf = make_leaf([], tail.slashed, redirect=True)
        for leaf in (tail.exact_leaf, tail.slashed_leaf, tail.short_leaf):
            if leaf is not None:
                get_miss("method_not_allowed", owner, leaf)
    choose_kind(node)
    node.miss = get_miss("not_found", owner, None)
    node.sealed = sealed and not node.tails and node.mount is None and node.kind != OTHER
    sealed = sealed and not node.tails and node.mount is None
    for literal, child in node.static.items():
        child_path = None if path is None else f"{path}/{literal}" if node.depth else literal
        finish_node(tree, child, owner, get_miss, child_path, names, sealed=sealed and not node.edges)
    for position, edge in enumerate(node.edges, 1):
        child_names = None
        if node.kind in (INT, STRING, CONVERT) and names is not None:
            # Rules that call the variable by different names share a name that is none of theirs.
            node.name = next(iter(edge.names)) if len(edge.names) == 1 else node.depth
            child_names = (*names, node.name)
        last = position == len(node.edges)
        finish_node(tree, edge.child, owner, get_miss, None, child_names, sealed=sealed and last)


def choose_kind(node: Node[T, O]) -> None:
    """Find out whether the fast walk can go on from a node, and how."""
    if len(node.edges) == 1 and node.edges[0].single:
        edge = node.edges[0]
        converter = edge.segment.variables[0].converter
        node.child, node.convert = edge.child, edge.convert
        if type(converter) is IntConverter and converter.is_plain:
            node.kind = INT
        elif type(converter) is StringConverter and converter.is_plain:
            node.kind = STRING
        else:
            node.kind = CONVERT
    elif node.edges or node.tails:
        node.kind = OTHER
    elif node.mount is not None:
        node.kind = OTHER
        if not node.mount.names:
            node.kind = MOUNT
            node.mounted = (node.mount.target, None)


def make_leaf(rules: list[Rule[T, Any]], others: list[Rule[T, Any]], *, redirect: bool) -> Leaf[T] | None:
    """A leaf of the rules that end exactly here, and of those that would with one slash more or less.

    With ``redirect`` the strict ones among the others answer with a redirect, else not at all.
    """
    methods = make_entries([rule for rule in others if not rule.strict_slashes])
    methods.update(make_entries(rules))
    if redirect:
        strict = [rule for rule in others if rule.strict_slashes and rule.kind == "http"]
        methods = {**make_entries(strict, redirect=True), **methods}
    return Leaf(methods) if methods else None


def make_entries(rules: list[Rule[T, Any]], *, redirect: bool = False) -> dict[str, Entry[T]]:
    found: dict[str, Entry[T]] = {}
    for rule in rules:
        entry = Entry(rule, redirect=redirect)
        for method in rule.methods or (WEBSOCKET,):
            found[method] = entry
    if "GET" in found:
        found.setdefault("HEAD", found["GET"])
    return found


# Paths -------------------------------------------------------------------------------------------


def merge_slashes(parts: list[str]) -> list[str]:
    """The segments of a path without the empty ones between two slashes."""
    last = len(parts) - 1
    return [part for index, part in enumerate(parts) if part or index in (0, last)]


def raw_is_other(path: str, raw_path: bytes) -> bool:
    """Whether the raw path belongs to another path: something outside has rewritten only one of the two."""
    return unquote(raw_path.partition(b"?")[0]) != path


def split_path(path: str, raw_path: bytes | None) -> tuple[list[str], bool]:
    """The decoded segments of a path, and whether their escapes are UTF-8; an escaped slash stays in its segment."""
    if raw_path is None or b"%" not in raw_path or raw_is_other(path, raw_path):
        return path.split("/"), True
    raw_path = raw_path.partition(b"?")[0]
    # Bytes that are no UTF-8 became U+FFFD, which may also be there by itself.
    replaced = path.count("\ufffd") - raw_path.upper().count(b"%EF%BF%BD")
    return [unquote(segment) for segment in raw_path.split(b"/")], not replaced


def split_mount(segments: int, path: str, raw_path: bytes | None) -> tuple[str, str, bytes | None]:
    """Cut a path behind its first ``segments`` segments: the mount's own path, the rest, and the rest of the raw path.

    >>> split_mount(1, "/api/users/1", b"/api/users/1")
    ('/api', '/users/1', b'/users/1')
    """
    raw_parts = None if raw_path is None else raw_path.split(b"/", segments + 1)
    raw_rest = None
    if raw_parts is not None:
        raw_rest = b"/" + raw_parts.pop() if len(raw_parts) > segments + 1 else b""
        if raw_path is not None and 37 in raw_path and not raw_is_other(path, raw_path):
            mount = unquote(b"/".join(raw_parts))
            return mount, path[len(mount) :], raw_rest
    parts = path.split("/", segments + 1)
    rest = "/" + parts.pop() if len(parts) > segments + 1 else ""
    return "/".join(parts), rest, raw_rest


class RouteTable(Generic[T, O]):
    """All rules of an app, and the answer to each method and path.

    ``add`` and its companions take rules in any order, ``freeze`` ends that and builds the tree; from then
    on ``match`` gives ``(target, values)`` for whatever comes in. ``values`` is a fresh dict, or None when the rule
    has neither variables nor defaults. A target can be anything but None.

    >>> from microweb.patterns import parse_pattern
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
        "_static",
        "_websocket",
        "_wildcard_hosts",
        "rules",
        "uses_hosts",
    )

    def __init__(self, owner: O) -> None:
        self.rules: list[Rule[T, O]] = []
        """Everything that was added, in that order."""
        self.uses_hosts = False
        """Whether the host matters; known when the table is frozen."""
        self._owner = owner
        self._owners: list[tuple[Pattern, O, HostPattern | None]] = []
        self._shapes: dict[Hashable, list[Rule[T, O]]] = {}
        self._http: Tree[T, O] = Tree()
        self._websocket: Tree[T, O] = Tree()
        self._exact_hosts: dict[str, tuple[Tree[T, O], Tree[T, O]]] = {}
        self._wildcard_hosts: dict[Hashable, tuple[HostPattern, Tree[T, O], Tree[T, O]]] = {}
        self._make_miss: Callable[[Miss[O]], T] | None = None
        self._misses: dict[tuple[MissKind, int, tuple[str, ...]], tuple[T, None]] = {}
        self._root = self._http.root
        self._static = self._http.static

    # Filling it ----------------------------------------------------------------------------------

    def add(
        self,
        pattern: Pattern,
        target: T,
        *,
        methods: frozenset[str] | None,
        owner: O,
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
        self, pattern: Pattern, target: T, *, owner: O, place: str, host: HostPattern | None = None
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

    def add_owner(self, pattern: Pattern, owner: O, *, host: HostPattern | None = None) -> None:
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

    def _register(self, rule: Rule[T, O]) -> None:
        self._check_open()
        for name in rule.host.variables if rule.host is not None else ():
            if name in rule.pattern.variables:
                raise SetupError(
                    f"The rule {rule.pattern.rule!r} ({rule.place}) and its host have both a variable {name!r}."
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

    def freeze(self, miss: Callable[[Miss[O]], T]) -> None:
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
            for tree in self._trees_of(host):
                tree.descend(pattern).owners.append(owner)
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

    def _trees_of(self, host: HostPattern | None) -> tuple[Tree[T, O], Tree[T, O]]:
        if host is None:
            return self._http, self._websocket
        if host.is_static:
            return self._exact_hosts.setdefault(host.build({}), (Tree(), Tree()))
        return self._wildcard_hosts.setdefault(host.key, (host, Tree(), Tree()))[1:]

    def _check_reachable(self, rule: Rule[T, O]) -> None:
        """Refuse a rule that lists with ``any`` nothing but what other rules, which go first, spell out."""
        for position, segment in enumerate(rule.pattern.segments):
            if not segment.is_single or not isinstance(segment.variables[0].converter, AnyConverter):
                continue
            covering: list[Rule[T, O]] = []
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
                    f"The rule {rule.pattern.rule!r} ({rule.place}) can never match: what it lists is matched by "
                    + ", ".join(f"{other.pattern.rule!r} ({other.place})" for other in covering)
                    + "."
                )

    def _get_miss(self, kind: MissKind, owner: O, allow: tuple[str, ...] = ()) -> tuple[T, None]:
        key = (kind, id(owner), allow)
        found = self._misses.get(key)
        if found is None:
            assert self._make_miss is not None
            found = self._misses[key] = (self._make_miss(Miss(kind, owner, allow)), None)
        return found

    def _get_leaf_miss(self, kind: MissKind, owner: O, leaf: Leaf[T] | None) -> tuple[T, None]:
        if leaf is None or WEBSOCKET in leaf.methods:
            return self._get_miss("not_found", owner)
        allow = allow_of([leaf])
        if "OPTIONS" not in leaf.methods:
            self._get_miss("options", owner, allow)
        return self._get_miss(kind, owner, allow)

    # Asking it -----------------------------------------------------------------------------------

    def match(
        self, method: str, path: str, raw_path: bytes | None, host: str | None
    ) -> tuple[T, dict[str, Any] | None]:
        """The target for a request, with its values.

        ``path`` is the decoded path below the mount, ``raw_path`` what the client sent for it, ``host`` the host in
        lower case without its port. The raw path counts where it keeps a slash inside a segment, unless it
        belongs to another path.
        """
        if self.uses_hosts or (
            raw_path is not None
            and 37 in raw_path
            and (b"%2F" in raw_path or b"%2f" in raw_path or "\ufffd" in path)
        ):
            return self._search(method, path, raw_path, host)
        answers = self._static.get(path)
        if answers is not None:
            answer = answers.get(method)
            if answer is not None:
                return answer
        # The fast walk takes the first way at each node and never turns back; what it cannot answer is searched.
        node = self._root
        values: dict[str, Any] = {}
        for part in path.split("/"):
            child = node.static.get(part)
            if child is not None:
                node = child
                continue
            kind = node.kind
            if kind == INT:
                # int() alone would also take "+1", " 1", "1_000" and other scripts' digits.
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
                assert node.convert is not None
                value = node.convert(part)
                if value is not NO_MATCH:
                    values[node.name] = value
                    node = node.child
                    continue
            elif kind == MOUNT and node.mounted is not None:
                return node.mounted
            break
        else:
            target = node.plain.get(method)
            if target is not None:
                return target, values
            renamed = node.renamed.get(method)
            if renamed is not None:
                return renamed[0], dict(zip(renamed[1], values.values(), strict=True))
            if node.ends is not None:
                return self._search(method, path, None, host)
        if node.sealed and node.miss is not None and "//" not in path:
            return node.miss
        return self._search(method, path, None, host)

    def match_websocket(
        self, path: str, raw_path: bytes | None, host: str | None
    ) -> tuple[T, dict[str, Any] | None]:
        """The target for a websocket, with its values; a miss is always ``not_found``."""
        parts, _ = split_path(path, raw_path)
        for tree, host_values in self._candidates(host, 1):
            values = list(host_values)
            entry = find(tree.root, parts, WEBSOCKET, values, [])
            if entry is not None:
                return entry.target, entry.name_values(values)
        return self._get_miss("not_found", self._find_owner(parts, host, 1))

    def _search(
        self, method: str, path: str, raw_path: bytes | None, host: str | None
    ) -> tuple[T, dict[str, Any] | None]:
        """All of ``match``, without the fast walk."""
        parts, is_utf8 = split_path(path, raw_path)
        if not is_utf8:
            return self._get_miss("bad_path", self._find_owner(parts, host, 0))
        trees = list(self._candidates(host, 0))
        lacking: list[Leaf[T]] = []
        for tree, host_values in trees:
            values = list(host_values)
            entry = find(tree.root, parts, method, values, lacking)
            if entry is not None:
                if entry.redirect:
                    return self._get_miss("add_slash", self._find_owner(parts, host, 0))
                return entry.target, entry.name_values(values)
        merged = merge_slashes(parts)
        owner = self._find_owner(merged, host, 0)
        if len(merged) < len(parts):
            for tree, _ in trees:
                if find(tree.root, merged, method, [], lacking) is not None:
                    return self._get_miss("merge_slashes", owner)
        if not lacking:
            return self._get_miss("not_found", owner)
        return self._get_miss(
            "options" if method == "OPTIONS" else "method_not_allowed", owner, allow_of(lacking)
        )

    def _candidates(self, host: str | None, index: int) -> "Iterator[tuple[Tree[T, O], tuple[Any, ...]]]":
        """The trees to search for a host, the most specific first, with the values that the host gives."""
        if self.uses_hosts and host is not None:
            exact = self._exact_hosts.get(host)
            if exact is not None:
                yield exact[index], ()
            for pattern, *pair in self._wildcard_hosts.values():
                values = pattern.match(host)
                if values is not None:
                    yield pair[index], values
        yield (self._http, self._websocket)[index], ()

    def _find_owner(self, parts: list[str], host: str | None, index: int) -> O:
        best = (0, self._owner)
        if self._owners:
            for tree, _ in self._candidates(host, index):
                found = find_owner(tree.root, parts)
                if found is not None and found[0] > best[0]:
                    best = found
        return best[1]


def shape_of(rule: Rule[T, O], position: int | None = None, item: str = "") -> Hashable:
    """Equal for rules that match the same requests but for their methods; with a segment replaced, if asked for."""
    keys = [segment.key for segment in rule.pattern.segments]
    if position is not None:
        keys[position] = (item,)
    slash = rule.pattern.trailing_slash and rule.kind != "mount"
    return (rule.kind, None if rule.host is None else rule.host.key, tuple(keys), slash)


def allow_of(leaves: list[Leaf[T]]) -> tuple[str, ...]:
    return tuple(sorted({"OPTIONS"}.union(*(leaf.methods for leaf in leaves))))
