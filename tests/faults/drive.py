"""Driving one walk of an app with one fault in it, and counting what is left afterwards.

A fault strikes at the n-th suspension of the app's own coroutine, at its n-th ``send`` or its n-th ``receive``.
What is counted stands in ``count_left``; it is counted in the moment the coroutine ends, before any collection of
garbage. Called by ``test_faults.py``; the apps are in ``walks.py``.
"""

import asyncio
import gc
import logging
import os
import sys
import tempfile
import threading
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from types import AsyncGeneratorType, CoroutineType, GeneratorType

import anyio

from microweb import workers
from microweb.testing import Client
from microweb.threads import Job, ThreadRequest

POINT_FAULTS = ("cancel", "cancel scope", "raise")
SEND_FAULTS = ("client gone", "server error")
FAULTS = (*POINT_FAULTS, *SEND_FAULTS, "disconnect")

PATIENCE = 20
"""Seconds after which a walk counts as hanging."""

BUSY_TURNS = 1000
"""Turns of the loop that work beside the request may take to end."""


class Injected(Exception):
    """The error that is raised at an await."""


class Stage:
    """What the app of a walk plays on: it knows what is open, and whether the request's task waits."""

    def __init__(self, folder):
        self.folder = folder
        self.left = Counter()
        self.task_waits = threading.Event()
        self.task_waits.set()

    @contextmanager
    def opened(self, name):
        """Something that must be released."""
        self.left[name] += 1
        try:
            yield name
        finally:
            self.left[name] -= 1

    def wait_for_task(self):
        """In a thread: go on when the task waits for it."""
        assert self.task_waits.wait(PATIENCE)

    @contextmanager
    def pacing(self):
        """Threads answer only a task that waits: each hop is one suspension, and two walks suspend equally often."""
        job_end, request_init = Job.end, ThreadRequest.__init__

        def end(job):
            self.task_waits.wait(PATIENCE)
            job_end(job)

        def init(request, *args):
            self.task_waits.wait(PATIENCE)
            request_init(request, *args)

        Job.end, ThreadRequest.__init__ = end, init
        try:
            yield
        finally:
            Job.end, ThreadRequest.__init__ = job_end, request_init


class Stepped:
    """A coroutine that is driven by hand: each suspension is counted, and one may be spoilt."""

    def __init__(self, coroutine, stage, strike=None, at=0, error=None):
        self.coroutine = coroutine
        self.stage = stage
        self.strike = strike
        self.at = at
        self.error = error
        self.points = 0

    def __await__(self):
        resume = partial(self.coroutine.send, None)
        self.stage.task_waits.clear()
        try:
            while True:
                try:
                    waited_for = resume()
                except StopIteration:
                    return
                self.points += 1
                if self.points == self.at and self.strike is not None:
                    # The task is about to wait: asyncio and trio both cancel it in this very wait.
                    self.strike()
                self.stage.task_waits.set()
                try:
                    value = yield waited_for
                except BaseException as error:
                    resume = partial(self.coroutine.throw, error)
                else:
                    resume = partial(self.coroutine.send, value)
                    if self.points == self.at and self.error is not None and not waits_for_children(self.coroutine):
                        # What it waited for has happened, and is an error.
                        resume = partial(self.coroutine.throw, self.error)
                self.stage.task_waits.clear()
        finally:
            self.stage.task_waits.set()
            self.coroutine.close()


@dataclass
class Peer:
    """The server and the client behind it."""

    messages: list
    type: str
    raises_when_gone: bool
    send_fault: str = ""
    send_at: int = 0
    receive_at: int = 0
    leaves_after: int | None = None
    sends: int = 0
    receives: int = 0
    gone: bool = False
    status: int | None = None
    left: object = field(default_factory=anyio.Event)

    async def receive(self):
        self.receives += 1
        await anyio.lowlevel.checkpoint()
        if self.receives == self.receive_at:
            self.gone = True
        if self.gone:
            return self.disconnect()
        if self.messages:
            return self.messages.pop(0)
        await self.left.wait()
        return self.disconnect()

    async def send(self, message):
        self.sends += 1
        self.status = message.get("status", self.status)
        await anyio.lowlevel.checkpoint()
        if self.sends == self.send_at:
            if self.send_fault == "server error":
                raise RuntimeError("the server is broken")
            self.gone = True
            self.left.set()
        if self.sends == self.leaves_after:
            self.left.set()
        if self.gone and self.raises_when_gone:
            raise OSError("the client is gone")

    def disconnect(self):
        return {"type": f"{self.type}.disconnect", "code": 1006}


@dataclass(frozen=True)
class Fault:
    """Where one walk is spoilt: ``kind`` is one of ``FAULTS``, or empty for none."""

    kind: str = ""
    at: int = 0


@dataclass(frozen=True)
class Outcome:
    """How often one walk suspended, sent and received, and what it left open."""

    points: int
    sends: int
    receives: int
    status: int | None
    left: dict

    def reaches(self, fault):
        """Whether the walk came to where the fault would strike."""
        return fault.at <= self.figure(fault.kind)

    def figure(self, kind):
        if kind in POINT_FAULTS:
            return self.points
        return self.sends if kind in SEND_FAULTS else self.receives


