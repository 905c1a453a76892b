"""Twenty SIGTERMs for each server, with all kinds of work under way: what was begun ends, and no hook is missed.

The app is in ``drilled.py``. One process serves all the workloads at once; several processes are drilled side by side.
"""

import asyncio
import contextlib
import json
import os
import signal
import sys
import time
from pathlib import Path

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from tests.programs import DEADLINE, find_free_port, is_running

pytestmark = [pytest.mark.wire, pytest.mark.slow]

DRILLS = 20
AT_ONCE = 4
LIMIT = 20.0
"""Seconds from the signal to the end: what each server gives its connections and the app its exits, and a busy machine."""

UVICORN = ["-m", "uvicorn", "drilled:app", "--timeout-graceful-shutdown", "5", "--log-level", "warning", "--port"]
SERVERS = {
    "uvicorn-httptools": [*UVICORN, "{port}", "--http", "httptools", "--ws", "websockets-sansio"],
    "uvicorn-h11": [*UVICORN, "{port}", "--http", "h11", "--ws", "wsproto", "--loop", "asyncio"],
    "hypercorn-asyncio": ["-m", "hypercorn", "drilled:app", "--bind", "127.0.0.1:{port}", "--workers", "0"]
    + ["--graceful-timeout", "5"],
    "hypercorn-trio": ["trioserver.py", "drilled", "{port}"],
    "granian": ["-m", "granian", "--interface", "asgi", "drilled:app", "--port", "{port}"]
    + ["--workers-kill-timeout", "10", "--log-level", "warning"],
}
WORKERS = {
    # The signal comes to the parent, which only tells its workers to end: streams are cut when the grace is over.
    f"hypercorn-{kind}": ["-m", "hypercorn", "drilled:app", "--bind", "127.0.0.1:{port}", "--worker-class", kind]
    + ["--graceful-timeout", "2", "--log-level", "critical"]
    for kind in ("asyncio", "trio")
}
HOOKS = ["enter outer", "enter inner", "enter foreign", "exit foreign", "exit inner", "exit outer"]
TORN_DOWN = ["/", "/json", "/thread", "/download", "/upload", "/events", "/background"]
NOTES = [
    *HOOKS,
    *(f"teardown {path}" for path in TORN_DOWN),
    *("began /json", "began /thread", "began /upload"),
    *("closed /download", "closed /events", "closed /ws", "background finished", "background cancelled"),
]


class Drill:
    """One server process, from its start to its end."""

    def __init__(self, command, folder, cuts=()):
        self.cuts = cuts
        """The paths of what may lose its connection; that its view ends is seen in the notes."""
        self.port = find_free_port()
        self.command = [part.format(port=self.port) for part in command]
        self.notes_path = folder / f"notes-{self.port}"
        self.log_path = folder / f"log-{self.port}"
        self.stopped = asyncio.Event()
        self.under_way = 0

    def notes(self):
        return self.notes_path.read_text().splitlines() if self.notes_path.exists() else []

    async def wait_until(self, condition, what):
        deadline = time.monotonic() + DEADLINE
        while not condition():
            assert time.monotonic() < deadline, f"{what} did not come: {self.notes()}\n{self.log_path.read_text()}"
            assert self.process.returncode is None, f"it ended: {self.notes()}\n{self.log_path.read_text()}"
            await asyncio.sleep(0.02)

    async def run(self, workloads):
        """Start, begin everything, stop; returns the notes and how long the stop took."""
        outer = {name: value for name, value in os.environ.items() if not name.startswith(("MICROWEB", "COV_"))}
        root = Path(__file__).parents[2]
        environ = {**outer, "DRILL_NOTES": str(self.notes_path), "PYTHONPATH": str(root), "PYTHONUNBUFFERED": "1"}
        with self.log_path.open("wb") as log:
            self.process = await asyncio.create_subprocess_exec(
                sys.executable, *self.command, cwd=Path(__file__).parent, env=environ, stdout=log, stderr=log
            )
        try:
            await self.wait_until(self.is_open, "the server")
            async with asyncio.timeout(DEADLINE), asyncio.TaskGroup() as tasks:
                for workload in workloads:
                    tasks.create_task(workload(self))
                await self.wait_until(lambda: self.under_way == len(workloads), "the beginning of all")
                self.process.send_signal(signal.SIGTERM)
                stopped_at = time.monotonic()
                self.stopped.set()
                await self.process.wait()
                took = time.monotonic() - stopped_at
        finally:
            if self.process.returncode is None:
                self.process.kill()
                await self.process.wait()
        return self.notes(), took

    def is_open(self):
        import socket

        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1):
            return "enter foreign" in self.notes()

    @contextlib.asynccontextmanager
    async def connection(self, request):
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            writer.write(request)
            yield reader, writer
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def begun(self):
        """Say that a workload is under way, and wait for the signal."""
        self.under_way += 1
        await self.stopped.wait()


