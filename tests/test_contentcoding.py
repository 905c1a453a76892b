"""Content codings undone piece by piece: whole, byte by byte, cut, damaged, and as bombs."""

import gzip
import random
import zlib

import brotli
import pytest
from backports import zstd
from hypothesis import given
from hypothesis import strategies as st

from microweb import contentcoding
from microweb.contentcoding import PIECE, known_codings, make_decoder
from microweb.errors import BadRequest, UnsupportedMediaType

CONTENT = b"hello " * 30_000 + random.Random(1).randbytes(5000)


def bare_deflate(data):
    compressor = zlib.compressobj(wbits=-15)
    return compressor.compress(data) + compressor.flush()


ENCODERS = {
    "gzip": gzip.compress,
    "x-gzip": gzip.compress,
    "deflate": zlib.compress,
    "deflate ": bare_deflate,
    "br": brotli.compress,
    "zstd": zstd.compress,
}
CODINGS = pytest.mark.parametrize(
    ("coding", "encode"), ENCODERS.items(), ids=["gzip", "x-gzip", "deflate", "bare", "br", "zstd"]
)


def decode(coding, *chunks):
    decoder = make_decoder(coding)
    pieces = [piece for chunk in chunks for piece in decoder.feed(chunk)]
    decoder.finish()
    return b"".join(pieces)


@CODINGS
@pytest.mark.parametrize("size", [1, 2, 1000, 1 << 20])
def test_a_body_is_decoded_whatever_its_chunks(coding, encode, size):
    encoded = encode(CONTENT)

    assert decode(coding, *[encoded[place : place + size] for place in range(0, len(encoded), size)]) == CONTENT


@CODINGS
@given(content=st.binary(max_size=2000), data=st.data())
def test_any_bytes_come_back_from_any_chunks(coding, encode, content, data):
    encoded = encode(content)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(encoded)), max_size=4)))
    chunks = [encoded[start:end] for start, end in zip([0, *cuts], [*cuts, len(encoded)], strict=True)]

    assert decode(coding, *chunks) == content


@CODINGS
def test_an_encoded_nothing_is_nothing(coding, encode):
    assert decode(coding, encode(b"")) == b""


def test_an_empty_body_was_not_encoded():
    assert decode("gzip") == b""


@CODINGS
def test_every_cut_is_a_400(coding, encode):
    encoded = encode(b"hello, hello, hello")

    for place in range(1, len(encoded)):
        with pytest.raises(BadRequest):
            decode(coding, encoded[:place])


@CODINGS
@pytest.mark.parametrize("place", [0, 1, 8])
def test_bytes_after_the_end_are_a_400(coding, encode, place):
    encoded = encode(b"hello")

    with pytest.raises(BadRequest, match="not what its Content-Encoding says"):
        decode(coding, encoded[: len(encoded) - place], encoded[len(encoded) - place :] + b"x")


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "zstd"])
@pytest.mark.parametrize("body", [b"{}", b"\xff" * 100, b'{"a": 1}' * 100])
def test_what_was_never_encoded_is_a_400(coding, body):
    with pytest.raises(BadRequest):
        decode(coding, body)


@pytest.mark.slow
@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "zstd"])
def test_a_bomb_comes_out_in_small_pieces(coding):
    bomb = ENCODERS[coding](bytes(50_000_000))

    decoder = make_decoder(coding)

    assert max(len(piece) for piece in decoder.feed(bomb)) <= PIECE * 2


@pytest.mark.slow
@pytest.mark.parametrize("coding", ["gzip", "br", "zstd"])
def test_a_bomb_is_decoded_in_linear_time(growth, coding):
    small, large = (ENCODERS[coding](bytes(size)) for size in (10_000_000, 20_000_000))

    assert growth(lambda bomb: sum(map(len, make_decoder(coding).feed(bomb))), small, large) < 2.6


def test_a_window_larger_than_eight_mebibytes_is_a_400():
    options = {zstd.CompressionParameter.window_log: 27, zstd.CompressionParameter.enable_long_distance_matching: 1}
    compressor = zstd.ZstdCompressor(options=options)
    encoded = compressor.compress(CONTENT) + compressor.flush()

    with pytest.raises(BadRequest):
        decode("zstd", encoded)


@pytest.mark.parametrize("header", ["", "identity", " Identity "])
def test_no_coding_needs_no_decoder(header):
    assert make_decoder(header) is None
    assert make_decoder(header, enabled=False) is None


@pytest.mark.parametrize("header", ["compress", "gzip, gzip", "gzip;q=1", "aws-chunked", "\xff"])
def test_an_unknown_coding_is_a_415_that_says_which_are_known(header):
    with pytest.raises(UnsupportedMediaType) as caught:
        make_decoder(header)

    assert caught.value.headers == {"accept-encoding": "gzip, deflate, br, zstd"}


def test_a_coding_that_is_not_enabled_is_a_415_that_names_the_key():
    with pytest.raises(UnsupportedMediaType, match="DECODE_REQUEST_BODIES") as caught:
        make_decoder("gzip", enabled=False)

    assert caught.value.headers == {"accept-encoding": "identity"}


def test_a_coding_of_python_s_own_looks_for_no_package(monkeypatch):
    def no_import(name):
        raise AssertionError(name)

    monkeypatch.setattr(contentcoding, "import_module", no_import)

    assert list(make_decoder("gzip").feed(gzip.compress(b"hello"))) == [b"hello"]


def test_what_is_not_installed_is_not_known(monkeypatch):
    def no_module(name):
        raise ImportError(name)

    monkeypatch.setattr(contentcoding, "import_module", no_module)

    assert known_codings() == ["gzip", "deflate"]
    with pytest.raises(UnsupportedMediaType, match="one of gzip, deflate"):
        make_decoder("br")
