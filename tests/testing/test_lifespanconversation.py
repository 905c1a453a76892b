import pytest

from microweb.testing import LintError
from tests.testing.scripts import LIFESPAN, RECEIVE, check

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("end", ["complete", "failed"])
async def test_a_sound_lifespan_passes(end):
    await check(
        LIFESPAN,
        RECEIVE,
        {"type": "lifespan.startup.complete"},
        RECEIVE,
        {"type": f"lifespan.shutdown.{end}"},
        server=[{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}],
    )


@pytest.mark.parametrize(
    "steps",
    [
        [{"type": "lifespan.startup.complete"}],
        [RECEIVE, {"type": "lifespan.shutdown.complete"}],
        [RECEIVE, {"type": "lifespan.startup.complete"}, {"type": "lifespan.startup.complete"}],
        [RECEIVE, {"type": "lifespan.startup.failed"}, {"type": "lifespan.startup.complete"}],
        [RECEIVE, {"type": "lifespan.startup.failed", "message": b"x"}],
    ],
)
async def test_a_fault_in_a_lifespan_is_named(steps):
    with pytest.raises(LintError, match=r"app: lifespan: .*(wrong time|must be str)"):
        await check(LIFESPAN, *steps, server=[{"type": "lifespan.startup"}])


@pytest.mark.parametrize(
    ("end", "reason"),
    [
        ({"type": "lifespan.shutdown.failed", "message": b"x"}, "must be str"),
        ({"type": "lifespan.startup.failed"}, "wrong time"),
    ],
)
async def test_a_fault_at_the_end_of_a_lifespan_is_named(end, reason):
    start = [RECEIVE, {"type": "lifespan.startup.complete"}]
    server = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]

    with pytest.raises(LintError, match=reason):
        await check(LIFESPAN, *start, RECEIVE, end, server=server)


async def test_a_shutdown_is_answered_after_it_was_sent_and_once():
    failed = {"type": "lifespan.shutdown.failed"}
    server = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]

    with pytest.raises(LintError, match="wrong time"):
        await check(LIFESPAN, RECEIVE, failed, server=server)
    with pytest.raises(LintError, match="wrong time"):
        await check(LIFESPAN, RECEIVE, {"type": "lifespan.startup.complete"}, RECEIVE, failed, failed, server=server)


async def test_a_shutdown_without_an_answer_is_the_apps_fault():
    start = [RECEIVE, {"type": "lifespan.startup.complete"}]
    server = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]

    with pytest.raises(LintError, match="^app: lifespan: the app returned without answering"):
        await check(LIFESPAN, *start, RECEIVE, server=server)


async def test_a_stop_before_the_start_is_the_servers_fault():
    with pytest.raises(LintError, match="^server: .*wrong time"):
        await check(LIFESPAN, RECEIVE, server=[{"type": "lifespan.shutdown"}])
