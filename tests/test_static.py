import gzip
import logging
import os
from pathlib import Path

import anyio
import httpx
import pytest
from flask import Flask
from starlette.applications import Starlette
from starlette.routing import Mount as StarletteMount

from microweb import App, Router, StaticFiles
from microweb.errors import BuildError, FrozenError, SetupError
from microweb.filebody import CHUNK
from microweb.testing import ASGITransport, Client

pytestmark = pytest.mark.anyio

CSS = b"body { color: teal }" * 20
IMMUTABLE = "public, max-age=31536000, immutable"


@pytest.fixture
def folder(tmp_path):
    """A folder of static files, with something outside of it that must stay there."""
    folder = tmp_path / "static"
    (folder / "css").mkdir(parents=True)
    (folder / "css" / "site.css").write_bytes(CSS)
    (folder / "index.html").write_bytes(b"home")
    (folder / "docs").mkdir()
    (folder / "docs" / "index.html").write_bytes(b"docs")
    (tmp_path / "secret.txt").write_bytes(b"secret")
    return folder


def make_app(folder, **config):
    return App(__name__, static_folder=str(folder), config=config)


def make_site(folder, **options):
    """An app with the folder mounted at ``/site``."""
    app = App(__name__, static_folder=None)
    app.mount("/site", StaticFiles(folder, **options), name="site")
    return app


async def fetch(app, path, method="GET", **headers):
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    async with Client(app) as client:
        request = client.build_request(method, "/", headers=names, extensions={"target": path.encode()})
        return await client.send(request)


# The static folder of an app ---------------------------------------------------------------------


async def test_a_file_of_the_static_folder_is_served(folder):
    response = await fetch(make_app(folder), "/static/css/site.css")

    assert response.status_code == 200
    assert response.content == CSS
    assert response.headers["content-type"] == "text/css; charset=utf-8"
    assert response.headers["cache-control"] == "no-cache"
    assert "vary" not in response.headers


async def test_the_folder_lies_beside_the_module(folder, monkeypatch):
    app = App(__name__)
    app.root_path = str(folder.parent)

    assert (await fetch(app, "/static/css/site.css")).content == CSS


def test_the_static_folder_is_a_whole_path_as_in_flask(tmp_path):
    app, router = App(__name__, static_folder="../public"), Router("shop", __name__)

    assert app.static_folder == os.path.join(app.root_path, "../public")
    assert Flask(__name__, static_folder="../public").static_folder == app.static_folder
    assert router.static_folder is None

    router.static_folder = tmp_path
    assert router.static_folder == str(tmp_path)


async def test_a_static_folder_can_be_set_until_the_app_serves(folder):
    app = App(__name__, static_folder=None)
    assert app.list_routes() == []

    app.static_folder = folder

    assert (await fetch(app, "/static/css/site.css")).content == CSS
    with pytest.raises(FrozenError, match="cannot set the static folder"):
        app.static_folder = None


async def test_an_app_without_a_static_folder_on_disk_works(tmp_path, caplog):
    app = App(__name__, static_folder=str(tmp_path / "missing"))

    assert (await fetch(app, "/static/x.css")).status_code == 404
    assert app.url_for("static", filename="x.css") == "/static/x.css"
    assert caplog.records == []


async def test_an_app_can_have_no_static_folder():
    app = App(__name__, static_folder=None)

    assert (await fetch(app, "/static/x.css")).status_code == 404
    with pytest.raises(BuildError):
        app.url_for("static", filename="x.css")


@pytest.mark.parametrize(
    ("url_path", "url"),
    [("/static", "/static/x"), ("/assets", "/assets/x"), ("/a/b/", "/a/b/x"), ("", "/x"), (None, "/files/x")],
)
async def test_the_url_is_static_url_path_or_the_name_of_the_folder(tmp_path, url_path, url):
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "x").write_bytes(b"found")
    app = App(__name__, static_folder=str(tmp_path / "files"), static_url_path=url_path)

    assert app.url_for("static", filename="x") == url
    assert (await fetch(app, url)).content == b"found"


