"""The consoles of the error page: what they run, and everybody whom they refuse."""

import json
import re

import pytest

from microweb import App, SetupError
from microweb.testing import Client

pytestmark = pytest.mark.anyio

URL = "/_microweb/debugger"
PIN = "246-813-579"
ORIGIN = "http://localhost:8000"


class Desk:
    """A browser on the error page of an app whose view raises with ``answer = 42`` in its frame."""

    def __init__(self, client):
        self.client = client
        self.headers = {"origin": ORIGIN, "sec-fetch-site": "same-origin"}

    async def open(self, path="/"):
        page = (await self.client.get(path, headers={"accept": "text/html"})).text
        self.error = re.search('data-error="([^"]+)"', page)[1]
        self.headers["x-microweb-debugger"] = re.search('data-token="([^"]+)"', page)[1]
        self.frame = page.count("<details") - 1
        return self

    async def send(self, **message):
        return await self.client.post(URL, json=message, headers=self.headers)

    async def enter(self, pin=PIN):
        return await self.send(pin=pin)

    async def run(self, code, **changes):
        return await self.send(**{"error": self.error, "frame": self.frame, "code": code, **changes})


def make_app(**config) -> App:
    app = App(__name__, debug=True, config={"DEBUG_PIN": PIN, **config})

    @app.get("/")
    async def home():
        answer = 42
        raise ValueError(answer)

    return app


def client_of(app, **options):
    return Client(app, raise_errors=False, base_url=ORIGIN, **options)


async def test_a_line_runs_in_the_frame():
    async with client_of(make_app()) as client:
        desk = await Desk(client).open()
        await desk.enter()

        answer = await desk.run("answer + 1")

    assert answer.status_code == 200
    assert "43" in answer.json()["output"]


async def test_names_stay_from_line_to_line_and_lines_may_go_on():
    async with client_of(make_app()) as client:
        desk = await Desk(client).open()
        await desk.enter()

        for line in ("def double(x):", "    return x * 2", ""):
            await desk.run(line)

        assert "84" in (await desk.run("double(answer)")).json()["output"]


async def test_what_a_line_prints_is_escaped():
    async with client_of(make_app()) as client:
        desk = await Desk(client).open()
        await desk.enter()

        outputs = [(await desk.run(code)).json()["output"] for code in ("print('<i>')", "'<i>'", "1 / 0, '<i>'")]

    assert all("&lt;i&gt;" in output and "<i>" not in output for output in outputs[:2])
    assert "ZeroDivisionError" in outputs[2]
    assert "<i>" not in outputs[2]


async def test_the_proxies_stand_for_the_request_of_the_error():
    async with client_of(make_app()) as client:
        desk = await Desk(client).open("/?size=7")
        await desk.enter()

        output = (await desk.run("from microweb import request; request.args['size'] * 3")).json()["output"]

    assert "777" in output


async def test_without_the_pin_nothing_runs(caplog):
    ran = []
    app = make_app()
    app.state.ran = ran
    async with client_of(app) as client:
        desk = await Desk(client).open()

        answer = await desk.run("from microweb import current_app; current_app.state.ran.append(1)")

    assert answer.status_code == 401
    assert ran == []
    assert PIN in caplog.text


async def test_a_console_is_gone_once_debug_is_off():
    app = make_app()
    async with client_of(app) as client:
        desk = await Desk(client).open()
        await desk.enter()

        app.debug = False

        assert (await desk.run("answer")).status_code == 404
        app.debug = True
        assert (await desk.run("answer")).status_code == 403, "what it remembered is gone as well"


async def test_a_pin_of_its_own_is_drawn_for_each_process():
    pins = set()
    for _ in range(3):
        app = App(__name__, debug=True)
        async with client_of(app):
            pins.add(app._debugger.access.pin)

    assert len(pins) == 3
    assert all(re.fullmatch(r"\d{3}-\d{3}-\d{3}", pin) for pin in pins)


async def test_a_short_pin_is_refused_at_start():
    with pytest.raises(SetupError, match="DEBUG_PIN"):
        async with client_of(make_app(DEBUG_PIN="1234")):
            raise AssertionError("it started")


async def test_ten_wrong_pins_lock_the_consoles():
    async with client_of(make_app()) as client:
        desk = await Desk(client).open()
        wrong = [(await desk.enter("111-111-111")).status_code for _ in range(10)]

        right = await desk.enter()

    assert wrong == [401] * 10
    assert right.status_code == 403
    assert "locked" in right.json()["detail"]
    assert "set-cookie" not in right.headers


async def test_the_right_pin_forgives_the_wrong_ones():
    async with client_of(make_app()) as client:
        desk = await Desk(client).open()

        for _ in range(3):
            for _ in range(9):
                await desk.enter("111-111-111")
            assert (await desk.enter("246 813 579")).status_code == 200


async def test_the_ticket_is_for_this_path_and_this_site_only():
    async with client_of(make_app()) as client:
        desk = await Desk(client).open()

        cookie = (await desk.enter()).headers["set-cookie"]

    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    assert f"Path={URL}" in cookie


