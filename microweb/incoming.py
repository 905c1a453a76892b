"""What came in: the scope of a request or a websocket, decoded when it is looked at.

``Incoming`` holds everything that an HTTP request in coroutine code, the same request in a thread,
and a websocket have in common. It never waits for anything; bodies and messages belong to its
subclasses in ``requests.py`` and ``websockets.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, MutableMapping
from typing import TYPE_CHECKING, Any

from microweb.absences import OF_A_REQUEST, without
from microweb.asgi import Receive, Scope
from microweb.context import Globals
from microweb.cookies import parse_cookies
from microweb.errors import BadRequest
from microweb.headers import RequestHeaders
from microweb.hosts import parse_host
from microweb.mediatype import parse_media_type
from microweb.multidict import MultiDict
from microweb.querystring import parse_query
from microweb.quoting import PATH, quote_again, quote_path, quote_query, quote_raw_path, raw_is_other, unquote

if TYPE_CHECKING:
    from microweb.app import App
    from microweb.limits import Limits
    from microweb.registrations import Route
    from microweb.sessions import Session
    from microweb.url import URL
    from microweb.workers import Worker

__all__ = ["Authorization", "Incoming", "below_root"]

DEFAULT_PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443}


class Authorization:
    """The credentials of an ``Authorization`` header (RFC 9110 §11.6.2).

    ``type`` is the scheme in lower case; ``username`` and ``password`` are set for "basic" (RFC 7617),
    ``token`` for "bearer" (RFC 6750) and every other scheme.

    >>> found = Authorization.parse("Basic YWRhOmxvdmVsYWNl")
    >>> (found.type, found.username, found.password)
    ('basic', 'ada', 'lovelace')
    """

    __slots__ = ("password", "token", "type", "username")

    def __init__(
        self, type: str, *, username: str | None = None, password: str | None = None, token: str | None = None
    ) -> None:
        self.type = type
        self.username = username
        self.password = password
        self.token = token

    @classmethod
    def parse(cls, header: str) -> Authorization | None:
        """The credentials in ``header``, or None when they are malformed."""
        scheme, _, rest = header.strip().partition(" ")
        scheme, rest = scheme.lower(), rest.strip()
        if not rest:
            return None
        if scheme != "basic":
            return cls(scheme, token=rest)
        from base64 import b64decode

        try:
            username, colon, password = b64decode(rest, validate=True).decode().partition(":")
        except ValueError:
            return None
        return cls(scheme, username=username, password=password) if colon else None

    def __repr__(self) -> str:
        # The secret stays out of logs and error pages.
        return f"<Authorization {self.type}{f' {self.username!r}' if self.username else ''}>"


class Notes:
    """What the walk remembers of a request that needs more than an answer."""

    __slots__ = ("answered", "closers", "finishers", "save", "unhandled")

    def __init__(self) -> None:
        self.finishers: list[Callable[..., Any]] = []
        """Called with the response, last before it is sent."""
        self.save: Callable[..., Any] | None = None
        """Called so after all of them, for they may change what is saved."""
        self.closers: list[Callable[[], Coroutine[Any, Any, None]]] = []
        """Awaited after the last byte, last registered first."""
        self.answered: tuple[tuple[BaseException, Any], ...] = ()
        """The exceptions that became responses, and those."""
        self.unhandled: BaseException | None = None
        """The unhandled error, for the teardown hooks."""


@without(OF_A_REQUEST, may_be_set=True)
class Incoming:
    """A scope and what belongs to it; see ``Request``, ``SyncRequest`` and ``WebSocket``."""

    # Class-level defaults stand for "not looked at yet": an instance sets only what it needs, so making
    # one costs eight assignments. PERF(walk.plaintext)
    _headers: RequestHeaders | None = None
    _args: MultiDict[str] | None = None
    _cookies: MultiDict[str] | None = None
    _url: URL | None = None
    _g: Globals | None = None
    _state: MutableMapping[str, Any] | None = None
    _session: Session | None = None
    _stored_session: Session | None = None
    """What the walk loaded from the store, for the first touch to find."""
    _worker: Worker | None = None
    _id: str | None = None
    _flashes: list[tuple[str, str]] | None = None
    parent: Incoming | None = None
    """What came in for the app that this one's app is mounted in."""
    bubbles = False
    """Whether unhandled errors go to the app that this one's app is mounted in (``mount(errors="bubble")``)."""

    def __init__(
        self, app: App, scope: Scope, receive: Receive, target: Any = None, values: dict[str, Any] | None = None
    ) -> None:
        self.app = app
        self.scope = scope
        self._receive = receive
        self._target = target
        self._view_args = values
        # PERF(walk.plaintext): what the walk reads or sets each time is set here first; a class-level default is slower
        # to read, and a first assignment after __init__ costs as much as ten in it.
        self._notes: Notes | None = None
        self._started = False
        self.closed = False
        """Whether teardown has ended: the proxies refuse it from then on."""

    @property
    def notes(self) -> Notes:
        """What the walk must still do for this one; made at first use."""
        if self._notes is None:
            self._notes = Notes()
        return self._notes

    @property
    def limits(self) -> Limits:
        """The limits that hold for it: those of its route, else of the app's config."""
        target = self._target
        limits: Limits = self.app.limits if target is None else target.limits or self.app.limits
        return limits

    # What was asked for ------------------------------------------------------------------------

    @property
    def scheme(self) -> str:
        """``"http"`` or ``"https"``."""
        scheme: str = self.scope.get("scheme", "http")
        return scheme

    @property
    def is_secure(self) -> bool:
        """Whether it came over TLS, as far as the server (or a trusted proxy) says."""
        return self.scheme == "https"

    @property
    def http_version(self) -> str:
        """``"1.0"``, ``"1.1"``, ``"2"`` or ``"3"``."""
        version: str = self.scope.get("http_version", "1.1")
        return version

    @property
    def path(self) -> str:
        """The path below ``root_path``, percent-decoded, always with a leading slash.

        It is what the router matched: guards that look at it see the same path.
        """
        return self.local_path()[0]

    def local_path(self) -> tuple[str, bytes | None]:
        """The path below ``root_path``, decoded, and its raw bytes if the server gave them."""
        scope = self.scope
        root: str = scope.get("root_path", "")
        if root:
            return below_root(root, scope["path"], scope.get("raw_path"))
        return scope["path"] or "/", scope.get("raw_path")

    @property
    def root_path(self) -> str:
        """Where the app is mounted: a path without a trailing slash, or ``""``."""
        root: str = self.scope.get("root_path", "")
        return root.rstrip("/")

    def quoted_root(self) -> str:
        """``root_path`` as it stands in URLs: percent-encoded, a slash too that is part of a mount's variable."""
        path: str = self.scope["path"]
        root, raw_path = self.scope.get("root_path"), self.scope.get("raw_path")
        if root and raw_path is not None and (end := find_root_end(root, path)) is not None:
            raw_end = find_raw_end(path[:end], raw_path)
            if raw_end is not None:
                return quote_again(quote_raw_path(raw_path[:raw_end]), PATH).rstrip("/")
        return quote_path(self.root_path)

    @property
    def query_string(self) -> bytes:
        """What follows the ``?``, undecoded."""
        # A websocket's may be missing or None.
        query: bytes = self.scope.get("query_string") or b""
        return query

    @property
    def host(self) -> str:
        """Host and port as the client named them; without a Host header, or with an empty one, the server's address.

        Raises:
            BadRequest: the Host header is malformed (RFC 9110 §7.2).
        """
        header = self.headers.getlist("host")
        # One that names nobody may be empty (RFC 9110 §7.2), and granian makes it so when there is none.
        if not header or header == [""]:
            server = self.scope.get("server")
            if not server:
                return "localhost"
            name, port = server
            if ":" in name:
                name = f"[{name}]"
            if parse_host(name) is None:
                return "localhost"  # It is the path of a unix socket.
            return f"{name}:{port}" if port and port != DEFAULT_PORTS.get(self.scheme) else str(name)
        if len(header) > 1 or parse_host(header[0]) is None:
            raise BadRequest("The Host header is malformed.")
        return header[0]

    @property
    def url(self) -> URL:
        """The whole URL as the client sees it.

        Raises:
            BadRequest: the Host header is malformed.
        """
        if self._url is None:
            from microweb.url import URL

            query = quote_query(self.query_string)
            path = quote_whole_path(self.root_path, self.scope["path"], self.scope.get("raw_path"))
            if not path.startswith("/"):
                # SECURITY: test_no_path_leads_to_another_host: h11 lets through a target that begins with an @.
                path = "/" + path
            self._url = URL(f"{self.scheme}://{self.host}{path}{'?' + query if query else ''}")
        return self._url

    @property
    def base_url(self) -> URL:
        """The URL without its query."""
        return self.url.replace(query=None)

    @property
    def full_path(self) -> str:
        """The path, decoded, and the query: ``"/books?page=2"``, and ``"/books?"`` without a query."""
        return f"{self.path}?{self.query_string.decode('latin-1')}"

    @property
    def host_url(self) -> URL:
        """Scheme and host with a slash: ``"https://example.org/"``."""
        from microweb.url import URL

        return URL(f"{self.scheme}://{self.host}/")

    @property
    def url_root(self) -> URL:
        """The URL that the app is served under, with a slash at its end."""
        from microweb.url import URL

        return URL(f"{self.scheme}://{self.host}{self.quoted_root()}/")

    @property
    def args(self) -> MultiDict[str]:
        """The query parameters.

        Raises:
            BadRequest: there are more than ``MAX_QUERY_PARAMETERS``.
        """
        if self._args is None:
            self._args = parse_query(self.query_string, max_parameters=self.limits.max_query_parameters)
        return self._args

    @property
    def headers(self) -> RequestHeaders:
        """The headers; read them with ``get`` in any case.

        Raises:
            RequestHeaderFieldsTooLarge: at first look, if one line or all of them are too long.
        """
        if self._headers is None:
            limits = self.limits
            self._headers = RequestHeaders(
                self.scope["headers"], max_line=limits.max_header_size, max_total=limits.max_headers_size
            )
        return self._headers

    @property
    def cookies(self) -> MultiDict[str]:
        """The cookies by name."""
        if self._cookies is None:
            self._cookies = parse_cookies(self.headers.get("cookie", ""))
        return self._cookies

    @property
    def authorization(self) -> Authorization | None:
        """The credentials sent along, or None if there are none or they are malformed."""
        header = self.headers.get("authorization")
        return Authorization.parse(header) if header else None

    @property
    def content_type(self) -> str | None:
        """The Content-Type header as sent."""
        return self.headers.get("content-type")

    @property
    def mimetype(self) -> str:
        """The media type without its parameters, lower case; ``""`` if none was sent."""
        return parse_media_type(self.headers.get("content-type", ""))[0]

    @property
    def content_length(self) -> int | None:
        """The declared length of the body in bytes, or None."""
        declared = self.headers.get("content-length", "")
        return int(declared) if declared.isascii() and declared.isdigit() and len(declared) < 17 else None

    @property
    def user_agent(self) -> str:
        """The User-Agent header, or ``""``."""
        return self.headers.get("user-agent", "")

    @property
    def referrer(self) -> str | None:
        """The Referer header."""
        return self.headers.get("referer")

    @property
    def client(self) -> tuple[str, int] | None:
        """Address and port of the peer, or None on a unix socket."""
        client = self.scope.get("client")
        return (client[0], client[1]) if client else None

    @property
    def remote_addr(self) -> str | None:
        """The peer's address. Behind a proxy it is the proxy's, unless ``ProxyHeaders`` trusts it."""
        client = self.scope.get("client")
        return client[0] if client else None

    @property
    def id(self) -> str:
        """A name for this request, for logs; the ``RequestID`` middleware sets it from a header."""
        if self._id is None:
            from secrets import token_hex

            # In a mounted app it is the request that the app around it knows by this name.
            self._id = token_hex(16) if self.parent is None else self.parent.id
        return self._id

    @id.setter
    def id(self, value: str) -> None:
        self._id = value

    # Where it arrived --------------------------------------------------------------------------

    @property
    def route(self) -> Route | None:
        """The route that matched; None on a miss (404, 405, redirect, automatic OPTIONS)."""
        return self._target.route if self._target is not None else None

    @property
    def endpoint(self) -> str | None:
        """The dotted name of the view that matched, or None on a miss."""
        return self._target.endpoint if self._target is not None else None

    @property
    def blueprint(self) -> str | None:
        """The dotted name of the router whose view matched, or None for the app's own."""
        endpoint = self.endpoint
        return endpoint.rpartition(".")[0] or None if endpoint else None

    @property
    def view_args(self) -> dict[str, Any]:
        """The path variables by name, converted; a ``url_value_preprocessor`` may change them."""
        if self._view_args is None:
            self._view_args = {}
        return self._view_args

    @property
    def state(self) -> MutableMapping[str, Any]:
        """This request's copy of what the lifespans put into the server's state (``scope["state"]``)."""
        state = self._state
        if state is None:
            state = self._state = self.scope.setdefault("state", {})
            # Without lifespan events nothing of ours is in it: there is no server's copy, or it is that of the
            # framework's app that this one is mounted in.
            for key, value in self.app.lifespan_state.items():
                state.setdefault(key, value)
        return state

    @property
    def g(self) -> Globals:
        """This request's own namespace."""
        if self._g is None:
            self._g = Globals()
        return self._g

    @property
    def session(self) -> Session:
        """The client's session, loaded at first touch.

        Raises:
            SetupError: no secret key is set.
            RuntimeError: it is first touched after the answer has started.
        """
        if self._session is None:
            self._session = self.app.sessions.open(self)
        return self._session

    # Afterwards --------------------------------------------------------------------------------

    def after_response(self, function: Callable[..., Any], *args: Any) -> None:
        """Run ``function(*args)`` when the answer is out, in the app's task group, guarded and logged.

        Raises:
            TypeError: ``function`` cannot be called.
        """
        from microweb.backgroundtasks import check_task

        check_task(function)
        app = self.app

        async def start() -> None:
            app.add_background_task(function, *args)

        # The last is closed first: so these begin when all else is closed, in the order in which they came.
        self.notes.closers.insert(0, start)

    def on_close(self, close: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Await ``close()`` after the last byte, before teardown; last registered runs first."""
        self.notes.closers.append(close)

    def on_finish(self, finish: Callable[..., Any]) -> None:
        """Call ``finish(response)`` last before sending, awaited if it gives an awaitable."""
        self.notes.finishers.append(finish)

    @property
    def worker(self) -> Worker:
        """The thread that runs the ``def`` callables of this request."""
        if self._worker is None:
            self._worker = self.parent.worker if self.parent is not None else self.app.workers.pick()
        return self._worker

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.scope.get('method', self.scope['type'])} {self.path}>"


def below_root(root: str, path: str, raw_path: bytes | None) -> tuple[str, bytes | None]:
    """The path below ``root``, for servers that put the root into the path (ASGI) and for those that do not."""
    end = find_root_end(root, path)
    if end is None:
        return path or "/", raw_path
    if raw_path is not None:
        raw_end = find_raw_end(path[:end], raw_path)
        raw_path = None if raw_end is None else raw_path[raw_end:] or b"/"
    return path[end:] or "/", raw_path


def find_root_end(root: str, path: str) -> int | None:
    """Where the root ends in a path; None if the path does not begin with it."""
    # A server may have put the two together as they are: "/" and "/a" are "//a".
    root = root if path.startswith(f"{root}/") else root.rstrip("/")
    end = len(root)
    return end if path.startswith(root) and path[end : end + 1] in ("", "/") else None


def find_raw_end(root: str, raw_path: bytes) -> int | None:
    """Where the decoded root ends in a raw path; None if this is the raw path of another one."""
    quoted = quote_path(root).encode("ascii")
    if raw_path.startswith(quoted):
        return len(quoted)
    # It may be escaped in another way than ours, and hold an escaped slash where an app is mounted below a variable.
    first, *segments = raw_path.partition(b"?")[0].split(b"/")
    position = end = 0
    for segment in segments if not first else ():
        text = f"/{unquote(segment)}"
        if not root.startswith(text, position):
            break
        position, end = position + len(text), end + 1 + len(segment)
        if position == len(root):
            return end
    return None


def quote_whole_path(root: str, path: str, raw_path: bytes | None) -> str:
    """The path of a URL, escaped, with the root that a server may leave out of ``path`` (see ``below_root``)."""
    whole = path
    if root and path[:1] in ("", "/") and not f"{path}/".startswith(f"{root}/"):
        whole = root + path
    if raw_path:
        # Some servers leave the query on the raw path.
        # SECURITY: test_the_url_has_the_path_that_the_router_saw: h11 leaves a # in it, httptools raw UTF-8.
        quoted = quote_raw_path(raw_path.partition(b"?")[0])
        if not raw_is_other(whole, raw_path):
            return quoted
        if not raw_is_other(path, raw_path):
            return quote_path(root) + quoted
    # SECURITY: test_the_url_follows_a_path_that_was_rewritten_on_the_way: the router does, and so must a guard.
    return quote_path(whole)