async def test_a_large_file_is_served_in_chunks(folder):
    (folder / "large.bin").write_bytes(os.urandom(CHUNK + 5))

    response = await fetch(make_app(folder), "/static/large.bin")

    assert response.content == (folder / "large.bin").read_bytes()


async def test_an_empty_file_is_served(folder):
    (folder / "empty.css").touch()

    response = await fetch(make_app(folder), "/static/empty.css")

    assert (response.status_code, response.headers["content-length"]) == (200, "0")


async def test_conditions_ranges_and_head_work(folder):
    app = make_app(folder)
    url = "/static/css/site.css"
    etag = (await fetch(app, url)).headers["etag"]

    assert (await fetch(app, url, if_none_match=etag)).status_code == 304
    assert (await fetch(app, url, range="bytes=0-3")).content == b"body"
    assert (await fetch(app, url, range="bytes=99999-")).status_code == 416
    head = await fetch(app, url, "HEAD")
    assert (head.content, head.headers["content-length"]) == (b"", "400")


async def test_a_header_name_in_another_case_is_a_range_all_the_same(folder):
    sent = []

    async def send(message):
        sent.append(message)

    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "GET",
        "path": "/css/site.css",
    }
    headers = [(b"Range", b"bytes=0-3")]

    await StaticFiles(folder)({**scope, "query_string": b"", "headers": headers}, anyio.sleep_forever, send)

    assert sent[0]["status"] == 206
    assert b"".join(message.get("body", b"") for message in sent) == b"body"


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
async def test_other_methods_are_405_and_told_which_are_allowed(folder, method):
    for app, path in ((make_app(folder), "/static/css/site.css"), (make_site(folder), "/site/css/site.css")):
        response = await fetch(app, path, method)

        assert response.status_code == 405
        assert response.headers["allow"] == "GET, HEAD, OPTIONS"


async def test_options_tells_which_methods_are_allowed(folder):
    for app, path in ((make_app(folder), "/static/css/site.css"), (make_site(folder), "/site/css/site.css")):
        response = await fetch(app, path, "OPTIONS")

        assert (response.status_code, response.headers["allow"]) == (200, "GET, HEAD, OPTIONS")


async def test_how_long_a_file_stays_fresh_is_a_setting(folder):
    app = make_app(folder, SEND_FILE_MAX_AGE_DEFAULT=60)

    assert (await fetch(app, "/static/index.html")).headers["cache-control"] == "public, max-age=60"


async def test_hooks_and_layers_of_the_app_run(folder):
    app = make_app(folder)

    @app.before_request
    async def guard(request):
        return ("no", 401) if request.endpoint == "static" and request.args.get("user") != "ada" else None

    @app.middleware
    async def label(request, call_next):
        response = await call_next(request)
        response.headers["x-status"] = str(response.status_code)
        return response

    refused = await fetch(app, "/static/index.html")
    served = await fetch(app, "/static/index.html?user=ada")

    assert (refused.status_code, refused.headers["x-status"]) == (401, "401")
    assert (served.content, served.headers["x-status"]) == (b"home", "200")


async def test_the_server_sends_large_and_small_files_by_itself_if_it_can(folder):
    sent = []

    async def send(message):
        sent.append(message)

    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "GET",
        "query_string": b"",
    }
    offer = {"headers": [], "extensions": {"http.response.pathsend": {}}, "path": "/static/css/site.css"}

    await make_app(folder)({**scope, **offer}, anyio.sleep_forever, send)

    assert sent[1:] == [{"type": "http.response.pathsend", "path": str(folder / "css" / "site.css")}]


# Routers -----------------------------------------------------------------------------------------


