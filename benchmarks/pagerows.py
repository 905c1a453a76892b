"""The rows of `pages.py`: sessions and templates, and what must come back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.rows import TEXT, Answer, Row, WrongAnswer, _check_frame, check_hello

SECRET_KEY = "a secret key for the benchmarks, 40 bytes"
TEMPLATES = Path(__file__).parent / "templates"
USER = "Ada <Lovelace>"
ORDERS = [
    {"id": 1000 + number, "article": f"Hat & scarf {number}", "price": 9.5 + number, "paid": number % 3 == 0}
    for number in range(10)
]


def visit(session: Any) -> str:
    """What a view does with a session: reads and writes it."""
    visits: int = session.get("visits", 0) + 1
    session["visits"] = visits
    session["user"] = session.get("user", "Ada Lovelace")
    return str(visits)


def check_second_visit(path: str, answer: Answer) -> None:
    _check_frame(path, answer, 200, TEXT)
    if answer.body != b"2":
        raise WrongAnswer(f"{path}: expected the second visit, got {answer.body[:200]!r}")
    cookie = answer.header(b"set-cookie") or ""
    if not cookie.startswith("session=") or "httponly" not in cookie.lower():
        raise WrongAnswer(f"{path}: expected a session cookie for HTTP only, got {cookie!r}")


def check_page(path: str, answer: Answer) -> None:
    _check_frame(path, answer, 200, r"text/html; ?charset=utf-8")
    text = answer.body.decode()
    for part in ("<title>Orders of Ada &lt;Lovelace&gt; - A shop", "<td>Hat &amp; scarf 9</td>", "<td>18.50</td>"):
        if part not in text:
            raise WrongAnswer(f"{path}: {part!r} is not in {text!r}")


ROWS = {
    row.name: row
    for row in (
        Row("session", "GET / a session in a signed cookie, read and written", check_second_visit, returning=True),
        Row("template", "GET / a page from a Jinja template that extends another", check_page),
        Row("untouched", "GET / as text, in an app with sessions and without", check_hello, among_variants=True),
    )
}
