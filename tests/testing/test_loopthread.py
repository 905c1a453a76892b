import threading

import anyio
import pytest

from microweb.testing.loopthread import LoopThread


@pytest.fixture(params=["asyncio", "trio"])
def thread(request):
    loop_thread = LoopThread(request.param, None)
    yield loop_thread
    loop_thread.stop()


def test_an_async_function_runs_in_the_thread(thread):
    async def identify(*args, **options):
        await anyio.lowlevel.checkpoint()
        return threading.get_ident(), args, options

    ident, args, options = thread.call(identify, 1, key=2)

    assert ident != threading.get_ident()
    assert (args, options) == ((1,), {"key": 2})


def test_a_plain_function_runs_in_the_thread(thread):
    assert thread.run(threading.get_ident) != threading.get_ident()


@pytest.mark.parametrize("error", [KeyError("x"), pytest.fail.Exception("verdict"), StopAsyncIteration()])
def test_errors_are_raised_on_the_callers_side(thread, error):
    async def fail():
        raise error

    with pytest.raises(type(error)) as caught:
        thread.call(fail)

    assert caught.value is error
    assert thread.run(int) == 0


def test_none_is_a_result(thread):
    async def nothing():
        return None

    assert thread.call(nothing) is None


def test_stopping_ends_the_thread():
    thread = LoopThread("asyncio", {"debug": False})
    native = thread.run(threading.current_thread)

    thread.stop()

    assert not native.is_alive()
