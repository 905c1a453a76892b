import asyncio
import contextvars

import anyio
import pytest

from microweb.testing.detached import DetachedTask

pytestmark = pytest.mark.anyio


async def test_it_ends_by_itself():
    seen = []

    async def work():
        await anyio.lowlevel.checkpoint()
        seen.append("done")

    task = DetachedTask(work, "work")
    assert task.running
    await task.wait()

    assert seen == ["done"]
    assert not task.running
    assert task.error is None


async def test_an_error_is_kept_and_not_raised():
    async def fail():
        raise KeyError("x")

    task = DetachedTask(fail, "fail")
    await task.wait()

    assert isinstance(task.error, KeyError)


async def test_a_verdict_of_pytest_is_kept_like_an_error():
    async def fail():
        pytest.fail("wrong")

    task = DetachedTask(fail, "fail")
    await task.wait()

    assert isinstance(task.error, pytest.fail.Exception)


async def test_cancelling_is_no_error():
    task = DetachedTask(anyio.sleep_forever, "sleep")

    task.cancel()
    await task.wait()

    assert task.error is None


async def test_a_task_may_be_cancelled_before_its_first_step_and_after_its_last():
    async def work():
        await anyio.lowlevel.checkpoint()

    task = DetachedTask(work, "work")
    await task.wait()
    task.cancel()

    assert not task.running


async def test_waiting_has_a_deadline():
    task = DetachedTask(anyio.sleep_forever, "sleep")

    assert not await task.wait_until(anyio.current_time() + 0.001)
    task.cancel()
    assert await task.wait_until(anyio.current_time() + 1)


async def test_waiting_until_a_deadline_goes_on_when_the_waiter_is_cancelled():
    released = anyio.Event()
    task = DetachedTask(released.wait, "wait")
    ended = None

    with anyio.CancelScope() as scope:
        scope.cancel()
        released.set()
        ended = await task.wait_until(anyio.current_time() + 1)

    assert ended is True


async def test_it_runs_in_a_copy_of_the_callers_context():
    variable = contextvars.ContextVar("variable", default="unset")
    seen = []

    async def work():
        seen.append(variable.get())
        variable.set("inside")

    variable.set("outside")
    await DetachedTask(work, "work").wait()

    assert seen == ["outside"]
    assert variable.get() == "outside"


async def test_it_outlives_the_scope_that_started_it():
    released = anyio.Event()

    with anyio.CancelScope() as scope:
        task = DetachedTask(released.wait, "wait")
        scope.cancel()
    await anyio.wait_all_tasks_blocked()
    assert task.running

    released.set()
    await task.wait()


def test_the_end_of_an_asyncio_loop_cancels_it():
    ended = []

    async def work():
        try:
            await anyio.sleep_forever()
        finally:
            ended.append("work")

    async def main():
        DetachedTask(work, "work")
        await asyncio.sleep(0)

    asyncio.run(main())

    assert ended == ["work"]


def test_the_end_of_a_trio_run_cancels_it():
    ended = []

    async def work():
        try:
            await anyio.sleep_forever()
        finally:
            ended.append("work")

    async def main():
        DetachedTask(work, "work")
        await anyio.lowlevel.checkpoint()

    anyio.run(main, backend="trio")

    assert ended == ["work"]


def test_a_factory_may_run_the_first_step_at_once():
    class EagerTask(asyncio.Task):
        """What ``asyncio.eager_task_factory`` of Python 3.12 does, for an app that never waits."""

        def __init__(self, coroutine, *, loop, **options):
            try:
                coroutine.send(None)
            except StopIteration:
                pass
            super().__init__(done(), loop=loop, **options)

    async def done():
        return None

    async def work():
        return None

    async def main():
        asyncio.get_running_loop().set_task_factory(lambda loop, coroutine, **kw: EagerTask(coroutine, loop=loop, **kw))
        task = DetachedTask(work, "work")
        assert not task.running

    asyncio.run(main())
