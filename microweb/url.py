"""URLs and their parts: reading, building and percent-encoding them (RFC 3986; queries as browsers do).

Text in, text out: nothing here knows a request, a route or a trusted host; that a URL is well formed says
nothing about who may be sent there (``is_safe_redirect`` answers that for a target that came from outside).
The request reads its URL, its arguments and its ``Host`` header with this file; routing decodes segments with
it, ``url_for`` and redirects write with it.

The standard library's ``urllib.parse`` is the oracle of the tests and not the engine: it raises on odd
input, strips characters without a word, and takes as long to import as a tenth of our whole start.
"""

import re
from collections.abc import Collection, Iterable, Mapping
from types import EllipsisType
from typing import Any, SupportsIndex, overload

from microweb.errors import BadRequest
from microweb.grammar import Grammar
from microweb.multidict import MultiDict

__all__ = [
    "URL",
    "build_query",
    "is_safe_redirect",
    "location",
    "parse_host",
    "parse_pairs",
    "parse_query",
    "quote_path",
    "quote_segment",
    "unquote",
]

# Percent-encoding --------------------------------------------------------------------------------

UNRESERVED = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~"
SEGMENT = UNRESERVED + b"!$&'()*+,;=:@"
"""``pchar`` of RFC 3986 §3.3: what may stand in a path segment as it is."""
PATH = SEGMENT + b"/"
QUERY = SEGMENT + b"/?"
USER = UNRESERVED + b"!$&'()*+,;="
"""What a user name or a password keeps in front of a host."""
AUTHORITY = SEGMENT + b"[]"
PARAMETER = UNRESERVED + b"!$'()*,/:;?@"
"""What a name or value in a query keeps: no ``& = + #``, which mean something there."""

ESCAPES = [f"%{byte:02X}" for byte in range(256)]
BYTES_BY_HEX = {
    (high + low).encode(): bytes((int(high + low, 16),))
    for high in "0123456789abcdefABCDEF"
    for low in "0123456789abcdefABCDEF"
}
STRAY_PERCENT = r"%(?![0-9A-Fa-f]{2})"


