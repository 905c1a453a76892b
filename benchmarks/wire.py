"""How many requests a second a real server answers: uvicorn on one core, wrk on another, one interleaved run.

    python -m benchmarks.wire [--rows json,echo] [--only microweb,raw] [--rounds 8] [--check] [--json FILE]

For each row every framework gets a uvicorn of its own (httptools, uvloop, one worker, no access log) on
a free port of the loopback. Idle servers cost nothing: every round asks them one after the other, in
random order. Nothing is timed before its answers were checked over the socket, and a run with a single
failed request is refused.

Two figures: requests a second as wrk counts them, and requests per second of processor time that the
server used. A server that has its core to itself keeps it busy and both agree. On a machine with other
work the first sinks by chance and the second hardly does, so ratios are made of the second; each compares
within one round and is the median of those.
"""

from __future__ import annotations

import argparse
import http.client
import os
import random
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks import report
from benchmarks.rows import ROWS, Answer, Row, WrongAnswer

FRAMEWORKS = ("raw", "microweb", "blacksheep", "falcon", "starlette")
RIVALS = ("blacksheep", "falcon", "starlette")
OURS = "microweb"

TARGETS = {"plaintext": 0.93, "json": 0.93, "parameter": 0.93, "echo": 0.88}
"""The rows, and the least part of the raw app's requests a second. Ahead of every rival in each."""

CONNECTIONS = 64


