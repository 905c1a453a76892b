"""A race: contestants in processes of their own that answer the same rows in interleaved rounds, on one core.

How it is measured is told in `walk.py`; what is asked is in the files of rows, what the times mean in each benchmark.
Used by `walk.py`, `bodies.py`, `pages.py` and `websockets.py`.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from benchmarks import report

OURS = "microweb"


class Process:
    """A contestant's process, seen from here."""

    def __init__(self, framework: str, *settings: str, module: str = "benchmarks.contestant") -> None:
        self.framework = framework
        self.popen = subprocess.Popen(
            [sys.executable, "-m", module, framework, *settings],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ask(self, **order: Any) -> Any:
        assert self.popen.stdin is not None
        assert self.popen.stdout is not None
        try:
            self.popen.stdin.write(json.dumps(order) + "\n")
            self.popen.stdin.flush()
        except BrokenPipeError:
            raise SystemExit(f"{self.framework}: its process ended; see its message above") from None
        line = self.popen.stdout.readline()
        if not line:
            raise SystemExit(f"{self.framework}: its process ended; see its message above")
        reply = json.loads(line)
        if "error" in reply:
            raise ContestantFailure(f"{self.framework}: {reply['error']}")
        return reply["result"]

    def close(self) -> None:
        assert self.popen.stdin is not None
        self.popen.stdin.close()
        try:
            self.popen.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self.popen.kill()
            self.popen.wait()


class ContestantFailure(Exception):
    """A contestant could not answer a row, or answered it wrong."""


@dataclass
class Times:
    """One variant of one framework on one row: microseconds per request, one figure a round."""

    framework: str
    variant: str
    rounds: list[float] = field(default_factory=list)
    clock: list[float] = field(default_factory=list)

    @property
    def name(self) -> str:
        """The framework, and in brackets its variant."""
        return f"{self.framework} ({self.variant})" if self.variant else self.framework

    @property
    def median(self) -> float:
        return statistics.median(self.rounds)

    @property
    def minimum(self) -> float:
        return min(self.rounds)

    def over(self, other: Times) -> float:
        """This time as a multiple of the other's: the median of the rounds' own ratios."""
        return statistics.median(a / b for a, b in zip(self.rounds, other.rounds, strict=True))


class Race:
    """All contestants of a run, and the rows that they have run."""

    def __init__(self, frameworks: list[str], loop: str, folder: str = "") -> None:
        """``folder`` is where in `apps/` the frameworks are, with a dot at its end."""
        self.settings = {framework: (folder + framework, loop) for framework in frameworks}
        self.processes = self.start()
        self.versions = {framework: process.ask(do="versions") for framework, process in self.processes.items()}
        self.failures: list[str] = []

    def announce(self, benchmark: str, options: argparse.Namespace) -> None:
        """Prints the first lines of the report."""
        contestants = [f"{framework}: {report.listed(found)}" for framework, found in self.versions.items()]
        turns = f"all on core {options.core}, {options.loop}, {options.rounds} rounds of {options.seconds} s"
        print(report.opening(benchmark, turns, *contestants))

    def start(self) -> dict[str, Process]:
        """A process for each contestant."""
        return {framework: Process(*settings) for framework, settings in self.settings.items()}

    def run_all(
        self, rows: list[str], rounds: int, seconds: float, *, bare: bool = False, processes: int = 1
    ) -> Iterator[tuple[str, list[Times]]]:
        """The times of one row after the other, without those that nobody could answer; then ends all processes.

        The rounds of a row are spread over so many ``processes`` of each contestant, one after the other.
        """
        try:
            for row in rows:
                times = self.run(row, rounds, seconds, bare, processes)
                if times:
                    yield row, times
        finally:
            self.close()

    def run(self, row: str, rounds: int, seconds: float, bare: bool, processes: int) -> list[Times]:
        """Checks, warms up, then times in interleaved rounds. Who fails the check is left out and noted."""
        entrants = self.prepare(row)
        for number in range(rounds):
            if number and number * processes // rounds > (number - 1) * processes // rounds:
                self.close()
                self.processes = self.start()
                for times in entrants:
                    process = self.processes[times.framework]
                    process.ask(do="prepare", row=row, variant=times.variant)
            for times in random.sample(entrants, len(entrants)):
                processor, clock = self.processes[times.framework].ask(
                    do="round", row=row, variant=times.variant, seconds=seconds, bare=bare
                )
                times.rounds.append(processor / 1000)
                times.clock.append(clock / 1000)
        return entrants

    def prepare(self, row: str) -> list[Times]:
        """Those who answer a row right, checked and warm, with no times yet."""
        entrants = []
        for framework, process in self.processes.items():
            try:
                for variant in process.ask(do="variants", row=row):
                    process.ask(do="prepare", row=row, variant=variant)
                    entrants.append(Times(framework, variant))
            except ContestantFailure as failure:
                self.failures.append(f"{row}: {failure}")
        return entrants

    def tell_failures(self, targets: report.Targets) -> None:
        """Prints what could not be timed; each is a missed target."""
        for failure in self.failures:
            print(f"\nNOT TIMED {failure}")
            targets.fail(f"{failure.partition(': Traceback')[0]} not timed: {failure.splitlines()[-1]}")

    def close(self) -> None:
        for process in self.processes.values():
            process.close()


def fastest(times: list[Times], framework: str) -> Times | None:
    """The faster variant of a framework, or None when it did not run the row."""
    own = [entry for entry in times if entry.framework == framework]
    return min(own, key=lambda entry: entry.median) if own else None


def compare(row: str, times: list[Times], limits: dict[str, float], targets: report.Targets) -> None:
    """Holds our time against those of the rivals in ``limits``: at most so many times theirs."""
    ours = fastest(times, OURS)
    if ours is None:
        return
    for name, limit in limits.items():
        rival = fastest(times, name)
        if rival is not None:
            targets.compare(f"{row}: {OURS} / {name}", ours.over(rival), limit)


def describe(row: str, times: list[Times], ours: Times | None = None, ratio_of: str = OURS) -> str:
    """The table of one row; ``ours``, by default the fastest of our variants, is compared with each other line."""
    compared = ours or fastest(times, OURS)
    lines = []
    for entry in sorted(times, key=lambda entry: entry.median):
        ratio = f"{compared.over(entry):.2f}" if compared is not None and compared is not entry else ""
        lines.append([entry.name, f"{entry.median:.2f}", f"{entry.minimum:.2f}", ratio])
    return report.table([row, "median us", "min us", f"{ratio_of} / this"], lines)


def as_json(times: list[Times]) -> dict[str, list[float]]:
    """The rounds of each contestant of a row."""
    return {f"{entry.framework} {entry.variant}".strip(): entry.rounds for entry in times}


def add_options(parser: argparse.ArgumentParser, *, rounds: int, seconds: float) -> None:
    """Adds what every race can be told; the numbers are defaults."""
    parser.add_argument("--rounds", type=int, default=rounds, help=f"interleaved rounds per row (default {rounds})")
    parser.add_argument("--seconds", type=float, default=seconds, help=f"seconds per turn (default {seconds})")
    parser.add_argument("--loop", choices=("uvloop", "asyncio"), default="uvloop", help="the event loop of all")
    parser.add_argument("--core", type=int, help="the core to run on (default: the last one of this process)")
    parser.add_argument("--check", action="store_true", help="exit with 1 when a target is missed")
    parser.add_argument("--json", metavar="FILE", help="write all figures there")


def pin(core: int | None) -> int:
    """Keeps this process, and those that it starts, on one core; its number."""
    chosen = max(os.sched_getaffinity(0)) if core is None else core
    os.sched_setaffinity(0, {chosen})
    return chosen