def to_utf8(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        # A lone surrogate is no character: it becomes U+FFFD, as in every browser.
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace").encode()


def quote(text: str, safe: bytes) -> str:
    data = to_utf8(text)
    if not data.translate(None, safe):
        return text
    return "".join([chr(byte) if byte in safe else ESCAPES[byte] for byte in data])


def quote_again(text: str, safe: bytes) -> str:
    """Quote what is partly quoted already: an escape stays, a ``%`` that begins none is encoded."""
    quoted = quote(text, safe + b"%")
    return re.sub(STRAY_PERCENT, "%25", quoted) if "%" in quoted else quoted


def quote_path(path: str) -> str:
    """Percent-encode a decoded path, ``%`` included; its slashes stay.

    >>> quote_path("/a b/100%")
    '/a%20b/100%25'
    """
    return quote(path, PATH)


def quote_fragment(fragment: str) -> str:
    """Percent-encode a decoded fragment (RFC 3986 §3.5)."""
    return quote(fragment, QUERY)


def quote_segment(segment: str) -> str:
    """Percent-encode one decoded path segment; a slash in it becomes ``%2F``."""
    return quote(segment, SEGMENT)


def unquote(value: str | bytes) -> str:
    """Decode percent-escapes as UTF-8, once; bytes that are no UTF-8 become U+FFFD, a stray ``%`` stays."""
    if isinstance(value, str):
        if "%" not in value:
            return value
        value = to_utf8(value)
    elif b"%" not in value:
        return value.decode("utf-8", "replace")
    first, *rest = value.split(b"%")
    pieces = [first]
    for piece in rest:
        byte = BYTES_BY_HEX.get(piece[:2])
        if byte is None:
            pieces.append(b"%" + piece)
        else:
            pieces.append(byte + piece[2:])
    return b"".join(pieces).decode("utf-8", "replace")


# Query strings -----------------------------------------------------------------------------------

NO_ARGUMENTS: MultiDict[str] = MultiDict(kind="argument")


def parse_query(raw: bytes, *, max_parameters: int = 1000) -> MultiDict[str]:
    """Read a query string or an urlencoded form as browsers write them; never fails on odd bytes.

    Raises:
        BadRequest: more than ``max_parameters`` pairs; empty ones between two ``&`` count.
    """
    if not raw:
        return NO_ARGUMENTS
    if raw.count(b"&") >= max_parameters:
        raise BadRequest(f"The query has more than {max_parameters} parameters (MAX_QUERY_PARAMETERS).")
    return MultiDict(parse_pairs(raw), kind="argument")


def parse_pairs(raw: bytes) -> Iterable[tuple[str, str]]:
    """Read names and values as ``application/x-www-form-urlencoded`` writes them, in order of arrival.

    They are what ``urllib.parse.parse_qsl`` gives that keeps blank values; bytes that are no UTF-8 become U+FFFD.
    """
    text = raw.decode("utf-8", "replace")
    if "+" in text:
        text = text.replace("+", " ")
    fields = [field.partition("=") for field in text.split("&") if field]
    if "%" not in text:
        return [(name, value) for name, _, value in fields]
    if "\0" in text or "%00" in text:
        return [(unquote(name), unquote(value)) for name, _, value in fields]
    # PERF(bodies.form-urlencoded): all in one call, with a NUL for what stands between them. It is ASCII, so it ends a
    # sequence of UTF-8 as the end of the text would, and it is no digit of an escape.
    texts = unquote("\0".join([f"{name}\0{value}" for name, _, value in fields])).split("\0")
    return zip(texts[::2], texts[1::2], strict=True)


def build_query(values: Mapping[str, Any] | Iterable[tuple[str, Any]]) -> str:
    """Write a query string; ``parse_query`` reads it back.

    Lists, tuples and sets repeat their name, ``None`` is left out, everything else is written as
    ``str`` writes it. The order is kept.

    >>> build_query({"q": "a b", "tag": ["x", "y"], "page": None})
    'q=a+b&tag=x&tag=y'
    """
    pairs: Iterable[tuple[Any, Any]]
    if isinstance(values, MultiDict):
        pairs = values.items(multi=True)
    else:
        pairs = values.items() if isinstance(values, Mapping) else values
    fields: list[str] = []
    for name, value in pairs:
        for each in value if isinstance(value, list | tuple | set | frozenset) else (value,):
            if each is not None:
                fields.append(f"{quote_parameter(name)}={quote_parameter(each)}")
    return "&".join(fields)


def quote_parameter(value: Any) -> str:
    return quote(str(value), PARAMETER + b" ").replace(" ", "+")


# Hosts -------------------------------------------------------------------------------------------

# Labels are joined by dots that are no part of a label, so there is one way to match and no backtracking.
# Underscores are no host name (RFC 952), but the names of containers and test machines have them.
HOST_AND_PORT = Grammar(r"(?:([A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*)\.?|\[([0-9A-Fa-f:.]+)\])(?::([0-9]{0,5}))?")


def parse_host(value: str) -> tuple[str, int | None] | None:
    """Split a ``Host`` header into host and port; None when it is malformed.

    The host comes in lower case, an IPv6 address without its brackets, a name without a closing dot,
    so that it can be compared as it is. Only what a DNS name or an address is made of is taken: no
    user, no path, no escapes, no spaces, nothing beyond ASCII.

    >>> parse_host("Example.com:8000"), parse_host("[::1]"), parse_host("a/b")
    (('example.com', 8000), ('::1', None), None)
    """
    # SECURITY: test_url.py::test_a_host_with_anything_but_name_and_port_is_malformed
    if len(value) > 262:  # 253 for the longest DNS name, its dot, a colon, five digits; an address is shorter.
        return None
    match = HOST_AND_PORT.fullmatch(value)
    if match is None:
        return None
    name, address, digits = match.groups()
    port = int(digits) if digits else None
    if port is not None and not 0 < port <= 65535:
        return None
    if name is not None:
        return name.lower(), port
    return (address.lower(), port) if is_ipv6(address) else None


def is_ipv6(address: str) -> bool:
    import socket

    try:
        socket.inet_pton(socket.AF_INET6, address)
    except OSError:
        return False
    return True


def read_port(digits: str) -> int | None:
    """The port of a netloc, None when there is none or when it is no port."""
    if digits.isascii() and digits.isdigit() and len(digits) <= 5 and int(digits) <= 65535:
        return int(digits)
    return None


# Whole URLs --------------------------------------------------------------------------------------


def is_scheme(text: str) -> bool:
    """RFC 3986 §3.1: a letter, then letters, digits, ``+ - .``"""
    return text.isascii() and text[:1].isalpha() and text.replace("+", "").replace("-", "").replace(".", "").isalnum()


class Parts:
    """The five parts of RFC 3986 §3; None is a part that is missing, as opposed to an empty one."""

    __slots__ = ("fragment", "netloc", "path", "query", "scheme")

    def __init__(
        self, scheme: str | None, netloc: str | None, path: str, query: str | None, fragment: str | None
    ) -> None:
        self.scheme = scheme
        self.netloc = netloc
        self.path = path
        self.query = query
        self.fragment = fragment

    @classmethod
    def of(cls, url: str) -> "Parts":
        """Split any text at all."""
        rest, mark, after = url.partition("#")
        fragment = after if mark else None
        rest, mark, after = rest.partition("?")
        query = after if mark else None
        scheme = netloc = None
        before, mark, after = rest.partition(":")
        if mark and is_scheme(before):
            scheme, rest = before.lower(), after
        if rest.startswith("//"):
            netloc, slash, after = rest[2:].partition("/")
            rest = slash + after
        return cls(scheme, netloc, rest, query, fragment)

    def compose(self) -> str:
        """RFC 3986 §5.3, with care that a path is read again as the path it is."""
        path = self.path
        if self.netloc is not None:
            if path and not path.startswith("/"):
                path = "/" + path
        elif path.startswith("//"):
            # SECURITY: test_url.py::test_a_path_never_turns_into_a_host
            path = "/." + path
        elif self.scheme is None and ":" in path.partition("/")[0]:
            path = "./" + path
        return "".join(
            [
                f"{self.scheme}:" if self.scheme is not None else "",
                f"//{self.netloc}" if self.netloc is not None else "",
                path,
                f"?{self.query}" if self.query is not None else "",
                f"#{self.fragment}" if self.fragment is not None else "",
            ]
        )


class URL(str):
    """A URL as a ``str`` that knows its parts; any text can be one, and no part ever raises.

    Parts are as they stand in the URL, percent-encoded; a part that is missing is ``""``, and ``None``
    for ``username``, ``password`` and ``port`` (also for a port that is no number up to 65535).

    >>> url = URL("https://ann@Example.com:8443/list?page=2#end")
    >>> url.scheme, url.host, url.port, url.path, url.query
    ('https', 'example.com', 8443, '/list', 'page=2')
    >>> url.replace(username=None, port=None, query={"page": 3}, fragment=None)
    URL('https://Example.com/list?page=3')
    """

    __slots__ = ("_parts",)
    _parts: Parts

    @property
    def parts(self) -> Parts:
        """The five parts, split once."""
        try:
            return self._parts
        except AttributeError:
            self._parts = Parts.of(self)
            return self._parts

    @property
    def scheme(self) -> str:
        """The scheme in lower case."""
        return self.parts.scheme or ""

    @property
    def netloc(self) -> str:
        """User, host and port as they stand there."""
        return self.parts.netloc or ""

    @property
    def path(self) -> str:
        """The path, percent-encoded."""
        return self.parts.path

    @property
    def query(self) -> str:
        """The query without its question mark, percent-encoded."""
        return self.parts.query or ""

    @property
    def fragment(self) -> str:
        """The fragment without its hash sign, percent-encoded."""
        return self.parts.fragment or ""

    @property
    def username(self) -> str | None:
        """The user before the host, percent-encoded."""
        return self._split_netloc()[0]

    @property
    def password(self) -> str | None:
        """The password before the host, percent-encoded."""
        return self._split_netloc()[1]

    @property
    def host(self) -> str:
        """The host in lower case, an IPv6 address without its brackets."""
        return self._split_netloc()[2].lower()

    @property
    def port(self) -> int | None:
        """The port, if one is written down."""
        return read_port(self._split_netloc()[3])

    def _split_netloc(self) -> tuple[str | None, str | None, str, str]:
        userinfo, at, rest = self.netloc.rpartition("@")
        username, colon, password = userinfo.partition(":")
        if rest.startswith("["):
            host, _, rest = rest[1:].partition("]")
            port = rest.partition(":")[2]
        else:
            host, _, port = rest.partition(":")
        return username if at else None, password if colon else None, host, port

    @overload
    def replace(self, old: str, new: str, count: SupportsIndex = -1, /) -> str: ...
    @overload
    def replace(
        self,
        *,
        scheme: str | EllipsisType | None = ...,
        netloc: str | EllipsisType | None = ...,
        username: str | EllipsisType | None = ...,
        password: str | EllipsisType | None = ...,
        host: str | EllipsisType = ...,
        port: int | EllipsisType | None = ...,
        path: str | EllipsisType = ...,
        query: str | Mapping[str, Any] | Iterable[tuple[str, Any]] | EllipsisType | None = ...,
        fragment: str | EllipsisType | None = ...,
    ) -> "URL": ...
    def replace(
        self,
        *text: Any,
        scheme: str | EllipsisType | None = ...,
        netloc: str | EllipsisType | None = ...,
        username: str | EllipsisType | None = ...,
        password: str | EllipsisType | None = ...,
        host: str | EllipsisType = ...,
        port: int | EllipsisType | None = ...,
        path: str | EllipsisType = ...,
        query: str | Mapping[str, Any] | Iterable[tuple[str, Any]] | EllipsisType | None = ...,
        fragment: str | EllipsisType | None = ...,
    ) -> str:
        """A URL with other parts: ``None`` takes one away, ``query`` may be values for ``build_query``.

        What cannot stand in a part is percent-encoded, escapes that are there already stay. The new path
        stays a path and the new query a query, whatever they hold. With positional arguments this is the
        ``replace`` of every ``str``.

        Raises:
            ValueError: the scheme, host or port is not one, or ``netloc`` comes together with its own parts.
        """
        if text:
            return str.replace(self, *text)
        old = self.parts
        new = Parts(old.scheme, old.netloc, old.path, old.query, old.fragment)
        if scheme is not ...:
            if scheme and not is_scheme(scheme):
                raise ValueError(f"{scheme!r} is no scheme of a URL")
            new.scheme = scheme.lower() if scheme else None
        if (username, password, host, port) != (..., ..., ..., ...):
            if netloc is not ...:
                raise ValueError("give either netloc or username, password, host and port")
            netloc = self._write_netloc(username, password, host, port)
        if netloc is not ...:
            new.netloc = None if netloc is None else quote_again(netloc, AUTHORITY)
        if path is not ...:
            new.path = quote_again(path, PATH)
        if isinstance(query, str):
            new.query = quote_again(query, QUERY)
        elif query is not ...:
            new.query = None if query is None else build_query(query)
        if fragment is not ...:
            new.fragment = None if fragment is None else quote_again(fragment, QUERY)
        return URL(new.compose())

    def _write_netloc(
        self,
        username: str | EllipsisType | None,
        password: str | EllipsisType | None,
        host: str | EllipsisType,
        port: int | EllipsisType | None,
    ) -> str | None:
        old_username, old_password, old_host, digits = self._split_netloc()
        written = old_host
        if host is not ...:
            written = host if host.isascii() else write_idna(host)
            written = written.removeprefix("[").removesuffix("]")
        if ":" in written:
            written = f"[{written}]"
        if host is not ... and parse_host(written) is None:
            raise ValueError(f"{host!r} is no host")
        if port is not ...:
            if port is not None and not 0 <= port <= 65535:
                raise ValueError(f"a port is a number up to 65535, not {port!r}")
            digits = "" if port is None else str(port)
        user = old_username if username is ... else username
        secret = old_password if password is ... else password
        if not written:
            if digits or user is not None or secret is not None:
                raise ValueError("a user or a port needs a host")
            return None
        if digits:
            written = f"{written}:{digits}"
        if user is None and secret is None:
            return written
        user = quote_again(user or "", USER)
        return f"{user}@{written}" if secret is None else f"{user}:{quote_again(secret, USER)}@{written}"

    # A str is an iterable of strings too, so pyright finds an order of overloads that str.join does not have;
    # whoever passes a list still gets what every str gives.
    @overload
    def join(self, reference: str, /) -> "URL": ...
    @overload
    def join(self, reference: Iterable[str], /) -> str: ...
    def join(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, reference: Iterable[str], /
    ) -> str:
        """Resolve a reference against this URL, as a browser does with a link on its page (RFC 3986 §5.2).

        With a list or another iterable of strings this is the ``join`` of every ``str``.
        """
        if not isinstance(reference, str):
            return str.join(self, reference)
        base, link = self.parts, Parts.of(reference)
        if link.scheme is None:
            link.scheme = base.scheme
            if link.netloc is None:
                link.netloc = base.netloc
                if not link.path:
                    link.path = base.path
                    if link.query is None:
                        link.query = base.query
                    return URL(link.compose())
                if not link.path.startswith("/"):
                    folder, slash, _ = base.path.rpartition("/")
                    if base.netloc is not None:
                        slash = "/"  # also where the base has no path at all
                    link.path = folder + slash + link.path
        link.path = remove_dot_segments(link.path)
        return URL(link.compose())

    def __repr__(self) -> str:
        return f"URL({str(self)!r})"


def remove_dot_segments(path: str) -> str:
    """RFC 3986 §5.2.4, on whole segments; ``..`` does not climb out of the root."""
    kept: list[str] = []
    segments = path.split("/")
    for segment in segments:
        if segment == "..":
            if kept and kept != [""]:
                kept.pop()
        elif segment != ".":
            kept.append(segment)
    if segments[-1] in (".", ".."):
        kept.append("")
    return "/".join(kept)


# Redirects ---------------------------------------------------------------------------------------


def location(value: str) -> str:
    """Write a URL or IRI as it may stand in a ``Location`` header: in ASCII, and read by everybody alike.

    A host beyond ASCII is written in IDNA, everything else that cannot stand in a URI percent-encoded,
    the backslash included, which browsers take for a slash. Escapes that are there already stay.

    >>> location("/caf\u00e9?q=a b"), location("/\\\\evil.example")
    ('/caf%C3%A9?q=a%20b', '/%5Cevil.example')

    Raises:
        ValueError: it holds a control character (which could end the header), or a host that is none in IDNA.
    """
    # SECURITY: test_url.py::test_a_location_refuses_control_characters
    if value and (min(value) < " " or "\x7f" in value):
        raise ValueError(f"a Location header cannot hold control characters: {value!r}")
    parts = Parts.of(value)
    if parts.netloc is not None:
        userinfo, at, host = parts.netloc.rpartition("@")
        if not host.isascii():
            host = write_idna(host)
        parts.netloc = quote_again(userinfo + at + host, AUTHORITY)
    parts.path = quote_again(parts.path, PATH)
    if parts.query is not None:
        parts.query = quote_again(parts.query, QUERY)
    if parts.fragment is not None:
        parts.fragment = quote_again(parts.fragment, QUERY)
    return parts.compose()


def write_idna(host: str) -> str:
    # The limit of parse_host: the codec of the standard library is not linear (CVE-2022-45061).
    if len(host) > 262:
        raise ValueError("the host of a URL is too long")
    name, colon, port = host.partition(":")
    try:
        return name.encode("idna").decode("ascii") + colon + port
    except UnicodeError:
        raise ValueError(f"{name!r} is no host name") from None


def is_safe_redirect(target: str, hosts: Collection[str] = ()) -> bool:
    """Say whether a browser sent to ``target`` stays on this site, or on one of ``hosts``.

    For targets that came with the request (``?next=``). Safe is a path, a query or a fragment, and
    an ``http`` or ``https`` URL to one of ``hosts``, each written as in a ``Host`` header. Not safe is
    whatever a browser could read in another way: a backslash, a control character, a space at an end.

    >>> [is_safe_redirect(target) for target in ("/cart?item=3", "//evil.example", "javascript:alert(1)")]
    [True, False, False]
    """
    # SECURITY: test_url.py::test_a_target_that_leaves_the_site_is_not_safe
    if not target or target != target.strip() or "\\" in target or min(target) < " " or "\x7f" in target:
        return False
    parts = Parts.of(target)
    if parts.netloc is None:
        return parts.scheme is None and not parts.path.partition("/")[0].count(":")
    if parts.scheme not in (None, "http", "https"):
        return False
    host = parse_host(parts.netloc)
    return host is not None and host in [parse_host(known) for known in hosts]
