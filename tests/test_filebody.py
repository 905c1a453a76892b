import io
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from microweb.filebody import CHUNK, FileBody, FileChanged

pytestmark = pytest.mark.anyio

CONTENT = bytes(range(256)) * 4


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    path = tmp_path_factory.mktemp("body") / "file"
    path.write_bytes(CONTENT)
    return path


def make_body(path, *pieces):
    body = FileBody(str(path), path.stat())
    body.plan(pieces)
    return body


async def read_all(body):
    return [chunk async for chunk in body]


pieces = st.lists(
    st.one_of(
        st.binary(min_size=1, max_size=20),
        st.tuples(st.integers(0, 1023), st.integers(0, 1023)).map(lambda pair: (min(pair), max(pair) + 1)),
    ),
    max_size=8,
)


@given(pieces=pieces)
async def test_pieces_come_in_their_order_and_byte_for_byte(path, pieces):
    body = make_body(path, *pieces)

    chunks = await read_all(body)

    assert b"".join(chunks) == b"".join(
        piece if isinstance(piece, bytes) else CONTENT[piece[0] : piece[1]] for piece in pieces
    )
    assert body.ended


@given(pieces=pieces, start=st.integers(0, 50))
async def test_a_file_object_gives_the_same_pieces_from_where_it_stands(pieces, start):
    file = io.BytesIO(b"x" * start + CONTENT)
    file.seek(start)
    body = FileBody(file)

    assert body.measure() == 1024
    body.plan(pieces)
    chunks = await read_all(body)

    assert b"".join(chunks) == b"".join(
        piece if isinstance(piece, bytes) else CONTENT[piece[0] : piece[1]] for piece in pieces
    )


async def test_small_pieces_come_in_one_chunk(path):
    body = make_body(path, b"a", (0, 1), b"b", (5, 6))

    assert await read_all(body) == [b"a\0b\5"]


async def test_a_large_file_comes_in_chunks_of_one_size(tmp_path):
    path = tmp_path / "large"
    path.write_bytes(bytes(2 * CHUNK + 1))

    chunks = await read_all(make_body(path, (0, 2 * CHUNK + 1)))

    assert [len(chunk) for chunk in chunks] == [CHUNK, CHUNK, 1]


async def test_nothing_is_read_twice_after_a_beginning(path):
    body = make_body(path, (0, 10))

    await body.begin()
    await body.begin()
    body.begin_here()

    assert body.ended
    assert await read_all(body) == [CONTENT[:10]]


async def test_a_plan_can_be_changed_after_a_beginning(path):
    body = make_body(path, (0, 10))
    await body.begin()

    body.plan([(5, 7)])

    assert await read_all(body) == [CONTENT[5:7]]


async def test_a_file_that_was_changed_is_said_and_nothing_stays_open(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"old")
    body = make_body(path, (0, 3))
    path.write_bytes(b"newer")

    with pytest.raises(FileChanged) as caught:
        await body.begin()

    assert caught.value.seen.st_size == 5
    body.seen = caught.value.seen
    body.plan([(0, 5)])
    assert await read_all(body) == [b"newer"]


@pytest.mark.parametrize("change", ["written to", "replaced", "made a pipe"])
async def test_every_kind_of_change_is_noticed(tmp_path, change):
    path = tmp_path / "file"
    path.write_bytes(b"old")
    body = make_body(path, (0, 3))
    times = path.stat().st_mtime_ns
    if change == "written to":
        os.utime(path, ns=(times, times + 1))
    else:
        other = tmp_path / "other"
        os.mkfifo(other) if change == "made a pipe" else other.write_bytes(b"new")
        os.utime(other, ns=(times, times))
        other.replace(path)

    with pytest.raises(FileChanged):
        await body.begin()


async def test_a_body_without_pieces_opens_nothing(tmp_path):
    path = tmp_path / "file"
    path.touch()
    body = make_body(path)
    path.unlink()

    await body.begin()

    assert await read_all(body) == []


async def test_closing_twice_is_harmless(path):
    body = make_body(path, (0, 10))
    await body.begin()

    await body.aclose()
    await body.aclose()

    assert await read_all(body) == []


def test_the_length_of_what_cannot_seek_is_unknown():
    class Readable:
        def read(self, size):
            raise AssertionError

    reading, writing = os.pipe()
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        assert FileBody(pipe).measure() is None
    assert FileBody(Readable()).measure() is None


def test_the_length_of_an_object_that_stands_behind_its_end_is_nothing():
    file = io.BytesIO(b"abc")
    file.seek(10)

    assert FileBody(file).measure() == 0
