import io
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from microweb import App, Router, make_response, send_file, send_from_directory
from microweb.errors import NotFound, OutsideContextError
from microweb.testing import Client

pytestmark = pytest.mark.anyio


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "letters.txt"
    path.write_bytes(b"letters")
    return path


async def fetch(make_answer):
    """The answer of an app whose ``/`` gives what the function makes."""
    app = App(__name__)

    @app.get("/")
    async def answer():
        return make_answer()

    async with Client(app) as client:
        return await client.get("/")


@pytest.fixture
def site(tmp_path, monkeypatch):
    """An app whose module lies in a folder with files."""
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "guide.txt").write_bytes(b"guide")
    (tmp_path / "outside.txt").write_bytes(b"outside")
    app = App(__name__)
    app.root_path = str(tmp_path)

    @app.get("/guide")
    async def guide():
        return send_file("docs/guide.txt", mimetype="text/markdown", as_attachment=True)

    @app.get("/docs/<path:name>")
    def document(name):
        return send_from_directory("docs", name)

    return app


async def test_send_file_starts_beside_the_app(site):
    async with Client(site) as client:
        response = await client.get("/guide")

    assert response.text == "guide"
    assert response.headers["content-type"] == "text/markdown; charset=utf-8"
    assert response.headers["content-disposition"] == "attachment; filename=guide.txt"


async def test_send_file_starts_beside_the_mounted_app_that_asks(site):
    outer = App(__name__)
    outer.mount("/inner", site)

    async with Client(outer) as client:
        response = await client.get("/inner/guide", headers={"range": "bytes=0-0"})

    assert (response.status_code, response.text) == (206, "g")


async def test_what_send_file_gives_can_be_changed(path):
    app = App(__name__)

    @app.get("/")
    async def answer():
        response = make_response(send_file(path))
        response.headers["x-mine"] = "yes"
        return response

    async with Client(app) as client:
        response = await client.get("/")

    assert (response.content, response.headers["x-mine"]) == (b"letters", "yes")


def test_send_file_of_an_object_needs_its_type():
    with pytest.raises(TypeError, match="needs mimetype"):
        send_file(io.BytesIO())


async def test_send_file_takes_objects_whose_type_is_told():
    response = await fetch(lambda: send_file(io.BytesIO(b"a,b"), mimetype="text/csv"))

    named = await fetch(lambda: send_file(io.BytesIO(b"a,b"), download_name="table.csv"))

    assert (response.content, response.headers["content-type"]) == (b"a,b", "text/csv; charset=utf-8")
    assert (named.content, named.headers["content-type"]) == (b"a,b", "text/csv; charset=utf-8")


def test_a_relative_path_needs_an_app():
    with pytest.raises(OutsideContextError, match=r"^send_file\(\) was given the relative path 'x\.txt'"):
        send_file("x.txt")
    with pytest.raises(OutsideContextError, match=r"^send_from_directory\(\) was given the relative path 'docs'"):
        send_from_directory("docs", "x.txt")


def test_an_app_context_is_enough_for_a_relative_path(site):
    with site.app_context():
        assert send_file("docs/guide.txt").headers["content-length"] == "5"


async def test_a_file_of_a_directory_is_sent(site):
    async with Client(site) as client:
        response = await client.get("/docs/guide.txt")

    assert (response.text, response.headers["content-type"]) == ("guide", "text/plain; charset=utf-8")


HOSTILE = [
    "../outside.txt",
    "..%2foutside.txt",
    "%2e%2e/outside.txt",
    "%2e%2e%2foutside.txt",
    "..%5coutside.txt",
    "..\\outside.txt",
    "x/../../outside.txt",
    "%2fetc%2fpasswd",
    "/etc/passwd",
    "/%2fetc/passwd",
    "C:%5cwindows%5cwin.ini",
    "C:/windows/win.ini",
    "CON",
    "nul.txt",
    "guide.txt%00.png",
    "guide.txt/",
    "guide.txt%2f",
    "./guide.txt",
    "%ed%a0%80",
    "%ff",
    "%c0%ae%c0%ae/outside.txt",
    "..%252foutside.txt",
    "a" * 300,
    "a/" * 3000,
    "",
    ".",
    "..",
    "%20",
]


@pytest.mark.parametrize("name", HOSTILE)
async def test_no_name_leads_out_of_the_directory_or_to_an_error(site, name):
    async with Client(site) as client:
        request = client.build_request("GET", "/", extensions={"target": f"/docs/{name}".encode()})
        response = await client.send(request)

    assert response.status_code in (400, 404, 308)
    assert b"outside" not in response.content


@given(name=st.text(st.sampled_from("./\\%2efa~:\0é\ud800C"), max_size=12))
def test_no_text_leads_out_of_a_directory(name):
    with pytest.raises(NotFound):
        send_from_directory(Path(__file__).parent / "wire", name)