async def test_a_router_has_static_files_of_its_own(folder, tmp_path):
    (tmp_path / "blog").mkdir()
    (tmp_path / "blog" / "post.css").write_bytes(b"blog")
    app = make_app(folder)
    blog = Router("blog", __name__, prefix="/blog", static_folder=str(tmp_path / "blog"))
    app.mount("/en", blog)

    assert app.url_for("blog.static", filename="post.css") == "/en/blog/blog/post.css"
    assert (await fetch(app, "/en/blog/blog/post.css")).content == b"blog"
    assert (await fetch(app, "/static/css/site.css")).content == CSS


async def test_a_router_names_its_own_static_files_relatively(folder):
    app = App(__name__, static_folder=None)
    blog = Router("blog", __name__, prefix="/blog", static_folder=str(folder), static_url_path="/files")

    @blog.get("/")
    async def home(request):
        return request.app.url_for(".static", filename="css/site.css")

    app.mount("", blog)

    assert (await fetch(app, "/blog/")).text == "/blog/files/css/site.css"


async def test_the_apps_folder_hides_a_routers_under_the_same_url(folder, tmp_path):
    (tmp_path / "other" / "static").mkdir(parents=True)
    (tmp_path / "other" / "static" / "mine.css").write_bytes(b"mine")
    app = make_app(folder)
    app.mount("", Router("blog", __name__, static_folder=str(tmp_path / "other" / "static")))

    assert (await fetch(app, "/static/css/site.css")).content == CSS
    assert (await fetch(app, "/static/mine.css")).status_code == 404
    assert app.url_for("blog.static", filename="x") == "/static/x"


async def test_a_folder_that_does_not_exist_hides_no_other(folder, tmp_path):
    app = App(__name__, static_folder=str(tmp_path / "missing"))
    app.mount("", Router("blog", __name__, static_folder=str(folder)))

    assert (await fetch(app, "/static/css/site.css")).content == CSS


async def test_a_router_mounted_twice_serves_its_files_twice(folder):
    app = App(__name__, static_folder=None)
    blog = Router("blog", __name__, static_folder=str(folder))
    app.mount("/a", blog)
    app.mount("/b", blog, name="second")

    assert app.url_for("second.static", filename="index.html") == "/b/static/index.html"
    assert [(await fetch(app, f"/{place}/static/index.html")).content for place in "ab"] == [b"home", b"home"]


# What the program itself puts there --------------------------------------------------------------


async def test_a_route_of_the_program_goes_before_the_static_folder(folder):
    app = make_app(folder)

    @app.get("/static/<path:name>")
    async def own(name):
        return f"own {name}"

    assert (await fetch(app, "/static/css/site.css")).text == "own css/site.css"
    assert app.url_for("static", filename="x") == "/static/x"


async def test_a_route_for_posting_there_leaves_the_files_alone(folder):
    app = make_app(folder)

    @app.post("/static/<path:name>")
    async def upload(name):
        return f"uploaded {name}"

    assert (await fetch(app, "/static/css/site.css")).content == CSS
    assert (await fetch(app, "/static/css/site.css", "POST")).text == "uploaded css/site.css"


async def test_an_endpoint_called_static_goes_before_the_static_folder(folder):
    app = make_app(folder)

    @app.get("/mine/<path:filename>")
    async def static(filename):
        return f"mine {filename}"

    assert app.url_for("static", filename="x") == "/mine/x"
    assert (await fetch(app, "/static/css/site.css")).status_code == 404


async def test_what_is_mounted_there_goes_before_the_static_folder(folder, tmp_path):
    app = App(__name__, static_folder=str(tmp_path))
    app.mount("/static", StaticFiles(folder))

    assert (await fetch(app, "/static/css/site.css")).content == CSS
    assert (await fetch(app, "/static/secret.txt")).status_code == 404


async def test_a_host_of_its_own_leaves_the_same_url_free_elsewhere(folder, tmp_path):
    app = make_app(folder)
    app.mount(
        "",
        Router("files", __name__, host="files.example", static_folder=str(tmp_path), static_url_path="/static"),
    )

    assert (await fetch(app, "/static/css/site.css")).content == CSS
    assert (await fetch(app, "/static/secret.txt", host="files.example")).content == b"secret"


