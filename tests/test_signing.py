"""Signed values beside itsdangerous: each reads what the other wrote, and refuses what the other refuses."""

import gc
import hmac
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st
from itsdangerous import BadData, TimestampSigner

from microweb.signing import Signer, decode_base64, encode_base64

KEY = "a secret key that is long enough"
SALT = "microweb.test"


class Oracle(TimestampSigner):
    """itsdangerous's own signer, at a time of our choosing."""

    age = 0

    def get_timestamp(self):
        return super().get_timestamp() - self.age


def make_oracle(key=KEY, age=0):
    derived = hmac.digest(key.encode(), SALT.encode(), "sha256")
    signer = Oracle(derived, salt=SALT, key_derivation="none", digest_method=sha256)
    signer.age = age
    return signer


def unsign(signer, value, max_age):
    """What itsdangerous makes of it."""
    try:
        return signer.unsign(value, max_age=max_age)
    except (BadData, ValueError):
        return None


@given(st.binary())
def test_itsdangerous_reads_what_we_sign(data):
    payload = encode_base64(data)

    assert make_oracle().unsign(Signer([KEY], salt=SALT).sign(payload), max_age=60) == payload


@given(st.binary())
def test_we_read_what_itsdangerous_signs(data):
    payload = encode_base64(data)

    assert Signer([KEY], salt=SALT).unsign(make_oracle().sign(payload), 60) == payload


@given(st.data())
def test_the_quick_way_and_itsdangerous_agree(data):
    signed = make_oracle().sign(b"cGF5bG9hZA").decode()
    place = data.draw(st.integers(0, len(signed)))
    damaged = signed[:place] + data.draw(st.text(max_size=3)) + signed[place + data.draw(st.integers(0, 3)) :]

    ours = Signer([KEY], salt=SALT).unsign(damaged, 60)

    assert ours == unsign(make_oracle(), damaged.encode("utf-8", "surrogatepass"), 60)


@pytest.mark.parametrize(("age", "kept"), [(0, True), (59, True), (61, False), (-100, False)])
def test_a_value_lives_as_long_as_it_is_told(age, kept):
    signed = make_oracle(age=age).sign(b"payload")

    assert (Signer([KEY], salt=SALT).unsign(signed, 60) == b"payload") is kept
    assert Signer([KEY], salt=SALT).unsign(signed) == b"payload", "without an age it lives for ever"


def test_an_older_key_still_verifies_and_an_unknown_one_does_not():
    signed = make_oracle("an older key of the same program").sign(b"payload")

    assert Signer([KEY, "an older key of the same program"], salt=SALT).unsign(signed, 60) == b"payload"
    assert Signer([KEY], salt=SALT).unsign(signed, 60) is None


@pytest.mark.parametrize("value", ["", "payload", "payload.forged", "payload.stamp.forged", "payload.awKH_g.forged"])
def test_a_value_that_does_not_hold_leaves_no_cycle(value):
    signer = Signer([KEY, "another key that is long enough"], salt=SALT)
    signer.unsign(value)
    gc.collect()
    gc.freeze()  # What was there before is not looked through each time.
    gc.disable()
    try:
        signer.unsign(value)
        assert gc.collect() == 0
    finally:
        gc.enable()
        gc.unfreeze()


def test_another_salt_is_another_key():
    signed = Signer([KEY], salt="something else").sign(b"payload")

    assert Signer([KEY], salt=SALT).unsign(signed, 60) is None


@pytest.mark.parametrize("key", ["short", "k" * 64, "k" * 65, "k" * 1000, b"\xff" * 70])
def test_a_key_of_any_length_makes_the_same_signature_as_the_standard_library(key):
    secret = key.encode() if isinstance(key, str) else key
    derived = hmac.digest(secret, SALT.encode(), "sha256")

    signed, _, signature = Signer([key], salt=SALT).sign(b"payload").rpartition(b".")

    assert decode_base64(signature) == hmac.digest(derived, signed, "sha256")


@given(st.binary())
def test_base64_comes_back(data):
    assert decode_base64(encode_base64(data)) == data
