"""A request that came from nowhere: ``app.test_request_context``."""

import pytest

from microweb import App, Request, request
from microweb.errors import BadRequest


def test_a_test_request_context_has_a_matched_request_and_leaves_the_app_open():
    app = App(__name__)

    @app.post("/user/<int:number>")
    async def user(number):
        raise AssertionError("not called")

    with app.test_request_context("/user/7?q=ü", method="post", headers={"x-a": "1"}, base_url="https://x.example"):
        assert (request.endpoint, request.view_args, request.method) == ("user", {"number": 7}, "POST")
        assert (request.headers["x-a"], request.host, request.is_secure) == ("1", "x.example", True)
        assert isinstance(request, Request)
    app.get("/later")(user)


@pytest.mark.anyio
async def test_the_body_of_a_test_request_context_can_be_read():
    app = App(__name__)

    with app.test_request_context("/", method="POST", body=b"[1]", headers={"content-type": "application/json"}):
        assert await request.json() == [1]


def test_the_url_is_read_as_a_server_would_read_it():
    app = App(__name__)

    with app.test_request_context("/a%2Fb c/é?q=ü&r=%26#s"):
        assert (request.path, request.args["q"], request.args["r"]) == ("/a/b c/é", "ü", "&#s")
        assert request.url == "http://localhost/a%2Fb%20c/%C3%A9?q=%C3%BC&r=%26%23s"


def test_the_limits_are_those_that_the_config_has_now():
    app = App(__name__)
    app.config["MAX_QUERY_PARAMETERS"] = 1

    with app.test_request_context("/?a=1&b=2"), pytest.raises(BadRequest, match="MAX_QUERY_PARAMETERS"):
        request.args  # noqa: B018 - the touch raises


@pytest.mark.parametrize("path", ["", "books", "http://example.org/", "?page=2"])
def test_a_path_that_does_not_begin_with_a_slash_is_refused(path):
    with pytest.raises(ValueError, match="begins with a slash"):
        App(__name__).test_request_context(path)
