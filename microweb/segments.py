"""The segments of a path as a client sent it: split first and decoded then, so that ``%2F`` stays inside its segment.

``path`` is what the server has decoded, ``raw_path`` what the client sent, None where the server does not say. The raw
path counts, unless it belongs to another path. Used by the route table, by mounts and by what explains them; the
segments of a rule are in ``patterns.py``.
"""

from __future__ import annotations

from microweb.quoting import quote_path, raw_is_other, unquote

__all__ = ["is_absolute", "merge_slashes", "split_mount", "split_path"]


def is_absolute(parts: list[str]) -> bool:
    """Whether the segments are those of an http URL; a path begins with an empty one."""
    return parts[0].lower() in ("http:", "https:") and len(parts) > 2 and not parts[1]


def merge_slashes(parts: list[str]) -> list[str]:
    """The segments of a path without the empty ones between two slashes."""
    last = len(parts) - 1
    return [part for index, part in enumerate(parts) if part or index in (0, last)]


def split_path(path: str, raw_path: bytes | None) -> tuple[list[str], bool]:
    """The decoded segments of a path, escaped slashes kept in them, and whether all escapes are UTF-8."""
    if raw_path is None or b"%" not in raw_path or raw_is_other(path, raw_path):
        return path.split("/"), True
    raw_path = raw_path.partition(b"?")[0]
    # Bytes that are no UTF-8 became U+FFFD, which may also be there by itself.
    replaced = path.count("\ufffd") - raw_path.upper().count(b"%EF%BF%BD")
    return [unquote(segment) for segment in raw_path.split(b"/")], not replaced


def split_mount(segments: int, path: str, raw_path: bytes | None) -> tuple[str, str, bytes | None]:
    """Cut a path behind its first ``segments`` segments: what the mount takes, the rest, and the raw rest.

    The raw rest belongs to the rest in any case: where the raw path is another one, it is written anew.

    >>> split_mount(1, "/api/users/a/b", b"/api/users/a%2Fb")
    ('/api', '/users/a/b', b'/users/a%2Fb')
    """
    if raw_path is None or raw_is_other(path, raw_path):
        parts = path.split("/", segments + 1)
        rest = "/" + parts.pop() if len(parts) > segments + 1 else ""
        return "/".join(parts), rest, None if raw_path is None else quote_path(rest).encode()
    raw_parts = raw_path.split(b"/", segments + 1)
    raw_rest = b"/" + raw_parts.pop() if len(raw_parts) > segments + 1 else b""
    mount = unquote(b"/".join(raw_parts))
    return mount, path[len(mount) :], raw_rest
