"""A folder with a program in it, and ``microweb`` to run there, in this process."""

import importlib
import os
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from microweb.cli.program import program
from tests.programs import keep_loggers, write


class Project:
    """The working directory of a test."""

    def __init__(self, folder):
        self.folder = folder

    def write(self, name, text):
        return write(self.folder / name, text)

    def run(self, *args, **options):
        """``microweb ARGUMENTS``: its ``exit_code``, ``stdout``, ``stderr`` and both as ``output``."""
        importlib.invalidate_caches()
        return CliRunner().invoke(program, args, catch_exceptions=False, **options)


@pytest.fixture
def project(tmp_path):
    """An empty project; what is imported, read into the environment or logged is undone afterwards.

    Without monkeypatch, which would put back what it found last, a value from a ``.env`` file for instance.
    """
    environ, modules, path, here = dict(os.environ), set(sys.modules), sys.path[:], Path.cwd()
    for name in environ:
        if name.startswith("MICROWEB"):
            del os.environ[name]
    os.chdir(tmp_path)
    try:
        with keep_loggers():
            yield Project(tmp_path)
    finally:
        os.chdir(here)
        os.environ.clear()
        os.environ.update(environ)
        sys.path[:] = path
        for name in set(sys.modules) - modules:
            # A folder without __init__.py has a path only.
            module = sys.modules[name]
            if str(tmp_path) in f"{getattr(module, '__file__', '')} {[*getattr(module, '__path__', ())]}":
                del sys.modules[name]
