import importlib
import json
import os
import re
import shutil
import stat
import subprocess
import sys
import tomllib
from importlib.metadata import Distribution
from urllib.parse import quote

import pytest
import yaml

from microweb import App
from microweb.cli import new
from microweb.cli.new import PARTS, find_requirement, render_project
from microweb.testing import SyncClient
from tests.programs import DEADLINE, Program, find_free_port, get

MAKE = shutil.which("make")
EVERYTHING_OUT = ("--no-templates", "--no-docker", "--no-systemd")
LIMIT = re.compile(r"timeout.graceful.shutdown\W+(\d+)")
"""Seconds that uvicorn waits for its connections, as an option or as a setting."""
needs_make = pytest.mark.skipif(MAKE is None, reason="make is not installed")


def list_files(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def make(*arguments, folder):
    """Run make as a person would: what the make that runs these tests was told is not for this one."""
    told = {"MAKEFLAGS", "MAKELEVEL", "MFLAGS", "MAKEOVERRIDES", "MICROWEB", "PORT", "PYTHON"}
    environment = {name: value for name, value in os.environ.items() if name not in told}
    return subprocess.run([MAKE, *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=False)


class Installed(Distribution):
    """A distribution whose installer noted this of its origin."""

    def __init__(self, origin):
        self.noted = origin

    def read_text(self, filename):
        return None if self.noted is None else json.dumps(self.noted)

    def locate_file(self, path):
        raise NotImplementedError


# What is written -----------------------------------------------------------------------------------


def test_the_new_project_answers(project, monkeypatch):
    result = project.run("new", "shop")

    assert (result.exit_code, result.stderr) == (0, "")
    monkeypatch.syspath_prepend(str(project.folder / "shop"))
    app = importlib.import_module("shop").create_app({"SECRET_KEY": "a key of sixteen bytes"})
    with SyncClient(app, follow_redirects=True) as client:
        assert client.get("/api/greetings/Ada").json() == {"greeting": "Hello, Ada!"}
        assert "<h1>Hello, Ada!</h1>" in client.post("/", data={"visitor": "Ada"}).text


@pytest.mark.slow
@pytest.mark.parametrize("options", [(), EVERYTHING_OUT], ids=["whole", "small"])
def test_the_new_projects_own_tests_pass(project, warm_pytest, options):
    project.run("new", "shop", *options)

    status, printed = warm_pytest.run(project.folder / "shop", "-q")

    assert status == 0, printed
    assert " passed in " in printed


def test_the_commands_find_the_app_of_a_new_project(project):
    project.run("new", "shop")
    os.chdir(project.folder / "shop")

    output = project.run("routes").stdout

    assert "api.health" in output
    assert "pages.introduce" in output


def test_every_word_of_the_skeleton_is_filled_in(project):
    project.run("new", "shop")

    for path in (project.folder / "shop").rglob("*"):
        if path.is_file():
            text = path.read_text()
            assert not any(mark in text for mark in ("[[", "]]", "[%", "%]", "[#", "#]")), path
            assert "package" not in path.name
            assert text.endswith("\n")
            assert not text.endswith("\n\n")
            assert path.suffix != ".py" or compile(text, path, "exec")


def test_the_project_file_asks_for_microweb_by_its_name(project):
    project.run("new", "shop")

    project_file = tomllib.loads((project.folder / "shop" / "pyproject.toml").read_text())

    assert project_file["project"]["name"] == "shop"
    assert project_file["project"]["dependencies"] == ["microweb-asgi[standard]"]
    assert project_file["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"] == ["shop"]


def test_each_project_gets_a_secret_key_of_its_own_that_only_its_owner_reads(project):
    project.run("new", "shop")
    project.run("new", "shed")

    keys = [(project.folder / name / ".env").read_text().rpartition("=")[2].strip() for name in ("shop", "shed")]

    assert keys[0] != keys[1]
    assert min(map(len, keys)) >= 40
    assert stat.S_IMODE((project.folder / "shop" / ".env").stat().st_mode) == 0o600
    assert ".env" in (project.folder / "shop" / ".gitignore").read_text().split()
    assert ".env" in (project.folder / "shop" / ".dockerignore").read_text().split()


def test_the_files_of_the_skeleton_are_those_of_the_project(project):
    project.run("new", "shop")

    assert list_files(project.folder / "shop") == {
        *(".dockerignore", ".env", ".gitignore", "Dockerfile", "Makefile", "README.md", "asgi.py", "compose.yaml"),
        *("deployment/nginx.conf", "deployment/shop.service", "pyproject.toml"),
        *("shop/__init__.py", "shop/api.py", "shop/defaults.py", "shop/factory.py", "shop/pages.py", "shop/worker.py"),
        *("shop/static/style.css", "shop/templates/base.html", "shop/templates/home.html"),
        *("tests/conftest.py", "tests/test_api.py", "tests/test_pages.py"),
    }


def test_the_containers_fit_together():
    files = dict(render_project("shop"))
    services = yaml.safe_load(files["compose.yaml"])["services"]
    upstream = re.search(r"server (\w+):(\d+);", files["deployment/nginx.conf"])

    mounted = services["nginx"]["volumes"][0].split(":")[0].removeprefix("./")
    assert set(services) == {"app", "nginx"}
    assert services[upstream[1]]["expose"] == [upstream[2]]
    assert f"EXPOSE {upstream[2]}" in files["Dockerfile"]
    assert mounted in files
    assert "HEALTHCHECK" in files["Dockerfile"], "nginx waits until the app is healthy"
    assert services["nginx"]["ports"] == ["127.0.0.1:8080:80"]
    assert "SHOP_SECRET_KEY" in services["app"]["environment"]


def test_whoever_stops_the_server_waits_until_its_connections_and_the_exits_have_ended():
    files = dict(render_project("shop"))
    limits = [int(found) for path in ("Makefile", "Dockerfile") for found in LIMIT.findall(files[path])]
    limits += [int(found) for found in LIMIT.findall(files["shop/worker.py"] + files["deployment/shop.service"])]

    waits = [
        *re.findall(r"--graceful-timeout (\d+)", files["Makefile"] + files["README.md"]),
        *re.findall(r"TimeoutStopSec=(\d+)", files["deployment/shop.service"]),
        yaml.safe_load(files["compose.yaml"])["services"]["app"]["stop_grace_period"].removesuffix("s"),
    ]

    assert limits == [15, 15, 15, 15]
    assert len(waits) == 4
    assert min(map(int, waits)) > max(limits) + App().config["GRACEFUL_TIMEOUT"]


# What is left out ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("part", "gone"),
    [
        ("templates", {"shop/pages.py", "tests/test_pages.py", "shop/templates/home.html", "shop/static/style.css"}),
        ("docker", {"Dockerfile", ".dockerignore", "compose.yaml", "deployment/nginx.conf"}),
        ("systemd", {"deployment/shop.service"}),
    ],
)
def test_an_option_leaves_its_part_out_and_no_word_of_it_stays(part, gone):
    whole, without = dict(render_project("shop")), dict(render_project("shop", **{part: False}))

    assert gone <= set(whole) - set(without)
    words = {"templates": "pages", "docker": "docker", "systemd": ".service"}
    assert not [path for path, text in without.items() if words[part] in text.lower()]


def test_every_part_has_files():
    sources = [path.relative_to(new.SKELETON).as_posix() for path in new.SKELETON.rglob("*.jinja")]

    for starts in PARTS.values():
        assert all(any(source.startswith(start) for source in sources) for start in starts)


# What is refused -----------------------------------------------------------------------------------


def test_an_existing_folder_is_left_alone(project):
    project.write("shop/notes.txt", "mine")

    result = project.run("new", "shop")

    assert result.exit_code == 1
    assert result.stderr == "Error: 'shop' exists already, and nothing in it was touched; take another name\n"
    assert list_files(project.folder) == {"shop/notes.txt"}


def test_an_existing_file_is_left_alone_too(project):
    project.write("shop", "mine")

    assert project.run("new", "shop").exit_code == 1
    assert (project.folder / "shop").read_text() == "mine"


def test_a_link_that_leads_nowhere_is_not_followed(project):
    (project.folder / "shop").symlink_to("elsewhere")

    assert project.run("new", "shop").exit_code == 1
    assert not (project.folder / "elsewhere").exists()


def test_a_folder_that_cannot_be_made_is_one_sentence(project):
    name = "s" * 300

    result = project.run("new", name)

    assert result.exit_code == 1
    assert result.stderr == f"Error: the folder {name!r} cannot be made: File name too long\n"


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("my-shop", "; 'my_shop' would do"),
        ("My Shop", "; 'my_shop' would do"),
        ("2shop", "; 'shop' would do"),
        ("shop_", "; 'shop' would do"),
        ("../shop", "; 'shop' would do"),
        ("shop\n", "; 'shop' would do"),
        ("läden", "; 'l_den' would do"),
        ("Class", ""),
        ("7", ""),
        ("", ""),
    ],
)
def test_what_is_no_package_name_is_refused_with_one_that_is(project, name, hint):
    result = project.run("new", name)

    assert result.exit_code == 2
    assert f"{name!r} is no name for a Python package" in result.stderr
    assert result.stderr.endswith(f"no underscore at the end{hint}\n")
    assert list_files(project.folder) == set()


