"""Runs all benchmarks, shortly, one after the other, and prints their tables: what `make bench` calls.

    python -m benchmarks [--check]

Each is a process of its own. For figures worth publishing run them one by one on a quiet machine.
"""

from __future__ import annotations

import argparse
import subprocess
import sys

BENCHMARKS = {
    "walk": ("--rounds", "15"),
    "wire": ("--rounds", "3", "--seconds", "1"),
    "bodies": ("--rounds", "8", "--upload-size", str(2**28)),
    "pages": ("--rounds", "10"),
    "startup": ("--rounds", "10"),
    "memory": (),
    "websockets": ("--rounds", "8"),
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__.partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="exit with 1 when a target is missed")
    options = parser.parse_args()
    worst = 0
    for name, settings in BENCHMARKS.items():
        command = [
            sys.executable,
            "-m",
            f"benchmarks.{name}",
            *settings,
            *(["--check"] if options.check else []),
        ]
        worst = max(worst, subprocess.run(command).returncode)
        print("\n" + "-" * 100, flush=True)
    return worst


if __name__ == "__main__":
    sys.exit(main())
