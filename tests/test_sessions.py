"""Sessions: in the cookie, in a store, across keys, sizes and parallel requests."""

import datetime
import uuid

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st
from markupsafe import Markup

from microweb import App, Request, after_this_request, session
from microweb.sessions import MemorySessionStore, Session, find_cookie
from microweb.testing import Client

pytestmark = pytest.mark.anyio

KEY = "a key that is long enough for a test"


def make_app(**config) -> App:
    app = App(__name__, secret_key=KEY, config=config)

    @app.get("/set/<name>/<value>")
    async def put(name, value):
        session[name] = value
        return "set"

    @app.get("/get/<name>")
    async def look(name):
        return str(session.get(name, "Not Set"))

    @app.get("/clear")
    def clear():
        session.clear()
        return "cleared"

    @app.get("/untouched")
    async def untouched():
        return "untouched"

    return app


async def test_what_one_request_sets_another_reads():
    async with Client(make_app()) as client:
        assert (await client.get("/get/user")).text == "Not Set"
        await client.get("/set/user/ada")
        assert (await client.get("/get/user")).text == "ada"


async def test_the_cookie_is_safe_by_default_and_secure_on_https():
    app = make_app()
    async with Client(app) as client:
        plain = (await client.get("/set/a/1")).headers["set-cookie"]
    async with Client(app, base_url="https://testserver") as client:
        secure = (await client.get("/set/a/1")).headers["set-cookie"]

    assert "HttpOnly" in plain
    assert "SameSite=Lax" in plain
    assert "Path=/" in plain
    assert "Secure" not in plain
    assert "Secure" in secure


async def test_every_cookie_setting_is_used():
    app = make_app(
        SESSION_COOKIE_NAME="mine", SESSION_COOKIE_DOMAIN="testserver.local", SESSION_COOKIE_PATH="/set",
        SESSION_COOKIE_HTTPONLY=False, SESSION_COOKIE_SECURE=True, SESSION_COOKIE_SAMESITE="None",
        SESSION_COOKIE_PARTITIONED=True,
    )  # fmt: skip
    async with Client(app) as client:
        cookie = (await client.get("/set/a/1")).headers["set-cookie"]

    assert cookie.startswith("mine=")
    for part in ("Domain=testserver.local", "Path=/set", "Secure", "SameSite=None", "Partitioned"):
        assert part in cookie
    assert "HttpOnly" not in cookie


@pytest.mark.parametrize(
    "config",
    [{"SESSION_COOKIE_PARTITIONED": True}, {"SESSION_COOKIE_SAMESITE": "None"}, {"SESSION_COOKIE_NAME": "__Host-s"}],
    ids=lambda config: next(iter(config)),
)
async def test_a_cookie_that_browsers_refuse_otherwise_is_secure_over_http_too(config):
    async with Client(make_app(**config)) as client:
        answer = await client.get("/set/a/1")

    assert answer.status_code == 200
    assert "Secure" in answer.headers["set-cookie"].split("; ")


async def test_the_cookie_is_written_only_when_something_changed():
    async with Client(make_app()) as client:
        await client.get("/set/a/1")
        read = await client.get("/get/a")
        untouched = await client.get("/untouched")

    assert "set-cookie" not in read.headers
    assert read.headers["vary"] == "Cookie"
    assert "vary" not in untouched.headers


async def test_a_change_inside_a_value_needs_modified():
    app = App(__name__, secret_key=KEY)

    @app.get("/<int:tell>")
    async def view(tell):
        session.setdefault("list", []).append(tell)
        if tell:
            session.modified = True
        return {"list": session["list"]}

    async with Client(app) as client:
        await client.get("/1")
        await client.get("/0")
        assert (await client.get("/2")).json() == {"list": [1, 2]}


async def test_an_emptied_session_deletes_its_cookie():
    async with Client(make_app()) as client:
        await client.get("/set/a/1")
        cleared = await client.get("/clear")
        assert "Max-Age=0" in cleared.headers["set-cookie"]
        assert (await client.get("/get/a")).text == "Not Set"
        assert "set-cookie" not in (await client.get("/clear")).headers


