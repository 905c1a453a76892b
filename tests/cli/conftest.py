"""A folder with a program in it, and ``microweb`` to run there, in this process."""

import importlib
import os
import sys

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
def project(tmp_path, monkeypatch):
    """An empty project; what is imported, read into the environment or logged is undone afterwards."""
    environ, modules, path = dict(os.environ), set(sys.modules), sys.path[:]
    for name in environ:
        if name.startswith("MICROWEB"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    with keep_loggers():
        yield Project(tmp_path)
    os.environ.clear()
    os.environ.update(environ)
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]
