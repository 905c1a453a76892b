"""Observers: told of everything, changing nothing."""

import sys
from functools import wraps
from pathlib import Path

import pytest

from microweb import App, SetupError
from microweb.testing import Client

pytestmark = pytest.mark.anyio


async def test_observers_are_told_in_order_with_what_they_name():
    app = App(__name__)
    events = []

    @app.on("request_started")
    async def started(request):
        events.append(f"started {request.path}")

    @app.on("request_finished")
    def finished(response, app):
        events.append(f"finished {response.status_code} {app.import_name == __name__}")

    @app.on("exception")
    def failed(error):
        events.append(f"exception {error!r}")

    @app.on("context_torn_down")
    async def torn_down(**details):
        events.append(f"torn down {sorted(details)}")

    @app.get("/")
    async def home():
        raise ValueError

    async with Client(app, raise_errors=False) as client:
        await client.get("/")

    assert events == [
        "started /",
        "exception ValueError()",
        "finished 500 True",
        "torn down ['app', 'error', 'request']",
    ]


async def test_a_failing_observer_is_logged_and_disturbs_nobody(caplog):
    app = App(__name__)

    @app.on("request_started")
    async def broken(request):
        raise RuntimeError("observer")

    @app.get("/")
    async def home():
        return "home"

    async with Client(app) as client:
        assert (await client.get("/")).text == "home"
    assert "observer" in caplog.text


async def test_observers_belong_to_one_app():
    seen = []
    watched, other = App(__name__), App(__name__)
    watched.on("request_started")(lambda request: seen.append(request.path))
    other.get("/")(lambda: "other")

    async with Client(other) as client:
        await client.get("/")

    assert seen == []


async def test_where_nobody_listens_no_code_of_observers_runs():
    app = App(__name__)
    app.on("exception")(lambda error: None)
    files = set()

    @app.get("/")
    async def home():
        return "home"

    async with Client(app) as client:
        await client.get("/")
        sys.setprofile(lambda frame, event, argument: files.add(Path(frame.f_code.co_filename).name))
        try:
            await client.get("/")
        finally:
            sys.setprofile(None)

    assert "app.py" in files
    assert "observers.py" not in files


async def test_an_event_from_plain_code_reaches_async_observers_too():
    app = App(__name__)
    seen = []

    @app.on("template_rendered")
    async def rendered(template):
        seen.append(template)

    @app.on("template_rendered")
    def rendered_too(context):
        seen.append(context)

    @app.on("template_rendered")
    def broken():
        raise ValueError

    async with Client(app):
        app.observers.notify_now("template_rendered", template="page.html", context={})

    assert sorted(map(str, seen)) == ["page.html", "{}"]


async def test_an_event_from_plain_code_reaches_async_observers_behind_objects_and_decorators():
    app = App(__name__)
    seen = []

    class Observer:
        async def __call__(self, template):
            seen.append("object")

    async def rendered(template):
        seen.append("function")

    @wraps(rendered)
    def decorated(*args, **details):
        return rendered(*args, **details)

    app.on("template_rendered")(Observer())
    app.on("template_rendered")(decorated)
    async with Client(app):
        app.observers.notify_now("template_rendered", template="page.html", context={})

    assert sorted(seen) == ["function", "object"]


@pytest.mark.parametrize("name", ["e", "exc", "exception"])
async def test_the_error_may_have_the_names_that_it_has_in_flask(name):
    app = App(__name__)
    seen = []
    namespace = {"seen": seen}
    exec(f"def note({name}=None): seen.append({name})\ndef note_all({name}, **others): seen.append({name})", namespace)
    app.on("context_torn_down")(namespace["note"])
    app.on("exception")(namespace["note_all"])

    @app.get("/")
    async def home():
        raise ValueError

    async with Client(app, raise_errors=False) as client:
        await client.get("/")

    assert [type(error) for error in seen] == [ValueError, ValueError]


def test_an_unknown_event_or_detail_is_refused():
    with pytest.raises(SetupError, match="request_started"):
        App(__name__).on("request_begun")
    with pytest.raises(SetupError, match="'nonsense'"):
        App(__name__).on("exception")(lambda nonsense: None)
