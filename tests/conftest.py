"""What every test may use: both event loops, a browser, a warm pytest, a measure of how a cost grows.

Hypothesis's profiles are here as well, and what keeps the garbage collector off the tests themselves. pytest loads
this file first. Fixtures that only one test file needs stand in that file.
"""

import gc
import os
import statistics
import sys
import time
from collections.abc import Callable, Generator
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from tests.services import browser
from tests.warmpytest import warm_pytest

__all__ = ["browser", "warm_pytest"]

# No deadline in any profile: a time limit per example measures how busy the machine is. CI tries the same
# examples each time, so that it judges the change and not the draw; `slow` is for long searches by hand.
settings.register_profile("default", deadline=None)
settings.register_profile(
    "ci", deadline=None, derandomize=True, print_blob=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("slow", deadline=None, max_examples=5_000, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE") or ("ci" if os.environ.get("CI") else "default"))


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Keep the collector from looking through ten thousand tests, now and whenever one of them calls it."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()
        gc.freeze()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Measure coverage once: what runs on asyncio and on trio is measured on asyncio.

    CPython 3.11 takes two to three times as long for each line that is measured.
    """
    tracer = sys.gettrace()
    if tracer is None or getattr(item, "callspec", None) is None or item.callspec.params.get("anyio_backend") != "trio":
        return (yield)
    sys.settrace(None)
    try:
        return (yield)
    finally:
        sys.settrace(tracer)


@pytest.fixture(scope="module", params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    """Run every test that is marked ``anyio`` on both event loops."""
    backend: str = request.param
    return backend


@pytest.fixture
def growth() -> Callable[[Callable[[Any], object], Any, Any], float]:
    """How many times longer work takes on an input twice as large: ``growth(work, small, large) < 2.6``."""
    return measure_growth


def measure_growth(work: Callable[[Any], object], smaller: Any, larger: Any) -> float:
    """The ratio of the medians of five, in processor time.

    A busy machine gets ten attempts; what is quadratic comes out near 4 in each.
    """
    ratio, tracer = 0.0, sys.gettrace()
    for _ in range(10):
        timings: tuple[list[int], list[int]] = ([], [])
        gc.disable()
        sys.settrace(None)  # What measures coverage takes longer than the work.
        try:
            work(larger)  # The memory that it takes is asked of the system now, and not while it is timed.
            for _ in range(5):
                for times, value in zip(timings, (smaller, larger), strict=True):
                    started = time.process_time_ns()
                    work(value)
                    times.append(time.process_time_ns() - started)
        finally:
            sys.settrace(tracer)
            gc.enable()
        ratio = statistics.median(timings[1]) / statistics.median(timings[0])
        if ratio < 2.6:
            break
    return ratio
