"""The parent of the processes that serve: it starts them, again after a change, as many as there are workers.

A child is this program once more: the same command line, with a mark in the environment that names the
listening socket and a channel. Whatever made the app, a script, a factory or ``create_app().run()``, makes
it again there and comes to the same call of ``run``, which finds the mark and serves. ``server.py`` uses
both sides; ``filewatch.py`` tells what changed.

A child, as the parent sees it::

    starting --"started" on the channel--> started
        |                                     |
        `---ended---.                         `---ended---.
    watching files:  code 0: the parent ends too, else it waits for a change and starts it again
    with workers:    before "started": all end with code 1;  after it: a new one takes the place

The channel is a pair of sockets. When the parent dies, however, the child reads the end of it and stops.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from microweb.filewatch import TICK, FileWatch

__all__ = ["Child", "Supervisor", "can_run_again", "command_line", "say"]

MARK = "_MICROWEB_CHILD"
"""Begins with an underscore, so that ``Config.from_prefixed_env`` leaves it alone."""

GRACE = 10.0
"""Seconds that a child may take to stop, until it has told its own figure."""

SETTLE = 1.0
"""Seconds between the start of a worker and the start of the one that takes its place."""


class Child:
    """This process, if a supervisor started it: what it was given, and the way to tell its parent."""

    def __init__(self, listener: socket.socket | None, channel: socket.socket | None, *, is_first: bool) -> None:
        self.listener = listener
        self.is_first = is_first
        """Nobody has announced the address yet."""
        self._channel = channel

    @classmethod
    def find(cls) -> Child | None:
        """Take the mark out of the environment; None if this process was started by somebody else."""
        mark = os.environ.pop(MARK, None)
        if mark is None:
            return None
        parent, listener, channel, is_first = map(int, mark.split(","))
        # A program that serves may start others, before it comes here: the mark is not for those.
        if os.name == "posix" and parent != os.getppid():
            return None
        return cls(open_socket(listener), open_socket(channel), is_first=bool(is_first))

    def tell_started(self, grace: float) -> None:
        """Tell the parent that this child serves now, and may take ``grace`` seconds to stop."""
        if self._channel is not None:
            try:
                self._channel.sendall(f"{grace}\n".encode())
            except OSError:
                pass  # The parent is gone, which the other thread notices.

    def follow_parent(self) -> None:
        """Stop this process, as a SIGTERM does, when the parent is gone."""
        if self._channel is not None:
            threading.Thread(target=self._follow, name="microweb-parent", daemon=True).start()

    def _follow(self) -> None:
        assert self._channel is not None
        with self._channel:
            try:
                while self._channel.recv(64):
                    pass
            except OSError:
                pass
        os.kill(os.getpid(), signal.SIGTERM)


def open_socket(descriptor: int) -> socket.socket | None:
    """The socket that was inherited under this number; children of this process do not inherit it."""
    if descriptor < 0:
        return None
    os.set_inheritable(descriptor, False)
    return socket.socket(fileno=descriptor)


class Process:
    """One child, from the parent's side."""

    def __init__(
        self,
        command: Sequence[str],
        environ: Mapping[str, str],
        listener: socket.socket | None,
        *,
        is_first: bool,
    ) -> None:
        ours: socket.socket | None = None
        given: list[socket.socket] = []
        descriptors = [-1, -1]
        options: dict[str, Any] = {}
        if os.name == "posix":
            ours, theirs = socket.socketpair()
            ours.setblocking(False)
            given = [theirs]
            descriptors = [listener.fileno() if listener is not None else -1, theirs.fileno()]
            options["pass_fds"] = [number for number in descriptors if number >= 0]
        mark = ",".join(map(str, (os.getpid(), *descriptors, int(is_first))))
        try:
            self.process = subprocess.Popen(command, env={**environ, MARK: mark}, **options)
        finally:
            for end in given:
                end.close()
        self.started = False
        self.grace = GRACE
        self.since = time.monotonic()
        self.asked_at = 0.0
        """When it was asked to stop; 0 before."""
        self._channel = ours

    def poll(self) -> int | None:
        """The code it ended with; None while it runs. Notes meanwhile what it has told."""
        if self._channel is not None and not self.started:
            try:
                told = self._channel.recv(64)
            except OSError:
                told = b""
            if told:
                self.started = True
                self.grace = float(told)
        return self.process.poll()

    def ask_to_stop(self) -> None:
        """Begin to stop it: several take no longer than one when all are asked first."""
        if self.poll() is None and not self.asked_at:
            self.process.terminate()
            self.asked_at = time.monotonic()

    def stop(self) -> None:
        """Ask it to end, wait as long as it may take, then end it."""
        self.ask_to_stop()
        if self.process.returncode is None:
            try:
                self.process.wait(max(0.0, self.asked_at + self.grace - time.monotonic()))
            except subprocess.TimeoutExpired:
                say(f"process {self.process.pid} has not stopped within {self.grace:g} s and is killed")
                self.process.kill()
                self.process.wait()
        if self._channel is not None:
            self._channel.close()


