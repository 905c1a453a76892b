"""Channels through a real Redis, started for these tests."""

import contextlib
from urllib.parse import urlsplit

import anyio
import anyio.abc
import pytest
import sniffio

from microweb import App
from microweb.testing import Client
from tests.programs import find_free_port
from tests.services import running_redis

redis = pytest.importorskip("redis")

from microweb.channels.redis import RedisChannels  # noqa: E402 - only where redis-py is installed

pytestmark = [pytest.mark.anyio, pytest.mark.wire]


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    """The URL of a Redis that lives as long as this file's tests."""
    with running_redis(find_free_port(), tmp_path_factory.mktemp("redis")) as url:
        yield url


@pytest.fixture
def client(url):
    """Somebody else on the same Redis."""
    with redis.Redis.from_url(url) as client:
        yield client


async def nobody_listens(client, channel):
    """Wait until no process is subscribed to a channel."""
    with anyio.fail_after(30):
        while client.pubsub_numsub(f"microweb:{channel}") != [(f"microweb:{channel}".encode(), 0)]:
            await anyio.sleep(0.01)


async def take(messages, count):
    with anyio.fail_after(30):
        return [await anext(messages) for _ in range(count)]


async def test_what_one_process_publishes_another_receives(url):
    async with (
        RedisChannels(url) as here,
        RedisChannels(url) as there,
        here.subscribe("one") as mine,
        there.subscribe("one") as theirs,
        there.subscribe("two") as other,
    ):
        await here.publish("one", {"n": 1})
        await here.publish("two", "gr\u00fc\u00df")

        assert await take(mine, 1) == await take(theirs, 1) == [{"n": 1}]
        assert await take(other, 1) == ["gr\u00fc\u00df"]


async def test_late_joiners_of_any_process_get_the_last_messages(url):
    async with RedisChannels(url, history=3) as here, RedisChannels(url, history=3) as there:
        for number in range(5):
            await here.publish("late", number)

        async with there.subscribe("late", history=10) as messages, there.subscribe("late") as none:
            await here.publish("late", 5)

            assert await take(messages, 4) == [2, 3, 4, 5]
            assert await take(none, 1) == [5]


async def test_no_message_is_missed_or_doubled_while_somebody_joins(url):
    async with RedisChannels(url, history=1000) as here, RedisChannels(url) as there:

        async def publish():
            for number in range(200):
                await here.publish("busy", number)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(publish)
            for _ in range(20):
                async with there.subscribe("busy", history=1000, size=1000) as messages:
                    got = await take(messages, 5)
                    assert got == [0, 1, 2, 3, 4]
            async with there.subscribe("busy", history=1000, size=1000) as messages:
                assert await take(messages, 200) == list(range(200))


async def test_the_last_one_to_leave_ends_the_subscription(url, client):
    async with RedisChannels(url) as channels:
        for _ in range(2):
            async with channels.subscribe("brief") as messages, channels.subscribe("brief"):
                await channels.publish("brief", 1)
                assert await take(messages, 1) == [1]
                assert channels.count("brief") == 2

        assert channels.count("brief") == 0
        await nobody_listens(client, "brief")


async def test_who_is_cancelled_while_joining_leaves_nothing(url, client):
    async with RedisChannels(url) as channels:
        with anyio.CancelScope() as scope:
            scope.cancel()
            async with channels.subscribe("cancelled"):
                raise AssertionError("not reached")

        assert channels.count("cancelled") == 0
        await nobody_listens(client, "cancelled")


async def test_who_waits_for_one_that_is_cancelled_while_joining_joins_all_the_same(url):
    joined = anyio.Event()

    async with RedisChannels(url) as channels, anyio.create_task_group() as tasks:

        async def join(scope):
            with scope:
                async with channels.subscribe("together") as messages:
                    joined.set()
                    assert await take(messages, 1) == ["hello"]

        first = anyio.CancelScope()
        tasks.start_soon(join, first)
        await anyio.wait_all_tasks_blocked()
        tasks.start_soon(join, anyio.CancelScope())
        first.cancel()
        with anyio.fail_after(30):
            await joined.wait()
        await channels.publish("together", "hello")


