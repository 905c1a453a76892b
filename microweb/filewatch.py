"""Which of a program's files have changed: by the system's notifications, or by looking at all of them.

``watchfiles`` gives the notifications (it comes with the extra ``standard``); without it, or where the system
has no more of them to give, a ``FileWatch`` looks at every file once a second. It starts and stops nothing:
``supervisor.py`` asks it.
"""

from __future__ import annotations

import os
import sys
import sysconfig
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from fnmatch import fnmatch
from pathlib import Path

__all__ = ["SCRATCH", "TICK", "FileWatch", "find_source_folders"]

TICK = 0.25
"""Seconds that ``wait`` takes when nothing changes."""

POLL = 1.0
"""Seconds between two looks at all files, as werkzeug's reloader takes."""

SUFFIXES = frozenset({".py", ".html", ".htm", ".jinja", ".jinja2", ".j2"})
"""A program may write data beside its code, so only what it reads once, at its start, is watched."""

SETTINGS = frozenset({".env", ".microwebenv"})
TEMPLATES = "templates"
"""In a folder of that name every file counts, whatever its suffix."""

IGNORED = frozenset({"__pycache__", "node_modules", "site-packages", "venv"})
INSTALLED = frozenset({"site-packages", "dist-packages"})
SCRATCH = ("~", ".swp", ".swx", ".tmp", ".bak")
"""How the names of the files end that editors write beside the one they save."""


class FileWatch:
    """Tells which source files below some folders have changed since it was asked last.

    Python files, templates and ``.env`` files count, and what ``includes`` names (``"*.toml"``); hidden
    folders and those of installed packages do not. ``polls`` is true from the beginning or once the
    notifications have failed.

    >>> watch = FileWatch(["/srv/shop"])
    >>> watch.accepts("/srv/shop/views.py"), watch.accepts("/srv/shop/orders.db")
    (True, False)
    """

    def __init__(self, folders: Iterable[str | Path], includes: Sequence[str] = (), *, polls: bool = False) -> None:
        # Resolved, for notifications name the real path, and outermost only: others are watched with those.
        found = dict.fromkeys(Path(folder).resolve() for folder in folders)
        self.folders = [path for path in found if not any(other in found for other in path.parents)]
        self.includes = tuple(includes)
        self.polls = polls
        self._notifications: Iterator[set[str]] | None = None
        self._seen: dict[str, tuple[int, int]] | None = None
        self._next_look = 0.0
        self._made_at = time.time_ns()

    def wait(self) -> set[str]:
        """Wait a moment for changes, and give the paths that have; an empty set when none did.

        The first call begins the watch, which takes its time where there are many folders; it also gives what has
        been written since the watch was made.
        """
        if not self.polls:
            try:
                if self._notifications is None:
                    self._notifications = notified(self)
                    return next(self._notifications) | self._written_since(self._look())
                return next(self._notifications)
            except (ImportError, OSError, RuntimeError, StopIteration):
                # There is no watchfiles, the system has no more watches, or none for this file system.
                self.polls = True
        return self._poll()

    def accepts(self, path: str) -> bool:
        """Whether a change of this file counts."""
        here = Path(path)
        folder = next((folder for folder in self.folders if folder in here.parents), None)
        if folder is None:
            return False
        *folders, name = here.relative_to(folder).parts
        if any(map(is_ignored, folders)):
            return False
        if name in SETTINGS or any(fnmatch(name, pattern) for pattern in self.includes):
            return True
        if name.startswith((".", "#")) or name.endswith(SCRATCH):
            return False
        return here.suffix in SUFFIXES or TEMPLATES in folders

    def _poll(self) -> set[str]:
        if self._seen is not None:
            time.sleep(TICK)
            if time.monotonic() < self._next_look:
                return set()
        seen, before = self._look(), self._seen
        self._seen = seen
        self._next_look = time.monotonic() + POLL
        if before is None:
            return self._written_since(seen)
        return {path for path in seen.keys() | before.keys() if seen.get(path) != before.get(path)}

    def _written_since(self, seen: dict[str, tuple[int, int]]) -> set[str]:
        """Which of these files were written after the watch was made. A time that is yet to come says nothing."""
        now = time.time_ns()
        return {path for path, (written_at, _) in seen.items() if self._made_at < written_at <= now}

    def _look(self) -> dict[str, tuple[int, int]]:
        """The time and size of every file that counts."""
        seen: dict[str, tuple[int, int]] = {}
        waiting = [os.fspath(folder) for folder in self.folders]
        while waiting:
            try:
                with os.scandir(waiting.pop()) as entries:
                    for entry in entries:
                        if entry.is_dir(follow_symlinks=False):
                            if not is_ignored(entry.name):
                                waiting.append(entry.path)
                        elif self.accepts(entry.path):
                            with suppress(OSError):  # A link may lead nowhere, and what is beside it counts.
                                status = entry.stat()
                                seen[entry.path] = (status.st_mtime_ns, status.st_size)
            except OSError:
                continue  # It went away meanwhile, or is not ours to read.
        return seen


def is_ignored(folder: str) -> bool:
    """Whether nothing below a folder of that name counts."""
    return folder in IGNORED or folder.startswith(".")


def notified(watch: FileWatch) -> Iterator[set[str]]:
    """The changes as the system tells them; an empty set whenever a moment passes without one."""
    from watchfiles import watch as notify

    for changes in notify(
        *watch.folders,
        watch_filter=lambda _, path: watch.accepts(path),
        rust_timeout=int(TICK * 1000),
        yield_on_timeout=True,
    ):
        yield {path for _, path in changes}


def find_source_folders(extra: Iterable[str | Path] = ()) -> list[Path]:
    """The folders that this program imports from, without those of installed packages, and ``extra``."""
    paths = sysconfig.get_paths()
    libraries = {Path(paths[name]).resolve() for name in ("stdlib", "platstdlib", "scripts")}
    ours = Path(__file__).resolve().parent.parent
    folders: list[Path] = []
    for number, entry in enumerate(sys.path):
        folder = Path(entry).resolve()
        if not folder.is_dir() or folder == Path(folder.anchor):
            continue
        if not libraries.isdisjoint([folder, *folder.parents]) or not INSTALLED.isdisjoint(folder.parts):
            continue
        # A checkout of microweb itself that was installed as editable is on the path of every program.
        if folder == ours and number > 0:
            continue
        folders.append(folder)
    return list(dict.fromkeys([*folders, *(Path(folder).resolve() for folder in extra)]))
