"""The guest book as it changes: events, the chat's websocket, several processes, and a restart."""

import anyio
import httpx
import pytest

from microweb.testing import Client, WebSocketDenied
from tests.examples.guestbook import serving, start
from tests.programs import get

ADA = {"name": "Ada", "message": "Engines are fun."}
pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def anyio_backend():
    """SQLite is asked in anyio's threads, on either loop; what is neutral is tested where it is built."""
    return "asyncio"


async def read_events(stream, count):
    """The next events of a stream, as dicts; ``stream`` is a response, or the lines of one."""
    events, event = [], {}
    with anyio.fail_after(30):
        async for line in stream.aiter_lines() if isinstance(stream, httpx.Response) else stream:
            if line:
                field, _, value = line.partition(": ")
                event[field] = f"{event[field]}\n{value}" if field in event else value
            elif event:
                events.append(event)
                event = {}
                if len(events) == count:
                    return events
    raise AssertionError(f"the stream ended after {events}")


# Events ---------------------------------------------------------------------------------------------


async def test_every_change_is_an_event_to_whoever_listens(app):
    async with Client(app) as ada, Client(app) as eve, eve.stream("GET", "/live") as stream:
        await ada.post("/api/entries", json=ADA)
        await ada.put("/api/entries/1", json=ADA | {"message": "<b>Bridges</b>"})
        hello, signed = await read_events(stream, 2)
        async with eve.stream("GET", "/live?after=1") as later:
            _, changed = await read_events(later, 2)
        await ada.delete("/api/entries/1")
        async with eve.stream("GET", "/live?after=2") as latest:
            _, removed = await read_events(latest, 2)

    assert (hello["event"], hello["id"]) == ("hello", "0")
    assert (signed["event"], signed["id"]) == ("signed", "1")
    assert 'id="entry-1"' in signed["data"]
    assert (changed["event"], changed["id"]) == ("changed", "2")
    assert "&lt;b&gt;Bridges&lt;/b&gt;" in changed["data"]
    assert (removed["event"], removed["id"], removed["data"]) == ("removed", "3", "1")


async def test_a_listener_that_waits_is_woken(app):
    async def sign_when_somebody_listens():
        while not app.channels.count("book"):
            await anyio.lowlevel.checkpoint()
        await ada.post("/api/entries", json=ADA)

    async with (
        Client(app) as ada,
        Client(app) as eve,
        eve.stream("GET", "/live") as stream,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(sign_when_somebody_listens)
        _, signed = await read_events(stream, 2)

    assert signed["event"] == "signed"


async def test_a_browser_that_comes_back_gets_what_it_has_missed_and_no_more(app):
    async with Client(app) as client:
        for number in range(3):
            await client.post("/api/entries", json=ADA | {"name": f"Guest {number}"})

        async with client.stream("GET", "/live?after=0", headers={"last-event-id": "1"}) as stream:
            events = await read_events(stream, 3)

    assert [event["id"] for event in events] == ["1", "2", "3"]
    assert "Guest 1" in events[1]["data"]


async def test_only_ones_own_entries_come_with_buttons(app):
    async with Client(app) as ada, Client(app) as eve:
        await ada.post("/api/entries", json=ADA)

        async with ada.stream("GET", "/live") as own, eve.stream("GET", "/live") as others:
            _, mine = await read_events(own, 2)
            _, theirs = await read_events(others, 2)

    assert "Remove" in mine["data"]
    assert "Remove" not in theirs["data"]


# The chat -------------------------------------------------------------------------------------------


async def introduce(client, name):
    await client.post("/visitor", data={"name": name})


async def test_what_one_says_all_hear_escaped(app):
    async with Client(app) as ada, Client(app) as eve:
        await introduce(ada, "Ada")
        await introduce(eve, "<b>Eve</b>")
        async with ada.websocket("/chat/lines") as here, eve.websocket("/chat/lines") as there:
            await there.send_text("<script>alert(1)</script>")
            with anyio.fail_after(30):
                heard, own = await here.receive_text(), await there.receive_text()

    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in heard
    assert "&lt;b&gt;Eve&lt;/b&gt;" in heard
    assert '<li class="line" id="line-1">' in heard
    assert '<li class="line own" id="line-1">' in own


async def test_who_comes_late_hears_the_last_lines(app):
    async with Client(app) as client:
        await introduce(client, "Ada")
        await client.post("/chat", data={"text": "Is anybody here?"})

        async with client.websocket("/chat/lines") as websocket:
            with anyio.fail_after(30):
                assert "Is anybody here?" in await websocket.receive_text()


async def test_bytes_and_blanks_are_no_lines(app):
    async with Client(app) as client:
        await introduce(client, "Ada")
        async with client.websocket("/chat/lines") as websocket:
            await websocket.send_bytes(b"bytes")
            await websocket.send_text("  \0 ")
            await websocket.send_text("A line.")
            with anyio.fail_after(30):
                assert "A line." in await websocket.receive_text()


async def test_a_page_of_another_site_cannot_chat_in_a_visitors_name(app):
    async with Client(app) as client:
        await introduce(client, "Ada")
        with pytest.raises(WebSocketDenied, match="403"):
            async with client.websocket("/chat/lines", headers={"origin": "http://evil.example"}):
                pass
        async with client.websocket("/chat/lines", headers={"origin": "http://testserver"}):
            pass


async def test_nobody_chats_without_a_name(app):
    with pytest.raises(WebSocketDenied, match="403"):
        async with Client(app) as client, client.websocket("/chat/lines"):
            pass


# Processes ------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.wire
async def test_everything_is_there_again_after_a_restart(tmp_path):
    data = tmp_path / "data"
    picture = b"\x89PNG\r\n\x1a\n..."
    with serving(data) as url, httpx.Client(base_url=url, follow_redirects=True) as client:
        files = {"photo": ("photo.png", picture, "image/png")}
        client.post("/", data=ADA, files=files)
        client.post("/chat", data={"text": "Good night."})
        cookies = dict(client.cookies)

    with serving(data) as url, httpx.Client(base_url=url, cookies=cookies) as client:
        (entry,) = client.get("/api/entries").json()["entries"]

        assert (entry["name"], entry["own"]) == ("Ada", True)
        assert client.get(entry["photo"]).content == picture
        assert "Good night." in client.get("/chat").text


@pytest.mark.slow
@pytest.mark.wire
async def test_processes_that_start_at_the_same_time_share_a_new_book(tmp_path):
    data = tmp_path / "data"
    with start(data) as first, start(data) as second, start(data) as third:
        here, *others = [program.url for program in (first, second, third)]
        with httpx.Client(follow_redirects=True) as client:
            get(here)
            client.post(here, data=ADA)

            for url in others:
                get(url)
                assert client.get(f"{url}/api/entries").json()["entries"][0]["own"] is True


@pytest.mark.slow
@pytest.mark.wire
async def test_two_processes_ring_for_each_other_through_redis(tmp_path, redis_url):
    data = tmp_path / "data"
    with serving(data, redis_url=redis_url) as here, serving(data, redis_url=redis_url) as there:
        async with httpx.AsyncClient(timeout=30) as client, client.stream("GET", f"{there}/live") as stream:
            lines = stream.aiter_lines()
            await read_events(lines, 1)
            await client.post(f"{here}/api/entries", json=ADA)
            (signed,) = await read_events(lines, 1)

    assert (signed["event"], "Engines are fun." in signed["data"]) == ("signed", True)
