import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from microweb.filewatch import FileWatch, find_source_folders
from tests.programs import wait_until, write


@pytest.fixture(params=[False, True], ids=["notified", "polling"])
def polls(request):
    if not request.param:
        pytest.importorskip("watchfiles")
    return request.param


def begin(folder, polls, includes=()):
    """A watch that has begun: what changes from here on is seen."""
    watch = FileWatch([folder], includes, polls=polls)
    watch.wait()
    return watch


def changed(watch, after=lambda: None):
    """The names of the files that are told first."""
    after()
    return {Path(path).name for path in wait_until(watch.wait)}


# Waiting -------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_new_a_changed_and_a_removed_file_are_told(tmp_path, polls):
    path = write(tmp_path / "app.py", "one")
    watch = begin(tmp_path, polls)

    assert changed(watch, lambda: write(path, "more")) == {"app.py"}
    assert changed(watch, lambda: write(tmp_path / "new.py", "new")) == {"new.py"}
    assert changed(watch, path.unlink) == {"app.py"}


def test_nothing_is_told_while_nothing_changes(tmp_path, polls):
    write(tmp_path / "app.py", "one")

    watch = begin(tmp_path, polls)

    assert watch.wait() == set()
    assert watch.polls is polls


def test_what_was_written_before_the_watch_had_begun_is_told_once(tmp_path, polls):
    write(tmp_path / "old.py", "old")
    watch = FileWatch([tmp_path], polls=polls)
    new = write(tmp_path / "new.py", "new")
    os.utime(new, ns=(time.time_ns(),) * 2)  # The system's clock for files is some milliseconds behind.

    assert watch.wait() == {str(new)}
    assert watch.wait() == set()


def test_a_file_whose_time_is_ahead_was_not_written_meanwhile(tmp_path, polls):
    path = write(tmp_path / "app.py", "from a machine with another clock")
    os.utime(path, (time.time() + 3600,) * 2)

    assert FileWatch([tmp_path], polls=polls).wait() == set()


def test_a_link_that_leads_nowhere_hides_nothing_beside_it(tmp_path):
    for number in range(20):
        (tmp_path / f"broken{number}.py").symlink_to("nowhere")
    watch = FileWatch([tmp_path], polls=True)
    new = write(tmp_path / "new.py", "new")
    os.utime(new, ns=(time.time_ns(),) * 2)

    assert watch.wait() == {str(new)}


@pytest.mark.slow
def test_a_file_that_does_not_count_is_not_told(tmp_path, polls):
    (tmp_path / "views").mkdir()
    watch = begin(tmp_path, polls)

    write(tmp_path / "data.db", "data")

    assert changed(watch, lambda: write(tmp_path / "views" / "page.html", "page")) == {"page.html"}


@pytest.mark.slow
def test_a_folder_that_is_ignored_is_not_looked_into(tmp_path, polls):
    write(tmp_path / "node_modules" / "x.py", "x")
    watch = begin(tmp_path, polls)

    write(tmp_path / "node_modules" / "x.py", "xx")

    assert changed(watch, lambda: write(tmp_path / "app.py", "app")) == {"app.py"}


@pytest.mark.slow
def test_a_link_to_a_folder_around_it_is_not_followed(tmp_path, polls):
    path = write(tmp_path / "app.py", "one")
    (tmp_path / "round").symlink_to(tmp_path)
    watch = begin(tmp_path, polls)

    write(path, "more")

    assert wait_until(watch.wait) == {str(path)}


@pytest.mark.slow
def test_a_file_that_was_replaced_by_one_as_old_is_told(tmp_path, polls):
    path = write(tmp_path / "app.py", "one")
    status = path.stat()
    watch = begin(tmp_path, polls)

    write(tmp_path / "app.new", "more")
    os.utime(tmp_path / "app.new", ns=(status.st_atime_ns, status.st_mtime_ns))
    (tmp_path / "app.new").replace(path)

    assert wait_until(watch.wait) == {str(path)}


