"""A guest book: a small app as one would write it. ``make demo`` serves it; start reading in ``app.py``."""

from guestbook.app import create_app

__all__ = ["create_app"]
