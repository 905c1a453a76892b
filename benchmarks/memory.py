"""What requests leave behind: growth of the resident memory, and garbage that only the collector can free.

    python -m benchmarks.memory [--requests 100000] [--check] [--json FILE]

A fresh process answers requests of every kind below in turn, in-process: first to warm up, then the
counted ones, and its resident memory before and after is compared. Then the collector is switched off,
a hundred requests of each kind are answered, and what a collection finds afterwards was left in
reference cycles: nothing may be.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import logging
import os
import sys
from pathlib import Path
from typing import Any

from benchmarks import report
from benchmarks.exchange import Lifespan, Recorder, scope_maker
from benchmarks.rows import ORDER_BYTES, Answer, Row, WrongAnswer
from microweb import App, Request, abort

WARM_UP = 20_000
GROWTH = 1.0
"""MiB that the counted requests may add to the resident memory."""

REQUESTS_PER_KIND = 100


def expect(status: int) -> Any:
    def check(path: str, answer: Answer) -> None:
        if answer.status != status:
            raise WrongAnswer(f"{path}: expected status {status}, got {answer.status}: {answer.body[:200]!r}")

    return check


JSON = ((b"content-type", b"application/json"), (b"content-length", str(len(ORDER_BYTES)).encode()))

KINDS = (
    Row("text", "a str", expect(200), ("/text",)),
    Row("json", "a dict", expect(200), ("/json",)),
    Row("parameter", "a path parameter", expect(200), tuple(f"/users/{number}" for number in range(5000))),
    Row("echo", "a JSON body", expect(200), ("/echo",), "POST", ORDER_BYTES, JSON),
    Row("stream", "an async generator", expect(200), ("/stream",)),
    Row("thread", "a def view", expect(200), ("/thread",)),
    Row("404", "a miss", expect(404), tuple(f"/nothing/{number}" for number in range(5000))),
    Row("405", "a wrong method", expect(405), ("/text",), "DELETE"),
    Row("422", "an abort", expect(422), ("/refuse",)),
    Row("500", "an unhandled error", expect(500), ("/fail",)),
)


def build() -> App:
    """The app: a view of each kind, under a middleware and two hooks."""
    app = App("benchmarks", static_folder=None)

    @app.middleware
    async def add_header(request: Request, call_next: Any) -> Any:
        response = await call_next(request)
        response.headers["x-layer"] = "1"
        return response

    @app.before_request
    async def look(request: Request) -> None:
        request.headers.get("accept")

    @app.after_request
    async def note(response: Any) -> Any:
        response.headers["x-hook"] = "1"
        return response

    @app.get("/text")
    async def text() -> str:
        return "Hello, world!"

    @app.get("/json")
    async def as_json() -> dict[str, Any]:
        return {"message": "Hello, world!", "ok": True}

    @app.get("/users/<int:id>")
    async def user(id: int) -> str:
        return str(id)

    @app.post("/echo")
    async def echo(request: Request) -> Any:
        return await request.json()

    @app.get("/stream")
    async def stream() -> Any:
        for _ in range(10):
            yield b"chunk"

    @app.get("/thread")
    def thread() -> str:
        return "Hello, world!"

    @app.get("/refuse")
    async def refuse() -> str:
        abort(422)

    @app.get("/fail")
    async def fail() -> str:
        raise RuntimeError("this view always fails")

    return app


class Asker:
    """Asks one app about all kinds in turn, checking every answer's status."""

    def __init__(self, app: Any) -> None:
        self.app = app
        self.makers = {kind.name: scope_maker(kind) for kind in KINDS}

    async def ask(self, kind: Row, number: int) -> None:
        target = kind.targets[number % len(kind.targets)]
        recorder = Recorder(kind.body)
        await self.app(self.makers[kind.name](target.encode()), recorder.receive, recorder.send)
        kind.check(target, recorder.answer())

    async def ask_all(self, count: int) -> None:
        """`count` requests, the kinds in turn."""
        for number in range(count):
            await self.ask(KINDS[number % len(KINDS)], number)


def resident() -> float:
    """MiB of this process in memory now, garbage collected first."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


async def count_garbage(asker: Asker) -> dict[str, int]:
    """Per kind, the objects that a collection finds after a hundred requests without the collector."""
    found = {}
    gc.disable()
    try:
        for kind in KINDS:
            gc.collect()
            for number in range(REQUESTS_PER_KIND):
                await asker.ask(kind, number)
            found[kind.name] = gc.collect()
    finally:
        gc.enable()
    return found


async def measure(requests: int, targets: report.Targets) -> dict[str, Any]:
    app = build()
    lifespan = Lifespan(app)
    await lifespan.start()
    asker = Asker(app)
    await asker.ask_all(WARM_UP)
    sizes = [resident()]
    for _ in range(10):
        await asker.ask_all(requests // 10)
        sizes.append(resident())
    growth = sizes[-1] - sizes[0]
    print(f"\nresident after every {requests // 10:,} requests, MiB: " + " ".join(f"{size:.2f}" for size in sizes))
    print(f"growth over {requests:,} requests: {growth:.2f} MiB")
    targets.compare(f"memory: MiB of growth over {requests:,} requests", growth, GROWTH)
    garbage = await count_garbage(asker)
    head = ["kind", f"objects in cycles after {REQUESTS_PER_KIND} requests"]
    print("\n" + report.table(head, [[f"{kind.name}, {kind.question}", str(garbage[kind.name])] for kind in KINDS]))
    for name, count in garbage.items():
        targets.compare(f"memory: objects in cycles after {name}", count, 0)
    await lifespan.stop()
    return {"resident_mib": sizes, "garbage": garbage}


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.memory", description=__doc__.partition("\n")[0])
    parser.add_argument("--requests", type=int, default=100_000, help="counted requests (default 100,000)")
    parser.add_argument("--check", action="store_true", help="exit with 1 when a target is missed")
    parser.add_argument("--json", metavar="FILE", help="write all figures there")
    options = parser.parse_args(argv)
    print(report.opening("memory"))
    # The tracebacks of the view that always fails are written nowhere.
    logging.getLogger().addHandler(logging.NullHandler())
    targets = report.Targets()
    figures = asyncio.run(measure(options.requests, targets))
    report.save(options.json, {"machine": report.machine(), **figures})
    return targets.verdict(check=options.check)


if __name__ == "__main__":
    sys.exit(main())
