"""What an editor knows: the proxies are typed as the real classes, and decorators keep the types of functions."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).with_name("program.py")
CHECKERS = {
    "pyright": ["pyright", "--pythonpath", sys.executable],
    "mypy": ["mypy", "--strict", f"--cache-dir={os.devnull}", "--python-executable", sys.executable],
}

pytestmark = pytest.mark.slow


@pytest.fixture(params=CHECKERS)
def check(request):
    """Check a file with one of the type checkers; what it says, and nothing if it is content."""
    name, *options = CHECKERS[request.param]
    pytest.importorskip(name, reason=f"{name} comes with the extra dev")

    def check(path: Path) -> str:
        command = [sys.executable, "-m", name, *options, path.name]
        done = subprocess.run(command, cwd=path.parent, capture_output=True, text=True, check=False)
        return "" if done.returncode == 0 else done.stdout + done.stderr

    return check


def test_a_program_is_typed_without_a_hint_of_its_own(check):
    assert check(PROGRAM) == ""


def test_a_misspelled_attribute_of_a_proxy_is_found(check, tmp_path):
    path = tmp_path / "misspelled.py"
    path.write_text("from microweb import request\n\nrequest.cookeis\n")

    assert "cookeis" in check(path)


def test_a_body_that_is_not_awaited_is_found(check, tmp_path):
    path = tmp_path / "forgotten.py"
    path.write_text('from microweb import request\n\n\nasync def view() -> str:\n    return request.text()["a"]\n')

    assert check(path)


@pytest.mark.parametrize(
    "call",
    [
        'get("/", timeout="5")',
        'get("/", timout=5)',
        'post("/", methods=["GET"])',
        'websocket("/", max_content_length=5)',
        'on("request_strated")',
    ],
)
def test_a_wrong_registration_is_found(check, tmp_path, call):
    path = tmp_path / "wrong.py"
    path.write_text(f"from microweb import App\n\nApp(__name__).{call}\n")

    assert check(path)
