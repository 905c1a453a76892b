r"""Cookies as text: the ``Cookie`` header into pairs, one cookie into the value of a ``Set-Cookie`` header.

Both ways as werkzeug does it, so cookies survive a move from Flask: values that RFC 6265 has no room for
stand in quotes, with ``\"`` for a quote and ``\303`` for a byte of UTF-8. Signing is not here (see
``signing``), nor are sessions. Called by ``incoming``, ``responses`` and ``sessions``.
"""

from __future__ import annotations

import re
import warnings
from typing import TYPE_CHECKING, Any

from microweb.grammar import Grammar
from microweb.headers import encode_name
from microweb.multidict import MultiDict

if TYPE_CHECKING:
    from datetime import datetime, timedelta

__all__ = ["dump_cookie", "parse_cookies"]

# cookie = name [ "=" ( quoted / token ) ], up to the next semicolon or the end.
# SECURITY: test_parsing_takes_linear_time. Every repeat is possessive, nothing is tried twice. A quoted
# value that turns out to be invalid ends at a quote or at the end, so no other one can begin inside it.
_COOKIE = Grammar(
    r"""
    [ \t]*+ ([^ \t=";]++)
    (?: [ \t]*+ = [ \t]*+ ( "[^\\"]*+(?:\\.[^\\"]*+)*+" | [^ \t";]*+ ) )?
    [ \t]*+ (?: ; | \Z )
    """,
    re.VERBOSE,
)
_ESCAPE = Grammar(rb"\\([0-3][0-7]{2}|.)")

_PLAIN_VALUE = Grammar(r"[\w!#$%&'()*+\-./:<=>?@\[\]^`{|}~]*", re.ASCII)
_ESCAPED_BYTE = Grammar(rb"[\x00-\x1f\",;\\\x7f-\xff]")
_PLAIN_PATH = Grammar(r"/[\w.\-~%!$&'()*+,/:=@]*", re.ASCII)
_DOMAIN = Grammar(r"[A-Za-z0-9_\-]+(?:\.[A-Za-z0-9_\-]+)*+")

# RFC 6265bis §5.6: a browser ignores a cookie whose name and value are longer together.
_BROWSER_LIMIT = 4096


def parse_cookies(header: str) -> MultiDict[str]:
    """The cookies of a ``Cookie`` header, in order; of equal names the first counts.

    ``header`` is Latin-1 text, as header values are; UTF-8 in it is decoded. Never raises: what is no cookie
    is skipped up to the next semicolon, bytes that are no UTF-8 become U+FFFD.

    >>> parse_cookies('theme=dark; note="one\\\\073 two"; theme=light').to_dict()
    {'theme': 'dark', 'note': 'one; two'}
    """
    if not header.isascii():
        try:
            header = header.encode("latin-1").decode("utf-8", "replace")
        except UnicodeEncodeError:
            pass  # text already: it did not come out of a header
    pairs = _scan(header) if '"' in header else _split(header)
    return MultiDict(pairs, kind="cookie")


def _split(header: str) -> list[tuple[str, str]]:
    # Without a quote the grammar comes down to splitting, far faster for long values.
    pairs: list[tuple[str, str]] = []
    for part in header.split(";"):
        name, _, value = part.partition("=")
        name = name.strip(" \t")
        value = value.strip(" \t")
        if name and not (" " in name or " " in value or "\t" in name or "\t" in value):
            pairs.append((name, value))
    return pairs


def _scan(header: str) -> list[tuple[str, str]]:
    pairs: list[tuple[str, str]] = []
    position = 0
    while True:
        found = _COOKIE.match(header, position)
        if found is None:
            position = header.find(";", position) + 1
            if position == 0:
                return pairs
            continue
        position = found.end()
        name, value = found.groups("")
        if value.startswith('"'):
            # Bytes, because a character of UTF-8 may be several escapes.
            inside = value[1:-1].encode("utf-8", "surrogatepass")
            value = _ESCAPE.sub(_unescape, inside).decode("utf-8", "replace")
        pairs.append((name, value))


def _unescape(escape: re.Match[bytes]) -> bytes:
    code = escape[1]
    return code if len(code) == 1 else bytes((int(code, 8),))


