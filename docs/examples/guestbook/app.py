"""Puts the guest book together: config, database, and the two faces of it, pages and API."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from guestbook.api import api
from guestbook.database import close_store, prepare_database
from guestbook.pages import pages
from microweb import App

__all__ = ["create_app"]


def create_app(config: Mapping[str, Any] | None = None) -> App:
    """A guest book whose entries are in the SQLite file ``config["DATABASE"]``.

    Each key can be set in the environment too: ``GUESTBOOK_DATABASE=/var/lib/guestbook.db``.
    """
    app = App("guestbook")
    app.config.from_mapping(DATABASE=str(Path(__file__).with_name("guestbook.db")), PAGE_SIZE=20)
    app.config.from_prefixed_env("GUESTBOOK")
    app.config.from_mapping(config or {})
    app.lifespan(prepare_database)
    app.teardown_request(close_store)
    app.mount("", pages)
    app.mount("/api", api)
    return app