@pytest.mark.slow
def test_a_folder_that_is_not_there_makes_the_watch_poll(tmp_path):
    watch = begin(tmp_path / "later", False)

    assert watch.polls
    assert changed(watch, lambda: write(tmp_path / "later" / "app.py", "app")) == {"app.py"}


@pytest.mark.parametrize(
    "watchfiles",
    [
        "raise ImportError",
        "def watch(*folders, **options): raise OSError('the limit of watches is reached')",
        "def watch(*folders, **options): raise RuntimeError('error in underlying watcher')",
        "def watch(*folders, **options): return iter(())",
    ],
)
def test_without_watchfiles_or_when_it_fails_it_polls(tmp_path, watchfiles):
    write(tmp_path / "watchfiles.py", watchfiles)
    script = "from microweb.filewatch import FileWatch; w = FileWatch(['.']); w.wait(); print(w.polls)"

    found = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True)

    assert found.stdout == "True\n"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every folder")
def test_a_folder_that_may_not_be_read_is_passed_over(tmp_path):
    write(tmp_path / "closed" / "app.py", "app").parent.chmod(0)
    watch = begin(tmp_path, True)

    assert changed(watch, lambda: write(tmp_path / "app.py", "app")) == {"app.py"}


# What counts ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        "app.py",
        "shop/views.py",
        "shop/page.html",
        "shop/mail.j2",
        "templates/mail.txt",
        "shop/templates/sub/icon.svg",
        ".env",
        ".microwebenv",
        "settings.toml",
    ],
)
def test_source_files_templates_and_settings_count(tmp_path, path):
    assert FileWatch([tmp_path], ["*.toml"]).accepts(str(tmp_path / path))


@pytest.mark.parametrize(
    "path",
    [
        "data.json",
        "app.pyc",
        "__pycache__/app.py",
        ".git/hooks/x.py",
        "venv/lib/x.py",
        "lib/site-packages/x.py",
        ".hidden.py",
        "#app.py",
        "templates/.page.html.swp",
        "templates/page.html~",
        "templates/.page.html",
    ],
)
def test_data_hidden_files_and_installed_packages_do_not_count(tmp_path, path):
    assert not FileWatch([tmp_path]).accepts(str(tmp_path / path))


def test_a_file_elsewhere_does_not_count(tmp_path):
    assert not FileWatch([tmp_path / "shop"]).accepts(str(tmp_path / "app.py"))


def test_a_hidden_folder_above_the_watched_one_does_not_matter(tmp_path):
    folder = tmp_path / ".work" / "shop"

    assert FileWatch([folder]).accepts(str(folder / "app.py"))


def test_a_folder_inside_another_is_watched_with_that(tmp_path):
    assert FileWatch([tmp_path / "shop", tmp_path, tmp_path]).folders == [tmp_path]


def test_a_folder_behind_a_link_is_watched_where_it_is(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "shop")

    assert FileWatch([tmp_path / "link"]).folders == [tmp_path.resolve() / "shop"]


# Where a program's source is -----------------------------------------------------------------------


def test_the_source_folders_are_those_of_the_path_without_installed_packages(tmp_path, monkeypatch):
    shop = write(tmp_path / "shop" / "app.py", "").parent
    installed = write(tmp_path / "site-packages" / "x.py", "").parent
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", ["", *sys.path[1:], str(shop), str(installed), "/", "/nowhere"])

    folders = find_source_folders([tmp_path / "more"])

    assert {tmp_path, shop, tmp_path / "more"} <= set(folders)
    assert not {installed, Path("/"), Path("/nowhere")} & set(folders)
    assert not any("site-packages" in folder.parts for folder in folders)
    assert Path(os.__file__).resolve().parent not in folders, "Python's own library"


def test_a_checkout_of_microweb_is_watched_only_by_programs_that_stand_in_it(tmp_path, monkeypatch):
    import microweb

    checkout = Path(microweb.__file__).parent.parent

    monkeypatch.setattr(sys, "path", [str(tmp_path), str(checkout)])
    assert find_source_folders() == [tmp_path]
    monkeypatch.setattr(sys, "path", [str(checkout)])
    assert find_source_folders() == [checkout]