async def test_a_permanent_session_outlives_the_browser():
    app = make_app(PERMANENT_SESSION_LIFETIME=datetime.timedelta(days=2))

    @app.get("/keep")
    async def keep():
        session.permanent = True
        return ""

    async with Client(app) as client:
        assert "Max-Age=172800" in (await client.get("/keep")).headers["set-cookie"]
        assert "set-cookie" not in (await client.get("/get/a")).headers
        app.config["SESSION_REFRESH_EACH_REQUEST"] = True
        assert "Max-Age=172800" in (await client.get("/get/a")).headers["set-cookie"]


@pytest.mark.parametrize("value", ["", "x", "a.b.c", "eyJhIjoxfQ.aaaaaa.bbbbbb", "ü", "." * 5000])
async def test_a_cookie_that_was_tampered_with_is_an_empty_session(value):
    app = make_app()

    async with Client(app) as client:
        assert (await client.get("/get/a", headers={"cookie": f"session={value}".encode()})).text == "Not Set"


async def test_a_cookie_signed_for_something_else_is_no_session():
    from microweb.signing import Signer

    forged = Signer([KEY], salt="another salt").sign(b"eyJhIjoiMSJ9").decode()

    async with Client(make_app(), cookies={"session": forged}) as client:
        assert (await client.get("/get/a")).text == "Not Set"


async def test_an_expired_cookie_is_an_empty_session():
    app = make_app(PERMANENT_SESSION_LIFETIME=datetime.timedelta(days=2))
    async with Client(app) as client:
        await client.get("/set/a/1")
        app.sessions.lifetime = -1
        assert (await client.get("/get/a")).text == "Not Set"


async def test_keys_can_be_rotated():
    old, new = make_app(), make_app(SECRET_KEY_FALLBACKS=[KEY])
    new.secret_key = "a newer key that is long enough too"
    stranger = App(__name__, secret_key="a newer key that is long enough too")
    stranger.get("/get/<name>")(lambda name: str(session.get(name, "Not Set")))
    async with Client(old) as client:
        await client.get("/set/a/1")
        cookies = dict(client.cookies)

    async with Client(new, cookies=cookies) as client:
        assert (await client.get("/get/a")).text == "1"
    async with Client(new) as client:
        await client.get("/set/a/2")
        renewed = dict(client.cookies)
    async with Client(stranger, cookies=cookies) as client:
        assert (await client.get("/get/a")).text == "Not Set"
    async with Client(stranger, cookies=renewed) as client:
        assert (await client.get("/get/a")).text == "2"


async def test_a_missing_key_is_an_error_at_first_touch_only(caplog):
    app = make_app()
    app.secret_key = None

    async with Client(app, raise_errors=False) as client:
        assert (await client.get("/untouched")).status_code == 200
        assert (await client.get("/get/a")).status_code == 500
    assert "set app.secret_key" in caplog.text


async def test_a_short_older_key_is_a_warning(caplog):
    async with Client(make_app(SECRET_KEY_FALLBACKS=["short"])) as client:
        await client.get("/set/a/1")

    assert "a key in SECRET_KEY_FALLBACKS has 5 characters" in caplog.text


async def test_a_short_key_is_a_warning_once(caplog):
    app = make_app()
    app.secret_key = "short"

    async with Client(app) as client:
        await client.get("/get/a")
        await client.get("/get/a")
    assert caplog.text.count("guessing") == 1


async def test_too_large_a_session_is_an_error_naming_the_largest_keys(caplog):
    app = make_app()

    @app.get("/fill")
    async def fill():
        session.update(small="x", large="".join(str(uuid.uuid4()) for _ in range(200)))
        return "filled"

    async with Client(app, raise_errors=False) as client:
        response = await client.get("/fill")

    assert response.status_code == 500
    assert "'large'" in caplog.text
    assert "4093" in caplog.text
    assert "set-cookie" not in response.headers


