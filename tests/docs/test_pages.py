"""What the documentation says of the code is there: links, names, keys, tests, and the name to install."""

import importlib
import re
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


def defines(path: Path, test: str) -> bool:
    return path.exists() and f"def {test}(" in path.read_text()
