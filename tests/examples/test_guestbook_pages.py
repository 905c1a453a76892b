"""The guest book for people: its pages and forms, without JavaScript."""

import re

import pytest

from microweb.testing import SyncClient

PNG = b"\x89PNG\r\n\x1a\n" + b"the rest of a picture"
PICTURES = {
    "png": PNG,
    "jpg": b"\xff\xd8\xff\xe0 a jpeg",
    "gif": b"GIF89a a gif",
    "webp": b"RIFF\x00\x00\x00\x00WEBPVP8 ",
}


def sign(client, name="Ada", message="Engines are fun.", photo=None, path="/", **options):
    files = {} if photo is None else {"photo": ("photo.png", photo, "image/png")}
    return client.post(path, data={"name": name, "message": message}, files=files, **options)


def photo_in(page):
    return re.search(r'<img src="(/photos/\w+\.\w+)"', page)[1]


# Signing --------------------------------------------------------------------------------------------


def test_an_empty_book_shows_the_form(client):
    answer = client.get("/")

    assert answer.status_code == 200
    assert "Nobody has signed yet." in answer.text
    assert '<form method="post" action="/" enctype="multipart/form-data">' in answer.text


def test_signing_leads_back_to_the_book_with_the_entry_in_it(client):
    signed = sign(client)

    assert (signed.status_code, signed.headers["location"]) == (303, "/")
    page = client.get("/").text
    assert "<strong>Ada</strong>" in page
    assert "Engines are fun." in page


def test_a_visitor_is_thanked_once_and_remembered(client, visit):
    sign(client, "Ada")

    first, second = client.get("/").text, client.get("/").text

    assert "Thank you for signing, Ada!" in first
    assert "Thank you" not in second
    assert 'name="name" value="Ada"' in second
    assert 'name="name" value=""' in visit().get("/").text


def test_what_a_guest_writes_is_shown_as_text(client):
    sign(client, '<b>"Eve"</b>', "<script>alert(1)</script>{{ 7 * 7 }}")

    for path in ("/", "/entries/1", "/entries/1/edit"):
        page = client.get(path).text
        assert "&lt;script&gt;alert(1)&lt;/script&gt;{{ 7 * 7 }}" in page
        assert "&lt;b&gt;&#34;Eve&#34;&lt;/b&gt;" in page
        assert "<script>" not in page


def test_a_page_lets_browsers_run_its_own_scripts_alone(client):
    answer = client.get("/")

    assert "default-src 'self';" in answer.headers["content-security-policy"]
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert re.findall(r"<script(?! type=\"module\" src=\"/static/book\.js)", answer.text) == []


def test_a_bad_form_is_shown_again_with_what_is_wrong(client):
    answer = sign(client, " ", 'say "hi" & more')

    assert answer.status_code == 422
    assert '<span class="problem" id="name-problem">Please fill this in.</span>' in answer.text
    assert "say &#34;hi&#34; &amp; more</textarea>" in answer.text
    assert "Nobody has signed yet." in answer.text


def test_a_message_that_is_too_long_is_refused_with_its_length(client):
    answer = sign(client, message="x" * 2_001)

    assert answer.status_code == 422
    assert "at most 2000 characters; these are 2001" in answer.text


@pytest.mark.parametrize("name", ["\u200b", "\0\x07", "\u3000\xa0", "\n"])
def test_a_name_that_leaves_no_ink_is_no_name(client, name):
    answer = sign(client, name)

    assert answer.status_code == 422
    assert "Please fill this in." in answer.text


@pytest.mark.parametrize("body", [b"name=%ED%A0%80&message=%FF%00x", b"name=a&message=\xff\xfe"])
def test_bytes_that_are_no_text_are_kept_as_replacement_characters(client, body):
    answer = client.post("/", content=body, headers={"content-type": "application/x-www-form-urlencoded"})

    assert answer.status_code == 303
    assert "\ufffd" in client.get("/").text


