"""What a hello app costs as a whole process: time and peak memory, beside bare Python with asyncio.

    python -m benchmarks.startup [--rounds 20] [--check] [--json FILE]

Each program is started as a process of its own, in random order each round, pinned to one core. The hello
apps import the framework, make an app with one route and answer one request in-process through
`asyncio.run`, so that work put off until the first request is counted too. Starlette does the same work.
The measure of both is `python -c 'import asyncio'`. Time is the processor time of the whole process and
memory its peak, `ru_utime + ru_stime` and `ru_maxrss` of `os.wait4`; the least time by the clock stands
beside them. Last comes what `import microweb` loads beside the standard library.
"""

from __future__ import annotations

import argparse
import os
import random
import resource
import statistics
import subprocess
import sys
from dataclasses import dataclass, field
from time import perf_counter

from benchmarks import report

ONE_REQUEST = """
import asyncio

SCOPE = {
    "type": "http", "asgi": {"version": "3.0", "spec_version": "2.3"}, "http_version": "1.1",
    "server": ("127.0.0.1", 8000), "client": ("127.0.0.1", 50000), "scheme": "http", "root_path": "",
    "headers": [(b"host", b"127.0.0.1:8000"), (b"accept", b"*/*")], "state": {},
    "method": "GET", "path": "/", "raw_path": b"/", "query_string": b"",
}

async def main():
    messages = []
    async def receive():
        return {"type": "http.request", "body": b"", "more_body": False}
    async def send(message):
        messages.append(message)
    await app(SCOPE, receive, send)
    assert messages[0]["status"] == 200, messages
    assert b"".join(message.get("body", b"") for message in messages[1:]) == b"Hello, world!", messages

asyncio.run(main())
"""

BARE = "import asyncio"
OURS = "microweb"

PROGRAMS = {
    "python, import asyncio": BARE,
    OURS: f"""
from microweb import App
app = App(__name__)
@app.get("/")
async def hello():
    return "Hello, world!"
{ONE_REQUEST}""",
    "starlette": f"""
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
async def hello(request):
    return PlainTextResponse("Hello, world!")
app = Starlette(routes=[Route("/", hello)])
{ONE_REQUEST}""",
}

TARGETS = {"time": 1.4, "memory": 1.2}
"""At most this many times bare Python's."""

KEPT_OUT = ("jinja2", "httpx", "uvicorn", "click")
"""Never loaded by `import microweb`."""

BEFORE = """
import asyncio, sys
before = set(sys.modules)
"""
AFTER = """
print("\\n".join(sorted(set(sys.modules) - before)))
"""


@dataclass
class Runs:
    """Processor seconds, clock seconds and kilobytes of one program, one figure a round."""

    program: str
    seconds: list[float] = field(default_factory=list)
    clock: list[float] = field(default_factory=list)
    kilobytes: list[int] = field(default_factory=list)

    def run(self) -> None:
        """Starts the program once and waits for its end."""
        command = [sys.executable, "-c", PROGRAMS[self.program]]
        start = perf_counter()
        # The lightest way to start a process: what subprocess adds would be a part of every figure.
        pid = os.posix_spawn(sys.executable, command, os.environ)
        _, status, usage = os.wait4(pid, 0)
        elapsed = perf_counter() - start
        if status != 0:
            raise ProgramFailure(f"{self.program}: ended with status {os.waitstatus_to_exitcode(status)}")
        self.seconds.append(usage.ru_utime + usage.ru_stime)
        self.clock.append(elapsed)
        self.kilobytes.append(usage.ru_maxrss)

    def time_over(self, other: Runs) -> float:
        """The median of the rounds' own ratios."""
        return statistics.median(a / b for a, b in zip(self.seconds, other.seconds, strict=True))

    def memory_over(self, other: Runs) -> float:
        return statistics.median(self.kilobytes) / statistics.median(other.kilobytes)


class ProgramFailure(SystemExit):
    """A program did not end well; its own message stands on the standard error above."""


def measure(rounds: int) -> list[Runs]:
    """Runs every program once unmeasured, so that its bytecode is compiled, then in interleaved rounds."""
    programs = [Runs(program) for program in PROGRAMS]
    for program in PROGRAMS:
        Runs(program).run()
    for _ in range(rounds):
        for runs in random.sample(programs, len(programs)):
            runs.run()
    # A process starts with the peak of the process that spawned it: ours must be the smaller one.
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    least = min(min(runs.kilobytes) for runs in programs)
    if own >= least:
        raise ProgramFailure(f"this process peaks at {own} kB, above the {least} kB it should measure")
    return programs


def loaded_modules(program: str) -> list[str]:
    """What a program adds to the modules of a Python that has asyncio."""
    command = [sys.executable, "-c", BEFORE + program + AFTER]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()


def describe_modules(modules: list[str]) -> str:
    own = [name for name in modules if name.partition(".")[0] == "microweb"]
    standard = [name for name in modules if name.partition(".")[0] in sys.stdlib_module_names]
    others = [name for name in modules if name not in own and name not in standard]
    return "\n".join(
        f"  {len(names)} {kind}: {' '.join(names)}"
        for kind, names in (
            ("of microweb", own),
            ("of the standard library", standard),
            ("of others", others),
        )
    )


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.startup", description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=20, help="interleaved rounds (default 20)")
    parser.add_argument("--check", action="store_true", help="exit with 1 when a target is missed")
    parser.add_argument("--json", metavar="FILE", help="write all figures there")
    options = parser.parse_args(argv)
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    versions = report.versions(["starlette"])
    print(report.opening("startup", report.listed(versions), f"{options.rounds} rounds"))

    targets = report.Targets()
    programs = measure(options.rounds)
    bare, ours, *_ = programs
    lines = [
        [
            runs.program,
            f"{statistics.median(runs.seconds) * 1000:.1f}",
            f"{min(runs.seconds) * 1000:.1f}",
            f"{min(runs.clock) * 1000:.1f}",
            f"{runs.time_over(bare):.2f}x",
            f"{statistics.median(runs.kilobytes) / 1024:.1f}",
            f"{runs.memory_over(bare):.2f}x",
        ]
        for runs in programs
    ]
    print("\n" + report.table(["process", "median ms", "min ms", "clock min", "time", "peak MiB", "memory"], lines))
    targets.compare("startup: time of microweb / bare Python", ours.time_over(bare), TARGETS["time"])
    targets.compare("startup: memory of microweb / bare Python", ours.memory_over(bare), TARGETS["memory"])

    modules = loaded_modules("import microweb")
    print(f"\nimport microweb loads {len(modules)} modules:\n{describe_modules(modules)}")
    later = [name for name in loaded_modules(PROGRAMS[OURS]) if name not in modules]
    print(f"\nthe app and its first request load {len(later)} more:\n{describe_modules(later)}")
    for name in KEPT_OUT:
        targets.compare(f"startup: import microweb loads {name}", float(name in modules), 0.0)

    figures = {
        runs.program: {"seconds": runs.seconds, "clock": runs.clock, "kilobytes": runs.kilobytes} for runs in programs
    }
    report.save(
        options.json,
        {"machine": report.machine(), "versions": versions, "programs": figures, "modules": modules},
    )
    return targets.verdict(check=options.check)


if __name__ == "__main__":
    sys.exit(main())
