"""How long a request takes inside the app: microweb, raw ASGI and three frameworks, in one interleaved run.

    python -m benchmarks.walk [--rows json,echo] [--only microweb,raw] [--rounds 30] [--check] [--json FILE]

One process per framework is kept alive and all are pinned to one core. Every round asks each of them,
in random order, for about ten milliseconds of requests. The figures are microseconds of processor time
per request, the median and the minimum over the rounds, and the minimum by the clock: on one core with
nothing else to do they are the same, and with other work about the first hardly changes. Only an app that
sleeps would show a difference. A ratio compares processor time within each round and is the median of
those. Of a framework's variants (its own JSON library or msgspec, ...) the faster one is compared. Nothing
is timed before its answers were checked.

The time includes the making of a fresh scope, the same for all; `--bare` leaves it out and shows the
apps alone, which makes every ratio look better than the one that the targets are about.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
from dataclasses import dataclass, field
from typing import Any

from benchmarks import report
from benchmarks.rows import ROWS

FRAMEWORKS = ("raw", "microweb", "blacksheep", "falcon", "starlette")
RIVALS = ("blacksheep", "falcon", "starlette")
OURS = "microweb"

WITHOUT_THREADS = tuple(name for name in ROWS if name not in ("thread", "many-routes"))
ROUTED = ("parameter", "last-of-200", "404-of-200")

TARGETS: dict[str, dict[str, float]] = {
    # At most this many times a rival's time; "best" is the fastest rival of the row. First in every row.
    **{row: {"best": 1.0} for row in ROWS if row != "many-routes"},
}
for _row in WITHOUT_THREADS:
    TARGETS[_row]["blacksheep"] = 0.65
for _row in ("plaintext", "json"):
    TARGETS[_row]["starlette"] = 0.3
for _row in ROUTED:
    TARGETS[_row]["falcon"] = 0.6
TARGETS["thread"]["falcon"] = 0.85
TARGETS["stream"]["best"] = 0.85

MANY_ROUTES = 1.1
"""10,000 routes cost at most this many times 10 routes."""


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

    def __init__(self, frameworks: list[str], loop: str) -> None:
        self.processes = {framework: Process(framework, loop) for framework in frameworks}
        self.versions = {framework: process.ask(do="versions") for framework, process in self.processes.items()}
        self.failures: list[str] = []

    def run(self, row: str, rounds: int, seconds: float, bare: bool) -> list[Times]:
        """Checks, warms up, then times in interleaved rounds. Who fails the check is left out and noted."""
        entrants = []
        for framework, process in self.processes.items():
            try:
                for variant in process.ask(do="variants", row=row):
                    process.ask(do="prepare", row=row, variant=variant)
                    entrants.append(Times(framework, variant))
            except ContestantFailure as failure:
                self.failures.append(f"{row}: {failure}")
        for _ in range(rounds):
            for times in random.sample(entrants, len(entrants)):
                processor, clock = self.processes[times.framework].ask(
                    do="round", row=row, variant=times.variant, seconds=seconds, bare=bare
                )
                times.rounds.append(processor / 1000)
                times.clock.append(clock / 1000)
        return entrants

    def close(self) -> None:
        for process in self.processes.values():
            process.close()


def fastest(times: list[Times], framework: str) -> Times | None:
    """The faster variant of a framework, or None when it did not run the row."""
    own = [entry for entry in times if entry.framework == framework]
    return min(own, key=lambda entry: entry.median) if own else None


def compare_with_targets(row: str, times: list[Times], targets: report.Targets) -> None:
    """Holds the row's times against the targets that this run can judge."""
    if ROWS[row].among_variants:
        if len(times) == 2:
            few, many = times
            targets.compare(f"{row}: {many.variant} / {few.variant}", many.over(few), MANY_ROUTES)
        return
    ours = fastest(times, OURS)
    rivals = [entry for name in RIVALS if (entry := fastest(times, name)) is not None]
    if ours is None or not rivals:
        return
    best = min(rivals, key=lambda entry: entry.median)
    by_name = {entry.framework: entry for entry in rivals} | {"best": best}
    for name, limit in TARGETS[row].items():
        if name in by_name:
            rival = f"the best rival ({best.framework})" if name == "best" else name
            targets.compare(f"{row}: {OURS} / {rival}", ours.over(by_name[name]), limit)


