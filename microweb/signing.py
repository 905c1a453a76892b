"""Signed values: bytes that a client may carry but not change.

Signatures and timestamps are itsdangerous's; what is decided here is how keys are used: one key of our own is
derived from each secret key and a salt, once, and older secret keys still verify what they signed. Sessions
are the caller. itsdangerous is loaded with the first signer.
"""

import hmac
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from itsdangerous import TimestampSigner

__all__ = ["Signer"]


class Signer:
    """Signs with the first of ``keys`` and verifies with any of them, newest first.

    >>> signer = Signer(["a secret key of the app"], salt="example")
    >>> signer.unsign(signer.sign(b"payload"), max_age=60)
    b'payload'
    >>> signer.unsign("payload.forged", max_age=60) is None
    True
    """

    def __init__(self, keys: Sequence[str | bytes], *, salt: str) -> None:
        self._signers = [make_signer(key, salt) for key in keys]

    def sign(self, payload: bytes) -> str:
        """The payload with a timestamp and a signature; the payload must be URL-safe base64."""
        return self._signers[0].sign(payload).decode("ascii")

    def unsign(self, value: str, max_age: float | None = None) -> bytes | None:
        """The payload, or None: forged, damaged, signed with an unknown key, or older than ``max_age`` seconds."""
        from itsdangerous import BadData

        for signer in self._signers:
            try:
                return signer.unsign(value, max_age=None if max_age is None else int(max_age))
            except (BadData, ValueError):
                continue
        return None


def make_signer(key: str | bytes, salt: str) -> "TimestampSigner":
    """itsdangerous's signer over SHA-256, with its key derived here, once, instead of at each signature."""
    from itsdangerous import TimestampSigner
    from itsdangerous.signer import SigningAlgorithm

    class Digest(SigningAlgorithm):
        """HMAC-SHA-256 in one C call. PERF(sessions)"""

        def get_signature(self, key: bytes, value: bytes) -> bytes:
            return hmac.digest(key, value, "sha256")

    secret = key.encode() if isinstance(key, str) else key
    derived = hmac.digest(secret, salt.encode(), "sha256")
    return TimestampSigner(derived, salt=salt, key_derivation="none", algorithm=Digest())
