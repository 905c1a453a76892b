"""Channels through a real Redis, started for these tests."""

import asyncio
import contextlib
import gc
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


@contextlib.asynccontextmanager
async def delaying(url, *, ask, answer):
    """The URL of a proxy before Redis: ``ask`` and ``answer`` may hold back what goes over a connection."""

    async def forward(source, destination, change):
        async with source, destination:
            with contextlib.suppress(anyio.EndOfStream, anyio.ClosedResourceError, anyio.BrokenResourceError):
                while True:
                    data = await source.receive()
                    await change(data)
                    await destination.send(data)

    async def serve(visitor):
        server = await anyio.connect_tcp("127.0.0.1", urlsplit(url).port)
        connection = object()
        async with anyio.create_task_group() as both:
            both.start_soon(forward, visitor, server, lambda data: ask(connection, data))
            both.start_soon(forward, server, visitor, lambda data: answer(connection, data))

    async with (
        await anyio.create_tcp_listener(local_host="127.0.0.1") as listener,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(listener.serve, serve)
        yield f"redis://127.0.0.1:{listener.extra(anyio.abc.SocketAttribute.local_port)}"
        tasks.cancel_scope.cancel()


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


@pytest.mark.parametrize("options", ["", "?max_connections=3"])
async def test_nobody_is_refused_when_more_come_at_once_than_there_are_connections(url, options):
    async with (
        RedisChannels(url + options) as channels,
        channels.subscribe("rush", size=1000) as messages,
        anyio.create_task_group() as tasks,
    ):

        async def come(number):
            await channels.publish("rush", number)
            async with channels.subscribe(f"rush {number}", history=1):
                pass

        for number in range(200):
            tasks.start_soon(come, number)

        assert sorted(await take(messages, 200)) == list(range(200))


async def test_the_last_one_to_leave_ends_the_subscription(url, client):
    async with RedisChannels(url) as channels:
        for _ in range(2):
            async with channels.subscribe("brief") as messages, channels.subscribe("brief"):
                await channels.publish("brief", 1)
                assert await take(messages, 1) == [1]
                assert channels.count("brief") == 2

        assert channels.count("brief") == 0
        await nobody_listens(client, "brief")


async def test_who_is_cancelled_while_waiting_ends_the_subscription(url, client):
    async with RedisChannels(url) as channels:
        with anyio.CancelScope() as scope:
            async with channels.subscribe("waiting") as messages, anyio.create_task_group() as tasks:
                tasks.start_soon(anext, messages)
                await anyio.wait_all_tasks_blocked()
                scope.cancel()

        assert channels.count("waiting") == 0
        await nobody_listens(client, "waiting")


async def test_who_leaves_after_the_channels_have_closed_may_do_so(url):
    channels = RedisChannels(url)
    await channels.__aenter__()

    async with channels.subscribe("long"):
        await channels.__aexit__(None, None, None)

    assert channels.count("long") == 0


async def test_what_is_kept_of_a_silent_channel_has_a_lifetime(url, client):
    async with RedisChannels(url, lifetime=100) as channels:
        await channels.publish("silent", 1)

    assert 0 < client.ttl("microweb:number:silent") <= 100
    assert 0 < client.ttl("microweb:history:silent") <= 100


async def test_no_more_is_kept_of_a_channel_than_was_asked_for(url, client):
    channel = f"news on {sniffio.current_async_library()}"

    async with RedisChannels(url, history=2, prefix="some:") as some, RedisChannels(url, history=0, prefix="no:") as no:
        for number in range(5):
            await some.publish(channel, number)
            await no.publish(channel, number)

    assert client.lrange(f"some:history:{channel}", 0, -1) == [b"4:3", b"5:4"]
    assert not client.exists(f"no:history:{channel}")


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
        except redis.ConnectionError as error:
            failures.append(error)

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

    assert len(set(failures)) == 3, "an error that several share has a traceback of them all"


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
async def test_a_connection_that_dies_without_a_word_is_made_again(url):
    known, dead = set(), set()

    async def pass_on(connection, data):
        known.add(connection)
        if connection in dead:
            await anyio.sleep_forever()

    async def publish(channels):
        while True:
            await channels.publish("quiet", "after")
            await anyio.sleep(0.05)

    async with (
        delaying(url, ask=pass_on, answer=pass_on) as wire,
        RedisChannels(wire, timeout=1) as here,
        RedisChannels(url) as there,
        here.subscribe("quiet") as messages,
        anyio.create_task_group() as tasks,
    ):
        await there.publish("quiet", "before")
        assert await take(messages, 1) == ["before"]

        dead.update(known)
        tasks.start_soon(publish, there)

        assert await take(messages, 1) == ["after"]
        tasks.cancel_scope.cancel()


async def test_a_url_that_asks_for_text_is_understood(url):
    async with RedisChannels(f"{url}?decode_responses=true", history=1) as channels:
        await channels.publish("news", "earlier")

        async with channels.subscribe("news", history=1) as messages:
            await channels.publish("news", "later")

            assert await take(messages, 2) == ["earlier", "later"]


async def test_a_publisher_whose_idle_connection_was_closed_meanwhile_makes_another(url, client):
    async with RedisChannels(url) as channels, channels.subscribe("idle") as messages:
        await channels.publish("idle", "first")

        client.client_kill_filter(_type="normal", skipme=True)
        async with channels.subscribe("something else"):
            pass  # Redis has answered on the other connection since: the end of this one has arrived.
        await channels.publish("idle", "second")

        assert await take(messages, 2) == ["first", "second"]


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


async def test_a_redis_that_is_not_there_stops_the_start_and_leaves_no_loop():
    app = App(__name__)
    app.channels = RedisChannels(f"redis://127.0.0.1:{find_free_port()}/0")
    loops = {loop for loop in gc.get_objects() if isinstance(loop, asyncio.BaseEventLoop) and not loop.is_closed()}

    with pytest.raises(Exception, match=r"(?i)start|connect"):
        async with Client(app):
            pass

    for loop in gc.get_objects():
        assert not isinstance(loop, asyncio.BaseEventLoop) or loop.is_closed() or loop in loops


async def test_what_the_history_holds_is_not_delivered_a_second_time(url):
    """The message is published between the subscription and the reading of the history, and comes late."""
    channel = f"late on {sniffio.current_async_library()}"
    answered, readers = anyio.Event(), []

    async def ask(connection, data):
        if b"LRANGE" in data:
            readers.append(connection)
            await here.publish(channel, "hello")

    async def answer(connection, data):
        if connection in readers:
            tasks.start_soon(delay)
        elif b"hello" in data:
            await answered.wait()

    async def delay():
        await anyio.sleep(0.05)
        answered.set()

    async with (
        RedisChannels(url) as here,
        anyio.create_task_group() as tasks,
        delaying(url, ask=ask, answer=answer) as slow,
        RedisChannels(slow) as there,
        there.subscribe(channel, history=10) as messages,
    ):
        await here.publish(channel, "goodbye")
        assert await take(messages, 2) == ["hello", "goodbye"]


async def test_who_joins_after_one_that_gave_up_waits_for_an_answer_of_its_own(url):
    """The answer to the first is no news of the second, which is still on its way."""
    first, left, asked_again = anyio.CancelScope(), anyio.Event(), anyio.Event()

    async def ask(_, data):
        if b"UNSUBSCRIBE" in data:
            await here.publish("given up", "still the first one's")
            left.set()
        elif b"given up" in data and left.is_set():
            asked_again.set()
            await anyio.sleep(0.1)
        elif b"given up" in data:
            first.cancel()

    async def answer(_, data):
        if b"given up" in data:
            await asked_again.wait()

    async with RedisChannels(url) as here, delaying(url, ask=ask, answer=answer) as slow, RedisChannels(slow) as there:
        with first:
            async with there.subscribe("given up"):
                raise AssertionError("not reached")
        with anyio.fail_after(30):
            await left.wait()
        async with there.subscribe("given up") as messages:
            await here.publish("given up", "hello")
            assert await take(messages, 1) == ["hello"]


async def test_who_gives_up_at_any_moment_leaves_nothing_behind(url, client, caplog):
    async def join(channels, first):
        for number in range(first, 2500, 50):
            with anyio.move_on_after(number / 250_000):
                async with channels.subscribe("any moment", history=1):
                    pass

    async with RedisChannels(url) as channels:
        async with anyio.create_task_group() as tasks:
            for first in range(20):
                tasks.start_soon(join, channels, first)
        await nobody_listens(client, "any moment")

        assert channels.count("any moment") == 0
    assert caplog.text == ""


async def test_a_connection_that_is_lost_while_many_join_is_made_again_for_all(url, client):
    async def join(channels, name):
        for number in range(40):
            async with channels.subscribe(name):
                if (name, number) == ("many 0", 20):
                    client.client_kill_filter(_type="pubsub", skipme=True)

    with anyio.fail_after(30):
        async with RedisChannels(url) as channels:
            async with anyio.create_task_group() as tasks:
                for number in range(5):
                    tasks.start_soon(join, channels, f"many {number}")
            for number in range(5):
                await nobody_listens(client, f"many {number}")


async def test_who_left_a_connection_that_is_lost_is_not_subscribed_on_the_next(url, client):
    async with RedisChannels(url) as channels:
        async with channels.subscribe("left"):
            client.client_kill_filter(_type="pubsub", skipme=True)
        with anyio.fail_after(30):
            async with channels.subscribe("stayed"):
                await nobody_listens(client, "left")


async def test_a_start_that_is_given_up_leaves_no_connection(url, client):
    for number in range(40):
        with anyio.move_on_after(number / 5000):
            async with RedisChannels(url):
                pass

    with anyio.fail_after(30):
        while len(client.client_list()) > 1:
            await anyio.sleep(0.01)


async def test_a_redis_that_refuses_subscriptions_stops_the_start(url, client):
    client.execute_command("ACL", "SETUSER", "deaf", "on", ">secret", "~*", "+@all", "resetchannels")

    with anyio.fail_after(30), pytest.raises(redis.exceptions.NoPermissionError):
        async with RedisChannels(url.replace("//", "//deaf:secret@")):
            raise AssertionError("not reached")


async def test_a_channel_that_redis_refuses_is_the_error_of_who_joins_it(url, client):
    rules = ["~*", "+@all", "resetchannels", "&microweb:", "&microweb:open"]
    client.execute_command("ACL", "SETUSER", "some", "on", ">secret", *rules)

    with anyio.fail_after(30):
        async with RedisChannels(url.replace("//", "//some:secret@")) as channels:
            with pytest.raises(redis.exceptions.NoPermissionError):
                await channels.subscribe("closed").__aenter__()
            async with channels.subscribe("open") as messages:
                await channels.publish("open", "hello")
                assert await take(messages, 1) == ["hello"]


async def test_who_still_joins_when_the_channels_close_is_told(url, client):
    with anyio.fail_after(30):
        async with anyio.create_task_group() as tasks, RedisChannels(url) as channels:

            async def join():
                with pytest.raises(RuntimeError, match="closed"):
                    await channels.subscribe("too late").__aenter__()

            client.client_pause(300)
            tasks.start_soon(join)
            await anyio.wait_all_tasks_blocked()


async def test_the_channel_without_a_name_is_one_like_the_others(url):
    with anyio.fail_after(30):
        async with RedisChannels(url) as channels:
            for _ in range(2):
                async with channels.subscribe("") as messages:
                    await channels.publish("", "hello")
                    assert await take(messages, 1) == ["hello"]


# A Redis that does not answer -----------------------------------------------------------------------


@contextlib.asynccontextmanager
async def silent():
    """The URL of a server that takes every connection and never says a word."""

    async def listen(visitor):
        async with visitor:
            await anyio.sleep_forever()

    async with (
        await anyio.create_tcp_listener(local_host="127.0.0.1") as listener,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(listener.serve, listen)
        yield f"redis://:secret@127.0.0.1:{listener.extra(anyio.abc.SocketAttribute.local_port)}"
        tasks.cancel_scope.cancel()


@contextlib.asynccontextmanager
async def falling_silent(url):
    """The URL of a proxy before Redis, and an event: once it is set, no answer comes back on a connection there is."""
    hangs, silenced = anyio.Event(), set()

    async def ask(connection, _):
        if not hangs.is_set():
            silenced.add(connection)

    async def answer(connection, _):
        if hangs.is_set() and connection in silenced:
            await anyio.sleep_forever()

    async with delaying(url, ask=ask, answer=answer) as slow:
        yield slow, hangs


async def test_a_redis_that_never_answers_stops_the_start_with_a_clear_error(caplog):
    app = App(__name__)

    async with silent() as url:
        app.channels = RedisChannels(url, timeout=0.1)
        with (
            anyio.fail_after(30),
            pytest.raises(Exception, match=r"127\.0\.0\.1:\d+ was expected to answer within 0.1 s"),
        ):
            async with Client(app):
                raise AssertionError("not reached")

    warnings = [record.getMessage() for record in caplog.records if record.name == "microweb.channels"]
    assert len(warnings) == 1
    assert "secret" not in caplog.text


async def test_a_redis_that_falls_silent_keeps_neither_publisher_nor_subscriber_nor_shutdown(url, caplog):
    async with falling_silent(url) as (slow, hangs):
        with anyio.fail_after(30):
            async with RedisChannels(slow, timeout=0.5) as channels:
                await channels.publish("silent", 1)
                hangs.set()
                with pytest.raises(redis.TimeoutError, match=r"timeout="):
                    await channels.publish("silent", 2)
                with pytest.raises(redis.TimeoutError, match=r"timeout="):
                    await channels.subscribe("silent").__aenter__()
                assert channels.count("silent") == 0

    assert "was expected to answer" in caplog.text


async def test_a_connection_that_falls_silent_is_made_again_and_its_subscriptions_go_on(url):
    with anyio.fail_after(30):
        async with (
            falling_silent(url) as (slow, hangs),
            RedisChannels(url) as here,
            RedisChannels(slow, timeout=0.5) as there,
            there.subscribe("waiting") as messages,
        ):
            hangs.set()
            with pytest.raises(redis.TimeoutError):
                await there.subscribe("next").__aenter__()
            async with there.subscribe("next"):
                await here.publish("waiting", "again")
                assert await take(messages, 1) == ["again"]


async def test_a_subscription_for_which_nothing_comes_is_not_cut(url, client, caplog):
    async with RedisChannels(url, timeout=0.5) as channels, channels.subscribe("quiet") as messages:
        connected = [each["id"] for each in client.client_list(_type="pubsub")]
        with anyio.move_on_after(1.2):
            await anext(messages)
        await channels.publish("quiet", "at last")

        assert await take(messages, 1) == ["at last"]
        assert [each["id"] for each in client.client_list(_type="pubsub")] == connected
    assert caplog.text == ""


@pytest.mark.parametrize("timeout", [0, -1, None, "5", True, float("inf"), float("nan")])
async def test_a_timeout_is_a_number_of_seconds(timeout):
    with pytest.raises(ValueError, match="more than 0"):
        RedisChannels(timeout=timeout)


def test_no_less_than_nothing_is_kept():
    with pytest.raises(ValueError, match="0 or more messages of a channel, not -1"):
        RedisChannels(history=-1)
