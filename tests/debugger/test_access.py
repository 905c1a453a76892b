"""The PIN by itself: how it may be written, and how wrong ones are counted."""

import pytest

from microweb import SetupError
from microweb.debugger.access import Access


@pytest.mark.parametrize("given", ["246-813-579", "246813579", "246 813 579"])
def test_a_pin_may_be_written_with_and_without_its_dashes(given):
    assert Access("246-813-579").try_pin(given)


@pytest.mark.parametrize("given", ["", "246-813-578", "2468135790", "²46813579", "\ud800"])
def test_another_pin_is_wrong(given):
    assert not Access("246-813-579").try_pin(given)


def test_a_number_from_the_environment_is_a_pin():
    assert Access(246813579).try_pin("246-813-579")


def test_once_locked_no_pin_is_right():
    access = Access("246-813-579")
    for _ in range(10):
        access.try_pin("111-111-111")

    assert access.is_locked
    assert not access.try_pin("246-813-579")


@pytest.mark.parametrize("pin", ["", "12345", "1-2-3-4-5"])
def test_a_short_pin_is_refused(pin):
    with pytest.raises(SetupError, match="DEBUG_PIN needs 6 characters"):
        Access(pin)
