"""Every program in the documentation runs.

A block is fenced by three backticks. What is done with it depends on its language and on a comment before it:

- ``python``: a module of its own, imported in an empty folder. If there are tests in it, pytest runs them.
- ``<!-- file: name -->`` before a block of any language: it is also that file in the folder, for the blocks
  that follow on the page; a later block may replace it.
- ``<!-- continues: page.md -->`` anywhere: the page begins with the files that the other one ends with.
- ``<!-- run -->`` before a ``console`` block: each line that begins with ``$`` is run in the folder, and what
  it prints has to be what the block shows (``...`` stands for anything).

Nothing can be excused from running: what is no whole program is not marked ``python``.
"""

import ast
import doctest
import importlib.util
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.warmpytest import WarmPytest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
FENCE = re.compile(r"( *)(`{3,}) *(\w*)\s*$")
COMMENT = re.compile(r"<!-- *(file|continues|run)\b:? *(.*?) *-->\s*$")
# What a reader's own pytest would do, with every warning an error; pytest-asyncio warns without the option.
PYTEST = ["-q", "-W", "error", "-o", "asyncio_default_fixture_loop_scope=function"]


@dataclass
class Block:
    """One fenced block; ``line`` is that of its first line of text."""

    page: Path
    line: int
    language: str
    text: str
    file: str = ""
    runs: bool = False

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"

    @property
    def has_tests(self) -> bool:
        """Whether pytest would find anything in it."""
        functions = (ast.FunctionDef, ast.AsyncFunctionDef)
        return any(
            isinstance(found, functions) and found.name.startswith("test")
            for outer in ast.parse(self.text).body
            for found in (outer.body if isinstance(outer, ast.ClassDef) else [outer])
        )

    def write(self, folder: Path, name: str) -> Path:
        """Put it into a file in which each line has the number that it has on its page."""
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        padding = "\n" * (self.line - 1) if self.language == "python" else ""
        path.write_text(padding + self.text)
        return path


def read_blocks(page: Path) -> Iterator[Block]:
    """The blocks of one page."""
    comment: tuple[str, str] = ("", "")
    opened: tuple[Block, str, int] | None = None
    lines: list[str] = []
    for number, line in enumerate(page.read_text().splitlines(), 1):
        fence = FENCE.match(line)
        if opened is not None:
            block, marks, indent = opened
            if fence and fence[2] == marks and not fence[3]:
                block.text = "".join(f"{text[indent:]}\n" for text in lines)
                yield block
                opened = None
            else:
                lines.append(line)
        elif fence:
            kind, argument = comment
            file = argument if kind == "file" else ""
            block = Block(page, number + 1, fence[3], "", file, kind == "run")
            opened, lines, comment = (block, fence[2], len(fence[1])), [], ("", "")
        elif found := COMMENT.match(line):
            comment = (found[1], found[2])
        elif line.strip():
            comment = ("", "")
    assert opened is None, f"{page.name}: the block that begins in line {opened[0].line} has no end"


def read_files(page: Path) -> list[Block]:
    """The files that a page ends with, those of the pages that it continues among them."""
    return [*read_inherited(page), *(block for block in read_blocks(page) if block.file)]


def read_inherited(page: Path) -> list[Block]:
    """The files that a page begins with."""
    comments = (COMMENT.match(line) for line in page.read_text().splitlines())
    continued = [found[2] for found in comments if found and found[1] == "continues"]
    return [block for name in continued for block in read_files(page.parent / name)]


BLOCKS = [block for page in PAGES if page.exists() for block in read_blocks(page)]
PYTHON = [block for block in BLOCKS if block.language == "python"]
CONSOLE = [block for block in BLOCKS if block.language == "console" and block.runs]


@pytest.fixture
def prepare(tmp_path, monkeypatch):
    """Write the files that a block may count on, and go where they are."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    before = set(sys.modules)

    def prepare(block: Block) -> Path:
        earlier = [other for other in BLOCKS if other.page == block.page and other.line <= block.line]
        for other in [*read_inherited(block.page), *earlier]:
            if other.file:
                other.write(tmp_path, other.file)
        return tmp_path

    yield prepare
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]


@pytest.mark.parametrize("block", PYTHON, ids=str)
def test_a_program_in_the_documentation_runs(prepare, warm_pytest, block):
    folder = prepare(block)
    path = folder / block.file if block.file else block.write(folder, "test_block.py")

    if block.has_tests:
        run_tests(warm_pytest, path)
    else:
        run_module(folder, path)


@pytest.mark.parametrize("block", CONSOLE, ids=str)
def test_a_command_in_the_documentation_prints_what_it_shows(prepare, block):
    folder = prepare(block)

    for command, expected in read_commands(block.text):
        printed = run_command(command, folder)
        assert doctest.OutputChecker().check_output(expected, printed, doctest.ELLIPSIS), printed


def test_there_are_programs_to_run():
    assert len(PYTHON) > 20
    assert CONSOLE
    assert any(block.has_tests for block in PYTHON)


def test_a_broken_program_is_found(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("Text\n\n```python\nx = 1\nassert x == 2\n```\n")
    (block,) = read_blocks(page)

    path = block.write(tmp_path, "broken.py")

    with pytest.raises(AssertionError) as caught:
        run_module(tmp_path, path)
    assert caught.traceback[-1].lineno + 1 == 5


def test_a_broken_test_is_found(tmp_path, warm_pytest):
    page = tmp_path / "page.md"
    page.write_text("```python\ndef test_sums():\n    assert 1 + 1 == 3\n```\n")
    (block,) = read_blocks(page)

    path = block.write(tmp_path, "test_broken.py")

    with pytest.raises(AssertionError, match="1 failed"):
        run_tests(warm_pytest, path)


def run_module(folder: Path, path: Path) -> None:
    """Import a file under the name that a program in ``folder`` would import it by."""
    name = ".".join(path.relative_to(folder).with_suffix("").parts).removesuffix(".__init__")
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)


def run_tests(warm_pytest: WarmPytest, path: Path) -> None:
    """Run the tests in a file, by a pytest of its own."""
    status, printed = warm_pytest.run(path.parent, *PYTEST, path.name)
    assert status == 0, printed


def run_command(command: str, folder: Path) -> str:
    """What a command prints; ``python`` and ``microweb`` are those of this environment."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        shlex.split(command),
        cwd=folder,
        env=os.environ | {"PATH": path, "COLUMNS": "100"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return done.stdout


def read_commands(text: str) -> Iterator[tuple[str, str]]:
    """The commands of a console block, each with what it should print."""
    for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
        command, _, printed = part.partition("\n")
        yield command, printed
