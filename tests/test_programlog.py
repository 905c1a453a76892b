"""The logger of a program: ``app.logger``."""

import logging
import subprocess
import sys

from microweb import App
from tests.programs import write

SCRIPT = """
    import logging
    from microweb import App

    app = App(__name__{options})
    {before}
    app.logger.debug("in detail")
    app.logger.warning("hats are out")
    app.logger.warning("shoes are out")
"""


def run(tmp_path, before="", options=""):
    """What a script of that name writes to stderr."""
    script = write(tmp_path / "hatshop.py", SCRIPT.format(before=before, options=options))
    return subprocess.run([sys.executable, script], capture_output=True, text=True, check=True).stderr.splitlines()


def test_the_logger_has_the_name_of_the_module_that_made_the_app():
    assert App("shop.hats").logger is logging.getLogger("shop.hats")
    assert App().logger is logging.getLogger("app")


def test_what_a_script_logs_is_on_stderr_once_without_any_set_up(tmp_path):
    lines = run(tmp_path)

    assert [line.partition("] ")[2] for line in lines] == [
        "WARNING in hatshop: hats are out",
        "WARNING in hatshop: shoes are out",
    ]


def test_in_debug_details_are_told_too(tmp_path):
    lines = run(tmp_path, options=", debug=True")

    assert lines[0].endswith("] DEBUG in hatshop: in detail")
    assert len(lines) == 3


def test_logging_that_the_program_has_set_up_is_left_alone(tmp_path):
    lines = run(tmp_path, 'logging.basicConfig(format="%(name)s: %(message)s")')

    assert lines == ["hatshop: hats are out", "hatshop: shoes are out"]


def test_a_handler_that_takes_only_worse_records_is_not_enough(tmp_path):
    lines = run(tmp_path, "logging.lastResort = None; logging.getLogger('hatshop').addHandler(logging.NullHandler(50))")

    assert len(lines) == 2


def test_a_handler_that_no_record_reaches_is_not_enough(tmp_path):
    lines = run(tmp_path, "logging.basicConfig(); logging.getLogger('hatshop').propagate = False")

    assert [line.partition("] ")[2] for line in lines] == [
        "WARNING in hatshop: hats are out",
        "WARNING in hatshop: shoes are out",
    ]


def test_it_writes_to_what_is_stderr_at_that_moment(tmp_path):
    lines = run(tmp_path, "app.logger; import io, sys; terminal, sys.stderr = sys.stderr, io.StringIO()")

    assert lines == []


def test_a_level_of_the_programs_own_stays(monkeypatch):
    logger = logging.getLogger("shop.level")
    monkeypatch.setattr(logger, "level", logging.ERROR)

    assert App("shop.level", debug=True).logger.level == logging.ERROR


def test_records_reach_the_handlers_of_a_test_run(caplog):
    App(__name__).logger.warning("hats are out")

    assert caplog.messages == ["hats are out"]
    assert not logging.getLogger(__name__).handlers