@pytest.mark.parametrize("where", ["outside.txt", "/etc/passwd", "docs/../outside.txt"])
async def test_a_symlink_that_leaves_the_directory_is_not_found(site, where):
    docs = Path(site.root_path) / "docs"
    (docs / "link").symlink_to(Path(site.root_path) / where)

    async with Client(site) as client:
        response = await client.get("/docs/link")

    assert response.status_code == 404


async def test_a_linked_folder_that_leaves_the_directory_is_not_found(site):
    docs = Path(site.root_path) / "docs"
    (docs / "up").symlink_to(site.root_path)

    async with Client(site) as client:
        statuses = [(await client.get(f"/docs/up/{name}")).status_code for name in ("outside.txt", "missing")]

    assert statuses == [404, 404]


@pytest.mark.parametrize("target", ["outside.txt", "."])
async def test_a_link_further_down_that_leaves_the_directory_is_not_found(site, target):
    below = Path(site.root_path) / "docs" / "below" / "deeper"
    below.mkdir(parents=True)
    (below / "link").symlink_to(Path(site.root_path) / target)

    async with Client(site) as client:
        statuses = [
            (await client.get(f"/docs/below/deeper/{name}")).status_code for name in ("link", "link/outside.txt")
        ]

    assert statuses == [404, 404]


async def test_a_directory_whose_name_begins_like_ours_is_outside(site):
    (Path(site.root_path) / "docs2").mkdir()
    (Path(site.root_path) / "docs2" / "file.txt").write_bytes(b"outside")
    (Path(site.root_path) / "docs" / "link").symlink_to(Path(site.root_path) / "docs2" / "file.txt")

    async with Client(site) as client:
        response = await client.get("/docs/link")

    assert response.status_code == 404


@pytest.mark.parametrize(
    ("options", "content_type", "disposition"),
    [
        ({}, "text/csv; charset=utf-8", None),
        ({"mimetype": "text/plain"}, "text/plain; charset=utf-8", None),
        ({"download_name": "table.json"}, "application/json", "inline; filename=table.json"),
        ({"as_attachment": True}, "text/csv; charset=utf-8", "attachment; filename=latest.csv"),
        (
            {"as_attachment": True, "download_name": "table.json"},
            "application/json",
            "attachment; filename=table.json",
        ),
    ],
)
async def test_the_name_that_was_asked_for_tells_the_type_of_a_linked_file(
    tmp_path, options, content_type, disposition
):
    (tmp_path / "2026.txt").write_text("a,b")
    (tmp_path / "latest.csv").symlink_to("2026.txt")

    response = await fetch(lambda: send_from_directory(tmp_path, "latest.csv", **options))

    assert response.headers["content-type"] == content_type
    assert response.headers.get("content-disposition") == disposition


async def test_a_symlink_inside_the_directory_is_followed_under_its_own_name(site):
    docs = Path(site.root_path) / "docs"
    (docs / "v2").write_bytes(b"newest")
    (docs / "latest.css").symlink_to("v2")

    response = await fetch(lambda: send_from_directory(docs, "latest.css", as_attachment=True))

    assert (response.text, response.headers["content-type"]) == ("newest", "text/css; charset=utf-8")
    assert response.headers["content-disposition"] == "attachment; filename=latest.css"


async def test_the_directory_itself_may_be_a_link(site):
    root = Path(site.root_path)
    (root / "current").symlink_to(root / "docs")

    response = await fetch(lambda: send_from_directory(root / "current", "guide.txt", max_age=5, mimetype="text/plain"))

    assert (response.text, response.headers["cache-control"]) == ("guide", "public, max-age=5")
    assert response.headers["content-type"] == "text/plain; charset=utf-8"


async def test_pipes_sockets_and_directories_are_not_found(site):
    docs = Path(site.root_path) / "docs"
    os.mkfifo(docs / "pipe")
    (docs / "folder").mkdir()

    async with Client(site) as client:
        statuses = [(await client.get(f"/docs/{name}")).status_code for name in ("pipe", "folder", "folder/")]

    assert statuses == [404, 404, 404]


def test_the_root_of_the_disk_can_be_a_directory(path):
    assert send_from_directory("/", str(path.resolve())[1:]).path == str(path.resolve())


async def test_a_static_file_can_be_sent_under_another_url(tmp_path):
    (tmp_path / "favicon.ico").write_bytes(b"icon")
    app = App(__name__, static_folder=str(tmp_path))

    @app.get("/favicon.ico")
    async def favicon():
        return app.send_static_file("favicon.ico")

    async with Client(app) as client:
        response = await client.get("/favicon.ico")

    assert (response.content, response.headers["content-type"]) == (b"icon", "image/vnd.microsoft.icon")


def test_a_router_without_a_static_folder_says_so():
    with pytest.raises(RuntimeError, match="no static folder"):
        Router("blog", __name__).send_static_file("favicon.ico")
