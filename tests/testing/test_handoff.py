import anyio
import pytest
from anyio.lowlevel import checkpoint
from hypothesis import given
from hypothesis import strategies as st

from microweb.testing.handoff import Handoff

pytestmark = pytest.mark.anyio


async def test_put_returns_after_the_item_was_taken():
    handoff = Handoff()
    seen = []

    async def give():
        await handoff.put(1)
        seen.append("given")

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(give)
        await anyio.wait_all_tasks_blocked()
        assert seen == []
        assert await handoff.take() == 1
        seen.append("taken")

    assert seen == ["taken", "given"]


async def test_the_taker_goes_on_before_a_giver_that_it_waited_for():
    handoff = Handoff()
    seen = []

    async def give():
        await handoff.put(1)
        seen.append("given")

    async def take():
        await handoff.take()
        seen.append("taken")

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(take)
        await anyio.wait_all_tasks_blocked()
        tasks.start_soon(give)

    assert seen == ["taken", "given"]


async def test_with_room_for_two_the_third_put_waits():
    handoff = Handoff(2)
    given_items = []

    async def give():
        for item in range(4):
            await handoff.put(item)
            given_items.append(item)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(give)
        await anyio.wait_all_tasks_blocked()
        assert given_items == [0, 1]
        assert await handoff.take() == 0
        await anyio.wait_all_tasks_blocked()
        assert given_items == [0, 1, 2]
        assert [await handoff.take() for _ in range(3)] == [1, 2, 3]


async def test_the_taker_gets_what_was_given_before_the_close():
    handoff = Handoff()
    handoff.put_nowait(1)
    handoff.close()

    assert await handoff.take() == 1
    assert await handoff.take() is None
    assert await handoff.take() is None


async def test_a_close_lets_a_waiting_giver_and_a_waiting_taker_go():
    full, empty = Handoff(), Handoff()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(full.put, 1)
        tasks.start_soon(empty.take)
        await anyio.wait_all_tasks_blocked()
        full.close()
        empty.close()


async def test_a_giver_learns_whether_its_item_was_accepted():
    handoff = Handoff()
    answers = []

    async def give(item):
        answers.append((item, await handoff.put(item)))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(give, "taken")
        await anyio.wait_all_tasks_blocked()
        tasks.start_soon(give, "left over")
        await anyio.wait_all_tasks_blocked()
        assert await handoff.take() == "taken"
        handoff.close()

    assert sorted(answers) == [("left over", False), ("taken", True)]


async def test_what_is_put_after_the_close_is_dropped():
    handoff = Handoff()
    handoff.put_nowait(1)
    handoff.close()

    assert not await handoff.put(2)
    handoff.put_nowait(3)

    assert await handoff.take() == 1
    assert await handoff.take() is None


async def test_a_giver_without_an_end_can_be_cancelled():
    roomy, closed = Handoff(10), Handoff()
    closed.close()

    for handoff in (roomy, closed):
        with anyio.CancelScope() as scope:
            scope.cancel()
            await handoff.put(1)
        assert scope.cancelled_caught


async def test_a_cancelled_take_loses_nothing():
    handoff = Handoff()

    with anyio.CancelScope() as scope:
        scope.cancel()
        await handoff.take()
    handoff.put_nowait(1)

    assert await handoff.take() == 1


async def test_an_item_stays_when_its_giver_is_cancelled():
    handoff = Handoff()

    with anyio.CancelScope() as scope:
        scope.cancel()
        await handoff.put(1)

    assert await handoff.take() == 1


@given(room=st.integers(0, 3), items=st.lists(st.integers()), pauses=st.lists(st.booleans()))
def test_items_arrive_complete_and_in_order(room, items, pauses):
    async def run():
        handoff = Handoff(room)
        arrived = []

        async def give():
            for item in items:
                await handoff.put(item)
                assert len(handoff._queue) <= room
            handoff.close()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(give)
            for pause in [*pauses, *[False] * len(items)]:
                if pause:
                    await checkpoint()
                elif (item := await handoff.take()) is not None:
                    arrived.append(item)
        return arrived

    assert anyio.run(run) == items