# Mounted -----------------------------------------------------------------------------------------


async def test_mounted_files_are_served_and_named(folder):
    app = make_site(folder)

    assert app.url_for("site", filename="css/site.css") == "/site/css/site.css"
    assert (await fetch(app, "/site/css/site.css")).content == CSS


async def test_layers_see_the_status_of_mounted_files_and_handlers_answer_their_misses(folder):
    app = make_site(folder)
    seen = []

    @app.middleware
    async def note(request, call_next):
        response = await call_next(request)
        seen.append(response.status_code)
        return response

    @app.errorhandler(404)
    async def not_found(error):
        return "nothing here", 404

    await fetch(app, "/site/css/site.css", range="bytes=0-1")
    missing = await fetch(app, "/site/missing")

    assert seen == [206, 404]
    assert missing.text == "nothing here"


async def test_files_can_be_mounted_at_the_root_below_all_routes(folder):
    app = App(__name__)
    app.mount("", StaticFiles(folder, index=True))

    @app.get("/docs/")
    async def docs():
        return "a view"

    assert (await fetch(app, "/")).content == b"home"
    assert (await fetch(app, "/docs/")).text == "a view"
    assert (await fetch(app, "/css/site.css")).content == CSS


async def test_a_relative_directory_starts_beside_the_app(folder):
    app = make_site("static")
    app.root_path = str(folder.parent)

    assert (await fetch(app, "/site/index.html")).content == b"home"


async def test_an_escaped_prefix_is_a_mount_all_the_same(folder):
    app = App(__name__)
    app.mount("/my files", StaticFiles(folder))

    assert (await fetch(app, "/my%20files/css%2Fsite.css")).content == CSS


def test_a_mount_without_a_name_has_no_urls(folder):
    app = App(__name__)
    app.mount("/site", StaticFiles(folder))
    app.mount("/again", StaticFiles(folder))

    for name in ("site", ""):
        with pytest.raises(BuildError):
            app.url_for(name, filename="x")


@pytest.mark.parametrize(("name", "problem"), [("a.b", "without dots"), ("home", "is there already")])
def test_the_name_of_a_mount_is_free_and_has_no_dot(folder, name, problem):
    app = App(__name__)

    @app.get("/")
    async def home():
        raise AssertionError

    app.mount("/site", StaticFiles(folder), name=name)

    with pytest.raises(SetupError, match=problem):
        app.url_for("home")


async def test_a_directory_that_does_not_exist_is_said_once(tmp_path, caplog):
    app = make_site(tmp_path / "missing")

    async with Client(app) as client:
        statuses = [(await client.get("/site/x.css")).status_code for _ in range(2)]

    assert statuses == [404, 404]
    assert [(record.levelno, record.args) for record in caplog.records] == [
        (logging.WARNING, (str(tmp_path / "missing"),))
    ]


# What is not served ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [".env", ".git/config", "css/.htpasswd", ".well-known/.hidden"])
async def test_names_that_begin_with_a_dot_are_not_served(folder, name):
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_bytes(b"secret")

    assert (await fetch(make_app(folder), f"/static/{name}")).status_code == 404


async def test_well_known_files_are_served(folder):
    (folder / ".well-known").mkdir()
    (folder / ".well-known" / "security.txt").write_bytes(b"Contact: mailto:a@b.example")

    assert (await fetch(make_app(folder), "/static/.well-known/security.txt")).status_code == 200


