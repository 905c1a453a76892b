"""Starlette, as its documentation writes each row."""

from __future__ import annotations

from jinja2 import Environment, FileSystemLoader
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.sessions import SessionMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.templating import Jinja2Templates

from benchmarks import pagerows, report
from benchmarks.pagerows import ROWS

__all__ = ["ROWS", "VARIANTS", "VERSIONS", "build"]

VERSIONS = report.versions(("starlette", "itsdangerous", "jinja2"))
VARIANTS: dict[str, tuple[str, ...]] = {"untouched": ()}


async def visit(request: Request) -> Response:
    return PlainTextResponse(pagerows.visit(request.session))


def build(row: str, variant: str) -> Starlette:
    """The app that answers `row`."""
    if row == "session":
        middleware = Middleware(SessionMiddleware, secret_key=pagerows.SECRET_KEY)
        return Starlette(routes=[Route("/", visit)], middleware=[middleware])
    environment = Environment(loader=FileSystemLoader(pagerows.TEMPLATES), autoescape=True, auto_reload=False)
    templates = Jinja2Templates(env=environment)

    async def page(request: Request) -> Response:
        return templates.TemplateResponse(request, "page.html", {"user": pagerows.USER, "orders": pagerows.ORDERS})

    return Starlette(routes=[Route("/", page)])