def ask(method, path, *lines):
    return "\r\n".join([f"{method} {path} HTTP/1.1", "host: localhost", *lines, "", ""]).encode()


async def read_head(reader):
    lines = (await reader.readuntil(b"\r\n\r\n")).decode().lower().split("\r\n")
    assert lines[0].split()[1] == "200", lines
    return dict(line.split(": ", 1) for line in lines[1:] if line)


async def read_chunk(reader):
    size = int(await reader.readline(), 16)
    data = await reader.readexactly(size + 2)
    return data[:-2]


async def read_body(reader, head):
    """A whole body: one that breaks off is an error."""
    if "content-length" in head:
        return await reader.readexactly(int(head["content-length"]))
    body = b""
    while chunk := await read_chunk(reader):
        body += chunk
    return body


async def slow_request(drill, path, body):
    async with drill.connection(ask("GET", path)) as (reader, _):
        await drill.wait_until(lambda: f"began {path}" in drill.notes(), path)
        await drill.begun()
        assert await read_body(reader, await read_head(reader)) == body


async def slow_json(drill):
    await slow_request(drill, "/json", b'{"done":true}')


async def slow_thread(drill):
    await slow_request(drill, "/thread", b"done")


async def download(drill):
    async with drill.connection(ask("GET", "/download")) as (reader, _):
        head = await read_head(reader)
        first = await read_chunk(reader)
        await drill.begun()
        assert len(first + await read_body(reader, head)) == 200_000


async def upload(drill):
    async with drill.connection(ask("POST", "/upload", "content-length: 20000")) as (reader, writer):
        writer.write(b"x" * 10_000)
        await drill.wait_until(lambda: "began /upload" in drill.notes(), "the upload")
        await drill.begun()
        writer.write(b"x" * 10_000)
        assert json.loads(await read_body(reader, await read_head(reader))) == {"size": 20_000}


async def subscriber(drill):
    async with drill.connection(ask("GET", "/events")) as (reader, _):
        head = await read_head(reader)
        assert await read_chunk(reader) == b"data: first\n\n"
        await drill.begun()
        if "/events" in drill.cuts:
            assert b"goodbye" not in await reader.read()
        else:
            assert await read_body(reader, head) == b"data: goodbye\n\n"


async def websocket(drill):
    async with connect(f"ws://127.0.0.1:{drill.port}/ws") as ws:
        assert await ws.recv() == "first"
        await drill.begun()
        with pytest.raises(ConnectionClosed) as closed:
            await ws.recv()
        code = closed.value.rcvd and closed.value.rcvd.code
        assert code in (1001, 1012) or (code in (None, 1011) and "/ws" in drill.cuts), closed.value


async def background(drill):
    async with drill.connection(ask("GET", "/background", "connection: close")) as (reader, _):
        await read_body(reader, await read_head(reader))
        await drill.begun()


async def idle(drill):
    async with drill.connection(ask("GET", "/")) as (reader, _):
        await read_body(reader, await read_head(reader))
        await drill.begun()
        assert await reader.read() == b""


WORKLOADS = [slow_json, slow_thread, download, upload, subscriber, websocket, background, idle]


def drill(command, folder, cuts=(), count=DRILLS):
    """The outcomes of ``count`` drills, and their common end: no hook was missed, and nobody is left."""

    async def drill_all():
        room = asyncio.Semaphore(AT_ONCE)

        async def drill_one():
            async with room:
                return await Drill(command, folder, cuts).run(WORKLOADS)

        return await asyncio.gather(*(drill_one() for _ in range(count)))

    outcomes = asyncio.run(drill_all())
    for notes, took in outcomes:
        processes = [line for line in notes if line.startswith("process ")]
        # With which code a websocket is closed, its client has looked at.
        assert sorted(line.partition(" with ")[0] for line in notes if line not in processes) == sorted(NOTES)
        assert [line for line in notes if line in HOOKS] == HOOKS
        assert took < LIMIT
        assert not any(is_running(int(line.split()[1])) for line in processes)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("server", SERVERS)
def test_twenty_signals_miss_no_hook_and_cut_nothing_off(server, tmp_path):
    # granian leaves websockets as soon as the signal comes.
    drill(SERVERS[server], tmp_path, cuts=["/ws"] if server == "granian" else [])


@pytest.mark.parametrize(
    "server",
    [
        pytest.param(
            server,
            marks=pytest.mark.skipif(
                server == "hypercorn-asyncio" and sys.version_info >= (3, 12),
                reason="hypercorn waits there for connections that it has cut (asyncio's Server.wait_closed)",
            ),
        )
        for server in WORKERS
    ],
)
def test_hypercorns_worker_processes_miss_no_hook(server, tmp_path):
    drill(WORKERS[server], tmp_path, cuts=["/events", "/ws"], count=AT_ONCE)