@pytest.mark.parametrize("options", [{}, {"index": True}, {"index": True, "fallback": "index.html"}])
@pytest.mark.parametrize(
    "name",
    [
        "../secret.txt",
        "..%2fsecret.txt",
        "%2e%2e/secret.txt",
        "css/../../secret.txt",
        "css%2f..%2f..%2fsecret.txt",
        "..%5csecret.txt",
        "%2fetc%2fpasswd.txt",
        "/etc/passwd.txt",
        "link.txt",
        "up/secret.txt",
        "index.html%00.txt",
        "%ed%a0%80.txt",
        "C:%5csecret.txt",
        "a" * 300 + ".txt",
        "....//secret.txt",
        "index.html/x.txt",
    ],
)
async def test_nothing_outside_the_folder_is_served(folder, options, name):
    (folder / "link.txt").symlink_to(folder.parent / "secret.txt")
    (folder / "up").symlink_to(folder.parent)

    for app, prefix in ((make_app(folder), "/static/"), (make_site(folder, **options), "/site/")):
        response = await fetch(app, prefix + name)

        # Where a slash is doubled, the router redirects to one.
        assert response.status_code in (400, 404, 308)
        assert response.headers.get("location", prefix).startswith(prefix)
        assert b"secret" not in response.content


async def test_a_directory_is_neither_listed_nor_named(folder):
    for path in ("/site", "/site/", "/site/css", "/site/css/", "/site/docs/"):
        assert (await fetch(make_site(folder), path)).status_code == 404


async def test_a_directory_without_an_index_is_not_found(folder):
    for path in ("/site/css", "/site/css/", "/site/css/site.css/", "/site/docs//", "/site/missing/"):
        assert (await fetch(make_site(folder, index=True), path)).status_code == 404


# Index and fallback ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "content"), [("/site/", b"home"), ("/site/docs/", b"docs"), ("/site/docs/index.html", b"docs")]
)
async def test_an_index_answers_for_its_directory(folder, path, content):
    response = await fetch(make_site(folder, index=True), path)

    assert (response.status_code, response.content) == (200, content)
    assert response.headers["content-type"] == "text/html; charset=utf-8"


async def test_an_index_may_have_another_name(folder):
    (folder / "docs" / "start.txt").write_bytes(b"start")

    response = await fetch(make_site(folder, index="start.txt"), "/site/docs/")

    assert (response.content, response.headers["content-type"]) == (b"start", "text/plain; charset=utf-8")


@pytest.mark.parametrize(
    ("path", "location"),
    [("/site", "/site/"), ("/site/docs", "/site/docs/"), ("/site/docs?a=b&c=%20d", "/site/docs/?a=b&c=%20d")],
)
async def test_a_directory_without_its_slash_is_redirected(folder, path, location):
    response = await fetch(make_site(folder, index=True), path)

    assert (response.status_code, response.headers["location"]) == (308, location)


@pytest.mark.parametrize(
    "path", ["//evil.example", "/%2Fevil.example", "/%5Cevil.example", "///evil.example", "/.//evil.example"]
)
async def test_a_redirect_to_a_directory_never_names_a_host(folder, path):
    (folder / "evil.example").mkdir()
    (folder / "evil.example" / "index.html").write_bytes(b"x")

    for app in (StaticFiles(folder, index=True), make_site(folder, index=True)):
        response = await fetch_plainly(app, path)
        location = response.headers.get("location", "/")
        assert location.startswith("/")
        assert not location.startswith(("//", "/\\"))


async def test_the_redirect_knows_where_it_is_mounted(folder):
    app = StaticFiles(folder, index=True)

    below = await fetch_plainly(app, "/docs", root_path="/static")
    bare = await fetch_plainly(app, "", root_path="/static")

    assert below.headers["location"] == "/static/docs/"
    assert bare.headers["location"] == "/static/"


async def test_a_page_that_is_not_there_is_the_fallback(folder):
    app = make_site(folder, fallback="index.html")

    for path in ("/site/users/7", "/site/docs", "/site/"):
        response = await fetch(app, path)
        assert (response.status_code, response.content) == (200, b"home")
        assert response.headers["cache-control"] == "no-cache"


async def test_the_fallback_never_stays_fresh(folder):
    app = make_site(folder, fallback="index.html")
    app.config["SEND_FILE_MAX_AGE_DEFAULT"] = 60

    assert (await fetch(app, "/site/users/7")).headers["cache-control"] == "no-cache"
    assert (await fetch(app, "/site/index.html")).headers["cache-control"] == "public, max-age=60"


