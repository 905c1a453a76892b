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
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks import report
from benchmarks.bodyrows import ROWS
from benchmarks.race import Race, add_options, as_json, compare, describe, pin

FRAMEWORKS = ("raw", "microweb", "blacksheep", "falcon", "starlette", "litestar", "fastapi", "asgi_tools")
MEMORY = "upload-memory"

TARGETS: dict[str, dict[str, float]] = {
    # At most this many times a rival's time.
    "typed-body": {"blacksheep": 0.45, "litestar": 0.15, "fastapi": 0.09},
    "form-urlencoded": {"raw": 1.4, "falcon": 1.0, "blacksheep": 1.0, "starlette": 1.0},
    "multipart-1MiB": {"falcon": 1.0, "asgi_tools": 1.0, "blacksheep": 1.0, "starlette": 1.0},
}
GROWTH = 40.0
"""MB that an upload of any size may add to the resident memory."""


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
    add_options(parser, rounds=20, seconds=0.02)
    parser.add_argument("--upload-size", type=int, default=2**30, help="bytes of the upload (default 1 GiB)")
    parser.add_argument("--upload", choices=("streamed", "spooled"), help=argparse.SUPPRESS)
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    options = arguments(argv)
    if options.upload is not None:
        print(asyncio.run(upload(options.upload, options.upload_size)))
        return 0
    options.core = pin(options.core)
    targets = report.Targets()
    results: dict[str, Any] = {}
    rows = [row for row in options.rows if row != MEMORY]
    race = Race(options.only if rows else [], options.loop, folder="bodies.")
    race.announce("bodies", options)
    for row, times in race.run_all(rows, options.rounds, options.seconds):
        compare(row, times, TARGETS[row], targets)
        results[row] = as_json(times)
        print(f"\n{ROWS[row].question}")
        print(describe(row, times), flush=True)
    if MEMORY in options.rows:
        results[MEMORY] = measure_memory(options.upload_size, targets)
    report.save(options.json, {"machine": report.machine(), "versions": race.versions, "rows": results})
    race.tell_failures(targets)
    return targets.verdict(check=options.check)


if __name__ == "__main__":
    sys.exit(main())
