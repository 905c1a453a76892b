"""What keys of the config the framework has, and the figures that the app reads.

``KEYS`` is the table: a name, the value it has when nobody sets it, and a kind (``configkinds``) that says in words
what may stand there and checks it. ``Limits`` is what the app makes of a config when its handlers are composed:
checked once, typed, so that no request looks into a dict or meets a wrong type. Nothing is obeyed here; what
every key does is explained in ``docs/howto/configuration.md``. The app makes its ``Limits``; who obeys a figure asks
those of the request or of the app.
"""

from __future__ import annotations

import types
from collections.abc import Mapping
from typing import Any, Self

from microweb.configkinds import (
    Kind,
    is_cookie_path,
    is_host,
    is_origin,
    is_token,
    names,
    read_lifetime,
    read_max_age,
    read_secret,
    read_secrets,
    seconds,
    switch,
    text,
    whole_number,
)
from microweb.cookierefusals import cookie_conflicts
from microweb.errors import SetupError
from microweb.redaction import shown

__all__ = ["DEFAULTS", "Limits"]

# Name: (default, what it may hold). Flask's names keep Flask's meaning; where the default is another one, the
# line says why. Each figure names who else uses it.

SETTINGS: dict[str, tuple[Any, Kind]] = {
    "DEBUG": (False, switch),
    "BROWSER_REFRESH": (True, switch),
    "DEBUG_PIN": (
        None,
        text("six characters or more", lambda value: len(value) >= 6).or_none("drawn at random by each process"),
    ),
    "TESTING": (False, switch),
    "PROPAGATE_EXCEPTIONS": (None, switch.or_none("as the test client says")),
    # Signing and the session cookie
    "SECRET_KEY": (None, Kind("a string or bytes", read_secret).or_none("nothing can be signed")),
    "SECRET_KEY_FALLBACKS": (
        None,
        Kind("a list of strings or bytes, none empty", read_secrets).or_none("no older keys"),
    ),
    "SESSION_COOKIE_NAME": ("session", text("a cookie name (letters, digits, - and _)", is_token)),
    "SESSION_COOKIE_DOMAIN": (None, text("a host", is_host).or_none("this host only")),
    "SESSION_COOKIE_PATH": (
        None,
        text("a path that begins with /", is_cookie_path).or_none("APPLICATION_ROOT"),
    ),
    "SESSION_COOKIE_HTTPONLY": (True, switch),
    # Flask's False sends the cookie in the clear from an https site whose owner forgot the key.
    "SESSION_COOKIE_SECURE": (None, switch.or_none("on https requests, and where another key needs it")),
    # Flask's None leaves cross-site requests to the browser's own rule, which differs between browsers.
    "SESSION_COOKIE_SAMESITE": (
        "Lax",
        text("'Lax', 'Strict' or 'None'", lambda value: value.lower() in ("lax", "strict", "none")).or_none(
            "the attribute is left out"
        ),
    ),
    "SESSION_COOKIE_PARTITIONED": (False, switch),
    # Flask's True puts a Set-Cookie on every answer of a permanent session, so none of them can be cached and
    # parallel requests overwrite each other's session. Here a session is written when it changed.
    "SESSION_REFRESH_EACH_REQUEST": (False, switch),
    "PERMANENT_SESSION_LIFETIME": (
        31 * 24 * 60 * 60,
        Kind("a timedelta or seconds, more than 0", read_lifetime),
    ),
    # Browsers drop a larger one without a word: RFC 6265 §6.1 asks them for 4096.
    "MAX_COOKIE_SIZE": (4093, whole_number(1, "bytes")),
    # Where the app lives
    "SERVER_NAME": (None, text("a host or host:port, no scheme", is_host).or_none("as the request says")),
    "APPLICATION_ROOT": ("/", text("a path that begins with /", is_cookie_path)),
    "PREFERRED_URL_SCHEME": (
        "http",
        text("a scheme such as 'https'", lambda value: value.isascii() and value.isalpha()),
    ),
    # Templates
    "TEMPLATES_AUTO_RELOAD": (None, switch.or_none("as DEBUG says")),
}
"""The keys that their parts read from the config itself, after ``Limits.of`` has checked it."""

