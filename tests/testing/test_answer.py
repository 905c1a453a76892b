import asyncio

import anyio
import httpx
import pytest

from microweb.testing import Client

pytestmark = pytest.mark.anyio


async def endless_lines(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    try:
        while True:
            await send({"type": "http.response.body", "body": b"line\n", "more_body": True})
    except OSError:
        pass


@pytest.mark.parametrize("method", ["aiter_raw", "aiter_bytes", "aiter_text", "aiter_lines"])
async def test_breaking_out_of_an_iteration_leaves_no_generator(method):
    async with Client(endless_lines, lifespan=False) as client, client.stream("GET", "/") as response:
        async for part in getattr(response, method)():
            assert part.strip() in ("line", b"line")
            break

    assert response.is_closed


def test_breaking_out_of_an_iteration_leaves_no_task():
    async def main():
        async with Client(endless_lines, lifespan=False) as client, client.stream("GET", "/") as response:
            async for _ in response.aiter_lines():
                break
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(main())


async def test_chunks_can_be_asked_for_in_sizes():
    async with Client(endless_lines, lifespan=False) as client, client.stream("GET", "/") as response:
        async for part in response.aiter_bytes(3):
            assert part == b"lin"
            break


async def test_a_body_is_read_once():
    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body", "body": b"once"})

    async with Client(app, lifespan=False) as client, client.stream("GET", "/") as response:
        assert b"".join([part async for part in response.aiter_raw()]) == b"once"
        with pytest.raises(httpx.StreamConsumed):
            await anext(response.aiter_raw())


async def test_the_time_of_an_answer_is_known():
    async with Client(endless_lines, lifespan=False) as client, client.stream("GET", "/") as response:
        pass

    assert response.elapsed.total_seconds() >= 0


async def test_closing_while_another_task_reads_ends_the_reader():
    async def silent(scope, receive, send):
        await receive()
        await send({"type": "http.response.start", "status": 200})
        await receive()

    async with Client(silent, lifespan=False) as client, client.stream("GET", "/") as response:

        async def read():
            with pytest.raises(httpx.ReadError, match="before the answer was complete"):
                await response.aread()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(read)
            await anyio.wait_all_tasks_blocked()
            await response.aclose()