@pytest.mark.parametrize("name", ["class", "match", "json", "test", "tests", "conftest", "asgi", "microweb", "click"])
def test_a_name_that_would_hide_another_package_is_refused(project, name):
    result = project.run("new", name)

    assert result.exit_code == 2
    assert f"{name!r} means something else to Python or in the project; take another name" in result.stderr


# Where microweb comes from -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("origin", "requirement"),
    [
        (None, "microweb-asgi"),
        ({"url": "file:///srv/my%20code/microweb", "dir_info": {"editable": True}}, "/srv/my code/microweb"),
        ({"url": "https://a.example/m.whl", "archive_info": {}}, "microweb-asgi @ https://a.example/m.whl"),
        (
            {"url": "https://a.example/m", "vcs_info": {"vcs": "git", "commit_id": "a1b2"}},
            "microweb-asgi @ git+https://a.example/m@a1b2",
        ),
    ],
)
def test_a_project_takes_microweb_from_where_this_one_came_from(monkeypatch, origin, requirement):
    monkeypatch.setattr(new, "distribution", lambda name: Installed(origin))

    assert find_requirement() == requirement
    assert f"\nMICROWEB ?= {requirement}\n" in dict(render_project("shop"))["Makefile"]


def test_a_microweb_that_was_never_installed_is_asked_for_by_name(monkeypatch):
    monkeypatch.setattr(new, "DISTRIBUTION", "a-distribution-that-is-not-installed")

    assert find_requirement() == "a-distribution-that-is-not-installed"