class Theatre:
    """One app on one loop, through which walks go one after another."""

    def __init__(self, walk, stage, app):
        self.walk = walk
        self.stage = stage
        self.app = app

    async def play(self, fault=Fault()):  # noqa: B008 - it is frozen
        """Serve the walk once; what it did, and what it left."""
        await settle_threads()
        before = self.count_left()
        stepped, peer = await self.serve(fault)
        turns = BUSY_TURNS if self.walk.works_on else 0
        left = self.count_left() - before
        while left and turns:
            await anyio.lowlevel.checkpoint()
            turns -= 1
            left = self.count_left() - before
        return Outcome(stepped.points, peer.sends, peer.receives, peer.status, dict(left))

    async def serve(self, fault):
        walk, kind = self.walk, fault.kind
        peer = Peer(
            walk.messages(),
            walk.type,
            walk.spec_version >= "2.4",
            send_fault=kind,
            send_at=fault.at if kind in SEND_FAULTS else 0,
            receive_at=fault.at if kind == "disconnect" else 0,
            leaves_after=walk.leaves_after,
        )
        stepped = Stepped(
            self.app(walk.scope(), peer.receive, peer.send),
            self.stage,
            at=fault.at if kind in POINT_FAULTS else 0,
            error=Injected() if kind == "raise" else None,
        )
        with anyio.fail_after(PATIENCE):
            if kind == "cancel" and is_asyncio():
                await self.serve_in_task(stepped)
            else:
                with anyio.CancelScope() as scope:
                    if kind in ("cancel", "cancel scope"):
                        stepped.strike = scope.cancel
                    try:
                        await stepped
                    except (Injected, RuntimeError, OSError):
                        pass  # Raised to the server: it is what was put in, and the server's to log.
        stepped.error = None
        return stepped, peer

    async def serve_in_task(self, stepped):
        """As most servers do it; then the task is cancelled as asyncio does it: once, and through every shield."""

        async def request():
            await stepped

        task = asyncio.get_running_loop().create_task(request())
        stepped.strike = task.cancel
        # Not awaited, which would put its error in our hands.
        ended = anyio.Event()
        task.add_done_callback(lambda _: ended.set())
        await ended.wait()
        if not task.cancelled() and task.exception() is not None:
            raise task.exception()

    def count_left(self):
        """What is open now: tasks, descriptors, busy threads, generators, files, and what the app's own code opened."""
        left = Counter({f"opened: {name}": count for name, count in self.stage.left.items()})
        left["tasks"] = count_tasks()
        left["descriptors"] = len(os.listdir("/dev/fd"))
        left["temporary files"] = len(os.listdir(self.stage.folder))
        for pool in (self.app.workers, workers._blocking):
            crew = pool._crew
            left["busy threads"] += sum(len(thread.load) for thread in crew.threads) + len(crew.common)
        for thing in gc.get_objects():
            kind = type(thing)
            if kind is GeneratorType:
                frame = thing.gi_frame
            elif kind is CoroutineType:
                frame = thing.cr_frame
            elif kind is AsyncGeneratorType:
                frame = thing.ag_frame
            else:
                continue
            # trio waits for its own sockets in a task of its own.
            if frame is not None and not frame.f_globals.get("__name__", "").startswith("trio._core"):
                left[f"{kind.__name__} {thing.__qualname__}"] += 1
        return left


async def settle_threads():
    """Let the threads that all apps share end what tests before this one have left to them."""
    crew = workers._blocking._crew
    with anyio.move_on_after(PATIENCE):
        while crew.common or any(thread.load for thread in crew.threads):
            await anyio.sleep(0.001)


def waits_for_children(coroutine):
    """Whether it waits at the end of a trio nursery: no error can come out of that wait but a cancellation."""
    while coroutine is not None:
        if getattr(coroutine, "__name__", "") == "_nested_child_finished":
            return True
        coroutine = getattr(coroutine, "cr_await", None) or getattr(coroutine, "ag_await", None)
    return False


def is_asyncio():
    trio = sys.modules.get("trio")
    return trio is None or not trio.lowlevel.in_trio_run()


def count_tasks():
    if is_asyncio():
        return len(asyncio.all_tasks())
    import trio

    return trio.lowlevel.current_statistics().tasks_living


@contextmanager
def only_new_objects():
    """What is here already is no business of the walks: so looking through the objects takes no time."""
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


@contextmanager
def no_collection(folder):
    """Nothing is collected, nothing is logged (a record would keep what it tells of), and files have one place."""
    where, tempfile.tempdir = tempfile.tempdir, str(folder)
    logging.disable(logging.CRITICAL)
    gc.collect()
    gc.disable()
    gc.freeze()
    try:
        yield
    finally:
        gc.enable()
        logging.disable(logging.NOTSET)
        tempfile.tempdir = where


def play_all(walk, folder, backend, kinds=FAULTS, step=1):
    """Every fault of these kinds in turn at every ``step``-th place.

    Returns how often a walk without a fault suspended, sent and received, and its status; how many faults of each
    kind struck; and what was left, by fault.
    """
    # The loop's coroutines and the app's own stay the same from walk to walk: they are in the count before each.
    return anyio.run(play_faults, walk, folder, kinds, step, backend=backend)


async def play_faults(walk, folder, kinds, step):
    stage = Stage(folder)
    app = walk.build(stage)
    struck, left = Counter(), {}
    with only_new_objects(), stage.pacing():
        async with Client(app, raise_errors=False):
            theatre = Theatre(walk, stage, app)
            # Threads, caches and imports of the first times; with a fault too, for the error pages.
            for _ in range(2):
                await theatre.play()
                for kind in kinds:
                    await theatre.play(Fault(kind, 1))
            with no_collection(folder):
                clean = await theatre.play()
                if clean.left:
                    left[Fault()] = clean.left
                for kind in kinds:
                    at = 1
                    while at <= clean.figure(kind):
                        fault = Fault(kind, at)
                        outcome = await theatre.play(fault)
                        if outcome.left:
                            left[fault] = outcome.left
                        # One that the walk did not come to is missing from the count, which a test compares.
                        struck[kind] += outcome.reaches(fault)
                        at += step
    return (clean.points, clean.sends, clean.receives, clean.status), dict(struck), left
