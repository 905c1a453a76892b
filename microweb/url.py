"""URLs and their parts: reading any text as one, changing parts, resolving references (RFC 3986).

Text in, text out: nothing here knows a request, a route or a trusted host; that a URL is well formed says
nothing about who may be sent there (``redirects.py`` answers that). The request reads its URL with this file.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import EllipsisType
from typing import Any, SupportsIndex, overload

from microweb.hosts import parse_host, write_idna
from microweb.querystring import build_query
from microweb.quoting import AUTHORITY, PATH, QUERY, USER, quote_again

__all__ = ["URL", "Parts", "is_scheme"]


def is_scheme(text: str) -> bool:
    """RFC 3986 §3.1: a letter, then letters, digits, ``+ - .``"""
    return text.isascii() and text[:1].isalpha() and text.replace("+", "").replace("-", "").replace(".", "").isalnum()


def read_port(digits: str) -> int | None:
    """The port of a netloc, None when there is none or when it is no port."""
    if digits.isascii() and digits.isdigit() and len(digits) <= 5 and int(digits) <= 65535:
        return int(digits)
    return None


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
    def of(cls, url: str) -> Parts:
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
            # As plain text: a part that is the whole URL would be this object, and it a cycle.
            self._parts = Parts.of(str(self))
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
    ) -> URL: ...
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
            given: object = host
            if not isinstance(given, str):
                raise ValueError(f"{host!r} is no host")
            written = host if host.isascii() else write_idna(host)
            written = written.removeprefix("[").removesuffix("]")
        if ":" in written:
            written = f"[{written}]"
        if host is not ... and parse_host(written) is None:
            raise ValueError(f"{host!r} is no host")
        if port is not ...:
            if port is not None and not (type(port) is int and 0 <= port <= 65535):
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
    def join(self, reference: str, /) -> URL: ...
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