@pytest.mark.parametrize(
    "changes",
    [
        {"origin": "http://example.com"},
        {"origin": "http://localhost:9000"},
        {"origin": "https://localhost:8000"},
        {"origin": "null"},
        {"origin": None},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"x-microweb-debugger": "guessed"},
        {"x-microweb-debugger": None},
    ],
)
async def test_another_site_cannot_use_the_console(changes):
    async with client_of(make_app()) as client:
        desk = await Desk(client).open()
        await desk.enter()
        desk.headers = {name: value for name, value in {**desk.headers, **changes}.items() if value is not None}

        answers = [await desk.run("answer"), await desk.enter()]

    assert [answer.status_code for answer in answers] == [403, 403]


@pytest.mark.parametrize(
    ("host", "client"),
    [
        ("example.com", ("127.0.0.1", 50000)),
        ("localhost:8000", ("192.168.1.7", 50000)),
        ("localhost:8000", None),
    ],
)
async def test_the_debugger_answers_this_machine_only(host, client):
    app = make_app()
    async with Client(app, base_url=f"http://{host}", client=client) as sender:
        headers = {"origin": f"http://{host}", "x-microweb-debugger": app._debugger.access.token}

        answer = await sender.post(URL, json={"pin": PIN}, headers=headers)

    assert answer.status_code == 404


async def test_only_a_post_is_answered():
    async with client_of(make_app()) as client:
        answer = await client.get(URL)

    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")


@pytest.mark.parametrize("changes", [{"error": "none"}, {"frame": 999}, {"frame": -1}, {"frame": "0"}, {"frame": True}])
async def test_a_frame_that_is_not_kept_is_not_found(changes):
    async with client_of(make_app()) as client:
        desk = await Desk(client).open()
        await desk.enter()

        assert (await desk.run("answer", **changes)).status_code == 404


@pytest.mark.parametrize(("body", "status"), [(b"[]", 400), (b"{", 400), (b" " * 70_000, 413)])
async def test_a_malformed_message_is_a_clear_error(body, status):
    async with client_of(make_app()) as client:
        desk = await Desk(client).open()

        answer = await client.post(URL, content=body, headers={**desk.headers, "content-type": "application/json"})

    assert answer.status_code in (status, 422)


async def test_the_last_ten_errors_are_kept():
    app = make_app()
    async with client_of(app) as client:
        first = await Desk(client).open()
        await first.enter()
        for _ in range(10):
            await Desk(client).open()

        assert (await first.run("answer")).status_code == 404
        assert len(app._debugger.kept) == 10


async def test_without_debug_there_is_no_such_address():
    app = make_app()
    app.debug = False
    async with client_of(app) as client:
        assert (await client.post(URL, json={"pin": PIN})).status_code == 404
    assert app._debugger is None


async def test_without_werkzeug_there_are_no_consoles(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    app = make_app()
    async with client_of(app) as client:
        headers = {"origin": ORIGIN, "x-microweb-debugger": app._debugger.access.token}

        assert (await client.post(URL, json={"pin": PIN}, headers=headers)).status_code == 404


async def test_the_programs_own_hooks_and_middleware_do_not_see_the_consoles():
    seen = []
    app = make_app()

    @app.before_request
    async def note(request):
        seen.append(request.path)

    def wrap(inner):
        async def wrapped(scope, receive, send):
            seen.append(scope.get("path", "lifespan"))
            await inner(scope, receive, send)

        return wrapped

    app.add_asgi_middleware(wrap)
    async with client_of(app) as client:
        desk = await Desk(client).open()
        await desk.enter()

    assert URL not in seen
    assert seen.count("/") == 2


async def test_below_a_root_path_the_page_knows_the_way():
    async with client_of(make_app(), root_path="/shop") as client:
        page = await client.get("/", headers={"accept": "text/html"})
        url = re.search('data-url="([^"]+)"', page.text)[1]
        token = re.search('data-token="([^"]+)"', page.text)[1]

        answer = await client.post(URL, json={"pin": PIN}, headers={"origin": ORIGIN, "x-microweb-debugger": token})

    assert url == f"/shop{URL}"
    assert answer.status_code == 200
    assert json.loads(answer.text) == {"detail": "ok"}


async def test_a_client_that_leaves_is_no_error(caplog):
    app = make_app()
    async with client_of(app):
        token = app._debugger.access.token
        names = {"host": "localhost:8000", "origin": ORIGIN, "content-type": "application/json"}
        names["x-microweb-debugger"] = token
        scope = {
            "type": "http",
            "method": "POST",
            "scheme": "http",
            "path": URL,
            "query_string": b"",
            "headers": [(name.encode(), value.encode()) for name, value in names.items()],
            "client": ("127.0.0.1", 50000),
        }
        sent = []

        async def receive():
            return {"type": "http.disconnect"}

        async def send(message):
            sent.append(message)

        await app(scope, receive, send)

    assert sent == []
    assert caplog.text == ""
