"""The demo: the guest book in this process, and served as ``make demo`` serves it."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from microweb.testing import SyncClient

EXAMPLES = Path(__file__).parents[1] / "docs" / "examples"


@pytest.fixture
def create_app(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(str(EXAMPLES))
    monkeypatch.delenv("GUESTBOOK_DATABASE", raising=False)
    from guestbook import create_app

    return lambda **config: create_app({"DATABASE": str(tmp_path / "guestbook.db"), **config})


@pytest.fixture
def client(create_app) -> Iterator[SyncClient]:
    with SyncClient(create_app()) as client:
        yield client


def test_an_empty_book_shows_the_form(client):
    answer = client.get("/")

    assert answer.status_code == 200
    assert "Nobody has signed yet." in answer.text
    assert '<form method="post" action="/">' in answer.text


def test_signing_leads_back_to_the_book_with_the_entry_in_it(client):
    signed = client.post("/", data={"name": "Ada", "message": "Engines are fun."})

    assert (signed.status_code, signed.headers["location"]) == (303, "/")
    page = client.get("/").text
    assert "<strong>Ada</strong>" in page
    assert "Engines are fun." in page


def test_what_a_guest_writes_is_shown_as_text(client):
    client.post("/", data={"name": "<b>Eve</b>", "message": "<script>alert(1)</script>{name}"})

    page = client.get("/").text

    assert "&lt;b&gt;Eve&lt;/b&gt;" in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;{name}" in page


def test_a_bad_form_is_shown_again_with_what_is_wrong(client):
    answer = client.post("/", data={"name": " ", "message": 'say "hi" & more'})

    assert answer.status_code == 422
    assert "Please fill this in." in answer.text
    assert "say &#34;hi&#34; &amp; more</textarea>" in answer.text
    assert client.get("/api/entries").json()["entries"] == []


def test_a_message_that_is_too_long_is_refused_with_its_length(client):
    answer = client.post("/", data={"name": "Ada", "message": "x" * 2_001})

    assert answer.status_code == 422
    assert "at most 2000 characters; these are 2001" in answer.text


def test_a_body_that_is_no_form_is_a_415(client):
    answer = client.post("/", content=b"name=Ada", headers={"content-type": "text/plain"})

    assert answer.status_code == 415


def test_a_program_signs_with_json(client):
    answer = client.post("/api/entries", json={"name": "Grace", "message": "It compiles."})

    assert answer.status_code == 201
    assert answer.headers["location"] == "/api/entries/1"
    assert client.get("/api/entries/1").json()["name"] == "Grace"


def test_a_program_is_told_every_field_that_is_wrong(client):
    answer = client.post("/api/entries", json={"name": 7, "message": ""})

    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["errors"] == [
        {"in": "body", "name": "name", "reason": "This has to be text."},
        {"in": "body", "name": "message", "reason": "Please fill this in."},
    ]


@pytest.mark.parametrize("body", [b"[1, 2]", b"{", b"\xff"])
def test_json_that_is_no_object_is_a_400(client, body):
    answer = client.post("/api/entries", content=body, headers={"content-type": "application/json"})

    assert answer.status_code == 400


def test_an_entry_that_is_not_there_is_a_404(client):
    answer = client.get("/api/entries/7")

    assert answer.status_code == 404
    assert answer.json()["detail"] == "There is no entry 7."


def test_the_list_goes_back_page_by_page(create_app):
    with SyncClient(create_app(PAGE_SIZE=2)) as client:
        for number in range(3):
            client.post("/api/entries", json={"name": f"Guest {number}", "message": "Hello."})

        newest = client.get("/api/entries").json()
        older = client.get(newest["next"]).json()

    assert [entry["name"] for entry in newest["entries"]] == ["Guest 2", "Guest 1"]
    assert [entry["name"] for entry in older["entries"]] == ["Guest 0"]
    assert older["next"] is None


def test_the_page_links_to_older_entries(create_app):
    with SyncClient(create_app(PAGE_SIZE=1)) as client:
        for name in ("Ada", "Grace"):
            client.post("/", data={"name": name, "message": "Hello."})

        first, second = client.get("/").text, client.get("/?before=2").text

    assert 'href="/?before=2"' in first
    assert "Grace" in first
    assert "Ada" not in first
    assert "Ada" in second


def test_guests_who_sign_at_the_same_time_are_all_kept(client):
    def sign(number):
        entry = {"name": f"Guest {number}", "message": "Hello."}
        return client.post("/api/entries", json=entry).status_code

    with ThreadPoolExecutor(8) as pool:
        statuses = list(pool.map(sign, range(16)))

    assert statuses == [201] * 16
    assert len(client.get("/api/entries").json()["entries"]) == 16


@pytest.mark.wire
def test_the_demo_keeps_its_entries_over_a_restart(tmp_path):
    database = tmp_path / "guestbook.db"
    with serve_demo(database) as url:
        signed = httpx.post(url, data={"name": "Ada", "message": "Engines are fun."}, follow_redirects=True)
    assert "Engines are fun." in signed.text

    with serve_demo(database) as url:
        again = httpx.get(url + "api/entries").json()

    assert [entry["name"] for entry in again["entries"]] == ["Ada"]


@contextmanager
def serve_demo(database: Path) -> Iterator[str]:
    """The address of a guest book in a process of its own, served as ``make demo`` serves it."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    command = [sys.executable, "-m", "microweb", "run", "--app", "guestbook", "--port", str(port)]
    environment = os.environ | {"GUESTBOOK_DATABASE": str(database)}
    url = f"http://127.0.0.1:{port}/"
    with subprocess.Popen(command, cwd=EXAMPLES, env=environment) as server:
        try:
            wait_for(url, server)
            yield url
        finally:
            server.terminate()
            server.wait(30)


def wait_for(url: str, server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            httpx.get(url)
        except httpx.TransportError:
            assert server.poll() is None, "the demo ended by itself"
            assert time.monotonic() < deadline, "the demo does not answer"
            time.sleep(0.05)  # between two looks; the deadline is what counts
        else:
            return
