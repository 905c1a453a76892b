import sys

import pytest

import microweb.testing
from microweb.testing import _FILES


def test_every_exported_name_can_be_taken():
    for name in microweb.testing.__all__:
        assert getattr(microweb.testing, name).__name__ == name

    assert sorted(_FILES) == microweb.testing.__all__


def test_another_name_is_no_attribute():
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        microweb.testing.Nothing


def test_a_missing_httpx_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "httpx", None)
    monkeypatch.delitem(sys.modules, "microweb.testing.transport", raising=False)

    with pytest.raises(ImportError, match="needs httpx: pip install httpx"):
        microweb.testing.ASGITransport


def test_another_missing_module_is_not_taken_for_httpx(monkeypatch):
    monkeypatch.setitem(sys.modules, "anyio", None)
    monkeypatch.delitem(sys.modules, "microweb.testing.transport", raising=False)

    with pytest.raises(ModuleNotFoundError, match="anyio"):
        microweb.testing.ASGITransport
