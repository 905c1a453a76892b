"""What the documentation says of the code is there: links, names, keys, tests, and the name to install."""

import importlib
import inspect
import re
import tomllib
import types
from pathlib import Path

import flask
import pytest

import microweb
from microweb.limits import DEFAULTS

ROOT = Path(__file__).parents[2]
PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "benchmarks").glob("*.md")]
REFERENCE = "\n".join(page.read_text() for page in (ROOT / "docs" / "reference").glob("*.md"))
SOURCES = sorted((ROOT / "microweb").rglob("*.py"))
PUBLIC = ["errors", "sessions", "middleware", "testing", "openapi", "wsgi", "channels", "sync"]
LINK = re.compile(r"(?<!!)\[[^\]]+\]\(([^)\s]+)\)")
PLACEHOLDERS = {"Request": ..., "Argument": ..., "Namespace": ..., "time": types.SimpleNamespace(monotonic=...)}
"""What stands in a signature for a default that is no literal."""
TEST = re.compile(r"`?(tests/[\w/]+\.py)::(test_\w+)")


def find_public_modules() -> list[str]:
    package = Path(microweb.__file__).parent
    extensions = sorted(f"ext.{path.stem}" for path in (package / "ext").glob("[!_]*") if path.suffix in ("", ".py"))
    exists = [name for name in PUBLIC if (package / f"{name}.py").exists() or (package / name / "__init__.py").exists()]
    return ["microweb", *(f"microweb.{name}" for name in [*exists, *extensions])]


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def anchors_of(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ +(.+?) *$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_link_between_pages_leads_somewhere(page):
    for link in LINK.findall(page.read_text()):
        if re.match(r"\w+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page

        assert target.exists(), link
        assert not anchor or anchor in anchors_of(target), link


@pytest.mark.parametrize("module", find_public_modules())
def test_every_public_name_stands_in_the_reference(module):
    exported = importlib.import_module(module).__all__

    missing = [name for name in exported if not re.search(rf"`(?:await )?{re.escape(name)}\b", REFERENCE)]

    assert missing == []


def test_every_public_name_of_flask_is_here_or_among_the_differences():
    differences = (ROOT / "docs" / "explain" / "differences-from-flask.md").read_text()
    names = {
        name
        for name, value in vars(flask).items()
        if not name.startswith("_") and not isinstance(value, types.ModuleType) and name not in ("annotations", "t")
    }

    missing = {name for name in names if not hasattr(microweb, name) and not re.search(rf"\b{name}\b", differences)}

    assert {"Flask", "has_app_context", "message_flashed", "url_for"} <= names
    assert missing == set()


def test_every_config_key_is_described():
    guide = (ROOT / "docs" / "howto" / "configuration.md").read_text()

    assert [key for key in DEFAULTS if f"| `{key}` |" not in guide] == []


def test_every_page_can_be_reached_from_the_index():
    index = ROOT / "docs" / "index.md"
    reached, ahead = set(), [index]
    while ahead:
        page = ahead.pop()
        if page in reached or page.suffix != ".md" or not page.exists():
            continue
        reached.add(page)
        links = (link.partition("#")[0] for link in LINK.findall(page.read_text()))
        ahead += [(page.parent / link).resolve() for link in links if link and ":" not in link]

    assert [name_of(page) for page in (ROOT / "docs").rglob("*.md") if page not in reached] == []


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_a_test_that_a_page_names_exists(page):
    named = TEST.findall(page.read_text())

    assert [f"{file}::{test}" for file, test in named if not defines(ROOT / file, test)] == []


def test_every_promise_names_a_test():
    promises = (ROOT / "docs" / "explain" / "promises.md").read_text().partition("\n## ")[0]
    rows = re.findall(r"^\| *\d+ .*$", promises, re.MULTILINE)

    assert rows
    assert [row for row in rows if not TEST.search(row)] == []


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_no_page_installs_the_other_project_of_that_name(page):
    # `microweb` on the package index is not ours; whoever followed such a line would run a stranger's code.
    assert not re.search(r"pip install\s+(?:-\S+\s+)*['\"]?microweb(?![\w-])", page.read_text())


def test_no_message_installs_from_an_index_what_is_on_none():
    command = re.compile(r"pip install ['\"]?microweb")

    assert [name_of(source) for source in SOURCES if command.search(source.read_text())] == []


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_an_extra_that_a_page_installs_is_there_and_for_users(page):
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]

    named = set(re.findall(r"microweb(?:-asgi)?\[([\w-]+)\]|\bextra `([\w-]+)`", page.read_text()))

    assert {either or other for either, other in named} <= extras.keys() - {"suite", "dev"}


def test_a_test_client_needs_few_packages():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]

    assert [re.split(r"[>=]", requirement)[0] for requirement in extras["test"]] == ["anyio", "httpx", "pytest"]


