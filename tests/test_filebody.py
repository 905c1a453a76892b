import io
import os
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from microweb.filebody import CHUNK, FileBody, FileChanged, run_here

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
    body = make_body(path, b"x" * CHUNK, (0, 10))

    await body.begin()
    await body.begin()
    body.begin_here()

    assert not body.ended
    assert await read_all(body) == [b"x" * CHUNK, CONTENT[:10]]
    assert body.ended


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


@pytest.mark.parametrize("change", ["written to", "grown in one tick of the clock", "replaced", "made a pipe"])
async def test_every_kind_of_change_is_noticed(tmp_path, change):
    path = tmp_path / "file"
    path.write_bytes(b"old")
    body = make_body(path, (0, 3))
    times = path.stat().st_mtime_ns
    if change == "written to":
        os.utime(path, ns=(times, times + 1))
    elif change == "grown in one tick of the clock":
        path.write_bytes(b"older")
        os.utime(path, ns=(times, times))
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
    body.begin_here()

    assert await read_all(body) == []


async def test_an_object_need_not_be_one_that_is_closed():
    class Readable:
        read = io.BytesIO(CONTENT).read

    body = FileBody(Readable())
    body.run = body.release = run_here
    body.plan([(0, None)])

    assert await read_all(body) == [CONTENT]
    await body.aclose()


async def test_closing_twice_is_harmless(path):
    body = make_body(path, b"x" * CHUNK, (0, 10))
    await body.begin()

    await body.aclose()
    await body.aclose()

    assert await read_all(body) == []


async def test_an_object_of_unknown_length_comes_as_it_is_read_without_an_empty_end():
    file = io.BytesIO(CONTENT)
    body = FileBody(file)
    body.plan([(0, None)])

    assert await read_all(body) == [CONTENT]
    assert body.ended
    assert file.closed


def test_the_length_of_what_cannot_seek_is_unknown():
    class Readable:
        def read(self, size):
            raise AssertionError

    reading, writing = os.pipe()
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        assert FileBody(pipe).measure() is None
    assert FileBody(Readable()).measure() is None


@pytest.mark.parametrize("has", ["seek", "tell"])
def test_the_length_of_what_can_only_half_seek_is_unknown(has):
    class Readable:
        def read(self, size):
            raise AssertionError

    setattr(Readable, has, lambda self, *place: 0)

    assert FileBody(Readable()).measure() is None


async def test_bytes_in_memory_are_read_at_once_and_in_no_thread():
    threads = []

    class Watched(io.BytesIO):
        def read(self, size):
            threads.append(threading.current_thread())
            return super().read(size)

    body = FileBody(Watched(CONTENT))
    body.plan([(0, 10)])

    assert await read_all(body) == [CONTENT[:10]]
    assert threads == [threading.current_thread()]


def test_an_object_that_may_block_for_ever_is_for_the_thread_of_its_request(path):
    reading, writing = os.pipe()
    os.close(writing)

    with path.open("rb") as file, os.fdopen(reading, "rb") as pipe:
        assert [FileBody(source).is_foreign for source in (file, io.BytesIO(), pipe)] == [False, False, True]


def test_measuring_leaves_an_object_where_it_stands():
    file = io.BytesIO(b"abc")
    file.seek(1)

    assert (FileBody(file).measure(), file.tell()) == (2, 1)


def test_the_length_of_an_object_that_stands_behind_its_end_is_nothing():
    file = io.BytesIO(b"abc")
    file.seek(10)

    assert FileBody(file).measure() == 0