@pytest.mark.slow
async def test_all_who_join_while_redis_is_gone_are_told(tmp_path, caplog):
    port, failures = find_free_port(), []

    async def join(channels):
        try:
            async with channels.subscribe("away"):
                pass
        except redis.ConnectionError:
            failures.append("told")

    with running_redis(port, tmp_path) as url:
        channels = RedisChannels(url)
        await channels.__aenter__()
    with anyio.fail_after(30):
        while "have lost Redis" not in caplog.text:
            await anyio.sleep(0.05)
        async with anyio.create_task_group() as tasks:
            for _ in range(3):
                tasks.start_soon(join, channels)
        with running_redis(port, tmp_path):
            async with channels.subscribe("away") as messages:
                await channels.publish("away", "back")
                assert await take(messages, 1) == ["back"]
        await channels.__aexit__(None, None, None)

    assert failures == ["told"] * 3


@pytest.mark.slow
async def test_a_lost_connection_is_made_again(url, client, caplog):
    async with RedisChannels(url) as channels, channels.subscribe("lost") as messages:
        client.client_kill_filter(_type="pubsub", skipme=True)
        got = []

        async def listen():
            got.extend(await take(messages, 1))
            tasks.cancel_scope.cancel()

        with anyio.fail_after(30):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(listen)
                while True:
                    await channels.publish("lost", "again")
                    await anyio.sleep(0.05)

    assert got == ["again"]


@pytest.mark.slow
async def test_a_redis_that_comes_back_is_found_again(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr("microweb.channels.redis.RETRY", 0.05)
    port = find_free_port()
    with running_redis(port, tmp_path) as url:
        channels = RedisChannels(url)
        await channels.__aenter__()
        messages = await channels.subscribe("gone").__aenter__()

    with anyio.fail_after(30):
        while "have lost Redis" not in caplog.text:
            await anyio.sleep(0.05)
        with running_redis(port, tmp_path):
            while not messages._queue:
                await channels.publish("gone", "back")
                await anyio.sleep(0.05)
            assert await take(messages, 1) == ["back"]
            await messages.__aexit__(None, None, None)
        await channels.__aexit__(None, None, None)


async def test_what_others_write_on_a_channel_is_passed_over(url, client, caplog):
    async with RedisChannels(url) as channels, channels.subscribe("foreign") as messages:
        for line in ("hello", "1:{", ""):
            client.publish("microweb:foreign", line)
        await channels.publish("foreign", "ours")

        assert await take(messages, 1) == ["ours"]
    assert caplog.text.count("not ours") == 3


async def test_the_app_opens_and_closes_them(url):
    app = App(__name__)
    app.channels = RedisChannels(url)

    @app.get("/")
    async def view():
        async with app.channels.subscribe("app") as messages:
            await app.channels.publish("app", "through redis")
            return await anext(messages)

    async with Client(app) as client:
        assert (await client.get("/")).text == "through redis"

    with pytest.raises(RuntimeError, match="when the app starts"):
        await app.channels.publish("app", 1)


async def test_a_redis_that_is_not_there_stops_the_start():
    app = App(__name__)
    app.channels = RedisChannels(f"redis://127.0.0.1:{find_free_port()}/0")

    with pytest.raises(Exception, match=r"(?i)start|connect"):
        async with Client(app):
            pass


async def test_what_the_history_holds_is_not_delivered_a_second_time(url):
    """The message is published between the subscription and the reading of the history, and comes late."""
    async with RedisChannels(url) as here, anyio.create_task_group() as tasks:
        answered = anyio.Event()
        channel = f"late on {sniffio.current_async_library()}"

        async def forward(source, destination, change):
            async with source, destination:
                with contextlib.suppress(anyio.EndOfStream, anyio.ClosedResourceError, anyio.BrokenResourceError):
                    while True:
                        data = await source.receive()
                        await change(data)
                        await destination.send(data)

        async def serve(visitor):
            server = await anyio.connect_tcp("127.0.0.1", urlsplit(url).port)
            asks_history = False

            async def ask(data):
                nonlocal asks_history
                if b"LRANGE" in data:
                    asks_history = True
                    await here.publish(channel, "hello")

            async def answer(data):
                if asks_history:
                    tasks.start_soon(delay)
                elif b"hello" in data:
                    await answered.wait()

            async def delay():
                await anyio.sleep(0.05)
                answered.set()

            async with anyio.create_task_group() as both:
                both.start_soon(forward, visitor, server, ask)
                both.start_soon(forward, server, visitor, answer)

        async def listen(*, task_status):
            async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener:
                task_status.started(listener.extra(anyio.abc.SocketAttribute.local_port))
                await listener.serve(serve)

        port = await tasks.start(listen)
        async with (
            RedisChannels(f"redis://127.0.0.1:{port}") as there,
            there.subscribe(channel, history=10) as messages,
        ):
            await here.publish(channel, "goodbye")
            assert await take(messages, 2) == ["hello", "goodbye"]
        tasks.cancel_scope.cancel()
