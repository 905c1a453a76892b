"""The limit: each row by hand on bare ASGI. Not a framework."""

from __future__ import annotations

import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Any

import msgspec
from jinja2 import Environment, FileSystemLoader

from benchmarks import pagerows, report
from benchmarks.apps.raw import answer
from benchmarks.pagerows import ROWS

__all__ = ["ROWS", "VARIANTS", "VERSIONS", "build"]

VERSIONS = report.versions(("jinja2", "msgspec"))
VARIANTS: dict[str, tuple[str, ...]] = {"untouched": ()}
HTML = (b"content-type", b"text/html; charset=utf-8")
KEY = pagerows.SECRET_KEY.encode()


def make_page() -> Any:
    environment = Environment(loader=FileSystemLoader(pagerows.TEMPLATES), autoescape=True, auto_reload=False)

    async def page(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            template = environment.get_template("page.html")
            text = template.render(user=pagerows.USER, orders=pagerows.ORDERS)
            await answer(send, 200, [HTML], text.encode())

    return page


async def visit(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "http":
        session: dict[str, Any] = {}
        for name, value in scope["headers"]:
            if name == b"cookie":
                payload, _, signature = value.removeprefix(b"session=").partition(b".")
                if hmac.compare_digest(signature, hmac.digest(KEY, payload, "sha256").hex().encode()):
                    session = msgspec.json.decode(urlsafe_b64decode(payload))
        body = pagerows.visit(session)
        payload = urlsafe_b64encode(msgspec.json.encode(session))
        signature = hmac.digest(KEY, payload, "sha256").hex().encode()
        cookie = b"session=%b.%b; HttpOnly; Path=/; SameSite=Lax" % (payload, signature)
        await answer(send, 200, [HTML, (b"vary", b"Cookie"), (b"set-cookie", cookie)], body.encode())


def build(row: str, variant: str) -> Any:
    """The app that answers `row`."""
    return visit if row == "session" else make_page()
