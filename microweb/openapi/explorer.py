"""The page that shows the document and tries operations out: HTML, and the policy that it is sent with.

Style and script lie beside this file and carry the nonce of the policy; the script reads the document from the
app itself and puts every text of it in as text. Nothing is loaded from anywhere else. Called by ``extension.py``.
"""

from __future__ import annotations

from functools import cache
from html import escape
from pathlib import Path

__all__ = ["draw_page"]

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style nonce="{nonce}">{style}</style>
</head>
<body data-document="{url}">
<header><h1>{title}</h1><p id="about"></p></header>
<main id="operations"><p>Reading the document ...</p><noscript><p>This page needs JavaScript; the document is at
<a href="{url}">{url}</a>.</p></noscript></main>
<script nonce="{nonce}">{script}</script>
</body>
</html>
"""


def draw_page(title: str, url: str, nonce: str) -> str:
    """The whole page for the document at ``url``."""
    # SECURITY: test_a_title_with_html_is_text_on_the_page
    return PAGE.format(
        title=escape(title),
        url=escape(url),
        nonce=nonce,
        style=read_asset("explorer.css"),
        script=read_asset("explorer.js"),
    )


@cache
def read_asset(name: str) -> str:
    """A file beside this one."""
    return (Path(__file__).parent / name).read_text(encoding="utf-8")
