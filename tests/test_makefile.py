"""The two commands of the README: what ``make`` says, and that ``make demo`` serves in an empty folder."""

import os
import re
import shutil
import signal
import socket
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

ROOT = Path(__file__).parents[1]
MAKE = shutil.which("make")
GENERATED = shutil.ignore_patterns(".*_cache", ".git", ".make", ".venv", ".hypothesis", "*.db", "__pycache__")

pytestmark = pytest.mark.skipif(MAKE is None, reason="make is not installed")


def make(*targets, folder=ROOT, **environment):
    return subprocess.run(
        [MAKE, *targets],
        cwd=folder,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("target", ["demo", "test", "check", "bench", "test-slow", "format", "clean"])
def test_make_alone_prints_help_taken_from_the_makefile(target):
    said = make().stdout

    assert re.search(rf"^  {target}  +[A-Z]", said, re.MULTILINE)


def test_a_machine_without_a_new_python_is_told_so(tmp_path):
    shutil.copy(ROOT / "Makefile", tmp_path)
    old = tmp_path / "bin" / "python3"
    old.parent.mkdir()
    old.write_text("#!/bin/sh\nexit 1\n")
    old.chmod(0o755)

    done = make(".venv/pyvenv.cfg", folder=tmp_path, PATH=str(old.parent), PYTHON="")

    assert done.returncode != 0
    assert "microweb needs Python 3.11 or newer, and none was found on the PATH." in done.stderr
    assert not (tmp_path / ".venv").exists()


@pytest.mark.parametrize("failing", ["style", "mypy", "pyright", "imports", "test-slow", "test", "none"])
def test_the_checks_of_a_submission_all_run_and_fail_when_one_fails(tmp_path, failing):
    run = tmp_path / ".ci" / "run"
    run.parent.mkdir()
    shutil.copy(ROOT / ".ci" / "run", run)
    for name, script in {"make": f'echo "made $1"; test "$1" != {failing}', "chromium": "true"}.items():
        command = tmp_path / "bin" / name
        command.parent.mkdir(exist_ok=True)
        command.write_text(f"#!/bin/sh\n{script}\n")
        command.chmod(0o755)

    path = f"{tmp_path / 'bin'}:{os.environ['PATH']}"
    done = subprocess.run([run], env=os.environ | {"PATH": path}, capture_output=True, text=True, check=False)

    assert re.findall("made (.+)", done.stdout) == ["style", "mypy", "pyright", "imports", "test-slow", "test"]
    assert (done.returncode == 0) == (failing == "none")


@pytest.mark.slow
@pytest.mark.wire
def test_make_demo_serves_the_guest_book_from_an_empty_folder(tmp_path):
    folder = tmp_path / "clone"
    shutil.copytree(ROOT, folder, ignore=GENERATED)
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    url = f"http://127.0.0.1:{port}/"

    with (tmp_path / "said").open("w") as said:
        command = [MAKE, "demo", f"PORT={port}"]
        demo = subprocess.Popen(command, cwd=folder, stdout=said, stderr=said, start_new_session=True)
    try:
        page = wait_for(url, demo)
    finally:
        with suppress(ProcessLookupError):  # it ended by itself, which the test has said by now
            os.killpg(demo.pid, signal.SIGTERM)
        demo.wait(60)

    assert "Guest book" in page
    assert f"http://127.0.0.1:{port}" in (tmp_path / "said").read_text()


def wait_for(url: str, server: subprocess.Popen[bytes]) -> str:
    deadline = time.monotonic() + 600
    while True:
        try:
            return httpx.get(url).text
        except httpx.TransportError:
            assert server.poll() is None, "make demo ended by itself"
            assert time.monotonic() < deadline, "the demo does not answer"
            time.sleep(0.2)  # between two looks; the deadline is what counts