async def test_values_come_back_as_they_were():
    values = {
        "text": "ü", "number": 1, "float": 1.5, "flag": True, "none": None, "list": [1, (2, 3)], "tuple": (1, "a"),
        "bytes": b"\x00\xff", "date": datetime.date(2026, 1, 2), "id": uuid.UUID(int=5), "markup": Markup("<b>"),
        "time": datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.UTC), "dict": {"a": {"b": (1,)}},
        "looks like a tag": {" t": [1]}, "long": "x" * 3000,
    }  # fmt: skip
    app = App(__name__, secret_key=KEY)
    seen = {}

    @app.get("/set")
    async def put():
        session.update(values)
        return ""

    @app.get("/get")
    async def look():
        seen.update(session)
        return ""

    async with Client(app) as client:
        await client.get("/set")
        await client.get("/get")

    assert seen == values
    assert isinstance(seen["markup"], Markup)


async def test_a_value_that_cannot_be_kept_names_its_key(caplog):
    app = App(__name__, secret_key=KEY)

    @app.get("/")
    async def view():
        session["thing"] = object()
        return ""

    async with Client(app, raise_errors=False) as client:
        assert (await client.get("/")).status_code == 500
    assert "'thing'" in caplog.text


async def test_in_a_stream_the_session_is_readable_if_it_was_touched_before():
    app = make_app()
    errors = []

    @app.get("/stream/<int:early>")
    async def stream(early):
        if early:
            session.get("a")

        async def body():
            yield "begun "
            try:
                yield session.get("a", "nothing")
                session["late"] = 1
            except RuntimeError as error:
                errors.append(str(error))

        return body()

    async with Client(app) as client:
        await client.get("/set/a/1")
        assert (await client.get("/stream/1")).text == "begun 1"
        assert (await client.get("/stream/0")).text == "begun "

    assert "changed after the answer" in errors[0]
    assert "first touched after the answer" in errors[1]


def test_a_session_tells_what_happened_to_it():
    session = Session({"a": 1, "b": 2}, new=False)
    assert not session.modified
    session.pop("missing", None)
    assert not session.modified
    for change in (
        lambda: session.pop("a"),
        lambda: session.popitem(),
        lambda: session.update(c=1),
        lambda: session.clear(),
    ):
        session.modified = False
        change()
        assert session.modified
    session |= {"d": 1}
    del session["d"]
    assert session == {}


def stored_app(store=None, **config) -> App:
    app = make_app(**config)
    app.session_store = store or MemorySessionStore()

    @app.get("/rotate")
    async def rotate():
        session.rotate()
        return "rotated"

    return app


async def test_a_stored_session_keeps_only_its_id_in_the_cookie():
    app = stored_app()

    async with Client(app) as client:
        await client.get("/set/user/a-rather-visible-name")
        assert "visible" not in client.cookies["session"]
        assert (await client.get("/get/user")).text == "a-rather-visible-name"


async def test_a_stored_session_that_nobody_touches_leaves_no_trace():
    async with Client(stored_app()) as client:
        touched = await client.get("/set/user/ada")
        answer = await client.get("/untouched")

    assert touched.headers["vary"] == "Cookie"
    assert "vary" not in answer.headers
    assert "set-cookie" not in answer.headers


async def test_a_stored_session_is_not_there_outside_of_a_request():
    with stored_app().test_request_context("/"), pytest.raises(RuntimeError, match="test_request_context"):
        session["user"] = "ada"


async def test_a_rotated_session_has_a_new_id_and_the_old_one_is_gone():
    app = stored_app()

    async with Client(app) as client:
        await client.get("/set/a/1")
        old = client.cookies["session"]
        await client.get("/rotate")
        assert client.cookies["session"] != old
        assert (await client.get("/get/a")).text == "1"
    async with Client(app, cookies={"session": old}) as client:
        assert (await client.get("/get/a")).text == "Not Set"