class Server:
    """One uvicorn process that serves one row."""

    def __init__(self, framework: str, row: Any, core: int, *settings: str) -> None:
        self.framework = framework
        self.row = row
        self.popen = subprocess.Popen(
            ["taskset", "-c", str(core), sys.executable, "-m", "benchmarks.server", framework, row.name, *settings],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.popen.stdout is not None
        line = self.popen.stdout.readline()
        if not line:
            raise WrongAnswer(f"{framework}: the server did not start; see its message above")
        self.port = int(line)

    def check(self) -> None:
        """Refuses a server that answers the first, a middle or the last target wrong."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        targets = self.row.targets
        headers = {name.decode(): value.decode() for name, value in self.row.headers}
        for target in {targets[0], targets[len(targets) // 2], targets[-1]}:
            connection.request(self.row.method, target, self.row.body or None, headers)
            response = connection.getresponse()
            body = response.read()
            raw = [(name.lower().encode(), value.encode()) for name, value in response.getheaders()]
            self.row.check(target, Answer(response.status, raw, [body]))
        connection.close()

    def processor_seconds(self) -> float:
        """The processor time that the server has used so far."""
        # The clock id of another process, as clock_getcpuclockid(3) makes it on Linux. taskset became
        # the interpreter by exec, so its process is the server's own.
        return time.clock_gettime((~self.popen.pid << 3) | 2)

    def stop(self) -> None:
        self.popen.terminate()
        try:
            self.popen.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self.popen.kill()
            self.popen.wait()


def write_script(row: Row, folder: str) -> str:
    """wrk's script for the row: its requests formatted once, then sent in turn."""
    path = Path(folder, f"{row.name}.lua")
    # wrk counts the body itself and refuses a second content-length.
    own = [(name.decode(), value.decode()) for name, value in row.headers if name != b"content-length"]
    headers = ", ".join(f'["{name}"] = "{value}"' for name, value in own)
    targets = ", ".join(f'"{target}"' for target in row.targets)
    body = f"[==[{row.body.decode()}]==]" if row.body else "nil"
    path.write_text(
        f"""
local targets = {{{targets}}}
local requests = {{}}
local turn = 0

function init(arguments)
  for number, target in ipairs(targets) do
    local headers = {{["Host"] = wrk.headers["Host"], {headers}}}
    requests[number] = wrk.format("{row.method}", target, headers, {body})
  end
end

function request()
  turn = turn % #requests + 1
  return requests[turn]
end
"""
    )
    return str(path)


@dataclass(frozen=True)
class Run:
    """What one run of wrk found: requests a second by the clock, and by the server's processor time."""

    by_clock: float
    by_processor: float


def run_wrk(server: Server, script: str, seconds: int, core: int) -> Run:
    """Loads the server for `seconds`. Refuses a run in which any request failed."""
    before = server.processor_seconds()
    finished = subprocess.run(
        ["taskset", "-c", str(core), "wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "-s", script]
        + [f"http://127.0.0.1:{server.port}/"],
        capture_output=True,
        text=True,
        timeout=seconds + 30,
    )
    if finished.returncode != 0:
        raise WrongAnswer(f"{server.framework}: wrk ended with {finished.returncode}: {finished.stderr}")
    failures = re.search(r"(Non-2xx or 3xx responses|Socket errors): .*", finished.stdout)
    if failures:
        raise WrongAnswer(f"{server.framework}: {failures[0]}")
    rate = re.search(r"Requests/sec:\s+([\d.]+)", finished.stdout)
    count = re.search(r"(\d+) requests in", finished.stdout)
    if rate is None or count is None:
        raise WrongAnswer(f"{server.framework}: wrk printed no rate: {finished.stdout}")
    return Run(float(rate[1]), int(count[1]) / (server.processor_seconds() - before))


@dataclass
class Rates:
    """The runs of one framework on one row, one a round."""

    framework: str
    rounds: list[Run] = field(default_factory=list)

    @property
    def by_clock(self) -> float:
        return statistics.median(run.by_clock for run in self.rounds)

    @property
    def by_processor(self) -> float:
        return statistics.median(run.by_processor for run in self.rounds)

    def over(self, other: Rates) -> float:
        """This rate as a part of the other's: the median of the rounds' own ratios."""
        pairs = zip(self.rounds, other.rounds, strict=True)
        return statistics.median(mine.by_processor / theirs.by_processor for mine, theirs in pairs)


def time_row(
    row: Row, options: argparse.Namespace, cores: tuple[int, int], script: str, targets: report.Targets
) -> list[Rates]:
    """Starts the row's servers, checks them, times them in interleaved rounds, and ends them."""
    servers: list[Server] = []
    try:
        for framework in options.only:
            servers.append(Server(framework, row, cores[0]))
        for server in list(servers):
            try:
                server.check()
            except WrongAnswer as wrong:
                targets.fail(f"{row.name}: {server.framework} answers wrong: {wrong}")
                servers.remove(server)
                server.stop()
        rates = {server.framework: Rates(server.framework) for server in servers}
        for server in servers:
            run_wrk(server, script, 1, cores[1])
        for _ in range(options.rounds):
            for server in random.sample(servers, len(servers)):
                rates[server.framework].rounds.append(run_wrk(server, script, options.seconds, cores[1]))
    finally:
        for server in servers:
            server.stop()
    return list(rates.values())


def compare_with_targets(row: str, rates: dict[str, Rates], targets: report.Targets) -> None:
    ours = rates.get(OURS)
    if ours is None:
        return
    if "raw" in rates:
        targets.compare(f"{row}: {OURS} / raw", ours.over(rates["raw"]), TARGETS[row], least=True)
    for name in RIVALS:
        if name in rates:
            targets.compare(f"{row}: {OURS} / {name}", ours.over(rates[name]), 1.0, least=True)


def describe(rates: list[Rates]) -> str:
    """The table of one row."""
    raw = next((entry for entry in rates if entry.framework == "raw"), None)
    lines = [
        [
            entry.framework,
            f"{entry.by_clock:,.0f}",
            f"{entry.by_processor:,.0f}",
            f"{entry.over(raw):.1%}" if raw is not None else "",
        ]
        for entry in sorted(rates, key=lambda entry: -entry.by_processor)
    ]
    return report.table(["framework", "requests/s", "per processor second", "of raw"], lines)


def overview(results: dict[str, dict[str, Rates]]) -> str:
    """One line a row: requests per processor second, and in brackets what part of the raw app's that is."""
    lines = []
    for row, rates in results.items():
        raw = rates.get("raw")
        cells = []
        for framework in FRAMEWORKS:
            entry = rates.get(framework)
            if entry is None:
                cells.append("-")
            elif raw is None or entry is raw:
                cells.append(f"{entry.by_processor:,.0f}")
            else:
                cells.append(f"{entry.by_processor:,.0f} ({entry.over(raw):.1%})")
        lines.append([row, *cells])
    return report.table(["per processor second", *FRAMEWORKS], lines)


def arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.wire", description=__doc__.partition("\n")[0])
    report.add_choice(parser, "--rows", tuple(TARGETS))
    report.add_choice(parser, "--only", FRAMEWORKS)
    parser.add_argument("--rounds", type=int, default=8, help="interleaved rounds per row (default 8)")
    parser.add_argument("--seconds", type=int, default=1, help="seconds per turn (default 1)")
    parser.add_argument("--check", action="store_true", help="exit with 1 when a target is missed")
    parser.add_argument("--json", metavar="FILE", help="write all figures there")
    return parser.parse_args(argv)


def choose_cores() -> tuple[int, int]:
    """The server's core and wrk's; the same one when there is no other."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) == 1:
        print("Only one core: server and client share it, and the figures say little.")
    return cores[-1], cores[0]


def main(argv: list[str] | None = None) -> int:
    options = arguments(argv)
    missing = [command for command in ("wrk", "taskset") if shutil.which(command) is None]
    if missing:
        print(f"wire: {' and '.join(missing)} not found; on Debian: apt-get install wrk util-linux")
        return 1
    cores = choose_cores()
    versions = report.versions(("uvicorn", "httptools", "uvloop", *RIVALS))
    places = f"server on core {cores[0]}, wrk on core {cores[1]}"
    turns = f"{CONNECTIONS} connections, {options.rounds} rounds of {options.seconds} s"
    print(report.opening("wire", places, turns, report.listed(versions)))
    targets = report.Targets()
    results: dict[str, dict[str, Rates]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in options.rows:
            row = ROWS[name]
            rates = time_row(row, options, cores, write_script(row, folder), targets)
            results[name] = {entry.framework: entry for entry in rates}
            compare_with_targets(name, results[name], targets)
            print(f"\n{row.question}")
            print(describe(rates), flush=True)
    print(f"\n{overview(results)}")
    report.save(options.json, as_json(versions, results))
    return targets.verdict(check=options.check)


def as_json(versions: dict[str, str], results: dict[str, dict[str, Rates]]) -> dict[str, Any]:
    return {
        "machine": report.machine(),
        "versions": versions,
        "rows": {
            row: {
                name: {
                    "requests_per_second": [run.by_clock for run in entry.rounds],
                    "requests_per_processor_second": [run.by_processor for run in entry.rounds],
                }
                for name, entry in rates.items()
            }
            for row, rates in results.items()
        },
    }


if __name__ == "__main__":
    sys.exit(main())
