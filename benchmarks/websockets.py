"""What connections that stay cost: websockets, event streams and channels, in process and on uvicorn.

    python -m benchmarks.websockets [--rows text,idle] [--only microweb,raw] [--rounds 20] [--connections 10000]
                                    [--check] [--json FILE]

| row | question |
| text, text-turns, json, connect | microseconds per message inside the app, measured as in `walk.py` |
| echo | microseconds of a server's processor time per message, with each websocket implementation of uvicorn |
| idle | bytes of resident memory for each idle websocket, and for each subscriber of an event stream |
| fan-out | one publish until all subscribers have it: queues in process, event streams, websockets |
| redis | one publish in one process until a subscriber in another has it |

Of `text-turns` the loop has its part, so it is asked on uvloop and on asyncio's own.

A server has one core, the clients, all in one process (`crowd.py`), another. Each round asks all contestants in
random order; a ratio compares processor time within each round and is the median of those. Only in `idle` and on
the sockets of `fan-out` they come one after the other: one server's connections are as many as a process may have.
Every answer is checked while it is timed. uvicorn's own pings are off.

Who has no channels has a set of `asyncio.Queue`, one for each subscriber, without bounds and without a history.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from benchmarks import report
from benchmarks.race import OURS, Process, Race, as_json, compare, describe
from benchmarks.sockets import ROWS, TEXT
from benchmarks.wire import Server, choose_cores

FRAMEWORKS = ("raw", "microweb", "blacksheep", "falcon", "starlette")
ON_SOCKETS = ("echo", "idle", "fan-out", "redis")

IN_PROCESS = {
    # At most this many times a rival's time.
    "text": {"blacksheep": 1.0, "starlette": 1.0, "falcon": 1.0},
    "text-turns": {"raw": 1.1, "blacksheep": 1.0, "starlette": 1.0, "falcon": 1.0},
    "json": {"blacksheep": 1.0, "starlette": 1.0, "falcon": 1.0},
    "connect": {"blacksheep": 1.0, "starlette": 1.0},
}
ECHO = {"raw": 1.1, "blacksheep": 1.0, "starlette": 1.0, "falcon": 1.0}
"""The same for processor time on uvicorn. Its own part is most of it, so equal is what there is to reach."""
NOISE = 1.02
"""On a socket two equal contestants differ by this much."""
IDLE = {"starlette": 1.0}
FAN_OUT = {"starlette": 1.0}

WEBSOCKETS = ("websockets-sansio", "wsproto")
CLIENTS = 64
WARM_UP = 300


@dataclass
class Figures:
    """What one contestant used, a figure a round, and what is shown beside."""

    name: str
    rounds: list[float] = field(default_factory=list)
    beside: list[tuple[float, ...]] = field(default_factory=list)

    @property
    def median(self) -> float:
        return statistics.median(self.rounds)

    def over(self, other: Figures) -> float:
        """These figures as a multiple of the other's: the median of the rounds' own ratios."""
        return statistics.median(a / b for a, b in zip(self.rounds, other.rounds, strict=True))

    def medians_beside(self) -> list[float]:
        return [statistics.median(column) for column in zip(*self.beside, strict=True)]


class Bench:
    """What all rows on sockets share: the crowd of clients, the cores, the targets."""

    def __init__(self, options: argparse.Namespace, cores: tuple[int, int], targets: report.Targets) -> None:
        self.options = options
        self.cores = cores
        self.targets = targets
        self.crowd = Process("crowd", module="benchmarks.crowd")
        os.sched_setaffinity(self.crowd.popen.pid, {cores[1]})
        self.results: dict[str, Any] = {}

    def serve(self, stack: ExitStack, framework: str, variant: str = "", websockets: str = "auto") -> Server:
        row = SimpleNamespace(name="events")
        server = Server(f"sockets.{framework}", row, self.cores[0], variant, websockets)
        stack.callback(server.stop)
        return server

    def show(self, title: str, unit: str, figures: list[Figures], beside: list[str], limits: dict[str, float]) -> None:
        """Prints the table of one question and holds it against its targets."""
        ours = next((entry for entry in figures if entry.name == OURS), None)
        lines = []
        for entry in sorted(figures, key=lambda entry: entry.median):
            ratio = f"{ours.over(entry):.2f}" if ours is not None and ours is not entry else ""
            lines.append([entry.name, f"{entry.median:,.1f}", *map("{:,.0f}".format, entry.medians_beside()), ratio])
        print("\n" + report.table([title, unit, *beside, f"{OURS} / this"], lines), flush=True)
        self.results[title] = {entry.name: {"rounds": entry.rounds, "beside": entry.beside} for entry in figures}
        for entry in figures:
            limit = limits.get(entry.name)
            if ours is not None and limit is not None:
                self.targets.compare(f"{title}: {OURS} / {entry.name}", ours.over(entry), limit)

    def echo(self) -> None:
        for websockets in WEBSOCKETS:
            with ExitStack() as stack:
                servers = {name: self.serve(stack, name, websockets=websockets) for name in self.options.only}
                figures = {name: Figures(name) for name in servers}
                for number in range(self.options.rounds // 2 + 1):
                    for name in random.sample(list(servers), len(servers)):
                        used, rate = self.echo_once(servers[name], 0.5)
                        if number:  # The first warms up.
                            figures[name].rounds.append(used)
                            figures[name].beside.append((rate,))
            limits = {name: max(limit, NOISE) for name, limit in ECHO.items()}
            self.show(f"echo, {websockets}", "us per message", list(figures.values()), ["messages/s"], limits)

    def echo_once(self, server: Server, seconds: float) -> tuple[float, float]:
        self.crowd.ask(do="join", port=server.port, path="/text", count=CLIENTS)
        before = server.processor_seconds()
        messages, clock = self.crowd.ask(do="echo", seconds=seconds, text=TEXT)
        used = server.processor_seconds() - before
        self.crowd.ask(do="leave")
        return used / messages * 1e6, messages / clock

    def turns(self, path: str) -> Iterator[tuple[Figures, Server]]:
        """A server for each contestant that answers this path with connections, as long as its turn lasts."""
        for name, framework, variant in self.contestants():
            if variant and path != "/events":
                continue
            with ExitStack() as stack:
                yield Figures(name), self.serve(stack, framework, variant)

    def contestants(self) -> list[tuple[str, str, str]]:
        """The name to show, framework and variant of those that hold many connections."""
        found = [(name, name, "") for name in ("raw", OURS, "starlette") if name in self.options.only]
        from benchmarks.apps.sockets.starlette import HAS_SSE

        if HAS_SSE and "starlette" in self.options.only:
            found.append(("sse-starlette", "starlette", "sse-starlette"))
        return found

    def idle(self) -> None:
        count = self.options.connections
        for kind, path in (("idle websockets", "/text"), ("idle event streams", "/events")):
            figures = []
            for entry, server in self.turns(path):
                self.warm_up(server, path)
                before, used = resident(server), server.processor_seconds()
                self.crowd.ask(do="join", port=server.port, path=path, count=count)
                spent = (server.processor_seconds() - used) / count * 1e6
                time.sleep(0.5)
                entry.rounds.append((resident(server) - before) / count)
                used = server.processor_seconds()
                self.crowd.ask(do="leave")
                entry.beside.append((spent, (settle(server) - used) / count * 1e6))
                figures.append(entry)
            self.show(f"{count:,} {kind}", "bytes each", figures, ["us to join", "us to leave"], IDLE)

    def warm_up(self, server: Server, path: str) -> None:
        self.crowd.ask(do="join", port=server.port, path=path, count=WARM_UP)
        self.crowd.ask(do="leave")
        settle(server)

    def fan_out(self) -> None:
        count = self.options.connections
        for kind, path in (("event streams", "/events"), ("websockets", "/listen")):
            figures = []
            for entry, server in self.turns(path):
                self.crowd.ask(do="join", port=server.port, path=path, count=count)
                for number in range(6):
                    before = server.processor_seconds()
                    half, last = self.crowd.ask(do="publish", port=server.port, text=f"message {number}")
                    entry.rounds.append((settle(server) - before) * 1e3)
                    entry.beside.append((half * 1e3, last * 1e3))
                self.crowd.ask(do="leave")
                figures.append(entry)
            beside = ["ms to half of them", "ms to all"]
            self.show(f"publish to {count:,} {kind}", "ms of processor", figures, beside, FAN_OUT)
        order = [sys.executable, "-m", "benchmarks.fanout", str(count)]
        finished = subprocess.run(order, check=True, capture_output=True, text=True)
        figures = []
        for line in finished.stdout.splitlines():
            name, *times = line.split()
            figures.append(Figures(name, [float(text) for text in times], [()]))
        self.show(f"publish to {count:,} tasks", "ms of processor", figures, [], {"queues": 2.0})

    def redis(self) -> None:
        if shutil.which("redis-server") is None:
            print("\nredis: not measured, since no redis-server was found; on Debian: apt-get install redis-server")
            return
        with ExitStack() as stack:
            os.environ["REDIS"] = start_redis(stack)
            first, second = self.serve(stack, OURS), self.serve(stack, OURS)
            del os.environ["REDIS"]
            alone = self.serve(stack, OURS)
            figures = []
            for name, speaker, listener in (("one, in memory", alone, alone), ("two, through Redis", first, second)):
                self.crowd.ask(do="join", port=speaker.port, path="/say", count=1)
                self.crowd.ask(do="join", port=listener.port, path="/listen", count=1)
                times = [self.crowd.ask(do="say", text=f"message {number}") * 1e6 for number in range(500)][100:]
                self.crowd.ask(do="leave")
                figures.append(Figures(name, times, [(statistics.quantiles(times, n=100)[98],)]))
        self.show("processes", "us to delivery", figures, ["99 of 100 within"], {})


def resident(server: Server) -> int:
    """The bytes of a server's memory that are in use."""
    pages = int(Path(f"/proc/{server.popen.pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def settle(server: Server) -> float:
    """Waits until a server has nothing more to do; the processor time that it has used."""
    used = server.processor_seconds()
    while True:
        time.sleep(0.2)
        before, used = used, server.processor_seconds()
        if used - before < 0.004:
            return before


def start_redis(stack: ExitStack) -> str:
    """Starts a Redis of our own on a free port; its URL."""
    folder = stack.enter_context(tempfile.TemporaryDirectory())
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    order = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", folder]
    process = subprocess.Popen(order, stdout=subprocess.DEVNULL)
    stack.callback(process.wait)
    stack.callback(process.terminate)
    deadline = time.monotonic() + 10
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            return f"redis://127.0.0.1:{port}/0"


def time_in_process(rows: list[str], options: argparse.Namespace, targets: report.Targets) -> dict[str, Any]:
    """The rows that `contestant.py` times."""
    results: dict[str, Any] = {}
    for loop in ("uvloop", "asyncio"):
        race = Race([*options.only, "sketch"], loop, folder="sockets.")
        asked = rows if loop == "uvloop" else [row for row in rows if ROWS[row].in_turns]
        for row, times in race.run_all(asked, options.rounds, 0.02):
            name = f"{row}, {loop}" if ROWS[row].in_turns else row
            print(f"\n{ROWS[row].question}")
            print(describe(name, times), flush=True)
            results[name] = as_json(times)
            compare(name, times, IN_PROCESS[row], targets)
        race.tell_failures(targets)
    return results


def arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.websockets", description=__doc__.partition("\n")[0])
    report.add_choice(parser, "--rows", (*ROWS, *ON_SOCKETS))
    report.add_choice(parser, "--only", FRAMEWORKS)
    parser.add_argument("--rounds", type=int, default=20, help="interleaved rounds per row (default 20)")
    parser.add_argument("--connections", type=int, default=10_000, help="sockets held at a time (default 10,000)")
    parser.add_argument("--check", action="store_true", help="exit with 1 when a target is missed")
    parser.add_argument("--json", metavar="FILE", help="write all figures there")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    options = arguments(argv)
    cores = choose_cores()
    targets = report.Targets()
    found = report.versions(("uvicorn", "websockets", "wsproto", "uvloop", "blacksheep", "falcon", "starlette"))
    places = f"contestants on core {cores[0]}, clients on core {cores[1]}, {options.rounds} rounds"
    print(report.opening("websockets", places, report.listed(found)))
    results: dict[str, Any] = {}
    in_process = [row for row in options.rows if row in ROWS]
    everywhere = os.sched_getaffinity(0)
    if in_process:
        os.sched_setaffinity(0, {cores[0]})
        results |= time_in_process(in_process, options, targets)
        os.sched_setaffinity(0, everywhere)
    bench = Bench(options, cores, targets)
    actions = {"echo": bench.echo, "idle": bench.idle, "fan-out": bench.fan_out, "redis": bench.redis}
    try:
        for row, action in actions.items():
            if row in options.rows:
                action()
    finally:
        bench.crowd.close()
    report.save(options.json, {"machine": report.machine(), "versions": found, "rows": results | bench.results})
    return targets.verdict(check=options.check)


if __name__ == "__main__":
    sys.exit(main())