async def test_a_cleared_stored_session_is_deleted_from_the_store():
    store = MemorySessionStore()
    async with Client(stored_app(store)) as client:
        await client.get("/set/a/1")
        assert len(store._sessions) == 1
        await client.get("/clear")

    assert store._sessions == {}


async def test_parallel_requests_do_not_lose_each_others_keys():
    app = stored_app()
    both_loaded = [anyio.Event(), anyio.Event()]

    @app.get("/slow/<int:number>")
    async def slow(number):
        both_loaded[number].set()
        await both_loaded[1 - number].wait()
        session[f"key{number}"] = number
        return ""

    async with Client(app) as client:
        await client.get("/set/a/1")
        async with anyio.create_task_group() as group:
            group.start_soon(client.get, "/slow/0")
            group.start_soon(client.get, "/slow/1")
        assert [(await client.get(f"/get/{key}")).text for key in ("a", "key0", "key1")] == ["1", "0", "1"]


async def test_when_both_change_one_key_the_later_stays_with_a_warning(caplog):
    app = stored_app()
    both_loaded = [anyio.Event(), anyio.Event()]

    @app.get("/slow/<int:number>")
    async def slow(number):
        both_loaded[number].set()
        await both_loaded[1 - number].wait()
        session["same"] = number
        return ""

    async with Client(app) as client:
        await client.get("/set/a/1")
        async with anyio.create_task_group() as group:
            group.start_soon(client.get, "/slow/0")
            group.start_soon(client.get, "/slow/1")
        assert (await client.get("/get/same")).text in ("0", "1")
    assert "'same'" in caplog.text


async def race(app, first, second):
    """Send both requests at once: each has loaded the session before either saves it, and the first saves first."""
    loaded, saved = {first: anyio.Event(), second: anyio.Event()}, anyio.Event()

    @app.middleware
    async def meet(request, call_next):
        response = await call_next(request)
        if request.path in loaded:
            loaded[request.path].set()
            await loaded[first].wait()
            await loaded[second].wait()
            if request.path == second:
                await saved.wait()
        return response

    async with Client(app) as client:
        await client.get("/start")

        async def lead():
            await client.get(first)
            saved.set()

        async with anyio.create_task_group() as group:
            group.start_soon(client.get, second)
            group.start_soon(lead)
        return (await client.get("/all")).json()


def racing_app():
    app = stored_app()

    @app.get("/start")
    async def start():
        session.update(user="ada", cart=["tea"])
        return ""

    @app.get("/buy")
    async def buy():
        session["cart"].append("cake")
        session.modified = True
        return ""

    @app.get("/all")
    async def everything():
        return dict(session)

    return app


async def test_a_change_inside_a_value_is_kept_beside_a_parallel_one():
    assert await race(racing_app(), "/set/seen/1", "/buy") == {"user": "ada", "cart": ["tea", "cake"], "seen": "1"}


@pytest.mark.parametrize(
    ("ending", "left"), [("/clear", {}), ("/rotate", {"user": "ada", "cart": ["tea"]})], ids=["ended", "rotated"]
)
async def test_a_session_that_another_request_ended_or_rotated_stays_so(ending, left, caplog):
    app = racing_app()

    assert await race(app, ending, "/set/seen/1") == left

    assert len(app.session_store._sessions) == bool(left)
    assert "ended by another" in caplog.text


@pytest.mark.parametrize(
    ("ending", "left"), [("/clear", {}), ("/turn", {"user": "ada", "cart": ["tea"]})], ids=["ended", "rotated"]
)
async def test_a_new_id_does_not_revive_a_session_that_another_request_ended_or_rotated(ending, left, caplog):
    app = racing_app()
    app.add_route("/turn", lambda: session.rotate() or "")

    assert await race(app, ending, "/rotate") == left

    assert len(app.session_store._sessions) == bool(left)
    assert "ended by another" in caplog.text


async def test_a_new_id_keeps_what_another_request_changed_meanwhile():
    assert await race(racing_app(), "/set/seen/1", "/rotate") == {"user": "ada", "cart": ["tea"], "seen": "1"}


