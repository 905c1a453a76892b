"""Origins as browsers write them (RFC 6454 §6.2), for the layers that are told some: ``cors.py`` and ``csrf.py``."""

from __future__ import annotations

from microweb import URL, SetupError

__all__ = ["check_origin"]

OWN_PORTS = {"http": ":80", "https": ":443"}


def check_origin(origin: str) -> str:
    """An origin in lower case and without its scheme's own port, so that it can be compared as it is.

    Raises:
        SetupError: it is none.
    """
    if origin in ("*", "null"):
        return origin
    written = origin.lower()
    url = URL(written)
    is_bare = url.username is None and written == f"{url.scheme}://{url.netloc}"
    # One with an asterisk, or a host that is not in IDNA, is what no browser ever sends.
    if not url.scheme or not url.host or not is_bare or "*" in written or not written.isascii():
        raise SetupError(
            f"an origin is a scheme and a host, 'https://example.org' or 'http://localhost:5173', not {origin!r}"
        )
    own_port = OWN_PORTS.get(url.scheme)
    return written.removesuffix(own_port) if own_port is not None else written