def test_a_body_that_is_no_form_is_a_page_with_a_415(client):
    answer = client.post("/", content=b"name=Ada", headers={"content-type": "text/plain"})

    assert answer.status_code == 415
    assert "Back to the book" in answer.text


# Photos ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", PICTURES)
def test_a_photo_is_shown_by_what_is_in_it(client, ending):
    sign(client, photo=PICTURES[ending])

    photo = client.get(photo_in(client.get("/").text))

    assert photo.content == PICTURES[ending]
    assert photo.headers["content-type"] == f"image/{ending}".replace("jpg", "jpeg")
    assert photo.headers["x-content-type-options"] == "nosniff"
    assert photo.headers["content-security-policy"] == "default-src 'none'; sandbox"


@pytest.mark.parametrize("content", [b"<svg onload='alert(1)'>", b"<html>", b"", b"\x89PN"])
def test_what_is_no_picture_is_refused_whatever_it_is_called(client, content, tmp_path):
    answer = sign(client, photo=content)

    assert answer.status_code == 422
    assert "This is no picture" in answer.text
    assert "Engines are fun.</textarea>" in answer.text
    assert list((tmp_path / "data" / "photos").iterdir()) == []


def test_a_photo_that_is_too_large_is_refused_with_the_fields_kept(create_app):
    with SyncClient(create_app(PHOTO_SIZE=1_000_000)) as client:
        answer = sign(client, photo=PNG + bytes(1_200_000))

    assert answer.status_code == 422
    assert "at most 1 MB; this one has 1.2 MB" in answer.text
    assert "Engines are fun.</textarea>" in answer.text


def test_a_good_photo_of_a_bad_form_has_to_be_chosen_again(client, tmp_path):
    answer = sign(client, name="", photo=PNG)

    assert "Please choose your photo again" in answer.text
    assert list((tmp_path / "data" / "photos").iterdir()) == []


@pytest.mark.parametrize("name", ["..%2Fguestbook.db", "%2e%2e", "nothing.png", "%00.png"])
def test_nothing_but_photos_is_sent_from_their_folder(client, name):
    assert client.get(f"/photos/{name}").status_code == 404


# One's own entries ----------------------------------------------------------------------------------


def test_a_visitor_changes_an_entry(client):
    sign(client, photo=PNG)

    changed = sign(client, message="Bridges, too.", path="/entries/1/edit", follow_redirects=True)

    assert changed.url.path == "/entries/1"
    assert "Your entry is changed." in changed.text
    assert "Bridges, too." in changed.text
    assert client.get(photo_in(changed.text)).content == PNG


def test_a_bad_change_is_shown_again_and_changes_nothing(client):
    sign(client)

    answer = sign(client, message="", path="/entries/1/edit")

    assert answer.status_code == 422
    assert "nothing was changed yet" in answer.text
    assert "Engines are fun." in client.get("/entries/1").text


def test_a_photo_is_replaced_and_taken_away(client, tmp_path):
    sign(client, photo=PNG)
    photos = tmp_path / "data" / "photos"

    sign(client, photo=PICTURES["gif"], path="/entries/1/edit")
    assert [path.suffix for path in photos.iterdir()] == [".gif"]
    fields = {"name": "Ada", "message": "Gone.", "without_photo": "yes"}
    client.post("/entries/1/edit", data=fields)

    assert list(photos.iterdir()) == []
    assert '<img src="/photos' not in client.get("/").text


def test_a_visitor_removes_an_entry_and_its_photo(client, tmp_path):
    sign(client, photo=PNG)

    page = client.post("/entries/1/remove", follow_redirects=True).text

    assert "Your entry is gone." in page
    assert "Nobody has signed yet." in page
    assert list((tmp_path / "data" / "photos").iterdir()) == []


