"""The route tree: the rules of one host as a tree of path segments.

A node for every place between two slashes, an edge for every segment with variables in it. ``Tree.add``
takes rules in any order, ``Tree.finish`` sorts and precomputes, ``find`` searches. ``RouteTable`` is the
only user of this file; what it answers, which hosts it has and what a miss is are decided there, and its
``match`` takes a faster walk over the same nodes for the ordinary request.

While it grows, a node has ``static``, ``edges``, ``tails``, ``mount``, ``owners`` and the rules that end at
it. Its other attributes are made by ``finish``; no node changes after it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Generic, Literal, TypeVar

from microweb.converters import NO_MATCH, Convert, IntConverter, StringConverter
from microweb.patterns import HostPattern, Pattern, Segment, Tail

__all__ = [
    "CONVERT",
    "INT",
    "MOUNT",
    "SEVERAL",
    "STRING",
    "TAIL",
    "WEBSOCKET",
    "Leaf",
    "Rule",
    "Tree",
    "find",
    "find_owner",
]

T = TypeVar("T")
Owner = TypeVar("Owner")

WEBSOCKET = "websocket"
"""The one method of a websocket route, in trees of their own, where no HTTP method is looked up."""


class Rule(Generic[T, Owner]):
    """One entry of the table, as it was added; ``methods`` is None for a websocket route and a mount."""

    __slots__ = ("defaults", "host", "kind", "methods", "owner", "pattern", "place", "strict_slashes", "target")

    def __init__(
        self,
        kind: Literal["http", "websocket", "mount"],
        pattern: Pattern,
        target: T,
        methods: frozenset[str] | None,
        owner: Owner,
        place: str,
        host: HostPattern | None,
        strict_slashes: bool,
        defaults: Mapping[str, Any] | None,
    ) -> None:
        self.kind: Literal["http", "websocket", "mount"] = kind
        self.pattern = pattern
        self.target = target
        self.methods = methods
        self.owner = owner
        self.place = place
        self.host = host
        self.strict_slashes = strict_slashes
        self.defaults = defaults


class Entry(Generic[T]):
    """A rule's answer to a method: its target, or the redirect to it."""

    __slots__ = ("defaults", "names", "redirect", "target")

    def __init__(self, rule: Rule[T, Any], *, redirect: bool = False) -> None:
        self.target = rule.target
        self.names = (*(rule.host.variables if rule.host is not None else ()), *rule.pattern.variables)
        self.defaults = rule.defaults or None
        self.redirect = redirect

    def name_values(self, values: list[Any]) -> dict[str, Any] | None:
        """A dict of the values and the defaults, None if there are none."""
        if len(values) == 1:
            named = {self.names[0]: values[0]}
        else:
            named = dict(zip(self.names, values, strict=True))
        if self.defaults is not None:
            named.update(self.defaults)
        return named or None


class Leaf(Generic[T]):
    """The end of a path: an entry for each method."""

    __slots__ = ("methods",)

    def __init__(self, methods: dict[str, Entry[T]]) -> None:
        self.methods = methods

    def choose(self, method: str, lacking: list[Leaf[T]]) -> Entry[T] | None:
        """The entry of a method; without one the leaf is put on the list."""
        entry = self.methods.get(method)
        if entry is None:
            lacking.append(self)
        return entry


NOTHING, INT, STRING, CONVERT, SEVERAL, TAIL, MOUNT, OTHER = range(8)
"""What the fast walk does at a node with a segment that is no literal there; OTHER is left to ``find``."""


def never(text: str) -> Any:
    return NO_MATCH


class Node(Generic[T, Owner]):
    """A place in the tree, reached by ``depth`` segments."""

    __slots__ = (
        "child",
        "convert",
        "depth",
        "edges",
        "end",
        "exact",
        "kind",
        "miss",
        "mount",
        "mounted",
        "name",
        "narrow",
        "options",
        "owners",
        "plain",
        "renamed",
        "sealed",
        "slashed",
        "static",
        "tails",
    )

    miss: tuple[T, None]
    mounted: tuple[T, None]

    def __init__(self, depth: int) -> None:
        self.depth = depth
        self.static: dict[str, Node[T, Owner]] = {}
        self.edges: list[Edge[T, Owner]] = []
        self.tails: list[TailEdge[T]] = []
        self.mount: Entry[T] | None = None
        self.owners: list[Owner] = []
        # Rules that end here, and rules that end one slash later.
        self.exact: list[Rule[T, Owner]] = []
        self.slashed: list[Rule[T, Owner]] = []

        self.end: Leaf[T] | None = None
        # The targets of ``end`` that need the values as the fast walk names them, or some under other names.
        self.plain: dict[str, T] = {}
        self.renamed: dict[str, tuple[T, tuple[tuple[Any, str], ...]]] = {}
        # The fast walk's next step: the name of the value, the node after it, how to get it.
        self.kind = NOTHING
        self.name: Any = None
        self.child: Node[T, Owner] = self
        self.convert: Convert = never
        self.options: tuple[tuple[Convert, Any, Node[T, Owner]], ...] = ()
        # Of many edges, those that may fit a text.
        self.narrow: Callable[[str], list[Edge[T, Owner]]] | None = None
        # Whether nothing is left to try when the fast walk ends here: then ``miss`` is the answer.
        self.sealed = False


