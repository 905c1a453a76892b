"""What every benchmark prints around its figures: the machine, the versions, a table, a JSON file."""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
from collections.abc import Iterable
from pathlib import Path
from typing import Any


def machine() -> dict[str, Any]:
    """The processor, the cores of the machine, its load and the interpreter."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        lines = cpuinfo.read_text().splitlines()
        model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), model)
    return {
        "processor": model,
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 2),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "system": f"{platform.system()} {platform.release()}",
    }


def opening(benchmark: str, *facts: str) -> str:
    """The first lines of a report: the benchmark, the machine, and what else a reader has to know."""
    here = machine()
    place = f"{here['processor']}, {here['cores']} cores, load {here['load']}, {here['python']}, {here['system']}"
    return "\n".join([f"{benchmark}: {place}", *(f"  {fact}" for fact in facts)])


def versions(names: Iterable[str]) -> dict[str, str]:
    """The installed versions of distributions, by name."""
    return {name: importlib.metadata.version(name) for name in names}


def listed(versions: dict[str, str]) -> str:
    return ", ".join(f"{name} {version}" for name, version in versions.items())


def table(head: list[str], lines: list[list[str]]) -> str:
    """A Markdown table: the first column to the left, figures to the right."""
    widths = [max(len(line[column]) for line in [head, *lines]) for column in range(len(head))]

    def write(cells: list[str]) -> str:
        padded = [
            cell.ljust(width) if number == 0 else cell.rjust(width)
            for number, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ]
        return "| " + " | ".join(padded) + " |"

    rule = ["-" * width if number == 0 else "-" * (width - 1) + ":" for number, width in enumerate(widths)]
    return "\n".join([write(head), write(rule), *map(write, lines)])


def save(path: str | None, results: dict[str, Any]) -> None:
    """Writes the results as JSON when a path was given."""
    if path:
        Path(path).write_text(json.dumps(results, indent=2) + "\n")


def add_choice(parser: argparse.ArgumentParser, option: str, known: tuple[str, ...]) -> None:
    """Adds an option that takes a comma-separated part of `known`, all of it by default."""

    def read(text: str) -> list[str]:
        names = text.split(",")
        for name in names:
            if name not in known:
                raise argparse.ArgumentTypeError(f"{name!r} is none of {', '.join(known)}")
        return names

    parser.add_argument(option, type=read, default=list(known), metavar="A,B", help=f"some of {', '.join(known)}")


class Targets:
    """Counts the targets that a run compared and keeps the missed ones, each in a sentence."""

    def __init__(self) -> None:
        self.compared = 0
        self.misses: list[str] = []

    def compare(self, what: str, figure: float, limit: float, *, least: bool = False) -> None:
        """Notes whether `figure` is at most `limit` (at least, with `least`)."""
        self.compared += 1
        if figure < limit if least else figure > limit:
            self.misses.append(f"{what}: {figure:.2f}; {'at least' if least else 'at most'} {limit:.2f}")

    def fail(self, sentence: str) -> None:
        """Notes something that could not be measured at all."""
        self.compared += 1
        self.misses.append(sentence)

    def verdict(self, *, check: bool) -> int:
        """Prints what was missed. Returns 1 under `check` for a miss or when nothing was compared."""
        print()
        if not self.compared:
            print("No target was compared.")
            return 1 if check else 0
        print(f"{self.compared - len(self.misses)} of {self.compared} targets met.")
        for miss in self.misses:
            print(f"  MISSED {miss}")
        return 1 if check and self.misses else 0
