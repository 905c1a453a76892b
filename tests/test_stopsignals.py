"""Signals that stop a server: the app hears them, and the server's own handler does what it would have done alone."""

import signal
import threading
from contextlib import contextmanager

import anyio
import pytest

from microweb import App
from microweb.failures import LifespanFailed
from microweb.stopsignals import StopSignals
from microweb.testing import Client

NUMBERS = [signal.SIGTERM, signal.SIGINT]


@contextmanager
def handling(number, handler):
    """As a server does: a handler of its own, for the time that it runs."""
    before = signal.signal(number, handler)
    try:
        yield
    finally:
        signal.signal(number, before)


@pytest.mark.anyio
@pytest.mark.parametrize("number", NUMBERS)
async def test_the_app_hears_a_signal_before_the_server_and_long_before_the_lifespan_ends(number):
    app, seen = App(__name__), []

    with handling(number, lambda *_: seen.append(app.shutting_down.is_set())):
        async with Client(app):
            signal.raise_signal(number)
            with anyio.fail_after(10):
                await app.shutting_down.wait()

    assert seen == [True]


@pytest.mark.anyio
@pytest.mark.parametrize("number", NUMBERS)
async def test_a_start_that_does_not_end_is_given_up_at_a_signal(number):
    app, calls = App(__name__), []

    @app.lifespan
    async def outer(app):
        yield
        calls.append("the outer exit")

    @app.lifespan
    async def inner(app):
        signal.raise_signal(number)
        await anyio.sleep_forever()
        yield

    with (
        handling(number, lambda *_: calls.append("the server")),
        anyio.fail_after(30),
        pytest.raises(LifespanFailed, match="^the start was cancelled$"),
    ):
        await Client(app).__aenter__()

    assert calls == ["the server", "the outer exit"]


@pytest.mark.parametrize("number", NUMBERS)
def test_the_servers_handler_is_back_at_the_end(number):
    def handler(*_):
        pass

    with handling(number, handler):
        with StopSignals(print):
            assert signal.getsignal(number) is not handler

        assert signal.getsignal(number) is handler


@pytest.mark.parametrize("number", NUMBERS)
@pytest.mark.parametrize("default", [signal.SIG_DFL, signal.SIG_IGN, signal.default_int_handler])
def test_what_no_server_handles_is_left_as_it_is(number, default):
    with handling(number, default), StopSignals(print):
        assert signal.getsignal(number) is default


def test_outside_of_the_main_thread_nothing_is_touched():
    heard = []

    def hear():
        with StopSignals(print):
            heard.append(signal.getsignal(signal.SIGTERM))

    def handler(*_):
        pass

    with handling(signal.SIGTERM, handler):
        thread = threading.Thread(target=hear)
        thread.start()
        thread.join(10)

    assert heard == [handler]


def test_a_handler_that_was_set_later_stays_and_may_call_what_was_there_before():
    heard, handled = [], []

    with handling(signal.SIGTERM, lambda *_: handled.append("server")):
        with StopSignals(lambda: heard.append("app")):
            before = signal.getsignal(signal.SIGTERM)

            def later(number, frame):
                handled.append("later")
                before(number, frame)

            signal.signal(signal.SIGTERM, later)
        signal.raise_signal(signal.SIGTERM)

    assert handled == ["later", "server"]
    assert heard == []


def test_a_block_that_is_left_in_another_thread_hears_no_more():
    heard, signals = [], StopSignals(lambda: heard.append("app"))

    with handling(signal.SIGTERM, lambda *_: heard.append("server")):
        signals.__enter__()
        thread = threading.Thread(target=signals.__exit__)  # As by the garbage collector.
        thread.start()
        thread.join(10)
        signal.raise_signal(signal.SIGTERM)

    assert heard == ["server"]


def test_two_apps_in_one_process_both_hear():
    heard = []

    with handling(signal.SIGTERM, lambda *_: heard.append("server")):
        with StopSignals(lambda: heard.append("first")), StopSignals(lambda: heard.append("second")):
            signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGTERM)

    assert heard == ["second", "first", "server", "server"]