async def test_what_is_no_session_in_the_store_is_an_empty_one():
    store = MemorySessionStore()
    app = stored_app(store)

    async with Client(app) as client:
        await client.get("/set/a/1")
        [id] = store._sessions
        await store.save(id, b"\x80pickled", 1, 60)
        assert (await client.get("/get/a")).text == "Not Set"


async def test_a_store_that_is_down_is_a_500_in_the_error_handlers():
    class Breaking(MemorySessionStore):
        down = False

        async def load(self, id):
            if self.down:
                raise OSError("down")
            return await super().load(id)

    store = Breaking()
    app = stored_app(store)

    @app.errorhandler(OSError)
    async def sorry(error):
        return f"sorry: {error}", 503

    async with Client(app) as client:
        await client.get("/set/a/1")
        store.down = True
        assert (await client.get("/get/a")).text == "sorry: down"


def test_a_store_that_holds_nothing_is_a_mistake():
    with pytest.raises(ValueError, match="holds 1 session or more, not 0"):
        MemorySessionStore(0)


async def test_the_memory_store_is_bounded_and_forgets():
    store = MemorySessionStore(size=2)
    for id in "abc":
        await store.save(id, b"{}", None, 60)
    await store.save("d", b"{}", None, -1)

    assert await store.load("a") is None
    assert await store.load("d") is None
    assert (await store.load("c")).data == b"{}"


@pytest.mark.parametrize("store", [None, MemorySessionStore()])
async def test_a_function_of_after_this_request_may_still_change_the_session(store):
    app = make_app()
    app.session_store = store

    @app.get("/late")
    async def late():
        session["early"] = "1"

        @after_this_request
        def change(response):
            session["late"] = "2"

        return ""

    async with Client(app) as client:
        await client.get("/late")
        assert [(await client.get(f"/get/{name}")).text for name in ("early", "late")] == ["1", "2"]


@pytest.mark.parametrize("store", [None, MemorySessionStore()])
async def test_a_test_can_look_into_the_session_and_change_it(store):
    app = make_app()
    app.session_store = store

    async with Client(app) as client:
        async with client.session_transaction() as test_session:
            test_session["a"] = "from the test"
        assert (await client.get("/get/a")).text == "from the test"
        await client.get("/set/b/2")
        async with client.session_transaction() as test_session:
            assert test_session["b"] == "2"


async def test_the_session_is_reached_through_the_request_too():
    app = App(__name__, secret_key=KEY)

    @app.get("/")
    async def view(request: Request):
        request.session["n"] = request.session.get("n", 0) + 1
        return str(session["n"])

    async with Client(app) as client:
        await client.get("/")
        assert (await client.get("/")).text == "2"


async def test_a_session_that_is_rotated_and_cleared_is_gone_from_the_store():
    app = make_app()
    app.session_store = MemorySessionStore()

    @app.get("/logout")
    async def logout():
        session.rotate()
        session.clear()
        return "bye"

    async with Client(app) as client:
        await client.get("/set/user/ada")
        stolen = dict(client.cookies)
        await client.get("/logout")

        answer = await client.get("/get/user", headers={"cookie": f"session={stolen['session']}"})

    assert answer.text == "Not Set"


# Finding the cookie ------------------------------------------------------------------------------


COOKIE_TEXT = st.text(st.sampled_from('session=";, \t\\ab\xe9\x80'), max_size=40)


@given(st.lists(COOKIE_TEXT | st.just("session=abc") | st.just('session="a b"; session=c'), max_size=3))
def test_the_session_is_in_the_cookie_that_the_request_names(lines):
    app = make_app()
    headers = [(b"host", b"localhost"), *((b"cookie", line.encode("latin-1")) for line in lines)]
    scope = {"type": "http", "method": "GET", "path": "/", "query_string": b"", "headers": headers}
    request = Request(app, scope, None)
    expected = Request(app, scope, None).cookies.get("session")

    found = find_cookie(request, "session")

    assert (found.decode() if isinstance(found, bytes) else found) == expected
