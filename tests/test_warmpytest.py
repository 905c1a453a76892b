"""The pytest that runs tests of tests is true to one that a reader starts."""

import os
import re

import pytest

from tests.programs import write
from tests.warmpytest import UNUSED, run_python

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="without a fork each run is a pytest of its own")

HATS = """
    import logging
    import sys
    import warnings

    import pytest

    import sizes

    def test_a_module_beside_it_is_found():
        assert sys.path[0] == sizes.__file__.rpartition("/")[0]

    def test_that_fails(capsys):
        print("hats")
        assert capsys.readouterr().out == "caps"

    def test_that_warns():
        warnings.warn("worn", DeprecationWarning)

    @pytest.mark.anyio
    async def test_in_a_loop():
        logging.error("lost")
        raise ValueError("no hat")
"""

CHANGING = """
    import os
    import sys

    def test_the_process_is_as_it_was():
        assert "HAT" not in os.environ
        assert "hats" not in sys.modules
        os.environ["HAT"] = "red"
        sys.modules["hats"] = sys
"""


def without_times(printed):
    return re.sub(r"[\d.]+s|=+|0x\w+", "", printed)


@pytest.mark.slow
def test_it_prints_what_a_pytest_that_was_just_started_prints(tmp_path, warm_pytest):
    write(tmp_path / "sizes.py", "")
    write(tmp_path / "test_hats.py", HATS)

    status, printed = warm_pytest.run(tmp_path, "-rA")

    expected = run_python("-m", "pytest", *UNUSED, "-rA", folder=tmp_path)
    assert status == expected[0] == 1
    assert without_times(printed) == without_times(expected[1])


def test_a_run_sees_nothing_of_the_run_before(tmp_path, warm_pytest):
    write(tmp_path / "test_change.py", CHANGING)

    assert [warm_pytest.run(tmp_path)[0] for _ in range(2)] == [0, 0]


def test_a_run_that_is_killed_is_no_success(tmp_path, warm_pytest):
    write(tmp_path / "test_end.py", "import os\ndef test_end():\n    os.kill(os.getpid(), 9)\n")

    assert warm_pytest.run(tmp_path)[0] == -9
