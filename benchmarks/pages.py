"""How long a session and a rendered page take inside the app.

    python -m benchmarks.pages [--rows session] [--only microweb,raw] [--rounds 20] [--check] [--json FILE]

A session in a signed cookie that a view reads and writes, beside Starlette's SessionMiddleware and BlackSheep's
sessions; a page from a Jinja template, beside a raw ASGI app that calls Jinja itself; and what a page that touches
no session pays for an app that has them. Measured as in `walk.py`. Every app renders the same two files, escapes
them and looks for no changes of them.
"""

from __future__ import annotations

import argparse
import sys
from typing import Any

from benchmarks import report
from benchmarks.pagerows import ROWS
from benchmarks.race import Race, Times, add_options, as_json, compare, describe, pin

FRAMEWORKS = ("raw", "microweb", "blacksheep", "starlette")

TARGETS: dict[str, dict[str, float]] = {
    # At most this many times a rival's time.
    "session": {"starlette": 0.45, "blacksheep": 0.45},
    "template": {"raw": 1.08, "blacksheep": 1.0},
}
UNTOUCHED = 1.05
"""A page that touches no session costs at most this many times more where others do: nothing, but for the noise."""


def judge(row: str, times: list[Times], targets: report.Targets) -> str:
    """Holds the row's times against the targets that this run can judge; its table."""
    if not ROWS[row].among_variants:
        compare(row, times, TARGETS[row], targets)
        return describe(row, times)
    ours = times[-1]
    if len(times) == 2:
        without, beside = times
        targets.compare(f"{row}: {beside.variant} / {without.variant}", beside.over(without), UNTOUCHED)
    return describe(row, times, ours, ours.variant)


def arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.pages", description=(__doc__ or "").partition("\n")[0])
    report.add_choice(parser, "--rows", tuple(ROWS))
    report.add_choice(parser, "--only", FRAMEWORKS)
    add_options(parser, rounds=30, seconds=0.02)
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    options = arguments(argv)
    options.core = pin(options.core)
    targets = report.Targets()
    results: dict[str, Any] = {}
    race = Race(options.only, options.loop, folder="pages.")
    race.announce("pages", options)
    for row, times in race.run_all(options.rows, options.rounds, options.seconds):
        results[row] = as_json(times)
        print(f"\n{ROWS[row].question}")
        print(judge(row, times, targets), flush=True)
    report.save(options.json, {"machine": report.machine(), "versions": race.versions, "rows": results})
    race.tell_failures(targets)
    return targets.verdict(check=options.check)


if __name__ == "__main__":
    sys.exit(main())
