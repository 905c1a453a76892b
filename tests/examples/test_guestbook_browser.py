"""The guest book in real browsers: what one visitor does, the others see without reloading.

The screenshots of the documentation are made here too. They are only written when ``MICROWEB_SCREENSHOTS=1`` asks for
it (``make screenshots``); the tests look at the same pages each time.
"""

import os
from functools import cache
from pathlib import Path

import pytest

from tests.examples.guestbook import EXAMPLES, open_book, paint, serving, set_time, sign, write_entries

pytestmark = [pytest.mark.slow, pytest.mark.wire]

ENTRIES = [
    ("2026-02-26T18:05:00+00:00", "Grace Hopper", "It compiles, and the coffee is good. What more can one ask?"),
    ("2026-02-27T09:12:00+00:00", "Zoë & Łukasz", "Dziękujemy! Merci!\nWe came for one night and stayed for three."),
    ("2026-02-28T20:40:00+00:00", "Eve", "<script>alert('hello')</script> \N{EM DASH} I had to try."),
]


@cache
def make_picture():
    """A file to sign with; to paint it takes a second."""
    return {"name": "bridge.png", "mimeType": "image/png", "buffer": paint()}


def enter_chat(page, url, name):
    page.goto(f"{url}/chat")
    if page.get_by_role("button", name="Join in").count():
        page.locator("[name=name]").fill(name)
        page.keyboard.press("Enter")
    page.locator(".live.on").wait_for()


def say(page, text):
    page.locator("[name=text]").fill(text)
    page.keyboard.press("Enter")
    page.locator(".line.own", has_text=text).wait_for()


# What others see ------------------------------------------------------------------------------------


def see_each_other(ada, eve):
    """Ada and Eve, each on a page of her own: every change of an entry is seen by the other one."""
    for page in (ada, eve):
        page.locator(".live.on").wait_for()

    sign(ada, "Ada", "Engines are fun.", make_picture())
    entry = eve.locator(".entry", has_text="Engines are fun.")
    entry.locator("img").wait_for()
    assert entry.locator("img").evaluate("async image => { await image.decode(); return image.naturalWidth }") == 720
    assert entry.get_by_role("button", name="Remove").count() == 0

    ada.get_by_role("link", name="Edit").click()
    ada.locator("[name=message]").fill("Bridges, too.")
    ada.get_by_role("button", name="Save").click()
    eve.locator(".entry", has_text="Bridges, too.").wait_for()
    assert eve.locator(".entry").count() == 1

    ada.once("dialog", lambda dialog: dialog.accept())
    ada.get_by_role("button", name="Remove").click()
    eve.locator(".entry").wait_for(state="detached")
    eve.locator(".empty").wait_for()
    assert ada.complaints == eve.complaints == []


def chat_with_each_other(ada, eve, here, there):
    """Two visitors in the chat, each on an address of her own."""
    enter_chat(ada, here, "Ada")
    enter_chat(eve, there, "Eve")

    say(ada, "Is anybody here?")
    eve.locator(".line:not(.own)", has_text="Is anybody here?").wait_for()
    say(eve, "<b>Me</b>, in the garden.")
    ada.locator(".line:not(.own)", has_text="<b>Me</b>, in the garden.").wait_for()
    assert ada.locator(".line").count() == eve.locator(".line").count() == 2
    assert ada.complaints == eve.complaints == []


def test_two_pages_see_each_others_entries_without_reload(browser, site):
    see_each_other(open_book(browser, site), open_book(browser, site))


def test_two_pages_hear_each_other_in_the_chat(browser, site):
    chat_with_each_other(open_book(browser, site), open_book(browser, site), site, site)


@pytest.mark.slow
def test_pages_of_two_processes_meet_through_redis(browser, tmp_path, redis_url):
    data = tmp_path / "data"
    with serving(data, redis_url=redis_url) as here, serving(data, redis_url=redis_url) as there:
        ada, eve = open_book(browser, here), open_book(browser, there)

        see_each_other(ada, eve)
        chat_with_each_other(ada, eve, here, there)