FIGURES: dict[str, tuple[Any, Kind]] = {
    # Request line and headers
    "MAX_HEADERS": (100, whole_number(1, "headers")),  # gunicorn, Kestrel
    "MAX_HEADER_SIZE": (8190, whole_number(1, "bytes")),  # gunicorn, aiohttp
    "MAX_HEADERS_SIZE": (32_768, whole_number(1, "bytes")),  # Kestrel
    "MAX_URL_LENGTH": (8192, whole_number(1, "bytes")),  # nginx, Kestrel
    "MAX_QUERY_PARAMETERS": (1000, whole_number(0, "parameters")),  # Django
    "MAX_RANGES": (16, whole_number(1, "ranges")),
    "TRUSTED_HOSTS": (
        None,
        names("a list of hosts ('.example.org' is that host and all below it)", is_host).or_none("any host"),
    ),
    # Bodies
    "MAX_CONTENT_LENGTH": (16 * 1024 * 1024, whole_number(0, "bytes").or_none("no limit")),  # Quart
    "MAX_FORM_MEMORY_SIZE": (500_000, whole_number(0, "bytes").or_none("no limit")),  # Werkzeug
    "MAX_FORM_PARTS": (1000, whole_number(0, "parts").or_none("no limit")),  # Werkzeug, Django
    "MAX_FORM_FILES": (100, whole_number(0, "files").or_none("no limit")),  # Django
    "MAX_PART_HEADERS": (8, whole_number(1, "headers")),  # multipart, python-multipart
    "MAX_PART_HEADER_SIZE": (4224, whole_number(1, "bytes")),  # python-multipart
    "MAX_BOUNDARY_SIZE": (70, whole_number(1, "bytes")),  # RFC 2046 §5.1.1, aiohttp
    "UPLOAD_SPOOL_SIZE": (1024 * 1024, whole_number(0, "bytes")),  # Starlette
    "JSON_MAX_DEPTH": (64, whole_number(1, "levels")),  # System.Text.Json
    "BODY_TIMEOUT": (30.0, seconds(zero=False).or_none("wait for ever")),  # nginx and Quart wait 60
    "DECODE_REQUEST_BODIES": (False, switch),
    # Work
    "SYNC_THREADS": (40, whole_number(1, "threads")),  # anyio
    "CANCEL_ON_DISCONNECT": (False, switch),
    "GRACEFUL_TIMEOUT": (15.0, seconds(zero=True)),  # Sanic
    "BACKGROUND_TIMEOUT": (5.0, seconds(zero=True)),  # Quart
    # Websockets
    "WEBSOCKET_ORIGINS": (
        None,
        names("a list of origins such as 'https://example.org'", is_origin).or_none("the app's own origin"),
    ),
    "WEBSOCKET_MAX_MESSAGE": (1024 * 1024, whole_number(1, "bytes").or_none("no limit")),  # Sanic
    # Files
    "SEND_FILE_MAX_AGE_DEFAULT": (
        None,
        Kind("whole seconds or a timedelta, 0 or more", read_max_age).or_none("browsers ask each time"),
    ),
    "STATIC_PRECOMPRESSED": (True, switch),
    "STATIC_FINGERPRINTS": (False, switch),
}
"""The keys that make up ``Limits``."""

KEYS = SETTINGS | FIGURES

DEFAULTS: Mapping[str, Any] = types.MappingProxyType({name: default for name, (default, _) in KEYS.items()})
"""Every key of the framework with the value it has until somebody sets it. Read-only."""


class Limits:
    """The figures and switches of a config, checked and typed.

    Sizes are in bytes, times in seconds. The fields are the keys in lower case, explained in
    ``docs/howto/configuration.md``. A Limits never changes: ``replace`` gives another one, as a route with
    limits of its own needs.

    >>> limits = Limits.of(DEFAULTS)
    >>> (limits.max_content_length, limits.replace(max_content_length=1000).max_content_length)
    (16777216, 1000)
    """

    __slots__ = tuple(name.lower() for name in FIGURES)

    max_headers: int
    max_header_size: int
    max_headers_size: int
    max_url_length: int
    max_query_parameters: int
    max_ranges: int
    trusted_hosts: tuple[str, ...] | None
    max_content_length: int | None
    max_form_memory_size: int | None
    max_form_parts: int | None
    max_form_files: int | None
    max_part_headers: int
    max_part_header_size: int
    max_boundary_size: int
    upload_spool_size: int
    json_max_depth: int
    body_timeout: float | None
    decode_request_bodies: bool
    sync_threads: int
    cancel_on_disconnect: bool
    graceful_timeout: float
    background_timeout: float
    websocket_origins: tuple[str, ...] | None
    websocket_max_message: int | None
    send_file_max_age_default: int | None
    static_precompressed: bool
    static_fingerprints: bool

    def __init__(self, **fields: Any) -> None:
        for name in Limits.__slots__:
            object.__setattr__(self, name, fields[name])

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> Self:
        """Check every key of the framework in ``config`` and give the figures.

        A key that is missing has its default; keys of the program's own are not looked at.

        Raises:
            SetupError: keys hold what they may not; the message lists all of them, and no secret.
        """
        read: dict[str, Any] = {}
        problems: list[str] = []
        for name, (default, kind) in KEYS.items():
            value = config.get(name, default)
            try:
                read[name] = kind.read(value)
            except ValueError as error:
                problems.append(problem(name, kind, value, error))
        if not problems:
            problems = cookie_conflicts(read)
        if problems:
            raise SetupError("app.config is wrong:\n  " + "\n  ".join(problems))
        return cls(**{name.lower(): read[name] for name in FIGURES})

    def replace(self, **changes: Any) -> Self:
        """Give these limits with some of them changed, checked as in the config.

        Raises:
            SetupError: there is no such limit, or it may not hold that.
        """
        fields = {name: getattr(self, name) for name in Limits.__slots__}
        for name, value in changes.items():
            if name not in fields:
                raise SetupError(f"there is no limit called {name!r}; there are {', '.join(fields)}")
            kind = FIGURES[name.upper()][1]
            try:
                fields[name] = kind.read(value)
            except ValueError as error:
                raise SetupError(problem(name, kind, value, error)) from None
        return type(self)(**fields)

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"Limits do not change: set {name.upper()} in app.config, or call replace()")

    def __delattr__(self, name: str) -> None:
        raise AttributeError("Limits do not change: set the key in app.config, or call replace()")

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Limits):
            return NotImplemented
        return all(getattr(self, name) == getattr(other, name) for name in Limits.__slots__)

    def __hash__(self) -> int:
        return hash(tuple(getattr(self, name) for name in Limits.__slots__))

    def __repr__(self) -> str:
        return f"Limits({', '.join(f'{name}={getattr(self, name)!r}' for name in Limits.__slots__)})"


def problem(name: str, kind: Kind, value: Any, error: ValueError) -> str:
    """Say what was expected under a key and what came."""
    return f"{name}: expected {kind.expected}; came {str(error) or shown(name, value)}"