@pytest.mark.parametrize(("method", "path"), [("GET", "edit"), ("POST", "edit"), ("POST", "remove")])
def test_the_entries_of_others_are_left_alone(client, visit, method, path):
    sign(client)
    stranger = visit()

    answer = stranger.request(
        method, f"/entries/1/{path}", data={"name": "Eve", "message": "Mine."} if method == "POST" else None
    )

    assert answer.status_code == 403
    assert "Only whoever signed an entry can change it." in answer.text
    assert "Edit" not in stranger.get("/").text
    assert "Edit" in client.get("/").text


def test_who_is_forgotten_is_a_stranger(client):
    sign(client)

    client.post("/visitor", data={"forget": "yes"})

    assert "You are" not in client.get("/").text
    assert client.get("/entries/1/edit").status_code == 403


# Pages and errors -----------------------------------------------------------------------------------


def test_the_pages_lead_to_older_entries_and_back(create_app):
    with SyncClient(create_app(PAGE_SIZE=1)) as client:
        sign(client, "Ada")
        sign(client, "Grace")

        first, second = client.get("/").text, client.get("/?before=2").text

    assert 'href="/?before=2"' in first
    assert "<strong>Grace</strong>" in first
    assert first.count("<article") == second.count("<article") == 1
    assert "Newest entries" in second
    assert "Older entries &rarr;" not in second


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/nothing", 404),
        ("/entries/7", 404),
        ("/entries/9223372036854775807", 404),
        ("/entries/9223372036854775808", 404),
        ("/entries/99999999999999999999999999", 404),
        ("/?before=9223372036854775808", 422),
        ("/?before=x", 422),
        ("/?before=0", 422),
        ("/live?after=-1", 422),
        ("/live?after=9223372036854775808", 422),
        ("/chat/lines", 404),
    ],
)
def test_a_wrong_address_is_a_page_that_says_so(client, path, status):
    answer = client.get(path)

    assert answer.status_code == status
    assert f'<p class="status">{status}</p>' in answer.text


def test_a_method_that_a_page_does_not_have_is_a_page_with_allow(client):
    answer = client.delete("/")

    assert answer.status_code == 405
    assert set(answer.headers["allow"].split(", ")) == {"GET", "HEAD", "POST", "OPTIONS"}
    assert "Back to the book" in answer.text


def test_a_bug_is_a_page_that_tells_nothing_of_it(create_app):
    app = create_app()
    app.add_route("/bug", lambda: 1 / 0)

    with SyncClient(app, raise_errors=False, headers={"accept": "text/html"}) as client:
        answer = client.get("/bug")

    assert answer.status_code == 500
    assert "Back to the book" in answer.text
    assert "division" not in answer.text


def test_a_bug_is_left_to_the_debugger_in_debug_mode(create_app):
    app = create_app(DEBUG=True)
    app.add_route("/bug", lambda: 1 / 0)

    options = {"base_url": "http://localhost", "client": ("127.0.0.1", 50_000)}
    with SyncClient(app, raise_errors=False, headers={"accept": "text/html"}, **options) as client:
        answer = client.get("/bug")

    assert answer.status_code == 500
    assert "<h1>ZeroDivisionError</h1>" in answer.text


# The chat without JavaScript ------------------------------------------------------------------------


def test_the_chat_asks_for_a_name_first(client):
    page = client.get("/chat").text

    assert "Join in" in page
    assert client.post("/chat", data={"text": "Hello"}, follow_redirects=True).text.count("Hello") == 0


def test_a_line_is_sent_by_a_form_and_seen_by_the_next_visitor(client, visit):
    client.post("/visitor", data={"name": "Ada"})

    client.post("/chat", data={"text": "<i>Hello</i>"})

    page = visit().get("/chat").text
    assert "&lt;i&gt;Hello&lt;/i&gt;" in page
    assert '<li class="line" id="line-1">' in page
    assert '<li class="line own" id="line-1">' in client.get("/chat").text


@pytest.mark.parametrize("name", ["", "x" * 81])
def test_a_name_that_is_none_is_asked_for_again(client, name):
    page = client.post("/visitor", data={"name": name}, follow_redirects=True).text

    assert "Please tell a name of at most 80 characters." in page
    assert "Join in" in page
