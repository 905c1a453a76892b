"""microweb, as its documentation writes each row."""

from __future__ import annotations

from benchmarks import pagerows, report, rows
from benchmarks.pagerows import ROWS
from microweb import App, __version__, render_template, session

__all__ = ["ROWS", "VARIANTS", "VERSIONS", "build"]

VERSIONS = {"microweb": __version__} | report.versions(("itsdangerous", "jinja2", "msgspec"))
WITHOUT, WITH = "without sessions", "with sessions"
VARIANTS: dict[str, tuple[str, ...]] = {"untouched": (WITHOUT, WITH)}


async def visit() -> str:
    return pagerows.visit(session)


async def page() -> str:
    return render_template("page.html", user=pagerows.USER, orders=pagerows.ORDERS)


async def hello() -> str:
    return rows.HELLO


def build(row: str, variant: str) -> App:
    """The app that answers `row`."""
    app = App("benchmarks", static_folder=None)
    if row == "session" or variant == WITH:
        app.secret_key = pagerows.SECRET_KEY
    if variant == WITH:
        app.add_route("/visit", visit)
    app.add_route("/", {"session": visit, "template": page, "untouched": hello}[row])
    return app
