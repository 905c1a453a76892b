"""RateLimit: how often one client may ask."""

import pytest

from microweb import App, Request, Router, SetupError
from microweb.middleware import MemoryRateLimitStorage, RateLimit
from microweb.testing import Client

pytestmark = pytest.mark.anyio


class Clock:
    """Stands still until it is told otherwise."""

    now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def make_app(limit="2/minute", clock=None, **options):
    app = App(__name__)
    storage = MemoryRateLimitStorage(clock=clock or Clock())
    app.add_middleware(RateLimit(limit, **{"storage": storage, **options}))
    app.get("/")(lambda: "hello")
    return app


async def ask(app, times=1, path="/", headers=None, **options):
    async with Client(app, **options) as client:
        return [await client.get(path, headers=headers) for _ in range(times)]


def statuses(answers):
    return [answer.status_code for answer in answers]


async def test_who_asks_too_often_is_told_when_to_come_back(clock):
    answers = await ask(make_app(clock=clock), 3)

    assert statuses(answers) == [200, 200, 429]
    assert answers[2].headers["retry-after"] == "60"
    assert [answer.headers["ratelimit"] for answer in answers] == [f'"default";r={left};t=60' for left in (1, 0, 0)]
    assert {answer.headers["ratelimit-policy"] for answer in answers} == {'"default";q=2;w=60'}


async def test_after_retry_after_the_next_one_passes(clock):
    app = make_app(clock=clock)
    await ask(app, 2)
    clock.now += 12.5

    refused = (await ask(app))[0]
    clock.now += int(refused.headers["retry-after"])

    assert refused.headers["retry-after"] == "48"
    assert statuses(await ask(app, 3)) == [200, 200, 429]


@pytest.mark.parametrize(
    ("limit", "policy"),
    [
        ("5/second", "q=5;w=1"),
        ("5 per second", "q=5;w=1"),
        ("100/minute", "q=100;w=60"),
        ("1000/15 minutes", "q=1000;w=900"),
        ("10 per hour", "q=10;w=3600"),
        ("1/day", "q=1;w=86400"),
        ("3 / 2 days", "q=3;w=172800"),
    ],
)
async def test_a_limit_is_a_number_and_a_time(limit, policy):
    answers = await ask(make_app(limit))

    assert answers[0].headers["ratelimit-policy"] == f'"default";{policy}'


@pytest.mark.parametrize(
    "limit", ["", "100", "0/minute", "x/minute", "-1/minute", "5/0 minutes", "5/month", "1.5/second"]
)
def test_a_limit_that_is_none_is_a_mistake(limit):
    with pytest.raises(SetupError, match="100/minute"):
        RateLimit(limit)


@pytest.mark.parametrize("name", ['a"b', "a\\b", "a\nb", "ä"])
def test_a_name_that_no_header_can_hold_is_a_mistake(name):
    with pytest.raises(SetupError, match="printable"):
        RateLimit("1/second", name=name)


async def test_each_client_has_its_own_count():
    app = make_app("1/minute")

    answers = [await ask(app, client=(address, 1)) for address in ("10.0.0.1", "10.0.0.2", "10.0.0.1")]

    assert [statuses(each) for each in answers] == [[200], [200], [429]]


async def test_a_household_of_ipv6_is_one_client():
    app = make_app("1/minute")

    addresses = ("2001:db8:1:2::1", "2001:db8:1:2:ffff::9", "2001:db8:1:3::1", "::ffff:10.0.0.1", "::ffff:10.0.0.2")
    answers = [await ask(app, client=(address, 1)) for address in addresses]

    assert [statuses(each)[0] for each in answers] == [200, 429, 200, 200, 200]


async def test_a_key_may_be_anything_the_request_says_and_none_is_not_counted():
    async def key(request: Request):
        return request.headers.get("x-key")

    app = make_app("1/minute", key=key)

    assert statuses(await ask(app, 2, headers={"X-Key": "a"})) == [200, 429]
    assert statuses(await ask(app, 2, headers={"X-Key": "b"})) == [200, 429]
    free = await ask(app, 2)
    assert statuses(free) == [200, 200]
    assert "ratelimit" not in free[0].headers


async def test_each_route_counts_for_itself():
    app = App(__name__)
    app.get("/a", endpoint="a", middleware=[RateLimit("1/hour")])(lambda: "a")
    app.get("/b", endpoint="b", middleware=[RateLimit("2/hour")])(lambda: "b")

    assert statuses([*await ask(app, 2, "/a"), *await ask(app, 3, "/b")]) == [200, 429, 200, 200, 429]


async def test_two_limits_around_one_view_both_count_and_both_tell():
    app, api = make_app("10/hour", name="app"), Router("api", __name__, prefix="/api")
    api.add_middleware(RateLimit("1/hour", name="api"))
    api.get("/", endpoint="view")(lambda: "api")
    app.mount("", api)

    answers = await ask(app, 2, "/api/")

    assert statuses(answers) == [200, 429]
    policies = [answer.headers.get_list("ratelimit-policy") for answer in answers]
    assert policies == [['"api";q=1;w=3600', '"app";q=10;w=3600']] * 2


async def test_the_error_handler_writes_the_429_and_it_stays_one():
    app = make_app("1/minute")

    @app.errorhandler(429)
    async def slow_down(error):
        return {"wait": error.headers["Retry-After"]}, 429

    answers = await ask(app, 2)

    assert (answers[1].status_code, answers[1].json()) == (429, {"wait": "60"})


async def test_misses_count_too():
    app = make_app("1/minute")

    assert statuses(await ask(app, 2, "/nowhere")) == [404, 429]


async def test_a_storage_may_be_the_programs_own():
    class Full:
        async def hit(self, key, seconds):
            self.asked = (key, seconds)
            return 99, 7.2

    storage = Full()

    answers = await ask(make_app("2/minute", storage=storage, name="app"))

    assert (answers[0].status_code, answers[0].headers["retry-after"]) == (429, "8")
    assert storage.asked == ("app:127.0.0.1", 60)


async def test_the_memory_of_it_is_bounded(clock):
    storage = MemoryRateLimitStorage(max_keys=100, clock=clock)

    for number in range(1000):
        await storage.hit(str(number), 60)

    assert len(storage) == 100


async def test_a_long_key_takes_no_more_memory_than_a_short_one():
    storage = MemoryRateLimitStorage()
    app = make_app("1/minute", key=lambda request: request.headers["x-key"], storage=storage)

    tokens = [f"{'x' * 8000}{number}" for number in range(3)]
    answers = [await ask(app, headers={"X-Key": token}) for token in (*tokens, tokens[0])]

    assert [statuses(each) for each in answers] == [[200], [200], [200], [429]]
    assert max(map(len, storage._windows)) < 100


async def test_windows_that_are_over_are_dropped(clock):
    storage = MemoryRateLimitStorage(clock=clock)
    for number in range(100):
        await storage.hit(str(number), 60)

    clock.now += 60
    for number in range(50):
        await storage.hit(f"later {number}", 60)

    assert len(storage) == 50
