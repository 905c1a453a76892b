"""Which answers get the script that refreshes a page, and how it is put in without breaking them.

Only a whole page that a browser opens by its address: no fragment that a script fetches, nothing compressed,
partial or downloaded, no page whose Content-Security-Policy has no room for the script. Called by ``refresh.py``.
"""

from __future__ import annotations

from collections.abc import Iterable, MutableMapping
from html import escape
from typing import Any

from microweb.asgi import Scope, Send
from microweb.headers import find_header
from microweb.mediatype import parse_media_type

__all__ = ["Insertion", "find_nonce", "is_page_request", "without_conditions"]

HeaderLines = list[tuple[bytes, bytes]]

CONDITIONS = frozenset({b"accept-encoding", b"if-modified-since", b"if-none-match", b"if-range", b"range"})
VALIDATORS = frozenset({b"etag", b"last-modified"})
OWN_ORIGIN = frozenset({"'self'", "*"})


def is_page_request(scope: Scope) -> bool:
    """Whether a browser asks for a page to show in a tab; reloading one that answers a POST would send it again."""
    return scope["method"] == "GET" and find_header(scope["headers"], b"sec-fetch-dest") == b"document"


def without_conditions(scope: Scope) -> Scope:
    """The scope of a request for the whole page, uncompressed: the script goes into nothing else.

    A 304 in particular would show the page of an older state, again and again.
    """
    return {**scope, "headers": [line for line in scope["headers"] if line[0] not in CONDITIONS]}


class Insertion:
    """Puts a script at the end of one answer, if it is a page; an ASGI ``send`` around another.

    At the end, where every browser takes it in: so a stream stays a stream, and nothing has to be looked for
    in a page that may speak of ``</body>`` itself.
    """

    def __init__(self, send: Send, attributes: dict[str, str]) -> None:
        self._send = send
        self._attributes = attributes
        self._script = b""

    async def __call__(self, message: MutableMapping[str, Any]) -> None:
        """Pass a message on, changed where the script has to be."""
        if message["type"] == "http.response.start":
            headers = [(bytes(name).lower(), bytes(value)) for name, value in message["headers"]]
            nonce = find_nonce(values_of(headers, b"content-security-policy"))
            if nonce is not None and is_whole_page(message["status"], headers):
                self._script = make_script(self._attributes | ({"nonce": nonce} if nonce else {}))
                message = {**message, "headers": [line for line in map(self._adapt, headers) if line is not None]}
        elif message["type"] == "http.response.body" and self._script and not message.get("more_body"):
            message = {**message, "body": bytes(message.get("body", b"")) + self._script}
        await self._send(message)

    def _adapt(self, line: tuple[bytes, bytes]) -> tuple[bytes, bytes] | None:
        """A header line of the page with the script in it; None for one that would speak of another page."""
        name, value = line
        if name == b"content-length":
            return name, b"%d" % (int(value) + len(self._script))
        return None if name in VALIDATORS else line


def make_script(attributes: dict[str, str]) -> bytes:
    """The element that loads the script."""
    written = "".join(f' {name}="{escape(value)}"' for name, value in attributes.items())
    return f"\n<script async{written}></script>\n".encode()


def is_whole_page(status: int, headers: HeaderLines) -> bool:
    """Whether an answer is HTML, complete and readable, to be shown and not to be kept as a file."""
    kinds = values_of(headers, b"content-type")
    if len(kinds) != 1 or status in (204, 205, 206, 304) or values_of(headers, b"content-encoding"):
        return False
    kind, parameters = parse_media_type(kinds[0])
    if kind != "text/html" or parameters.get("charset", "utf-8").lower() not in ("utf-8", "utf8"):
        return False
    return not any(value.lower().startswith("attachment") for value in values_of(headers, b"content-disposition"))


def values_of(headers: HeaderLines, name: bytes) -> list[str]:
    """The values of all lines of that name."""
    return [value.decode("latin-1") for found, value in headers if found == name]


def find_nonce(policies: Iterable[str]) -> str | None:
    """The nonce that a script of this origin needs under these Content-Security-Policies.

    ``""`` if it needs none; None if it, or its stream of events, would be blocked.
    """
    nonces: set[str] | None = None
    for policy in ",".join(policies).split(","):
        directives = read_directives(policy)
        default = directives.get("default-src")
        connections = directives.get("connect-src", default)
        if "sandbox" in directives or (connections is not None and OWN_ORIGIN.isdisjoint(connections)):
            return None
        sources = directives.get("script-src-elem", directives.get("script-src", default))
        if sources is None or ("'strict-dynamic'" not in sources and not OWN_ORIGIN.isdisjoint(sources)):
            continue
        found = {source[len("'nonce-") : -1] for source in sources if source.startswith("'nonce-")}
        nonces = found if nonces is None else nonces & found
    if nonces is None:
        return ""
    return min(nonces, default=None)


def read_directives(policy: str) -> dict[str, list[str]]:
    """The directives of one policy by name; of equal ones the first counts (CSP §2.2.1)."""
    directives: dict[str, list[str]] = {}
    for part in policy.split(";"):
        name, *sources = part.split() or [""]
        directives.setdefault(name.lower(), sources)
    return directives
