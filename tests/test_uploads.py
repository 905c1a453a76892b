"""Where an uploaded file is saved: under its folder, whole or not at all."""

import io
import os
import threading

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from microweb.errors import BadRequest
from microweb.headers import RequestHeaders
from microweb.uploads import SyncUploadFile, UploadFile

pytestmark = pytest.mark.anyio

HOSTILE = [
    "../../x",
    "..",
    ".",
    "/etc/passwd",
    "C:\\x",
    "..\\..\\x",
    "CON",
    "con.txt",
    "a/../../b",
    "a\0b",
    "a\nb",
    "\\\\server\\share",
    "x" * 5000,
    "x" * 300 + ".txt",
    "x." + "y" * 300,
    "file:stream",
    "\ud800",
    "../c/",
    "..//c",
    ".././c/x",
    "../x/.",
    "./../x",
    "sub/",
    "/",
]


async def upload(filename="f.txt", content=b"content", spool_size=1000):
    file = UploadFile("f", filename, "text/plain", RequestHeaders([]), spool_size)
    await file._receive(content)
    await file._complete()
    made.append(file)
    return file


made = []


@pytest.fixture(autouse=True)
def close_files():
    yield
    while made:
        made.pop()._close()


def everything_below(folder):
    return sorted(
        os.path.relpath(os.path.join(where, name), folder) for where, _, names in os.walk(folder) for name in names
    )


@pytest.mark.parametrize("spool_size", [0, 1000])
async def test_a_folder_gets_it_under_a_safe_name(tmp_path, spool_size):
    file = await upload("my photo.png", spool_size=spool_size)

    path = await file.save(tmp_path)

    assert path == str(tmp_path / "my_photo.png")
    assert (tmp_path / "my_photo.png").read_bytes() == b"content"
    assert everything_below(tmp_path) == ["my_photo.png"]


@pytest.mark.parametrize("name", HOSTILE)
async def test_save_never_leaves_its_folder(tmp_path, name):
    inside = tmp_path / "a" / "b"
    inside.mkdir(parents=True)
    (tmp_path / "a" / "c").mkdir()
    file = await upload(name)

    for target in (inside, f"{inside}/", f"{inside}/{name}", os.path.join(inside, name), inside / name):
        try:
            await file.save(target)
        except BadRequest:
            continue

    assert all(path.startswith("a/b/") for path in everything_below(tmp_path))
    assert len(everything_below(inside)) <= 2


@given(st.text() | st.text("./x"))
def test_no_name_at_all_leaves_the_folder_or_is_an_error_of_ours(tmp_path_factory, name):
    folder = tmp_path_factory.mktemp("uploads")
    inside = folder / "inside"
    inside.mkdir()

    async def save():
        file = await upload(name)
        for target in (inside, os.path.join(inside, name), inside / name):
            try:
                await file.save(target)
            except (BadRequest, IsADirectoryError, FileNotFoundError):
                continue
        await file.close()

    anyio.run(save)

    assert all(path.startswith("inside/") for path in everything_below(folder))


async def test_a_path_of_the_programs_own_is_used_as_it_is(tmp_path):
    file = await upload("../../x")

    (tmp_path / "sub").mkdir()
    await file.save(tmp_path / "avatar")
    await file.save(tmp_path / "sub" / ".." / "other")

    assert everything_below(tmp_path) == ["avatar", "other"]


async def test_saving_does_not_follow_a_symlink_and_replaces_what_is_there(tmp_path):
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "uploads").mkdir()
    (tmp_path / "uploads" / "f.txt").symlink_to(tmp_path / "secret")
    file = await upload()

    await file.save(tmp_path / "uploads" / "f.txt")

    assert (tmp_path / "secret").read_text() == "secret"
    assert (tmp_path / "uploads" / "f.txt").read_text() == "content"