async def test_a_script_that_is_not_there_is_404_and_not_the_fallback(folder):
    app = make_site(folder, fallback="index.html")

    script = await fetch(app, "/site/assets/old.js", accept="*/*")
    page = await fetch(app, "/site/users/jane.doe", accept="text/html,*/*;q=0.8")

    assert script.status_code == 404
    assert page.content == b"home"


async def test_a_fallback_that_is_not_there_is_404(folder):
    assert (await fetch(make_site(folder, fallback="missing.html"), "/site/x")).status_code == 404


# Compressed siblings -----------------------------------------------------------------------------


@pytest.fixture
def compressed(folder):
    """The folder with siblings of its style sheet; those that httpx cannot decode hold any bytes."""
    path = folder / "css" / "site.css"
    for ending, content in ((".gz", gzip.compress(CSS)), (".br", b"brotli"), (".zst", b"zstandard")):
        path.with_name("site.css" + ending).write_bytes(content)
    return folder


async def fetch_raw(app, path, **headers):
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    async with Client(app) as client, client.stream("GET", path, headers=names) as response:
        return response, b"".join([chunk async for chunk in response.aiter_raw()])


@pytest.mark.parametrize(
    ("accepted", "coding"),
    [
        ("gzip", "gzip"),
        ("gzip, deflate, br, zstd", "br"),
        ("gzip, zstd", "zstd"),
        ("gzip;q=1.0, br;q=0.5", "gzip"),
        ("*", "br"),
        ("identity", None),
        ("br;q=0, gzip;q=0", None),
        ("deflate", None),
        ("", None),
        ("identity;q=1, gzip;q=0.5", None),
        ("garbage;;;,,q=", None),
    ],
)
async def test_the_coding_that_the_client_likes_is_sent(compressed, accepted, coding):
    response, body = await fetch_raw(make_app(compressed), "/static/css/site.css", accept_encoding=accepted)

    ending = {None: "", "gzip": ".gz", "br": ".br", "zstd": ".zst"}[coding]
    assert body == (compressed / "css" / f"site.css{ending}").read_bytes()
    assert response.headers.get("content-encoding") == coding
    assert response.headers["content-type"] == "text/css; charset=utf-8"
    assert response.headers["content-length"] == str(len(body))
    assert response.headers["vary"] == "Accept-Encoding"


async def test_each_coding_has_a_tag_of_its_own(compressed):
    for file in (compressed / "css").iterdir():
        file.write_bytes(b"0123456789")
        os.utime(file, (10**9, 10**9))

    answers = [
        (await fetch_raw(make_app(compressed), "/static/css/site.css", accept_encoding=coding))[0]
        for coding in ("identity", "gzip", "br", "zstd")
    ]

    assert len({response.headers["etag"] for response in answers}) == 4


async def test_conditions_and_ranges_are_of_the_coding_that_is_sent(compressed):
    app, url = make_app(compressed), "/static/css/site.css"
    first, body = await fetch_raw(app, url, accept_encoding="gzip")

    known, _ = await fetch_raw(app, url, accept_encoding="gzip", if_none_match=first.headers["etag"])
    part, piece = await fetch_raw(app, url, accept_encoding="gzip", range="bytes=0-1")

    assert (known.status_code, known.headers["vary"]) == (304, "Accept-Encoding")
    assert (part.status_code, piece) == (206, body[:2])
    assert part.headers["content-encoding"] == "gzip"


async def test_a_sibling_that_is_older_than_its_file_is_not_used(compressed):
    for file in (compressed / "css").glob("site.css.*"):
        os.utime(file, (10**9, 10**9))

    response, body = await fetch_raw(make_app(compressed), "/static/css/site.css", accept_encoding="gzip, br")

    assert body == CSS
    assert "content-encoding" not in response.headers


