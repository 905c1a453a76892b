"""The process of one contestant: takes turns over its standard input and output.

`race.py` starts one per framework, so that no framework's imports, caches or garbage touch another's,
and asks for short rounds one at a time, so that all of them meet the same noise. One JSON line asks,
one JSON line answers:

    {"do": "versions"}                                  -> {"result": {"starlette": "1.0"}}
    {"do": "variants", "row": ..}                       -> {"result": ["stdlib json", "msgspec"]}
    {"do": "prepare", "row": .., "variant": ..}         -> checks the answers, warms up; {"result": null}
    {"do": "round", "row": .., "variant": .., "seconds": 0.01, "bare": false}
                                                        -> {"result": [processor ns, clock ns] per request}

A failure comes back as {"error": text}. End of input ends the process.
"""

from __future__ import annotations

import asyncio
import gc
import importlib
import json
import sys
import traceback
from collections.abc import Callable
from time import perf_counter_ns, process_time_ns
from typing import Any

from benchmarks.exchange import Lifespan, check, make_client, scope_maker, with_cookies
from benchmarks.rows import ROWS, Row

BATCH = 32
"""Requests timed in one go: few enough for bare scopes to stay in the processor's cache."""

WARM_UP_SECONDS = 0.15


class Stand:
    """One app that answers one row, started and ready to be timed."""

    def __init__(self, app: Any, row: Row) -> None:
        self.app = app
        self.row = row
        self.targets = [target.encode() for target in row.targets]
        self.make_scope = scope_maker(row)
        self.cursor = 0
        self.nanoseconds = 1_000_000.0

    async def check(self) -> None:
        """Refuses an app that answers wrong."""
        await check(self.app, self.row)

    def next_targets(self) -> list[bytes]:
        start, self.cursor = self.cursor, self.cursor + BATCH
        return [self.targets[number % len(self.targets)] for number in range(start, self.cursor)]

    async def play(self, seconds: float, bare: bool) -> tuple[float, float]:
        """Nanoseconds per request, of processor time and by the clock, over about `seconds`.

        `bare` leaves out the making of the scope.
        """
        app, client, make_scope = self.app, make_client(self.row.body), self.make_scope
        receive, send = client.receive, client.send
        batches = max(1, round(seconds * 1e9 / self.nanoseconds / BATCH))
        processor = clock = 0
        for _ in range(batches):
            targets = self.next_targets()
            scopes = [make_scope(target) for target in targets] if bare else []
            clock -= perf_counter_ns()
            processor -= process_time_ns()
            if bare:
                for scope in scopes:
                    client.fresh = True
                    await app(scope, receive, send)
            else:
                for target in targets:
                    client.fresh = True
                    await app(make_scope(target), receive, send)
            processor += process_time_ns()
            clock += perf_counter_ns()
        self.nanoseconds = processor / (batches * BATCH)
        return self.nanoseconds, clock / (batches * BATCH)

    async def warm_up(self) -> None:
        """Runs until the interpreter has specialised the code, and the app has filled what caches it has."""
        spent = 0.0
        while spent < WARM_UP_SECONDS * 1e9:
            before = perf_counter_ns()
            await self.play(WARM_UP_SECONDS / 10, bare=False)
            spent += perf_counter_ns() - before


class Contestant:
    """Builds the stands of one framework on first need and keeps them."""

    def __init__(self, framework: str, new_event_loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
        self.module = importlib.import_module(f"benchmarks.apps.{framework}")
        # The apps of another question bring its rows with them, and perhaps a stand of another kind.
        self.rows: dict[str, Row] = getattr(self.module, "ROWS", ROWS)
        self.make_stand: type[Stand] = getattr(self.module, "STAND", Stand)
        self.runner = asyncio.Runner(loop_factory=new_event_loop)
        self.stands: dict[tuple[str, str], Stand] = {}
        self.lifespans: list[Lifespan] = []

    def versions(self) -> dict[str, str]:
        versions: dict[str, str] = self.module.VERSIONS
        return versions

    def variants(self, row: str) -> list[str]:
        """The ways in which the framework's app answers the row; empty when it takes no part."""
        return list(self.module.VARIANTS.get(row, () if self.rows[row].among_variants else ("",)))

    def prepare(self, row: str, variant: str) -> None:
        self.runner.run(self._prepare(row, variant))
        # The same garbage collector for everybody: on, with only what the requests make to look through.
        gc.collect()
        gc.freeze()

    async def _prepare(self, row: str, variant: str) -> None:
        app = self.module.build(row, variant)
        lifespan = Lifespan(app)
        await lifespan.start()
        self.lifespans.append(lifespan)
        asked = self.rows[row]
        stand = self.make_stand(app, await with_cookies(app, asked) if asked.returning else asked)
        await stand.check()
        self.stands[row, variant] = stand
        await stand.warm_up()

    def round(self, row: str, variant: str, seconds: float, bare: bool) -> tuple[float, float]:
        return self.runner.run(self.stands[row, variant].play(seconds, bare))

    def close(self) -> None:
        async def stop() -> None:
            for lifespan in self.lifespans:
                await lifespan.stop()

        self.runner.run(stop())
        self.runner.close()


def loop_factory(name: str) -> Callable[[], asyncio.AbstractEventLoop]:
    if name == "asyncio":
        return asyncio.new_event_loop
    import uvloop

    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory


def main(framework: str, loop: str) -> None:
    contestant = Contestant(framework, loop_factory(loop))
    # What an app prints must not be taken for an answer.
    answers, sys.stdout = sys.stdout, sys.stderr
    actions: dict[str, Callable[..., Any]] = {
        "versions": contestant.versions,
        "variants": contestant.variants,
        "prepare": contestant.prepare,
        "round": contestant.round,
    }
    for line in sys.stdin:
        order = json.loads(line)
        try:
            reply = {"result": actions[order.pop("do")](**order)}
        except Exception:
            reply = {"error": traceback.format_exc()}
        answers.write(json.dumps(reply) + "\n")
        answers.flush()
    contestant.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