async def test_a_copy_that_fails_leaves_nothing_behind(tmp_path, monkeypatch):
    file = await upload()

    def fail(self, target):
        target.write(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(UploadFile, "_copy", fail)
    with pytest.raises(OSError, match="disk full"):
        await file.save(tmp_path / "f")

    assert everything_below(tmp_path) == []


async def test_a_folder_that_is_missing_is_the_programs_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        await (await upload()).save(tmp_path / "missing" / "f")


class SlowDisk:
    """An open file that takes nothing until somebody else has been served."""

    def __init__(self):
        self.asked, self.served = threading.Event(), threading.Event()
        self.in_time = False

    def write(self, chunk):
        self.asked.set()
        self.in_time = self.served.wait(10)


@pytest.mark.parametrize("spool_size", [0, 1000])
async def test_saving_on_a_slow_disk_leaves_the_loop_to_others(spool_size):
    file, disk = await upload(spool_size=spool_size), SlowDisk()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(file.save, disk)
        while not disk.asked.is_set():
            await anyio.sleep(0.001)
        disk.served.set()

    assert disk.in_time


async def test_what_goes_to_the_disk_is_written_outside_of_the_loop(monkeypatch):
    threads, write = [], UploadFile._write

    def watch(file, chunks):
        threads.append(threading.get_ident())
        write(file, chunks)

    monkeypatch.setattr(UploadFile, "_write", watch)

    await upload(content=b"x" * 100_000, spool_size=10)

    assert threads
    assert threading.get_ident() not in threads


async def test_it_may_be_saved_twice_and_after_reading(tmp_path):
    file = await upload()
    await file.read(3)

    await file.save(tmp_path / "one")
    await file.save(tmp_path / "two")

    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes() == b"content"
    assert await file.read() == b"tent"


async def test_it_can_be_written_to_an_open_file(tmp_path):
    file = await upload()

    with (tmp_path / "f").open("wb") as target:
        assert await file.save(target) == ""

    assert (tmp_path / "f").read_bytes() == b"content"


@pytest.mark.parametrize("spool_size", [0, 100])
async def test_a_def_view_has_what_readers_of_files_ask_for(spool_size):
    file = SyncUploadFile.of(await upload(content=b"one\ntwo\n", spool_size=spool_size))

    assert file.readlines() == [b"one\n", b"two\n"]
    file.seek(0)
    assert io.TextIOWrapper(file, "utf-8").readline() == "one\n"


async def test_an_attribute_that_no_file_has_is_none_of_an_upload():
    file = SyncUploadFile.of(await upload(content=b"one"))

    assert not hasattr(file, "nonsense")
    assert not hasattr(file, "_nonsense")


@pytest.mark.parametrize("spool_size", [0, 1000])
async def test_a_def_view_sees_the_same_file(tmp_path, spool_size):
    file = SyncUploadFile.of(await upload(content=b"one\ntwo\n", spool_size=spool_size))

    assert list(file) == [b"one\n", b"two\n"]
    assert (file.tell(), file.seek(4), file.read(), file.content_length) == (8, 4, b"two\n", 8)
    assert list(file.chunks(5)) == [b"one\nt", b"wo\n"]
    with (tmp_path / "open").open("wb") as target:
        file.save(target)
    assert file.save(tmp_path) == str(tmp_path / "f.txt")
    assert (tmp_path / "open").read_bytes() == b"one\ntwo\n"
    file.close()
    assert file.closed


async def test_a_loop_over_its_chunks_may_be_left():
    file = await upload(content=b"x" * 100)

    async for chunk in file.chunks(10):
        assert chunk == b"x" * 10
        break

    assert repr(file) == "<UploadFile 'f.txt', 100 bytes>"


async def test_closing_an_unwritten_file_of_a_full_disk_is_quiet():
    file = await upload(spool_size=0)

    class Full:
        closed = False

        def close(self):
            raise OSError("No space left on device")

    file._opened.close()
    file._opened = Full()
    await file.close()

    assert file.closed
