"""How long a request takes inside the app: microweb, raw ASGI and three frameworks, in one interleaved run.

    python -m benchmarks.walk [--rows json,echo] [--only microweb,raw] [--rounds 30] [--processes 5] [--check]
                              [--json FILE]

One process per framework is kept alive and all are pinned to one core. Every round asks each of them, in random
order, for about ten milliseconds of requests. Five times in the rounds of a row all processes are new ones: by where
things lie in its memory one process is some per cent faster than the next. The figures are microseconds of processor
time per request, the median and the minimum over the rounds, and the minimum by the clock: on one core with nothing
else to do they are the same, and with other work about the first hardly changes. Only an app that sleeps would show a
difference. A ratio compares processor time within each round and is the median of those. Of a framework's variants
(its own JSON library or msgspec, ...) the faster one is compared. Nothing is timed before its answers were checked.

The time includes the making of a fresh scope, the same for all; `--bare` leaves it out and shows the
apps alone, which makes every ratio look better than the one that the targets are about.
"""

from __future__ import annotations

import argparse
import sys
from typing import Any

from benchmarks import report
from benchmarks.race import OURS, Race, Times, add_options, fastest, pin
from benchmarks.rows import ROWS

FRAMEWORKS = ("raw", "microweb", "blacksheep", "falcon", "starlette", "sketch")
RIVALS = ("blacksheep", "falcon", "starlette")

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
        ratio = f"{ours.over(entry):.2f}" if ours is not None and ours is not entry else ""
        if id(entry) not in compared and not ROWS[row].among_variants:
            ratio = f"({ratio})" if ratio else ""
        lines.append([entry.name, f"{entry.median:.2f}", f"{entry.minimum:.2f}", f"{min(entry.clock):.2f}", ratio])
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
    add_options(parser, rounds=30, seconds=0.01)
    parser.add_argument("--processes", type=int, default=5, help="processes of each framework, in turn (default 5)")
    parser.add_argument("--bare", action="store_true", help="leave the making of the scope out of the time")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    options = arguments(argv)
    options.core = pin(options.core)
    race = Race(options.only, options.loop)
    race.announce("walk", options)
    results: dict[str, list[Times]] = {}
    targets = report.Targets()
    asked = race.run_all(options.rows, options.rounds, options.seconds, bare=options.bare, processes=options.processes)
    for row, times in asked:
        results[row] = times
        compare_with_targets(row, times, targets)
        print(f"\n{ROWS[row].question}")
        print(describe(row, times), flush=True)
    print(f"\n{overview(results)}")
    report.save(options.json, as_json(options, race, results))
    race.tell_failures(targets)
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