async def test_a_compressed_sibling_that_is_a_link_is_not_served(folder):
    (folder / "css" / "site.css.gz").symlink_to(folder.parent / "secret.txt")

    _, body = await fetch_raw(make_app(folder), "/static/css/site.css", accept_encoding="gzip")

    assert body == CSS


async def test_siblings_can_be_switched_off(compressed):
    app = make_app(compressed, STATIC_PRECOMPRESSED=False)

    response, body = await fetch_raw(app, "/static/css/site.css", accept_encoding="gzip")

    assert body == CSS
    assert "vary" not in response.headers


async def test_a_sibling_asked_for_by_name_is_a_file_like_any_other(compressed):
    response, body = await fetch_raw(make_app(compressed), "/static/css/site.css.gz", accept_encoding="gzip")

    assert body == (compressed / "css" / "site.css.gz").read_bytes()
    assert response.headers["content-type"] == "application/gzip"
    assert "content-encoding" not in response.headers


# Fingerprints ------------------------------------------------------------------------------------


async def test_the_url_of_a_file_names_its_content(folder):
    app = make_app(folder, STATIC_FINGERPRINTS=True)

    first = app.url_for("static", filename="css/site.css")
    (folder / "css" / "site.css").write_bytes(b"changed")
    second = app.url_for("static", filename="css/site.css")

    assert first.startswith("/static/css/site.css?v=")
    assert first != second
    assert (await fetch(app, second)).headers["cache-control"] == IMMUTABLE
    assert (await fetch(app, first)).headers["cache-control"] == "no-cache"


async def test_the_same_content_has_the_same_url_wherever_and_whenever_it_was_written(folder, tmp_path):
    other = tmp_path / "copy"
    (other / "css").mkdir(parents=True)
    (other / "css" / "site.css").write_bytes(CSS)
    os.utime(other / "css" / "site.css", (10**9, 10**9))

    urls = {
        make_app(place, STATIC_FINGERPRINTS=True).url_for("static", filename="css/site.css")
        for place in (folder, other)
    }

    assert len(urls) == 1


async def test_a_file_is_hashed_once_per_content(folder):
    app = make_app(folder, STATIC_FINGERPRINTS=True)
    path = folder / "css" / "site.css"
    first = app.url_for("static", filename="css/site.css")
    seen = path.stat()
    path.write_bytes(CSS.upper())
    os.utime(path, ns=(seen.st_atime_ns, seen.st_mtime_ns))

    assert app.url_for("static", filename="css/site.css") == first


async def test_compressed_answers_are_immutable_too(compressed):
    app = make_app(compressed, STATIC_FINGERPRINTS=True)

    response, _ = await fetch_raw(app, app.url_for("static", filename="css/site.css"), accept_encoding="br")

    assert response.headers["cache-control"] == IMMUTABLE
    assert (response.headers["content-encoding"], response.headers["vary"]) == ("br", "Accept-Encoding")


async def test_a_very_large_file_is_named_by_size_and_time(folder):
    with (folder / "video.bin").open("wb") as file:
        file.truncate(17 * 1024 * 1024)
    app = make_app(folder, STATIC_FINGERPRINTS=True)

    first = app.url_for("static", filename="video.bin")
    os.utime(folder / "video.bin", (10**9, 10**9))

    assert first != app.url_for("static", filename="video.bin")


@pytest.mark.parametrize("filename", ["missing.css", "../secret.txt", "css", ".env", "a\0b"])
def test_what_is_no_file_has_no_fingerprint(folder, filename):
    app = make_app(folder, STATIC_FINGERPRINTS=True)

    assert "?" not in app.url_for("static", filename=filename)


def test_a_value_called_v_is_the_programs(folder):
    app = make_app(folder, STATIC_FINGERPRINTS=True)

    assert app.url_for("static", filename="css/site.css", v=3) == "/static/css/site.css?v=3"


async def test_without_the_setting_a_version_means_nothing(folder):
    versioned = make_app(folder, STATIC_FINGERPRINTS=True).url_for("static", filename="css/site.css")
    app = make_app(folder)

    assert app.url_for("static", filename="css/site.css") == "/static/css/site.css"
    assert (await fetch(app, versioned)).headers["cache-control"] == "no-cache"