@pytest.mark.slow
def test_a_page_catches_up_when_the_server_is_there_again(browser, tmp_path):
    data = tmp_path / "data"
    with serving(data) as url:
        page = open_book(browser, url)
        page.locator(".live.on").wait_for()
    page.locator(".live:not(.on)").wait_for()
    port = url.rpartition(":")[2]

    with serving(data, port=port) as again:
        sign(open_book(browser, again), "Ada", "Meanwhile.")
        page.locator(".entry", has_text="Meanwhile.").wait_for()


def test_everything_works_without_javascript(browser, site):
    page = open_book(browser, site, java_script_enabled=False)

    sign(page, "Ada", "Engines are fun.", make_picture())
    page.get_by_role("link", name="Edit").click()
    page.locator("[name=message]").fill("Bridges, too.")
    page.get_by_role("button", name="Save").click()
    page.get_by_role("button", name="Remove").click()
    assert "Your entry is gone." in page.locator(".flash").inner_text()

    page.goto(f"{site}/chat")
    page.locator("[name=text]").fill("By a form.")
    page.get_by_role("button", name="Send").click()
    assert page.locator(".line.own .said").inner_text() == "By a form."


def fits(page):
    return page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_words_without_an_end_do_not_widen_a_page(browser, site):
    page = open_book(browser, site, viewport={"width": 320, "height": 600})

    sign(page, "W" * 80, "M" * 500)

    assert fits(page)
    enter_chat(page, site, "")
    say(page, "Z" * 400)
    assert fits(page)
    page.goto(f"{site}/entries/1/edit")
    assert fits(page)


# Screenshots ----------------------------------------------------------------------------------------


def keep(page, name):
    """Write a screenshot if that is asked for; there has to be one in any case."""
    path = Path(EXAMPLES, "screenshots", f"{name}.png")
    image = page.screenshot(animations="disabled", caret="hide")
    if os.environ.get("MICROWEB_SCREENSHOTS") == "1":
        path.write_bytes(image)
    assert path.read_bytes().startswith(b"\x89PNG"), "make screenshots"
    assert page.complaints == []
    assert fits(page)


@pytest.fixture
def ada(browser, tmp_path, site):
    """The page of somebody who has signed a book that others have signed before."""
    write_entries(tmp_path / "data", ENTRIES)
    page = open_book(browser, site, viewport={"width": 1120, "height": 820})
    sign(
        page,
        "Ada Lovelace",
        "The view from the small bridge, early in the morning. The engine can wait.",
        make_picture(),
    )
    set_time(tmp_path / "data", "2026-03-01T07:15:00+00:00")
    page.goto(site)
    page.locator(".live.on").wait_for()
    return page


def test_the_book_looks_well_in_light_and_dark_and_on_a_phone(ada):
    keep(ada, "book-light")
    ada.emulate_media(color_scheme="dark")
    keep(ada, "book-dark")
    ada.emulate_media(color_scheme="light")
    ada.set_viewport_size({"width": 390, "height": 844})
    keep(ada, "book-narrow")


def test_a_refused_form_looks_well(ada):
    ada.locator(".sign form").evaluate("form => form.noValidate = true")
    ada.locator("[name=name]").fill("")
    ada.locator("[name=message]").fill("The name is missing, and the photo is none.")
    ada.locator("[name=photo]").set_input_files(files=[{**make_picture(), "buffer": b"no picture"}])
    ada.get_by_role("button", name="Sign").click()
    ada.locator("[aria-invalid]").first.wait_for()
    # Chromium complains of every answer from 400 up; this one is what was asked for.
    assert [text for text in ada.complaints if "422" not in text] == []
    ada.complaints.clear()
    ada.locator(".live.on").wait_for()

    keep(ada, "form-refused")


def test_the_chat_looks_well(ada, browser, site, tmp_path):
    grace = open_book(browser, site)
    enter_chat(grace, site, "Grace Hopper")
    ada.goto(f"{site}/chat")
    ada.locator(".live.on").wait_for()
    say(grace, "Good morning! Is there coffee?")
    say(ada, "In the breakfast room, beside the piano.")
    say(grace, "On my way.")
    ada.locator(".line", has_text="On my way.").wait_for()
    set_time(tmp_path / "data", "2026-03-01T07:20:00+00:00")
    ada.reload()
    ada.locator(".live.on").wait_for()
    ada.set_viewport_size({"width": 760, "height": 700})

    keep(ada, "chat")