class Edge(Generic[T, Owner]):
    """The way from a node to the next one through a segment with variables."""

    __slots__ = ("child", "convert", "names", "segment", "single")

    def __init__(self, segment: Segment, depth: int) -> None:
        self.segment = segment
        self.convert = segment.convert
        self.single = segment.is_single
        self.child: Node[T, Owner] = Node(depth)
        self.names: set[str] = set()

    @property
    def name(self) -> Any:
        """What the fast walk calls the value: the name in all rules, or where they differ none of them."""
        return next(iter(self.names)) if len(self.names) == 1 else self.child.depth


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


# Growing -----------------------------------------------------------------------------------------


class Tree(Generic[T, Owner]):
    """The rules of one host (or of all hosts), either for HTTP or for websockets.

    ``static`` is a shortcut past the tree: the answers of whole paths without variables.
    """

    __slots__ = ("root", "static")

    def __init__(self) -> None:
        self.root: Node[T, Owner] = Node(0)
        # A path begins with an empty segment, before its first slash.
        self.root.static[""] = Node(1)
        self.static: dict[str, dict[str, tuple[T, None]]] = {}

    def descend(self, pattern: Pattern) -> Node[T, Owner]:
        """The node where a pattern's fixed segments end, made if it is not there."""
        node = self.root.static[""]
        for segment in pattern.fixed:
            if segment.literal is not None:
                if segment.literal not in node.static:
                    node.static[segment.literal] = Node(node.depth + 1)
                node = node.static[segment.literal]
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

    def add(self, rule: Rule[T, Owner]) -> None:
        """Add a rule, which must not be there yet."""
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

    def finish(self, owner: Owner, get_miss: GetMiss[Owner, T]) -> None:
        """Turn what was added into what matching needs.

        ``get_miss`` gives the answer to a path under an owner: where nothing is there, and where the leaf
        has not the method.
        """
        finish_node(self, self.root, owner, get_miss, "", (), sealed=True)


GetMiss = Callable[[Owner, Leaf[T] | None], tuple[T, None]]


def finish_node(
    tree: Tree[T, Owner],
    node: Node[T, Owner],
    owner: Owner,
    get_miss: GetMiss[Owner, T],
    path: str | None,
    names: tuple[Any, ...],
    *,
    sealed: bool,
) -> None:
    """Finish a node and those under it.

    ``path`` is the path to it, None with variables on the way; ``names`` are those that the fast walk gives
    them, if it comes here; ``sealed`` says that no node on the way has more to try.
    """
    owner = node.owners[0] if node.owners else owner
    node.edges.sort(key=lambda edge: edge.segment.order)
    if sum(isinstance(edge.segment.parts[0], str) for edge in node.edges) > MANY_EDGES:
        node.narrow = make_narrow(node.edges)
    node.tails.sort(key=lambda edge: edge.tail.order)
    slash_end = make_leaf(node.slashed, node.exact)
    if slash_end is not None:
        node.static[""] = Node(node.depth + 1)
        node.static[""].end = slash_end
    if node.end is None:
        node.end = make_leaf(node.exact, node.slashed, redirect=True)
    if path == "":
        node.end = slash_end  # An empty path is "/" (RFC 9110 §4.2.3).
    if node.end is not None:
        get_miss(owner, node.end)
        finish_names(node, node.end, names)
        if path is not None and node.plain:
            tree.static[path] = {method: (target, None) for method, target in node.plain.items()}
    for tail in node.tails:
        finish_tail(tail, owner, get_miss)
    choose_step(node, names)
    node.miss = get_miss(owner, None)
    sealed = sealed and not node.tails and node.mount is None
    node.sealed = sealed and node.kind != OTHER
    for literal, child in node.static.items():
        child_path = None if path is None else f"{path}/{literal}" if node.depth else literal
        finish_node(tree, child, owner, get_miss, child_path, names, sealed=sealed and not node.edges)
    for edge in node.edges:
        is_last = edge is node.edges[-1]
        finish_node(tree, edge.child, owner, get_miss, None, (*names, edge.name), sealed=sealed and is_last)


MANY_EDGES = 4
"""Up to so many edges are tried one by one, which is as fast as looking for those that may fit."""


def make_narrow(edges: list[Edge[T, Owner]]) -> Callable[[str], list[Edge[T, Owner]]]:
    """A function that gives the edges whose text in front of their first variable begins a text, in their order.

    With it ``/users.<format>`` beside a thousand others costs what it costs alone.
    """
    places: dict[str, list[int]] = {}
    for place, edge in enumerate(edges):
        first = edge.segment.parts[0]
        places.setdefault(first if isinstance(first, str) else "", []).append(place)
    lengths = sorted({len(prefix) for prefix in places})

    def narrow(text: str) -> list[Edge[T, Owner]]:
        found: list[int] = []
        for length in lengths:
            if length > len(text):
                break
            found += places.get(text[:length], ())
        return [edges[place] for place in sorted(found)]

    return narrow


