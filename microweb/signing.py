"""Signed values: bytes that a client may carry but not change.

The form is itsdangerous's ``TimestampSigner``'s: ``payload.timestamp.signature``. One key of our own is derived from
each secret key and a salt, once, and older secret keys still verify what they signed. Sessions are the caller.

Most values that come back are exactly as they were sent, by the newest key: that is found here, with one HMAC and
one comparison. About everything else itsdangerous decides, which is loaded when the first such value comes.
"""

from __future__ import annotations

import hmac
from binascii import a2b_base64, b2a_base64
from collections.abc import Sequence
from hashlib import sha256
from time import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from itsdangerous import TimestampSigner

__all__ = ["Signer", "decode_base64", "encode_base64"]

TO_URL = bytes.maketrans(b"+/", b"-_")
FROM_URL = bytes.maketrans(b"-_", b"+/")


class Signer:
    """Signs with the first of ``keys`` and verifies with any of them, newest first.

    >>> signer = Signer(["a secret key of the app"], salt="example")
    >>> signer.unsign(signer.sign(b"payload"), max_age=60)
    b'payload'
    >>> signer.unsign("payload.forged", max_age=60) is None
    True
    """

    def __init__(self, keys: Sequence[str | bytes], *, salt: str) -> None:
        self._salt = salt
        self._keys = [derive(key, salt) for key in keys]
        self._keyed = hmac.new(self._keys[0], digestmod=sha256)
        """Has taken in the newest key, and no message."""
        self._signers: list[TimestampSigner] | None = None
        self._stamp = (0, b"")
        """The last second in which something was signed, and its timestamp."""

    def sign(self, payload: bytes) -> bytes:
        """The payload with a timestamp and a signature; the payload must be URL-safe base64."""
        second, stamp = self._stamp
        now = int(time())
        if now != second:
            stamp = encode_base64(now.to_bytes(8, "big").lstrip(b"\0"))
            self._stamp = now, stamp
        signed = payload + b"." + stamp
        return signed + b"." + self._sign(signed)

    def unsign(self, value: str | bytes, max_age: float | None = None) -> bytes | None:
        """The payload, or None: forged, damaged, signed with an unknown key, or older than ``max_age`` seconds."""
        # SECURITY: test_the_quick_way_and_itsdangerous_agree
        data = value.encode("utf-8", "surrogatepass") if isinstance(value, str) else value
        signed, _, signature = data.rpartition(b".")
        payload, dot, stamp = signed.rpartition(b".")
        if not dot or not hmac.compare_digest(self._sign(signed), signature):
            return self._unsign_otherwise(data, max_age)
        if max_age is None or 0 <= int(time()) - int.from_bytes(decode_base64(stamp), "big") <= int(max_age):
            return payload
        return None

    def _sign(self, value: bytes) -> bytes:
        keyed = self._keyed.copy()
        keyed.update(value)
        return encode_base64(keyed.digest())

    def _unsign_otherwise(self, value: bytes, max_age: float | None) -> bytes | None:
        from traceback import clear_frames

        from itsdangerous import BadData

        if self._signers is None:
            self._signers = [make_signer(key, self._salt) for key in self._keys]
        for signer in self._signers:
            try:
                return signer.unsign(value, max_age=None if max_age is None else int(max_age))
            except (BadData, ValueError) as error:
                # A frame of itsdangerous holds the error that holds the frame, and with it the whole request.
                clear_frames(error.__traceback__)
        return None


def derive(key: str | bytes, salt: str) -> bytes:
    """The key that signs for this salt alone."""
    return hmac.digest(key.encode() if isinstance(key, str) else key, salt.encode(), "sha256")


def make_signer(derived: bytes, salt: str) -> TimestampSigner:
    """itsdangerous's signer over SHA-256, with a key that was derived before."""
    from itsdangerous import TimestampSigner

    return TimestampSigner(derived, salt=salt, key_derivation="none", digest_method=sha256)


def encode_base64(data: bytes) -> bytes:
    """URL-safe base64 without padding. PERF(pages.session): three C calls, where ``base64`` adds as many of its own."""
    return b2a_base64(data, newline=False).translate(TO_URL, b"=")


def decode_base64(text: bytes) -> bytes:
    """What ``encode_base64`` was given.

    Raises:
        ValueError: it is no base64.
    """
    return a2b_base64(text.translate(FROM_URL) + b"==")
