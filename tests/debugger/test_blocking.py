"""The watch on the event loop: who held it, and where it says so."""

import asyncio
import logging
import threading
import time
from functools import partial

import anyio
import pytest

from microweb import App, Converter
from microweb.debugger.blocking import LoopWatch, find_loop
from microweb.testing import Client

pytestmark = pytest.mark.anyio


def hold(seconds: float) -> None:
    """Hold the thread, as a blocking call would."""
    time.sleep(seconds)


async def wait_for_line(caplog) -> str:
    with anyio.fail_after(10):
        while not (lines := [record.getMessage() for record in caplog.records if "held" in record.getMessage()]):
            await anyio.sleep(0.01)
    return lines[0]


def watches() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "microweb loop watch"]


@pytest.mark.slow
async def test_a_view_that_blocks_is_named_with_file_and_line(caplog):
    app = App(__name__, debug=True)

    @app.get("/")
    async def slow_home():
        hold(0.4)
        return "done"

    with caplog.at_level(logging.WARNING, "microweb"):
        async with Client(app) as client:
            await client.get("/")
            line = await wait_for_line(caplog)

    assert "the view " in line
    assert "slow_home" in line
    assert f"{__file__}:{hold.__code__.co_firstlineno + 2} in hold" in line


@pytest.mark.slow
async def test_a_view_of_a_mounted_app_is_named_by_its_request(caplog):
    inner, outer = App("inner"), App("outer", debug=True)

    @inner.get("/")
    async def slow_home():
        hold(0.4)
        return "done"

    outer.mount("/inner", inner)
    async with Client(outer) as client:
        await client.get("/inner/")
        line = await wait_for_line(caplog)

    assert "<Request GET /inner/> held the event loop" in line


@pytest.mark.slow
async def test_code_outside_of_any_view_is_told_too(caplog):
    async with Client(App(__name__, debug=True)):
        hold(0.4)
        line = await wait_for_line(caplog)

    assert line.startswith("a task outside of any view held the event loop for ")


async def test_the_watch_ends_with_the_app():
    async with Client(App(__name__, debug=True)):
        (thread,) = watches()

    with anyio.fail_after(10):
        while thread.is_alive():
            await anyio.sleep(0.01)


async def test_without_debug_nothing_watches():
    async with Client(App(__name__)):
        assert watches() == []


@pytest.mark.slow
async def test_a_line_that_waits_in_a_library_is_named_with_where_it_waits(caplog):
    app = App(__name__, debug=True)

    @app.get("/")
    async def waiting_home():
        threading.Event().wait(0.4)
        return "done"

    async with Client(app) as client:
        await client.get("/")
        line = await wait_for_line(caplog)

    assert f"{__file__}:{waiting_home.__code__.co_firstlineno + 2} in waiting_home (which waits for wait, " in line


@pytest.mark.slow
async def test_what_the_program_has_no_part_in_is_not_told(caplog):
    with LoopWatch(App.__call__):
        find_loop()(partial(time.sleep, 0.4))
        await anyio.sleep(0.5)
        hold(0.4)
        line = await wait_for_line(caplog)

    assert " in hold" in line
    assert caplog.text.count("held the event loop") == 1


@pytest.mark.slow
async def test_a_converter_is_no_view(caplog):
    class Slow(Converter):
        def to_python(self, value):
            hold(0.4)
            return value

    app = App(__name__, debug=True)
    app.converters["slow"] = Slow

    @app.get("/<slow:name>")
    async def home(name):
        return name

    async with Client(app) as client:
        await client.get("/ada")
        line = await wait_for_line(caplog)

    assert line.startswith("a task outside of any view held")


@pytest.mark.slow
async def test_a_watch_that_is_left_while_the_loop_is_held_ends(caplog):
    others = watches()  # Of a test before this one; the last look of a watch may still be under way.
    with LoopWatch(App.__call__):
        (thread,) = [each for each in watches() if each not in others]
        hold(0.4)

    hold(0.3)
    thread.join(10)

    assert not thread.is_alive()
    assert "held the event loop" not in caplog.text


def test_a_loop_that_is_closed_ends_its_watch():
    async def enter():
        LoopWatch(App.__call__).__enter__()
        return watches()[0]

    thread = asyncio.run(enter())
    thread.join(10)

    assert not thread.is_alive()
