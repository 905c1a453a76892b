"""Whatever happens to a request at whatever point, nothing of it is left when it ends: not even until a collection.

Each awkward view is cancelled at every await, meets an error at every await, loses its client or its server at every
send, and loses its client at every receive; on both event loops. See ``drive.py`` for what is counted.
"""

from dataclasses import replace

import pytest

from tests.faults.drive import SEND_FAULTS, Fault, play_all
from tests.faults.walks import CLEAN_CONTROL, LEAKING_CONTROL, LEAKS, WALKS

# Half a minute for every walk at every point, four times over and for three versions of ASGI.
pytestmark = pytest.mark.slow

both_loops = pytest.mark.parametrize("backend", ["asyncio", "trio"])
every_walk = pytest.mark.parametrize("walk", WALKS, ids=lambda walk: walk.name)


@both_loops
@every_walk
def test_nothing_is_left_wherever_a_request_is_spoilt(walk, backend, tmp_path):
    (points, sends, receives, status), struck, left = play_all(walk, tmp_path, backend)

    assert left == {}
    assert status == (None if walk.type == "websocket" else 200)
    assert struck["client gone"] == struck["server error"] == sends
    assert struck.get("disconnect", 0) == receives
    assert struck["cancel"] == struck["cancel scope"] == struck["raise"] == points


@both_loops
@pytest.mark.parametrize("spec_version", ["2.0", "2.3", "2.4"])
@every_walk
def test_four_runs_count_the_same(walk, spec_version, backend, tmp_path):
    walk = replace(walk, spec_version=spec_version)

    runs = [play_all(walk, tmp_path, backend) for _ in range(4)]

    assert runs[0][-1] == {}
    assert runs == [runs[0]] * 4


@both_loops
def test_the_count_passes_an_app_that_leaves_nothing(backend, tmp_path):
    figures, struck, left = play_all(CLEAN_CONTROL, tmp_path, backend)

    assert left == {}
    assert figures == (4, 2, 1, 200)
    assert struck == {
        "cancel": 4,
        "cancel scope": 4,
        "raise": 4,
        "client gone": 2,
        "server error": 2,
        "disconnect": 1,
    }


@both_loops
def test_the_count_finds_what_an_app_leaves_open(backend, tmp_path):
    _, _, left = play_all(LEAKING_CONTROL, tmp_path, backend)

    assert Fault() not in left
    # Its file and its generator are open from its second suspension to the last.
    leaks = [Fault(kind, at) for kind in ("cancel", "cancel scope", "raise") for at in range(2, 6)]
    leaks += [Fault(kind, at) for kind in SEND_FAULTS for at in range(1, 4)] + [Fault("disconnect", 1)]
    assert set(left) == set(leaks)
    assert all(found["descriptors"] == 1 and len(found) == 2 for found in left.values())


@both_loops
@pytest.mark.parametrize("what", LEAKS)
def test_the_count_finds_each_kind_of_leak(what, backend, tmp_path):
    _, _, left = play_all(LEAKS[what], tmp_path, backend, kinds=())

    assert left[Fault()][what] == 1
