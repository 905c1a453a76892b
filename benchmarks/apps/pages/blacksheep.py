"""BlackSheep, as its documentation writes each row.

No `from __future__ import annotations` here: BlackSheep compares `-> Response` by identity.
"""

import os

# Read when the renderer is imported, which otherwise wants files that end in `.jinja`.
os.environ["APP_JINJA_EXTENSION"] = ".html"

from blacksheep import Application, Request, Response, text
from blacksheep.server.rendering.jinja2 import JinjaRenderer
from blacksheep.server.responses import view
from blacksheep.server.routing import Router
from blacksheep.settings.html import html_settings
from jinja2 import FileSystemLoader

from benchmarks import pagerows, report
from benchmarks.pagerows import ROWS

__all__ = ["ROWS", "VARIANTS", "VERSIONS", "build"]

VERSIONS = report.versions(("blacksheep", "itsdangerous", "jinja2"))
VARIANTS: dict[str, tuple[str, ...]] = {"untouched": ()}


async def visit(request: Request) -> Response:
    return text(pagerows.visit(request.session))


async def page(request: Request) -> Response:
    return view("page", user=pagerows.USER, orders=pagerows.ORDERS)


def build(row: str, variant: str) -> Application:
    """The app that answers `row`."""
    app = Application(router=Router())
    if row == "session":
        app.use_sessions(pagerows.SECRET_KEY)
    html_settings.use(JinjaRenderer(loader=FileSystemLoader(pagerows.TEMPLATES)))
    app.router.add("GET", "/", visit if row == "session" else page)
    return app
