"""The description of an app's HTTP interface: an OpenAPI 3.1 document, and a page to read it and try it out.

A door of its own, loaded by programs that import it and by nobody else. ``extension.py`` is what they use;
``document.py`` puts the document together from ``operations.py``, ``inputs.py``, ``answers.py``, ``addresses.py`` and
``schemas.py``; ``descriptions.py`` is what a program adds to it, ``explorer.py`` the page.
"""

from __future__ import annotations

from microweb.openapi.descriptions import describe
from microweb.openapi.extension import OpenAPI

__all__ = ["OpenAPI", "describe"]
