"""The guest book as its tests need it: in processes of its own, in a browser, with entries and a picture in it.

Not a test file; the fixtures stand in ``conftest.py``.
"""

import sqlite3
import struct
import zlib
from contextlib import closing, contextmanager
from pathlib import Path

from tests.programs import Program, get
from tests.services import open_page

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"


def start(data, *, port=0, **config):
    """A guest book in a process of its own, started as ``make demo`` starts it."""
    environ = {f"GUESTBOOK_{name}".upper(): str(value) for name, value in ({"data": data} | config).items()}
    return Program("-m", "microweb", "run", "--app", "guestbook", "--port", port, cwd=EXAMPLES, **environ)


@contextmanager
def serving(data, **config):
    """The address of a guest book that answers, in a process of its own."""
    with start(data, **config) as program:
        url = program.url.rstrip("/")
        get(url)
        yield url


def open_book(browser, url, **options):
    """The book, opened by a visitor of their own."""
    page = open_page(browser, **options)
    page.goto(url)
    return page


def sign(page, name, message, photo=None):
    """Fill in the form and send it."""
    page.locator("[name=name]").fill(name)
    page.locator("[name=message]").fill(message)
    if photo is not None:
        page.locator("[name=photo]").set_input_files(files=[photo])
    page.get_by_role("button", name="Sign").click()
    page.locator(".flash").wait_for()


def write_entries(data, entries):
    """Put entries into the database of a guest book: times, names and messages."""
    execute(data, "INSERT INTO entries (signed_at, name, message, visitor) VALUES (?, ?, ?, 'somebody')", *entries)


def set_time(data, time):
    """Let everything in a guest book that was written today be of this time."""
    for table, column in (("entries", "signed_at"), ("lines", "said_at")):
        execute(data, f"UPDATE {table} SET {column} = ? WHERE {column} > '2026-03-02'", (time,))


def execute(data, statement, *rows):
    with closing(sqlite3.connect(Path(data, "guestbook.db"))) as connection, connection:
        connection.executemany(statement, rows)


def paint(width=720, height=360):
    """A PNG: the sun over hills."""
    rows = bytearray()
    for y in range(height):
        rows.append(0)
        for x in range(width):
            rows += bytes(colour_at(x / width, y / height))
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = ((b"IHDR", header), (b"IDAT", zlib.compress(bytes(rows), 9)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in parts
    )


def colour_at(x, y):
    from math import hypot, sin

    for top, colour in ((0.86, (46, 74, 62)), (0.74, (74, 104, 84)), (0.62, (120, 138, 122))):
        if y > top + 0.06 * sin(x * (9 - 4 * top) + top * 20):
            return colour
    if hypot((x - 0.68) * 2, y - 0.36) < 0.13:
        return 255, 236, 190
    return 236 - int(40 * (1 - y)), 176 - int(60 * (0.7 - y)), 128 + int(90 * (0.7 - y))
