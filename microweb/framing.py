"""How an answer is framed: what tells the client where its body ends, or that there is none.

The first message of an answer, its Content-Length line, and which header lines must not go with a status. Nothing is
sent here: responses, streams, files and the app's short way for a plain answer build their messages with this.
"""

from __future__ import annotations

from typing import Any

from microweb.asgi import RawHeaders

__all__ = [
    "BODYLESS",
    "CONTENT_LENGTH",
    "FRAMING",
    "length_line",
    "new_start",
    "without_body_headers",
    "without_framing",
]

CONTENT_LENGTH = b"content-length"
FRAMING = frozenset({CONTENT_LENGTH, b"transfer-encoding"})


class LengthLines(dict[int, tuple[bytes, bytes]]):
    """The Content-Length lines of small bodies, each written once."""

    def __missing__(self, length: int) -> tuple[bytes, bytes]:
        line = (CONTENT_LENGTH, b"%d" % length)
        if length < 1024:
            self[length] = line
        return line


length_line = LengthLines().__getitem__
"""The Content-Length line of a body of that many bytes. PERF(walk.plaintext)"""

START: dict[str, Any] = {"type": "http.response.start", "status": 200, "headers": []}
new_start = START.copy
"""Makes the first message of an answer. PERF(walk.plaintext): a copy takes two thirds of the time of a dict of three
entries."""

BODYLESS = frozenset({204, 205, 304})
"""Statuses whose answers have no body bytes (RFC 9110 §15)."""

OF_A_BODY = FRAMING | {b"content-type", b"content-encoding", b"content-language"}


def without_framing(lines: RawHeaders) -> RawHeaders:
    """The header lines without Transfer-Encoding: how a body is framed is the server's to say (RFC 9112 §6.1).

    A view that copies the headers of another server's answer would otherwise send both that and Content-Length.
    """
    return [line for line in lines if line[0] != b"transfer-encoding"]


def without_body_headers(lines: RawHeaders, status: int) -> RawHeaders:
    """The header lines without those that an answer of this status must not have.

    204 has no Content-Length (RFC 9110 §8.6); a 205 says it is empty. A 304 says nothing of the content, whatever type
    the empty body of its response has: caches write it over what they have kept (RFC 9110 §15.4.5, RFC 9111 §3.2).
    """
    kept = [line for line in lines if line[0] not in OF_A_BODY]
    if status == 205:
        kept.append((CONTENT_LENGTH, b"0"))
    return kept