class Supervisor:
    """Runs a command in one process that follows changes of files, or in several beside each other.

    With a ``watch`` there is one process, else there are ``workers``. All of them serve on ``listener``,
    which keeps connections waiting while no child is there; without one they open their own. ``environ`` is
    the environment that the command began with.
    """

    def __init__(
        self,
        command: Sequence[str],
        listener: socket.socket | None,
        *,
        workers: int = 1,
        watch: FileWatch | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self.command = command
        self.listener = listener
        self.workers = workers
        self.watch = watch
        self.environ = dict(os.environ if environ is None else environ)
        self.processes: list[Process | None] = []
        self._stopping = threading.Event()
        self._announced = False

    def run(self) -> int:
        """Start the children and look after them until a signal or ``stop`` ends it; gives the exit code."""
        with self._signals():
            try:
                return self._look_after()
            finally:
                self._stop_children()

    def stop(self) -> None:
        """End ``run``, from another thread or a signal handler."""
        self._stopping.set()

    def _look_after(self) -> int:
        # One at first: if it cannot start, it says so once.
        self.processes = [self._start()]
        while not self._stopping.is_set():
            changed = self._wait()
            if self._stopping.is_set():
                break  # Ctrl-C is for the children as well: that they end, by whatever code, is no news.
            if changed:
                say(f"{describe(changed)} changed; starting again")
                self._replace(0)
                continue
            code = self._attend()
            if code is not None:
                return code
        return 0

    def _wait(self) -> set[str]:
        if self.watch is not None:
            return self.watch.wait()
        self._stopping.wait(TICK)
        return set()

    def _attend(self) -> int | None:
        """Look at each child once; gives the exit code if one of them ends everything."""
        for number, process in enumerate(self.processes):
            if process is None:
                continue
            code = process.poll()
            self._announced = self._announced or process.started
            if code is None:
                continue
            if self.watch is not None:
                if code == 0:
                    return 0
                say(f"the app ended with code {code}; waiting for a change to start it again")
                process.stop()
                self.processes[number] = None
            elif not process.started:
                return 1
            elif time.monotonic() - process.since >= SETTLE:
                say(f"worker {process.process.pid} ended with code {code}; starting another")
                self._replace(number)
        first = self.processes[0]
        if first is not None and first.started:
            while len(self.processes) < self.workers:
                self.processes.append(self._start())
        return None

    def _start(self) -> Process:
        sys.stdout.flush()
        return Process(self.command, self.environ, self.listener, is_first=not self._announced)

    def _replace(self, number: int) -> None:
        process = self.processes[number]
        if process is not None:
            process.stop()
            self._announced = self._announced or process.started
        if not self._stopping.is_set():
            self.processes[number] = self._start()

    def _stop_children(self) -> None:
        running = [process for process in self.processes if process is not None]
        for process in running:
            process.ask_to_stop()
        for process in running:
            process.stop()

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """Let signals end ``run``, in the main thread, which alone may say what they do."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {
            number: signal.signal(number, lambda *_: self._stopping.set()) for number in (signal.SIGINT, signal.SIGTERM)
        }
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def can_run_again() -> bool:
    """Whether this command line makes the same program again: it does not at a prompt, or from a pipe."""
    return sys.argv[:1] not in ([], [""], ["-"]) and not hasattr(sys, "ps1") and bool(sys.executable)


def command_line() -> list[str]:
    """What this process was started with."""
    return [sys.executable, *sys.orig_argv[1:]]


def describe(changed: set[str]) -> str:
    """The changed files in a few words."""
    names = sorted(Path(path).name for path in changed)
    return names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"


def say(text: str) -> None:
    """Tell whoever sits at the terminal."""
    sys.stderr.write(f"microweb: {text}\n")
    sys.stderr.flush()
