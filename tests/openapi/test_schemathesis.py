"""Documents held against their apps: schemathesis sends what they allow and what they forbid, and runs all its checks.

The seed is fixed, so that a run judges the change and not the draw.
"""

import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tests.openapi.awkward import TOKEN
from tests.programs import Program, fetch, find_free_port, wait_until

pytestmark = [pytest.mark.wire, pytest.mark.slow]

ROOT = Path(__file__).parents[2]
EVERYTHING = "from tests.openapi.awkward import make_app\napp = make_app()"
GUESTBOOK = 'from guestbook.app import create_app\napp = create_app({"SECRET_KEY": "x" * 32, "DATA": "data"})'
LIAR = """
from typing import Literal
from microweb import App
from microweb.openapi import OpenAPI

app = App(__name__)
OpenAPI(app, title="A liar", version="1")

@app.get("/made")
async def made() -> tuple[list[int], Literal[201]]:
    return [1], 200
"""


def attack(folder, program, *options):
    """Serve a program and run schemathesis against it: whether it found nothing, what it said, how much it sent."""
    port = find_free_port()
    url = f"http://127.0.0.1:{port}"
    serving = f"\nimport uvicorn\nuvicorn.run(app, port={port}, log_level='critical')\n"
    (folder / "serve.py").write_text(textwrap.dedent(program) + serving)
    paths = os.pathsep.join(map(str, (ROOT, ROOT / "docs" / "examples")))
    command = [sys.executable, "-c", "from schemathesis.cli import schemathesis; schemathesis()", "run", "--checks=all"]
    command += [f"--url={url}", "--seed=1", "--no-color", f"--header=Authorization: Bearer {TOKEN}", *options]
    with Program("serve.py", cwd=folder, PYTHONPATH=paths) as program:

        def is_served():
            assert program.process.poll() is None, program.output
            return fetch(f"{url}/openapi.json")

        wait_until(is_served, "the document")
        done = subprocess.run(
            [*command, f"{url}/openapi.json"], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
    generated = re.search(r"(\d+) generated", done.stdout)
    return done.returncode == 0, done.stdout, int(generated[1]) if generated else 0


def test_nothing_is_found_at_the_edges_of_what_is_allowed(tmp_path):
    operations = "^/(texts/needed|paths/int/.*)$"

    is_clean, said, sent = attack(
        tmp_path, EVERYTHING, "--phases=coverage", f"--include-path-regex={operations}", "--mode=all"
    )

    assert is_clean, said
    assert sent >= 40


def test_a_document_that_lies_is_found_out(tmp_path):
    is_clean, said, _ = attack(tmp_path, LIAR, "--max-examples=2")

    assert not is_clean
    assert "Undocumented" in said


# A thousand examples an operation are a quarter of an hour of processor time, most of it for making them up.
EXAMPLES = [100, pytest.param(1000, marks=pytest.mark.exhaustive)]


@pytest.mark.timeout(7200)
@pytest.mark.parametrize("examples", EXAMPLES)
@pytest.mark.parametrize("part", ["paths|answers|shop|inner|several|rest", "texts", "bodies", "forms"])
def test_nothing_is_found_in_an_app_of_everything(tmp_path, part, examples):
    # What is bound to a host cannot be asked for by another name.
    options = [f"--max-examples={examples}", f"--include-path-regex=^/({part})(/|$)"]

    is_clean, said, sent = attack(tmp_path, EVERYTHING, *options)

    assert is_clean, said
    assert sent > examples


@pytest.mark.timeout(7200)
@pytest.mark.parametrize("examples", EXAMPLES)
def test_nothing_is_found_in_the_guest_book(tmp_path, examples):
    is_clean, said, sent = attack(tmp_path, GUESTBOOK, f"--max-examples={examples}")

    assert is_clean, said
    assert sent > examples
