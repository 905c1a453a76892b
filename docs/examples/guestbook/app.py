"""Puts the guest book together: its config, its database, and the faces of it, pages and API."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from guestbook.api import api
from guestbook.database import prepare_database
from guestbook.errorpages import add_error_pages
from guestbook.looks import add_filters
from guestbook.pages import pages
from guestbook.photos import prepare_photos
from microweb import App, Response
from microweb.openapi import OpenAPI

__all__ = ["create_app"]

ABOUT = """What the pages of the guest book do, for programs. There is no login: signing sets the cookie of a session,
and whoever sends it again may change what was signed with it."""
POLICY = "default-src 'self'; img-src 'self' blob:; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"


def create_app(config: Mapping[str, Any] | None = None) -> App:
    """A guest book that keeps everything in the folder ``config["DATA"]``.

    Each key can be set in the environment too: ``GUESTBOOK_DATA=/var/lib/guestbook``.
    """
    app = App("guestbook")
    app.config.from_mapping(
        DATA=str(Path(__file__).with_name("data")),
        PAGE_SIZE=20,
        PHOTO_SIZE=5_000_000,
        REDIS_URL=os.environ.get("REDIS_URL"),
        STATIC_FINGERPRINTS=True,
    )
    app.config.from_prefixed_env("GUESTBOOK")
    app.config.from_mapping(config or {})
    app.lifespan(prepare_database)
    app.lifespan(prepare_photos)
    connect_processes(app)
    add_filters(app)
    add_error_pages(app)
    app.after_request(protect)
    app.mount("", pages)
    app.mount("/api", api)
    OpenAPI(app, title="Guest book", version="1.0", description=ABOUT, tags={"api": "The entries of the book."})
    return app


def connect_processes(app: App) -> None:
    """With a Redis, let what happens in one process be seen in all of them; without one, this process is all."""
    url = app.config["REDIS_URL"]
    if url:
        from microweb.channels.redis import RedisChannels

        app.channels = RedisChannels(url, prefix="guestbook:")


async def protect(response: Response) -> Response:
    """Tell browsers to run nothing but our own scripts, whatever may have got into a page."""
    response.headers.setdefault("Content-Security-Policy", POLICY)
    response.headers.setdefault("X-Content-Type-Options", "nosniff")
    return response