async def test_mounted_files_and_those_of_routers_have_fingerprints(folder):
    app = make_site(folder, index=True)
    app.mount("/blog", Router("blog", __name__, static_folder=str(folder)))
    app.config["STATIC_FINGERPRINTS"] = True

    for url in (
        app.url_for("site", filename="css/site.css"),
        app.url_for("blog.static", filename="css/site.css"),
    ):
        assert (await fetch(app, url)).headers["cache-control"] == IMMUTABLE


async def test_a_page_that_stands_for_others_is_never_immutable(folder):
    app = make_site(folder, fallback="index.html")
    app.config["STATIC_FINGERPRINTS"] = True
    version = app.url_for("site", filename="index.html").partition("?")[2]

    assert (await fetch(app, f"/site/users?{version}")).headers["cache-control"] == "no-cache"


# On its own --------------------------------------------------------------------------------------


async def fetch_plainly(app, path, method="GET", root_path="", **headers):
    transport = ASGITransport(app, root_path=root_path)
    async with httpx.AsyncClient(transport=transport, base_url="http://testserver") as client:
        request = client.build_request(method, "/", headers=headers, extensions={"target": path.encode()})
        return await client.send(request)


async def test_static_files_are_an_app_by_themselves(folder):
    app = StaticFiles(folder, index=True)

    page = await fetch_plainly(app, "/docs/")
    part = await fetch_plainly(app, "/css/site.css", range="bytes=0-3")
    beyond = await fetch_plainly(app, "/css/site.css", range="bytes=9999-")

    assert page.content == b"docs"
    assert (part.status_code, part.content) == (206, b"body")
    assert (beyond.status_code, beyond.headers["content-range"]) == (416, "bytes */400")


async def test_on_their_own_they_answer_errors_as_any_app(folder):
    app = StaticFiles(folder)

    missing = await fetch_plainly(app, "/missing", accept="text/html")
    posted = await fetch_plainly(app, "/index.html", "POST")

    assert (missing.status_code, missing.headers["content-type"]) == (404, "text/html; charset=utf-8")
    assert (posted.status_code, posted.headers["allow"]) == (405, "GET, HEAD, OPTIONS")


async def test_a_relative_directory_on_its_own_starts_where_the_program_runs(folder, monkeypatch):
    monkeypatch.chdir(folder.parent)

    assert (await fetch_plainly(StaticFiles("static"), "/index.html")).content == b"home"


async def test_another_framework_can_mount_them(folder):
    app = Starlette(routes=[StarletteMount("/files", app=StaticFiles(folder, index=True))])

    assert (await fetch_plainly(app, "/files/css/site.css")).content == CSS
    assert (await fetch_plainly(app, "/files/docs")).headers["location"] == "/files/docs/"
    assert (await fetch_plainly(app, "/files/missing")).status_code == 404


async def test_a_client_that_leaves_is_no_error(folder):
    (folder / "large.bin").write_bytes(bytes(3 * CHUNK))

    app = StaticFiles(folder)

    async with Client(app, lifespan=False) as client, client.exchange("GET", "/large.bin") as exchange:
        response = await exchange.response()
        exchange.disconnect()
        await exchange.wait_ended()

    assert response.status_code == 200


async def test_a_websocket_is_refused(folder):
    sent = []

    async def send(message):
        sent.append(message)

    await StaticFiles(folder)({"type": "websocket"}, anyio.sleep_forever, send)

    assert sent == [{"type": "websocket.close", "code": 1000}]


async def test_a_lifespan_is_left_to_others(folder):
    with pytest.raises(ValueError, match="lifespan"):
        await StaticFiles(folder)({"type": "lifespan"}, anyio.sleep_forever, anyio.sleep)


def test_it_shows_its_directory():
    assert repr(StaticFiles(Path("dist"))) == "<StaticFiles 'dist'>"
