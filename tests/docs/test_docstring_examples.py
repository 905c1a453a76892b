"""Every example in a docstring of the package runs and gives what it shows."""

import ast
import doctest
import importlib
from collections.abc import Iterator
from pathlib import Path

import pytest

import microweb

PACKAGE = Path(microweb.__file__).parent
PARSER = doctest.DocTestParser()
Documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def find_examples() -> Iterator[doctest.DocTest]:
    """The examples of each docstring, found in the source: looking at a proxy would ask for its request."""
    for path in sorted(PACKAGE.rglob("*.py")):
        module = ".".join(("microweb", *path.relative_to(PACKAGE).with_suffix("").parts))
        module = module.removesuffix(".__init__")
        for name, node in walk(ast.parse(path.read_text()), module):
            docstring = ast.get_docstring(node, clean=False)
            if docstring and ">>>" in docstring:
                line = node.body[0].lineno - 1
                yield PARSER.get_doctest(docstring, {"__name__": module}, name, str(path), line)


def walk(node: Documented, name: str) -> Iterator[tuple[str, Documented]]:
    """A module and everything in it that may have a docstring, with dotted names."""
    yield name, node
    for child in node.body:
        if isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield from walk(child, f"{name}.{child.name}")


EXAMPLES = list(find_examples())


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.name)
def test_the_example_of_a_docstring_runs(example, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    module = importlib.import_module(example.globs["__name__"])
    example.globs = vars(module) | {"__name__": module.__name__}
    said: list[str] = []

    results = doctest.DocTestRunner(verbose=False).run(example, out=said.append)

    assert results.failed == 0, "".join(said)


def test_there_are_examples_to_run():
    assert len(EXAMPLES) > 20


def test_a_wrong_example_is_found():
    example = PARSER.get_doctest(">>> 1 + 1\n3\n", {}, "wrong", None, 0)

    results = doctest.DocTestRunner(verbose=False).run(example, out=lambda text: None)

    assert results.failed == 1
