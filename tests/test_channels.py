"""Channels within one process: who receives what, and what becomes of those who are slow."""

import gc
import weakref

import anyio
import pytest

from microweb import App, EventStream
from microweb.channels import Channels, TooSlow
from microweb.errors import WebSocketDisconnect
from microweb.testing import Client
from microweb.workers import call_from_thread

pytestmark = pytest.mark.anyio


async def take(messages, count):
    with anyio.fail_after(10):
        return [await anext(messages) for _ in range(count)]


async def test_every_subscriber_of_the_channel_gets_the_message():
    channels = Channels()

    async with channels.subscribe("a") as one, channels.subscribe("a") as two, channels.subscribe("b") as other:
        await channels.publish("a", {"n": 1})
        await channels.publish("b", "x")

        assert [await take(one, 1), await take(two, 1), await take(other, 1)] == [[{"n": 1}], [{"n": 1}], ["x"]]


async def test_a_subscriber_waits_for_the_next_message():
    channels, got = Channels(), []

    async with channels.subscribe("a") as messages, anyio.create_task_group() as tasks:

        async def listen():
            got.extend(await take(messages, 2))

        tasks.start_soon(listen)
        await anyio.wait_all_tasks_blocked()
        await channels.publish("a", 1)
        await anyio.wait_all_tasks_blocked()
        await channels.publish("a", 2)

    assert got == [1, 2]


async def test_who_has_left_is_forgotten():
    channels = Channels()

    async with channels.subscribe("a"):
        assert channels.count("a") == 1
    await channels.publish("a", 1)

    assert channels.count("a") == 0
    assert channels._subscribers == {}


async def test_waiting_outside_of_the_block_is_an_error():
    channels = Channels()
    messages = channels.subscribe("room")

    with pytest.raises(RuntimeError, match="async with"):
        await anext(messages)
    async with messages:
        pass
    with pytest.raises(RuntimeError, match="async with"):
        await anext(messages)


async def test_a_second_task_that_waits_is_an_error_and_takes_nothing_from_the_first():
    channels, got = Channels(), []

    async def listen(messages):
        got.append(await anext(messages))

    with anyio.fail_after(10):
        async with channels.subscribe("room") as messages, anyio.create_task_group() as tasks:
            with anyio.move_on_after(0):
                await anext(messages)  # One that was given up is none.
            tasks.start_soon(listen, messages)
            await anyio.wait_all_tasks_blocked()
            with pytest.raises(RuntimeError, match="two tasks"):
                await anext(messages)
            await channels.publish("room", "hello")

    assert got == ["hello"]


async def test_a_slow_subscriber_loses_the_oldest_and_is_counted():
    channels = Channels()

    async with channels.subscribe("a", size=2) as slow, channels.subscribe("a") as quick:
        for number in range(5):
            await channels.publish("a", number)

        assert await take(slow, 2) == [3, 4]
        assert await take(quick, 5) == [0, 1, 2, 3, 4]
        assert (slow.dropped, quick.dropped, channels.dropped) == (3, 0, 3)


async def test_a_slow_subscriber_is_disconnected_if_it_asked_for_that():
    channels = Channels()

    async with channels.subscribe("a", size=2, on_full="disconnect") as slow:
        for number in range(4):
            await channels.publish("a", number)

        with pytest.raises(TooSlow, match="2 messages"):
            await anext(slow)


async def test_subscribers_get_what_the_json_says_whatever_becomes_of_the_message():
    channels, message = Channels(), {"pair": (1, 2), "words": ["a"]}

    async with channels.subscribe("a") as messages:
        await channels.publish("a", message)
        message["words"].append("b")

        assert await anext(messages) == {"pair": [1, 2], "words": ["a"]}


async def test_messages_that_are_kept_no_longer_take_no_room():
    channels = Channels(history=5, history_bytes=1000)

    for number in range(100):
        await channels.publish("a", number)

    async with channels.subscribe("a", history=5) as messages:
        assert await take(messages, 5) == [95, 96, 97, 98, 99]


async def test_channels_that_are_kept_no_longer_take_no_room():
    channels = Channels(history_channels=5, history_bytes=1000)

    for number in range(100):
        await channels.publish(f"room:{number}", number)

    for number in range(95, 100):
        async with channels.subscribe(f"room:{number}", history=1) as messages:
            assert await take(messages, 1) == [number]


async def test_a_slow_subscriber_that_is_disconnected_holds_no_more_than_its_queue():
    class Message:
        """Something that is there as long as it is held."""

    channels, held = Channels(history=0), weakref.WeakSet()

    async with channels.subscribe("a", size=2, on_full="disconnect"):
        for _ in range(10):
            message = Message()
            held.add(message)
            channels.deliver("a", message)
            del message
        gc.collect()

        assert len(held) == 2


async def test_a_subscription_that_begins_anew_is_not_behind():
    channels = Channels()

    async with channels.subscribe("a", size=1, on_full="disconnect") as messages:
        for number in range(3):
            await channels.publish("a", number)
        messages.forget()
        await channels.publish("a", "new")

        assert await anext(messages) == "new"


async def test_who_gave_up_waiting_stops_no_publisher_and_may_wait_again():
    channels = Channels()

    async with channels.subscribe("a") as messages:
        with anyio.move_on_after(0.01):
            await anext(messages)
        await channels.publish("a", 1)
        await channels.publish("a", 2)
        assert [await anext(messages), await anext(messages)] == [1, 2]

        with anyio.move_on_after(0.01):
            await anext(messages)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(channels.publish, "a", 3)
            assert await anext(messages) == 3


