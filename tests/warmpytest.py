"""A pytest for tests that run tests: started once, it forks for each run.

Not a test file. To import pytest, its plugins, two event loops and an HTTP client takes longer than most of what is
run with them does. Each run is a process of its own, as a reader's is: what it imports, warns of and registers is gone
when it ends. Where there is no ``fork`` each run starts a Python.
"""

import contextlib
import gc
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, NoReturn

import pytest

UNUSED = [f"-pno:{name}" for name in ("cacheprovider", "cov", "faker", "hypothesispytest", "schemathesis", "xdist")]
"""Plugins that have nothing to do with an app's tests, and cost time at every start."""

SAMPLE = """
import pytest
from microweb import App

@pytest.fixture
def app():
    return App("sample", static_folder=None)

@pytest.mark.anyio
async def test_under_anyio(client):
    assert (await client.get("/")).status_code == 404

@pytest.mark.asyncio
async def test_under_pytest_asyncio(client):
    assert (await client.get("/")).status_code == 404

def test_without_a_loop():
    import microweb.testing.syncclient
"""
"""Running it imports what tests of an app need, each plugin in the way pytest does. It may start no thread."""


class WarmPytest:
    """``run(folder, "test_it.py")`` does what ``python -m pytest test_it.py`` in that folder would."""

    process: subprocess.Popen[str] | None = None

    def run(self, folder: Path, *arguments: str) -> tuple[int, str]:
        """The exit status, and what was printed."""
        if not hasattr(os, "fork"):
            return run_python("-m", "pytest", *UNUSED, *arguments, folder=folder)
        if self.process is None:
            self.process = start()
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        try:
            print(json.dumps([str(folder), [*UNUSED, *arguments]]), file=self.process.stdin, flush=True)
            status, printed = json.loads(self.process.stdout.readline())
        except BaseException:  # It ran out of time, for one: the next run is not to get the answer of this one.
            self.stop()
            raise
        return status, printed

    def stop(self) -> None:
        """End the process, and a run that it may have begun."""
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGTERM)
            with self.process:
                self.process = None


def run_python(*arguments: str, folder: Path) -> tuple[int, str]:
    """The exit status of a Python, and what it printed."""
    done = subprocess.run(
        [sys.executable, *arguments], cwd=folder, stdout=-1, stderr=subprocess.STDOUT, text=True, check=False
    )
    return done.returncode, done.stdout


def start() -> subprocess.Popen[str]:
    """This file as a program, in a process group of its own."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    pipe = subprocess.PIPE
    return subprocess.Popen(
        [sys.executable, __file__], env=environ, stdin=pipe, stdout=pipe, text=True, start_new_session=True
    )


@pytest.fixture(scope="session")
def warm_pytest() -> Iterator[WarmPytest]:
    """The one of this session; it starts when it is first asked to run something."""
    warm = WarmPytest()
    yield warm
    warm.stop()


# The program ---------------------------------------------------------------------------------------


def serve() -> None:
    """Answer each line of standard input, a folder and arguments, by a line with the exit status and the output."""
    del sys.path[0]  # That is the folder of this file, which has nothing to do with the tests to be run.
    warm_up()
    gc.freeze()
    for line in sys.stdin:
        folder, arguments = json.loads(line)
        with tempfile.TemporaryFile("w+", errors="replace") as printed:
            child = os.fork()
            if child == 0:
                run_in_child(folder, arguments, printed)
            _, status = os.waitpid(child, 0)
            printed.seek(0)
            print(json.dumps([os.waitstatus_to_exitcode(status), printed.read()]), flush=True)


def warm_up() -> None:
    """Import everything, by running the sample."""
    options = ["-q", "--import-mode=importlib", "-o", "asyncio_default_fixture_loop_scope=function"]
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryFile("w+") as printed:
        Path(folder, "test_sample.py").write_text(SAMPLE)
        os.chdir(folder)
        with contextlib.redirect_stdout(printed):
            status = pytest.main([*UNUSED, *options, "test_sample.py"])
        os.chdir(Path(__file__).parent)
        printed.seek(0)
        assert status == 0, printed.read()
    del sys.modules["test_sample"]
    assert threading.active_count() == 1, "a fork has none of the threads, but the locks that they hold"


def run_in_child(folder: str, arguments: Sequence[str], printed: IO[str]) -> NoReturn:
    """Run pytest and end the process."""
    status = 1
    try:
        with open(os.devnull) as nothing:
            os.dup2(nothing.fileno(), 0)
        os.dup2(printed.fileno(), 1)
        os.dup2(printed.fileno(), 2)
        os.chdir(folder)
        sys.path.insert(0, folder)
        sys.argv[1:] = arguments
        status = int(pytest.main(list(arguments)))
        save_coverage()
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def save_coverage() -> None:
    """Write what was measured, if it is measured: ``os._exit`` would lose it."""
    coverage = sys.modules.get("coverage")
    measurement = coverage and coverage.Coverage.current()
    if measurement:
        measurement.stop()
        measurement.save()


if __name__ == "__main__":
    serve()
