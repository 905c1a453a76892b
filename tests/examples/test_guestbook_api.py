"""The guest book for programs: entries as JSON."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from microweb.testing import SyncClient

PNG = b"\x89PNG\r\n\x1a\n" + b"the rest of a picture"
ADA = {"name": "Ada", "message": "Engines are fun."}


@pytest.fixture
def client(app):
    with SyncClient(app) as client:
        yield client


def put_photo(client, content=PNG):
    return client.put("/api/entries/1/photo", files={"photo": ("photo.exe", content, "text/html")})


def test_a_program_signs_and_reads(client):
    answer = client.post("/api/entries", json=ADA)

    assert (answer.status_code, answer.headers["location"]) == (201, "/api/entries/1")
    entry = client.get("/api/entries/1").json()
    assert entry == answer.json()
    assert entry | ADA == entry
    assert (entry["photo"], entry["own"], entry["changed_at"]) == (None, True, None)
    assert set(entry) == {"id", "name", "message", "photo", "own", "signed_at", "changed_at"}


def test_texts_are_tidied(client):
    entry = client.post("/api/entries", json={"name": " A\x00da\n", "message": "\r\none\r\ntwo\x07 "}).json()

    assert (entry["name"], entry["message"]) == ("Ada", "one\ntwo")


def test_every_field_that_is_wrong_is_told(client):
    answer = client.post("/api/entries", json={"name": 7, "message": ""})

    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert [(error["in"], error["name"]) for error in answer.json()["errors"]] == [
        ("body", "name"),
        ("body", "message"),
    ]


@pytest.mark.parametrize("name", ["", " ", "\u200b", "\0", "\x85\u3000", "x" * 81])
def test_a_name_without_ink_or_end_is_a_422(client, name):
    assert client.post("/api/entries", json=ADA | {"name": name}).status_code == 422


@pytest.mark.parametrize("body", [b"{", b"\xff", b'{"name": "\\ud800", "message": "x"}', b"[" * 100_000])
def test_a_body_that_is_no_json_is_a_400(client, body):
    answer = client.post("/api/entries", content=body, headers={"content-type": "application/json"})

    assert answer.status_code == 400


def test_a_body_of_another_type_is_a_415(client):
    assert client.post("/api/entries", data=ADA).status_code == 415


@pytest.mark.parametrize("id", [0, 7, 2**63 - 1, 2**63, 10**30])
def test_an_entry_that_is_not_there_is_a_404(client, id):
    for path in (f"/api/entries/{id}", f"/api/entries/{id}/photo"):
        for method in ("GET", "PUT", "DELETE"):
            if path.endswith("photo") and method == "GET":
                continue
            files = {"photo": ("photo.png", PNG)} if path.endswith("photo") and method == "PUT" else None
            body = ADA if method == "PUT" and files is None else None
            assert client.request(method, path, json=body, files=files).status_code == 404


@pytest.mark.parametrize(
    "query", ["before=0", f"before={2**63}", "before=x", "count=0", "count=101", f"count={10**30}"]
)
def test_a_number_out_of_its_range_is_a_422(client, query):
    assert client.get(f"/api/entries?{query}").status_code == 422


def test_the_list_goes_back_page_by_page(client):
    for number in range(5):
        client.post("/api/entries", json=ADA | {"name": f"Guest {number}"})

    pages, path = [], "/api/entries?count=2"
    while path:
        page = client.get(path).json()
        pages.append([entry["name"][-1] for entry in page["entries"]])
        path = page["next"]

    assert pages == [["4", "3"], ["2", "1"], ["0"]]


def test_whoever_has_signed_changes_and_removes(client):
    client.post("/api/entries", json=ADA)

    changed = client.put("/api/entries/1", json=ADA | {"message": "Bridges, too."})
    removed = client.delete("/api/entries/1")

    assert changed.json()["message"] == "Bridges, too."
    assert changed.json()["changed_at"] is not None
    assert (removed.status_code, removed.content) == (204, b"")
    assert client.get("/api/entries/1").status_code == 404


def test_nobody_else_does(client, visit):
    client.post("/api/entries", json=ADA)
    stranger = visit()

    answers = [
        stranger.put("/api/entries/1", json=ADA),
        stranger.delete("/api/entries/1"),
        put_photo(stranger),
        stranger.delete("/api/entries/1/photo"),
    ]

    assert [answer.status_code for answer in answers] == [403] * 4
    assert stranger.get("/api/entries/1").json()["own"] is False


def test_a_photo_comes_and_goes(client, tmp_path):
    client.post("/api/entries", json=ADA)

    path = put_photo(client).json()["photo"]
    assert client.get(path).content == PNG
    assert client.get(path).headers["content-type"] == "image/png"
    assert client.delete("/api/entries/1/photo").json()["photo"] is None

    assert client.get(path).status_code == 404
    assert list((tmp_path / "data" / "photos").iterdir()) == []


def test_what_is_no_photo_is_a_415_and_what_is_too_large_a_413(create_app):
    with SyncClient(create_app(PHOTO_SIZE=100)) as client:
        client.post("/api/entries", json=ADA)

        assert put_photo(client, b"<html>").status_code == 415
        assert put_photo(client, PNG + bytes(100)).status_code == 413
        assert client.put("/api/entries/1/photo", files={"other": ("photo.png", PNG)}).status_code == 422


def test_guests_who_sign_at_the_same_time_are_all_kept(client):
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: client.post("/api/entries", json=ADA), range(16)))

    assert [answer.status_code for answer in answers] == [201] * 16
    assert len(client.get("/api/entries").json()["entries"]) == 16


def test_an_address_that_is_none_is_a_problem(client):
    answer = client.get("/api/nothing")

    assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")


def test_the_document_describes_the_entries_and_no_pages(client):
    document = client.get("/openapi.json").json()

    assert list(document["paths"]) == ["/api/entries", "/api/entries/{id}", "/api/entries/{id}/photo"]
    signing = document["paths"]["/api/entries"]["post"]["responses"]
    assert signing["201"]["content"]["application/json"]["schema"] == {"$ref": "#/components/schemas/ShownEntry"}
    assert "application/problem+json" in signing["422"]["content"]
    photo = document["paths"]["/api/entries/{id}/photo"]["put"]["requestBody"]["content"]["multipart/form-data"]
    assert photo["schema"]["properties"]["photo"] == {"type": "string", "format": "binary"}


def test_the_document_can_be_read_as_a_page(client):
    answer = client.get("/docs")

    assert answer.status_code == 200
    assert "Guest book" in answer.text
    assert "default-src 'none'" in answer.headers["content-security-policy"]