async def test_late_joiners_get_the_last_messages_first():
    channels = Channels(history=3)
    for number in range(5):
        await channels.publish("a", number)

    async with channels.subscribe("a", history=2) as two, channels.subscribe("a", history=10) as all_kept:
        await channels.publish("a", 5)

        assert await take(two, 3) == [3, 4, 5]
        assert await take(all_kept, 4) == [2, 3, 4, 5]


async def test_history_never_fills_more_than_the_queue_holds():
    channels = Channels()
    for number in range(5):
        await channels.publish("a", number)

    async with channels.subscribe("a", size=2, history=5) as messages:
        assert await take(messages, 2) == [3, 4]


async def test_the_number_of_channels_with_a_history_is_bounded():
    channels = Channels(history=1, history_channels=2)

    for name in ("a", "b", "a", "c"):
        await channels.publish(name, name)

    assert sorted(channels._histories) == ["a", "c"]


async def test_the_size_of_all_histories_together_is_bounded():
    channels = Channels(history_bytes=10_000)
    await channels.publish("silent", "x" * 900)
    for number in range(100):
        await channels.publish("busy", f"{number} {'x' * 900}")

    async with channels.subscribe("silent", history=1) as silent, channels.subscribe("busy", history=100) as busy:
        await channels.publish("silent", "now")

        assert await take(silent, 1) == ["now"]
        assert [message.split()[0] for message in await take(busy, 10)] == [str(number) for number in range(90, 100)]


async def test_a_message_too_large_for_the_history_is_delivered_and_not_kept():
    channels = Channels(history_bytes=100)

    async with channels.subscribe("a") as messages:
        await channels.publish("a", "x" * 200)

        assert await take(messages, 1) == ["x" * 200]
        assert channels._histories == {}


async def test_nothing_is_kept_without_a_history():
    channels = Channels(history=0)

    await channels.publish("a", 1)

    assert channels._histories == {}


async def test_what_has_no_json_form_is_the_publishers_error():
    with pytest.raises(TypeError, match="JSON"):
        await Channels().publish("a", object())


@pytest.mark.parametrize("options", [{"history": -1}, {"history_channels": -1}, {"history_bytes": -1}])
def test_channels_keep_no_less_than_nothing(options):
    with pytest.raises(ValueError, match="0 or more messages"):
        Channels(**options)


def test_nobody_asks_for_less_history_than_none():
    with pytest.raises(ValueError, match="a history of 0 messages or more, not -1"):
        Channels().subscribe("a", history=-1)


@pytest.mark.parametrize("options", [{"size": 0}, {"on_full": "wait"}])
def test_options_are_checked(options):
    with pytest.raises(ValueError, match="on_full"):
        Channels().subscribe("a", **options)


async def test_a_def_view_reaches_websockets_and_event_streams():
    app = App(__name__)

    @app.websocket("/ws")
    async def socket(websocket):
        await websocket.accept()
        async with app.channels.subscribe("news") as messages:
            await websocket.send_text("ready")
            async for message in messages:
                await websocket.send_json(message)

    @app.get("/events")
    async def events():
        async def items():
            async with app.channels.subscribe("news", history=1) as messages:
                async for message in messages:
                    yield message

        return EventStream(items())

    @app.post("/publish")
    def publish():
        call_from_thread(app.channels.publish, "news", {"n": 1})
        return "published"

    async with Client(app) as client, client.websocket("/ws") as ws:
        assert await ws.receive() == "ready"
        await client.post("/publish")
        assert await ws.receive_json() == {"n": 1}
        async with client.stream("GET", "/events") as response:
            async for chunk in response.aiter_text():
                assert chunk == 'data: {"n":1}\n\n'
                break
        await ws.close()
        await client.post("/publish")


async def test_a_websocket_that_is_too_slow_is_closed_with_1013_and_not_logged(caplog):
    app = App(__name__)

    @app.websocket("/ws")
    async def socket(websocket):
        await websocket.accept()
        async with app.channels.subscribe("news", size=1, on_full="disconnect") as messages:
            await app.channels.publish("news", 1)
            await app.channels.publish("news", 2)
            async for message in messages:
                await websocket.send_json(message)

    async with Client(app) as client, client.websocket("/ws") as ws:
        with pytest.raises(WebSocketDisconnect) as closed:
            await ws.receive()

    assert (closed.value.code, closed.value.reason) == (1013, "a subscriber of 'news' was more than 1 messages behind")
    assert caplog.records == []


async def test_an_event_stream_that_is_too_slow_ends_and_is_not_logged(caplog):
    app, ends = App(__name__), []

    @app.get("/events")
    async def events():
        async def items():
            try:
                async with app.channels.subscribe("news", size=1, on_full="disconnect") as messages:
                    yield "joined"
                    await app.channels.publish("news", 1)
                    await app.channels.publish("news", 2)
                    async for message in messages:
                        yield message
            finally:
                ends.append(app.channels.count("news"))

        return EventStream(items())

    async with Client(app) as client:
        response = await client.get("/events")

    assert response.text == "data: joined\n\n"
    assert ends == [0]
    assert caplog.records == []