def finish_names(node: Node[T, Owner], leaf: Leaf[T], names: tuple[Any, ...]) -> None:
    for method, entry in leaf.methods.items():
        if entry.redirect or entry.defaults is not None or len(entry.names) != len(names):
            continue  # The last of these: a host has values too, and hosts are not for the fast walk.
        differing = tuple(pair for pair in zip(names, entry.names, strict=True) if pair[0] != pair[1])
        if differing:
            node.renamed[method] = (entry.target, differing)
        else:
            node.plain[method] = entry.target


def finish_tail(edge: TailEdge[T], owner: Owner, get_miss: GetMiss[Owner, T]) -> None:
    # Without strict_slashes a rule takes a slash more, but a path at its end takes that as its own.
    others = [] if edge.tail.ends_in_path else edge.exact
    edge.exact_leaf = make_leaf(edge.exact, [])
    edge.slashed_leaf = make_leaf(edge.slashed, others)
    edge.short_leaf = make_leaf([], edge.slashed, redirect=True)
    for leaf in (edge.exact_leaf, edge.slashed_leaf, edge.short_leaf):
        if leaf is not None:
            get_miss(owner, leaf)


def choose_step(node: Node[T, Owner], names: tuple[Any, ...]) -> None:
    """Decide what the fast walk does at a node."""
    if node.edges:
        node.kind = SEVERAL if all(edge.single for edge in node.edges) else OTHER
        node.options = tuple((edge.convert, edge.name, edge.child) for edge in node.edges)
        if node.kind == SEVERAL and len(node.edges) == 1:
            node.kind = CONVERT
            node.convert, node.name, node.child = node.options[0]
            converter = node.edges[0].segment.variables[0].converter
            if type(converter) is IntConverter and converter.is_plain:
                node.kind = INT
            elif type(converter) is StringConverter and converter.is_plain:
                node.kind = STRING
    elif node.tails:
        node.kind = OTHER
        tail = node.tails[0]
        # Only the most ordinary of them, /files/<path:name>.
        if len(node.tails) == 1 and tail.tail.is_whole_path and not tail.slashed:
            node.kind, node.name, node.child = TAIL, tail.exact[0].pattern.variables[-1], Node(node.depth)
            if tail.exact_leaf is not None:
                finish_names(node.child, tail.exact_leaf, (*names, node.name))
    elif node.mount is not None:
        node.kind = OTHER
        if not node.mount.names:
            node.kind = MOUNT
            node.mounted = (node.mount.target, None)


def make_leaf(rules: list[Rule[T, Any]], others: list[Rule[T, Any]], *, redirect: bool = False) -> Leaf[T] | None:
    """A leaf of the rules that end exactly here, and of those that would with one slash more or less.

    Of the others those without ``strict_slashes`` answer too, the strict ones at most with a redirect.
    """
    methods: dict[str, Entry[T]] = {}
    if redirect:
        strict = [rule for rule in others if rule.strict_slashes and rule.kind == "http"]
        methods.update(make_entries(strict, redirect=True))
    methods.update(make_entries([rule for rule in others if not rule.strict_slashes]))
    methods.update(make_entries(rules))
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


# Searching ---------------------------------------------------------------------------------------


def find(
    node: Node[T, Owner], parts: list[str], method: str, values: list[Any], lacking: list[Leaf[T]]
) -> Entry[T] | None:
    """The most specific entry under a node.

    ``values`` gets its values, ``lacking`` the leaves on the way that do not have the method.
    """
    # The recursion is as deep as the longest rule, whatever the path.
    depth = node.depth
    if depth == len(parts):
        entry = None if node.end is None else node.end.choose(method, lacking)
        return node.mount if entry is None else entry
    part = parts[depth]
    child = node.static.get(part)
    if child is not None:
        entry = find(child, parts, method, values, lacking)
        if entry is not None:
            return entry
    count = len(values)
    for edge in node.edges if node.narrow is None else node.narrow(part):
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
        if leaf is None:
            continue
        found = edge.tail.match(parts, start, end, before_slash=before_slash)
        if found is not NO_MATCH:
            entry = leaf.choose(method, lacking)
            if entry is not None:
                values.extend(found)
                return entry
    return None


def find_owner(node: Node[T, Owner], parts: list[str]) -> tuple[int, Owner] | None:
    """The deepest owner at or under a node on the way of a path, with its depth."""
    best = (node.depth, node.owners[0]) if node.owners else None
    if node.depth < len(parts):
        part = parts[node.depth]
        child = node.static.get(part)
        children = [] if child is None else [child]
        edges = node.edges if node.narrow is None else node.narrow(part)
        children += [edge.child for edge in edges if edge.convert(part) is not NO_MATCH]
        for child in children:
            found = find_owner(child, parts)
            if found is not None and (best is None or found[0] > best[0]):
                best = found
    return best