def describe(row: str, times: list[Times]) -> str:
    """The table of one row."""
    ours = times[0] if ROWS[row].among_variants else fastest(times, OURS)
    compared = {id(fastest(times, entry.framework)) for entry in times}
    lines = []
    for entry in sorted(times, key=lambda entry: entry.median):
        name = f"{entry.framework} ({entry.variant})" if entry.variant else entry.framework
        ratio = f"{ours.over(entry):.2f}" if ours is not None and ours is not entry else ""
        if id(entry) not in compared and not ROWS[row].among_variants:
            ratio = f"({ratio})" if ratio else ""
        lines.append([name, f"{entry.median:.2f}", f"{entry.minimum:.2f}", f"{min(entry.clock):.2f}", ratio])
    ratio_of = f"{ours.variant} / this" if ours is not None and ROWS[row].among_variants else f"{OURS} / this"
    return report.table([row, "median us", "min us", "clock min", ratio_of], lines)


def overview(results: dict[str, list[Times]]) -> str:
    """One line a row: each framework's microseconds, and in brackets the part of them that microweb takes."""
    lines = []
    for row, times in results.items():
        if ROWS[row].among_variants:
            continue
        ours = fastest(times, OURS)
        cells = []
        for framework in FRAMEWORKS:
            entry = fastest(times, framework)
            if entry is None:
                cells.append("-")
            elif framework in RIVALS and ours is not None:
                cells.append(f"{entry.median:.2f} ({ours.over(entry):.2f}x)")
            else:
                cells.append(f"{entry.median:.2f}")
        lines.append([row, *cells])
    return report.table(["us per request", *FRAMEWORKS], lines)


def arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.walk", description=__doc__.partition("\n")[0])
    report.add_choice(parser, "--rows", tuple(ROWS))
    report.add_choice(parser, "--only", FRAMEWORKS)
    parser.add_argument("--rounds", type=int, default=30, help="interleaved rounds per row (default 30)")
    parser.add_argument("--seconds", type=float, default=0.01, help="seconds of requests per turn (default 0.01)")
    parser.add_argument("--bare", action="store_true", help="leave the making of the scope out of the time")
    parser.add_argument("--loop", choices=("uvloop", "asyncio"), default="uvloop", help="the event loop of all")
    parser.add_argument("--core", type=int, help="the core to run on (default: the last one of this process)")
    parser.add_argument("--check", action="store_true", help="exit with 1 when a target is missed")
    parser.add_argument("--json", metavar="FILE", help="write all figures there")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    options = arguments(argv)
    core = max(os.sched_getaffinity(0)) if options.core is None else options.core
    os.sched_setaffinity(0, {core})
    race = Race(options.only, options.loop)
    contestants = [f"{framework}: {report.listed(versions)}" for framework, versions in race.versions.items()]
    turns = f"all on core {core}, {options.loop}, {options.rounds} rounds of {options.seconds} s"
    print(report.opening("walk", turns, *contestants))
    results: dict[str, list[Times]] = {}
    targets = report.Targets()
    try:
        for row in options.rows:
            times = race.run(row, options.rounds, options.seconds, options.bare)
            if not times:
                continue
            results[row] = times
            compare_with_targets(row, times, targets)
            print(f"\n{ROWS[row].question}")
            print(describe(row, times), flush=True)
    finally:
        race.close()
    print(f"\n{overview(results)}")
    report.save(options.json, as_json(options, race, results))
    for failure in race.failures:
        print(f"\nNOT TIMED {failure}")
        targets.fail(f"{failure.partition(': Traceback')[0]} not timed: {failure.splitlines()[-1]}")
    return targets.verdict(check=options.check)


def as_json(options: argparse.Namespace, race: Race, results: dict[str, list[Times]]) -> dict[str, Any]:
    return {
        "machine": report.machine(),
        "loop": options.loop,
        "bare": options.bare,
        "versions": race.versions,
        "rows": {
            row: [
                {
                    "framework": entry.framework,
                    "variant": entry.variant,
                    "median_us": entry.median,
                    "minimum_us": entry.minimum,
                    "rounds_us": entry.rounds,
                    "clock_us": entry.clock,
                }
                for entry in times
            ]
            for row, times in results.items()
        },
        "failures": race.failures,
    }


if __name__ == "__main__":
    sys.exit(main())