def test_the_licence_that_the_package_names_is_there():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

    assert project["license"] == "BSD-3-Clause"
    assert all((ROOT / name).read_text().startswith("BSD 3-Clause License") for name in project["license-files"])


def test_the_default_of_every_config_key_is_the_one_that_is_described():
    guide = (ROOT / "docs" / "howto" / "configuration.md").read_text()

    written = dict(re.findall(r"^\| `([A-Z_]+)` \|[^|]*\| `([^`]*)` \|", guide, re.MULTILINE))

    assert {key: eval(default) for key, default in written.items()} == DEFAULTS  # noqa: S307 - our own page


def test_a_signature_in_the_reference_is_that_of_the_code():
    rows = re.findall(r"^(?:\| )?`(?:[\w.]+\.)?(\w+)\(([^`]+)\)`", REFERENCE, re.MULTILINE)
    public = {name: getattr(importlib.import_module(module), name) for module, name in find_public_names()}

    wrong = {
        f"{name}({written})"
        for name, written in rows
        if inspect.isclass(public.get(name)) and "..." not in written and not is_signature_of(public[name], written)
    }

    assert wrong == set()


def test_a_security_comment_names_a_test_that_exists():
    files = list((ROOT / "tests").rglob("test_*.py"))
    there = {path.stem for path in files}
    there.update(test for path in files for test in re.findall(r"def (test_\w+)", path.read_text()))

    named = {
        (path.name, test)
        for path in SOURCES
        for comment in re.findall(r"# SECURITY.*(?:\n\s*#.*)*", path.read_text())
        for test in re.findall(r"\btest_\w+", comment)
    }

    assert sorted(place for place in named if place[1] not in there) == []


def test_a_performance_comment_names_a_row_of_a_benchmark():
    benchmarks = {path.stem: path.read_text() for path in (ROOT / "benchmarks").glob("*.py")}
    rows = {row for text in benchmarks.values() for row in re.findall(r'"([\w-]+)"', text)}

    named = {(path.name, name) for path in SOURCES for name in re.findall(r"PERF\(([^)]*)\)", path.read_text())}

    wrong = [
        place
        for place in named
        if place[1].partition(".")[0] not in benchmarks or place[1].partition(".")[2] not in rows
    ]
    assert sorted(wrong) == []


def find_public_names() -> list[tuple[str, str]]:
    modules = [*find_public_modules(), "microweb.channels.redis"]
    return [(module, name) for module in modules for name in importlib.import_module(module).__all__]


def is_signature_of(kind: type, written: str) -> bool:
    """Whether these are the parameters of the class, in their order, with their defaults where those are literals."""
    told = inspect.signature(eval(f"(lambda {written}: None)", PLACEHOLDERS))  # noqa: S307 - our own page
    real = inspect.signature(kind)
    return [(parameter.name, parameter.kind) for parameter in told.parameters.values()] == [
        (parameter.name, parameter.kind) for parameter in real.parameters.values()
    ] and all(parameter.default in (real.parameters[name].default, ...) for name, parameter in told.parameters.items())


def defines(path: Path, test: str) -> bool:
    return path.exists() and f"def {test}(" in path.read_text()
