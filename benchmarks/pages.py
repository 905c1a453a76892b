"""How long a session and a rendered page take inside the app.

    python -m benchmarks.pages [--rows session] [--only microweb,raw] [--rounds 20] [--check] [--json FILE]

A session in a signed cookie that a view reads and writes, beside Starlette's SessionMiddleware and BlackSheep's
sessions; a page from a Jinja template, beside a raw ASGI app that calls Jinja itself; and what a page that touches
no session pays for an app that has them. Measured as in `walk.py`. Every app renders the same two files, escapes
them and looks for no changes of them.
"""

from __future__ import annotations

import argparse
import os
import sys
from typing import Any

from benchmarks import report
from benchmarks.pagerows import ROWS
from benchmarks.walk import Race, Times, fastest

FRAMEWORKS = ("raw", "microweb", "blacksheep", "starlette")
OURS = "microweb"

TARGETS: dict[str, dict[str, float]] = {
    # At most this many times a rival's time.
    "session": {"starlette": 0.45, "blacksheep": 0.45},
    "template": {"raw": 1.08, "blacksheep": 1.0},
}
UNTOUCHED = 1.05
"""A page that touches no session costs at most this many times more where others do: nothing, but for the noise."""


def compare(row: str, times: list[Times], targets: report.Targets) -> None:
    """Holds the row's times against the targets that this run can judge."""
    if ROWS[row].among_variants:
        if len(times) == 2:
            without, beside = times
            targets.compare(f"{row}: {beside.variant} / {without.variant}", beside.over(without), UNTOUCHED)
        return
    ours = fastest(times, OURS)
    if ours is None:
        return
    for name, limit in TARGETS[row].items():
        rival = fastest(times, name)
        if rival is not None:
            targets.compare(f"{row}: {OURS} / {name}", ours.over(rival), limit)


def describe(row: str, times: list[Times]) -> str:
    """The table of one row."""
    ours = times[-1] if ROWS[row].among_variants else fastest(times, OURS)
    lines = []
    for entry in sorted(times, key=lambda entry: entry.median):
        name = f"{entry.framework} ({entry.variant})" if entry.variant else entry.framework
        ratio = f"{ours.over(entry):.2f}" if ours is not None and ours is not entry else ""
        lines.append([name, f"{entry.median:.2f}", f"{entry.minimum:.2f}", ratio])
    ratio_of = ours.variant if ours is not None and ROWS[row].among_variants else OURS
    return report.table([row, "median us", "min us", f"{ratio_of} / this"], lines)


def arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.pages", description=(__doc__ or "").partition("\n")[0])
    report.add_choice(parser, "--rows", tuple(ROWS))
    report.add_choice(parser, "--only", FRAMEWORKS)
    parser.add_argument("--rounds", type=int, default=30, help="interleaved rounds per row (default 30)")
    parser.add_argument("--seconds", type=float, default=0.02, help="seconds per turn (default 0.02)")
    parser.add_argument("--loop", choices=("uvloop", "asyncio"), default="uvloop", help="the event loop of all")
    parser.add_argument("--core", type=int, help="the core to run on (default: the last one of this process)")
    parser.add_argument("--check", action="store_true", help="exit with 1 when a target is missed")
    parser.add_argument("--json", metavar="FILE", help="write all figures there")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    options = arguments(argv)
    core = max(os.sched_getaffinity(0)) if options.core is None else options.core
    os.sched_setaffinity(0, {core})
    targets = report.Targets()
    results: dict[str, Any] = {}
    race = Race([f"pages.{name}" for name in options.only], options.loop)
    contestants = [f"{name.partition('.')[2]}: {report.listed(found)}" for name, found in race.versions.items()]
    turns = f"all on core {core}, {options.loop}, {options.rounds} rounds of {options.seconds} s"
    print(report.opening("pages", turns, *contestants))
    try:
        for row in options.rows:
            times = race.run(row, options.rounds, options.seconds, bare=False)
            for entry in times:
                entry.framework = entry.framework.partition(".")[2]
            if not times:
                continue
            compare(row, times, targets)
            results[row] = {f"{entry.framework} {entry.variant}".strip(): entry.rounds for entry in times}
            print(f"\n{ROWS[row].question}")
            print(describe(row, times), flush=True)
    finally:
        race.close()
    report.save(options.json, {"machine": report.machine(), "versions": race.versions, "rows": results})
    for failure in race.failures:
        print(f"\nNOT TIMED {failure}")
        targets.fail(f"{failure.partition(': Traceback')[0]} not timed: {failure.splitlines()[-1]}")
    return targets.verdict(check=options.check)


if __name__ == "__main__":
    sys.exit(main())
