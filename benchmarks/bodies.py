"""How long a request with a body takes inside the app, and what a large upload costs in memory.

    python -m benchmarks.bodies [--rows typed-body] [--only microweb,falcon] [--rounds 20] [--check] [--json FILE]

Typed JSON bodies, urlencoded forms and a multipart form with a file of 1 MiB, beside those frameworks that have
them; measured as in `walk.py`. A large body comes in messages of 64 KiB, as from uvicorn. The row
`upload-memory` sends 1 GiB, in process, to a view that streams its parts and to one whose file goes to disk, and
compares the peak of the resident memory with that of an idle app; for a small disk `--upload-size` makes it
smaller.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks import report
from benchmarks.bodyrows import ROWS
from benchmarks.walk import Race, Times, fastest

FRAMEWORKS = ("raw", "microweb", "blacksheep", "falcon", "starlette", "litestar", "fastapi", "asgi_tools")
OURS = "microweb"
MEMORY = "upload-memory"

TARGETS: dict[str, dict[str, float]] = {
    # At most this many times a rival's time.
    "typed-body": {"blacksheep": 0.45, "litestar": 0.15, "fastapi": 0.09},
    "form-urlencoded": {"raw": 1.4, "falcon": 1.0, "blacksheep": 1.0, "starlette": 1.0},
    "multipart-1MiB": {"falcon": 1.0, "asgi_tools": 1.0, "blacksheep": 1.0, "starlette": 1.0},
}
GROWTH = 40.0
"""MB that an upload of any size may add to the resident memory."""


def describe(row: str, times: list[Times]) -> str:
    """The table of one row."""
    ours = fastest(times, OURS)
    lines = []
    for entry in sorted(times, key=lambda entry: entry.median):
        name = f"{entry.framework} ({entry.variant})" if entry.variant else entry.framework
        ratio = f"{ours.over(entry):.2f}" if ours is not None and ours is not entry else ""
        lines.append([name, f"{entry.median:.2f}", f"{entry.minimum:.2f}", ratio])
    return report.table([row, "median us", "min us", f"{OURS} / this"], lines)


def compare(row: str, times: list[Times], targets: report.Targets) -> None:
    ours = fastest(times, OURS)
    if ours is None:
        return
    for name, limit in TARGETS[row].items():
        rival = fastest(times, name)
        if rival is not None:
            targets.compare(f"{row}: {OURS} / {name}", ours.over(rival), limit)


# Memory ----------------------------------------------------------------------------------------------


def peak() -> float:
    """MB of this process's resident memory at its highest."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024 / 1e6


async def upload(kind: str, size: int) -> float:
    """MB that receiving an upload adds to the peak of an app that has served a small one."""
    from benchmarks.bodyrows import BOUNDARY
    from microweb import App, Request

    app = App("benchmarks", static_folder=None, config={"MAX_CONTENT_LENGTH": None})

    @app.post("/streamed")
    async def streamed(request: Request) -> Any:
        received = 0
        async for part in request.parts():
            async for chunk in part.chunks():
                received += len(chunk)
        return {"size": received}

    @app.post("/spooled")
    async def spooled(request: Request) -> Any:
        return {"size": (await request.files())["photo"].size}

    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="photo"; filename="p"\r\n\r\n'.encode()
    chunk = bytes(range(256)) * 256

    async def send_all(amount: int) -> int:
        waiting = [f"\r\n--{BOUNDARY}--\r\n".encode(), *[chunk] * (amount // len(chunk)), head]
        messages: list[Any] = []

        async def receive() -> Any:
            # A new object each time, as a server makes it.
            body = bytes(bytearray(waiting.pop()))
            return {"type": "http.request", "body": body, "more_body": bool(waiting)}

        async def send(message: Any) -> None:
            messages.append(message)

        scope = {
            "type": "http",
            "method": "POST",
            "path": f"/{kind}",
            "query_string": b"",
            "headers": [(b"content-type", f"multipart/form-data; boundary={BOUNDARY}".encode())],
        }
        await app(scope, receive, send)
        received: int = json.loads(messages[1]["body"])["size"]
        return received

    assert await send_all(4 * 1024 * 1024) == 4 * 1024 * 1024
    idle = peak()
    assert await send_all(size) == size
    return peak() - idle


def measure_memory(size: int, targets: report.Targets) -> dict[str, float]:
    """The growth of each kind, each in a process of its own."""
    found = {}
    for kind in ("streamed", "spooled"):
        order = [sys.executable, "-m", "benchmarks.bodies", "--upload", kind, "--upload-size", str(size)]
        found[kind] = float(subprocess.run(order, check=True, capture_output=True, text=True).stdout)
        targets.compare(f"{MEMORY}: {kind}, MB over idle", found[kind], GROWTH)
    lines = [[kind, f"{growth:.1f}"] for kind, growth in found.items()]
    print(f"\nAn upload of {size / 2**20:.0f} MiB")
    print(report.table([MEMORY, "MB over idle"], lines), flush=True)
    return found


def arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bodies", description=__doc__.partition("\n")[0])
    report.add_choice(parser, "--rows", (*ROWS, MEMORY))
    report.add_choice(parser, "--only", FRAMEWORKS)
    parser.add_argument("--rounds", type=int, default=20, help="interleaved rounds per row (default 20)")
    parser.add_argument("--seconds", type=float, default=0.02, help="seconds per turn (default 0.02)")
    parser.add_argument("--loop", choices=("uvloop", "asyncio"), default="uvloop", help="the event loop of all")
    parser.add_argument("--core", type=int, help="the core to run on (default: the last one of this process)")
    parser.add_argument("--check", action="store_true", help="exit with 1 when a target is missed")
    parser.add_argument("--json", metavar="FILE", help="write all figures there")
    parser.add_argument("--upload-size", type=int, default=2**30, help="bytes of the upload (default 1 GiB)")
    parser.add_argument("--upload", choices=("streamed", "spooled"), help=argparse.SUPPRESS)
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    options = arguments(argv)
    if options.upload is not None:
        print(asyncio.run(upload(options.upload, options.upload_size)))
        return 0
    core = max(os.sched_getaffinity(0)) if options.core is None else options.core
    os.sched_setaffinity(0, {core})
    targets = report.Targets()
    results: dict[str, Any] = {}
    rows = [row for row in options.rows if row != MEMORY]
    race = Race([f"bodies.{name}" for name in options.only] if rows else [], options.loop)
    contestants = [f"{name.partition('.')[2]}: {report.listed(found)}" for name, found in race.versions.items()]
    turns = f"all on core {core}, {options.loop}, {options.rounds} rounds of {options.seconds} s"
    print(report.opening("bodies", turns, *contestants))
    try:
        for row in rows:
            times = race.run(row, options.rounds, options.seconds, bare=False)
            for entry in times:
                entry.framework = entry.framework.partition(".")[2]
            compare(row, times, targets)
            results[row] = {f"{entry.framework} {entry.variant}".strip(): entry.rounds for entry in times}
            print(f"\n{ROWS[row].question}")
            print(describe(row, times), flush=True)
    finally:
        race.close()
    if MEMORY in options.rows:
        results[MEMORY] = measure_memory(options.upload_size, targets)
    report.save(options.json, {"machine": report.machine(), "versions": race.versions, "rows": results})
    for failure in race.failures:
        print(f"\nNOT TIMED {failure}")
        targets.fail(f"{failure.partition(': Traceback')[0]} not timed: {failure.splitlines()[-1]}")
    return targets.verdict(check=options.check)


if __name__ == "__main__":
    sys.exit(main())