def dump_cookie(
    name: str,
    value: str = "",
    *,
    max_age: int | float | timedelta | None = None,
    expires: datetime | str | int | float | None = None,
    path: str | None = "/",
    domain: str | None = None,
    secure: bool = False,
    httponly: bool = False,
    samesite: str | None = None,
    partitioned: bool = False,
) -> str:
    """The value of the ``Set-Cookie`` header that sets one cookie.

    ``max_age`` counts seconds, ``expires`` as a number is a Unix timestamp; with neither the cookie ends with
    the browser's session. ``samesite`` is "Strict", "Lax" or "None", in any case. Browsers ignore a cookie
    with more than 4096 bytes of name and value; there is a warning for one.

    >>> dump_cookie("theme", "dark", max_age=3600, secure=True, samesite="Lax")
    'theme=dark; Max-Age=3600; Secure; Path=/; SameSite=Lax'

    Raises:
        ValueError: a part has no place in the header, or browsers would refuse the cookie: ``__Secure-``
            and ``__Host-`` names, ``samesite="None"`` and ``partitioned`` need ``secure``, and ``__Host-``
            needs ``path="/"`` and no ``domain`` too.
    """
    # SECURITY: test_nothing_given_to_a_cookie_can_end_its_part
    try:
        encode_name(name)
    except ValueError:
        raise ValueError(f"a cookie's name is a token (letters, digits, hyphens), not {name!r}") from None
    parts = [f"{name}={_quote(name, value)}"]
    if domain:
        domain = _check_domain(domain)
        parts.append(f"Domain={domain}")
    if isinstance(expires, str):
        parts.append(f"Expires={_check_text(expires)}")
    elif expires is not None:
        from microweb.conditional import http_date

        parts.append(f"Expires={http_date(expires)}")
    if max_age is not None:
        lifetime: Any = max_age
        if not isinstance(lifetime, int | float):
            if not hasattr(lifetime, "total_seconds"):
                raise TypeError(f"max_age is a number of seconds or a timedelta, not {lifetime!r}")
            lifetime = lifetime.total_seconds()
        parts.append(f"Max-Age={int(lifetime)}")
    if secure:
        parts.append("Secure")
    if httponly:
        parts.append("HttpOnly")
    if path is not None:
        path = _check_path(path)
        parts.append(f"Path={path}")
    if samesite is not None:
        given: object = samesite
        samesite = samesite.title() if isinstance(given, str) else ""
        if samesite not in ("Strict", "Lax", "None"):
            raise ValueError(f"samesite is 'Strict', 'Lax' or 'None', not {given!r}")
        parts.append(f"SameSite={samesite}")
    if partitioned:
        parts.append("Partitioned")

    # RFC 6265bis §5.6: browsers drop the cookie without a word in each of these cases.
    prefix = name[:9].lower()
    if not secure:
        if prefix.startswith(("__host-", "__secure-")):
            raise ValueError(f"the cookie {name!r} needs secure=True because of its prefix")
        if samesite == "None":
            raise ValueError(f"the cookie {name!r} needs secure=True because of samesite='None'")
        if partitioned:
            raise ValueError(f"the cookie {name!r} needs secure=True because it is partitioned")
    if prefix.startswith("__host-") and (domain or path != "/"):
        raise ValueError(f"the cookie {name!r} needs path='/' and no domain because of its prefix")
    if len(parts[0]) - 1 > _BROWSER_LIMIT:
        # SECURITY: test_a_cookie_too_large_for_browsers_is_warned_of_once_whatever_its_size: Python keeps each text
        # that it has warned of, so none may tell a size, which clients choose.
        warnings.warn(
            f"the cookie {name!r} is longer than {_BROWSER_LIMIT} bytes, and browsers ignore it",
            stacklevel=2,
        )
    return "; ".join(parts)


def _quote(name: str, value: str) -> str:
    if not isinstance(value, str):
        raise TypeError(f"the value of the cookie {name!r} is a str, not {type(value).__name__}")
    if _PLAIN_VALUE.fullmatch(value) is not None:
        return value
    try:
        encoded = value.encode()
    except UnicodeEncodeError:
        raise ValueError(f"the value of the cookie {name!r} is no text: {value!r}") from None
    return f'"{_ESCAPED_BYTE.sub(_escape, encoded).decode("ascii")}"'


def _escape(found: re.Match[bytes]) -> bytes:
    byte = found[0]
    return b"\\" + byte if byte in b'"\\' else b"\\%03o" % byte[0]


def _check_text(expires: str) -> str:
    if not (expires.isascii() and expires.isprintable()) or ";" in expires:
        raise ValueError(f"expires is a date as HTTP writes it, not {expires!r}")
    return expires


def _check_path(path: str) -> str:
    if not path.startswith("/"):
        raise ValueError(f"a cookie's path begins with a slash (or is None), unlike {path!r}")
    if _PLAIN_PATH.fullmatch(path) is not None:
        return path
    from urllib.parse import quote

    return quote(path, safe="%!$&'()*+,/:=@")


def _check_domain(domain: str) -> str:
    # As werkzeug: a leading dot means nothing any more (RFC 6265 §5.2.3), a port never belonged here.
    host = domain.partition(":")[0].lstrip(".")
    if not host.isascii():
        try:
            host = host.encode("idna").decode("ascii")
        except UnicodeError:
            raise ValueError(f"a cookie's domain is a host name, not {domain!r}") from None
    if _DOMAIN.fullmatch(host) is None:
        raise ValueError(f"a cookie's domain is a host name, not {domain!r}")
    return host
