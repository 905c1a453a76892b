"""Programs that tests start as processes of their own: their output, their answers, and their end.

Not a test file. Everything that is waited for has a deadline that a busy machine can keep.
"""

import contextlib
import logging
import os
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
import urllib.request
from pathlib import Path

DEADLINE = 90.0


def wait_until(condition, what="it"):
    """Ask until there is an answer that is true, and give that."""
    deadline = time.monotonic() + DEADLINE
    while time.monotonic() < deadline:
        found = condition()
        if found:
            return found
        time.sleep(0.02)
    raise AssertionError(f"{what} did not come within {DEADLINE:g} seconds")


def fetch(url):
    """The text at a URL; None if no server answers."""
    with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=10) as answer:
        return answer.read().decode() or "(empty)"
    return None


def get(url):
    """The text at a URL, asked for until a server answers."""
    return wait_until(lambda: fetch(url), url)


def find_free_port():
    """A port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def write(path: Path, text: str) -> Path:
    """Write a source file, indented as it may be where it stands in a test."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(textwrap.dedent(text), encoding="utf-8")
    return path


@contextlib.contextmanager
def visitor(port, path="/"):
    """Ask for a page as soon as this process serves it, then press Ctrl-C; gives what was seen."""
    seen = []
    ended = threading.Event()

    def visit():
        # Not pressed when the block has ended by itself: it would end the tests.
        found = wait_until(lambda: ended.is_set() or fetch(f"http://127.0.0.1:{port}{path}"))
        if found is not True:
            seen.append(found)
            os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=visit)
    thread.start()
    try:
        yield seen
    finally:
        ended.set()
        thread.join(DEADLINE)


@contextlib.contextmanager
def keep_loggers():
    """Put back what uvicorn does to the loggers of this process."""
    loggers = [logging.getLogger(name) for name in ("uvicorn", "uvicorn.access", "uvicorn.error", "microweb")]
    before = [(logger.level, logger.handlers[:], logger.propagate) for logger in loggers]
    try:
        yield
    finally:
        for logger, (level, handlers, propagate) in zip(loggers, before, strict=True):
            logger.setLevel(level)
            logger.handlers[:] = handlers
            logger.propagate = propagate


class Program:
    """``python ARGUMENTS`` in a folder, for the time of a ``with`` block, which leaves no process of it behind.

    ``patience`` is how many seconds it has after a SIGTERM.
    """

    def __init__(self, *arguments, cwd, patience=DEADLINE, **environ):
        self.patience = patience
        # Its own ideas, and none of the tests': COLUMNS for click, no coverage of children, no app.
        outer = {name: value for name, value in os.environ.items() if not name.startswith(("MICROWEB", "COV_"))}
        self.process = subprocess.Popen(
            [sys.executable, *map(str, arguments)],
            cwd=cwd,
            env={**outer, "PYTHONUNBUFFERED": "1", **environ},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            # A process group of its own, so that its children can be ended with it.
            start_new_session=True,
        )
        self.output = ""
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        for line in self.process.stdout:
            self.output += line

    def __enter__(self):
        return self

    def __exit__(self, *exc_info):
        if self.process.poll() is None:
            self.process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(self.patience)
        # Children that outlive it would keep its output open.
        self.kill_group()
        self.process.wait()
        self._reader.join(DEADLINE)
        self.process.stdout.close()

    def kill_group(self):
        """End what is left of it and of its children."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)

    @property
    def url(self):
        """The address that it announces."""

        def find():
            assert self.process.poll() is None or "http://" in self.output, self.output
            return next((word for word in self.output.split() if word.startswith("http://")), None)

        return wait_until(find, "the address")

    def wait_for(self, text, count=1):
        """Wait until it has written ``text`` that often."""
        wait_until(lambda: self.output.count(text) >= count, f"{text!r} in {self.output!r}")

    def interrupt(self):
        """Press Ctrl-C."""
        self.process.send_signal(signal.SIGINT)

    def wait(self):
        """Wait for its end, and give its code."""
        code = self.process.wait(DEADLINE)
        self._reader.join(DEADLINE)
        return code


def is_running(pid):
    """Whether there is a process of that number that is no zombie."""
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False