@pytest.mark.parametrize("path", ["/srv/$(shell id)", "/srv/it's", "/srv/a#b", "/srv/a\nb:"])
def test_an_origin_that_a_makefile_cannot_hold_is_left_out(monkeypatch, path):
    origin = {"url": f"file://{quote(path)}", "dir_info": {}}
    monkeypatch.setattr(new, "distribution", lambda name: Installed(origin))

    assert find_requirement() == "microweb-asgi"


# The Makefile --------------------------------------------------------------------------------------


@needs_make
def test_make_alone_lists_what_there_is(project):
    project.run("new", "shop")

    listed = make(folder=project.folder / "shop").stdout

    lines = [line.split()[:2] for line in listed.splitlines()]
    assert lines == [["make", name] for name in ("help", "run", "test", "uvicorn", "gunicorn", "granian", "wheels")]


@needs_make
def test_a_clone_which_has_no_secret_key_makes_one(project):
    project.run("new", "shop")
    key_file = project.folder / "shop" / ".env"
    key_file.unlink()

    make(".env", f"PYTHON={sys.executable}", folder=project.folder / "shop")

    assert len(key_file.read_text().strip().removeprefix("SHOP_SECRET_KEY=")) >= 40
    assert stat.S_IMODE(key_file.stat().st_mode) == 0o600


@needs_make
@pytest.mark.slow
@pytest.mark.parametrize("options", [(), ("--no-templates",), EVERYTHING_OUT], ids=" ".join)
def test_make_test_passes_with_a_python_that_has_all(project, options):
    project.run("new", "shop", *options)

    done = make("test", f"PYTHON={sys.executable}", folder=project.folder / "shop")

    assert done.returncode == 0, done.stdout + done.stderr
    assert not (project.folder / "shop" / ".venv").exists()


@needs_make
@pytest.mark.slow
def test_make_test_passes_in_an_environment_of_its_own(project):
    project.run("new", "shop")

    done = make("test", folder=project.folder / "shop")

    assert done.returncode == 0, done.stdout + done.stderr
    assert (project.folder / "shop" / ".venv" / "bin" / "microweb").exists()


@needs_make
@pytest.mark.slow
@pytest.mark.wire
@pytest.mark.parametrize(
    ("server", "patience"),
    # A worker of granian 2 that has only just started may miss the SIGTERM, with any app; then the others wait for it.
    [("uvicorn", DEADLINE), ("gunicorn", DEADLINE), ("granian", 5.0)],
    ids=["uvicorn", "gunicorn", "granian"],
)
def test_a_server_serves_the_project_by_its_start_line(project, server, patience):
    pytest.importorskip(server)
    project.run("new", "shop")
    port = find_free_port()

    run_make = "import os, sys; os.execvp('make', sys.argv)"
    line = (server, f"PYTHON={sys.executable}", f"PORT={port}")
    with Program("-c", run_make, *line, cwd=project.folder / "shop", patience=patience) as program:
        page = get(f"http://127.0.0.1:{port}/")

    assert "<h1>Hello!</h1>" in page
    assert "Traceback" not in program.output
