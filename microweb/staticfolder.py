"""A folder of static files as the table and ``url_for`` see it: a view, and the fingerprint in a URL.

``assembly.py`` makes one for each router with a ``static_folder`` and for each mounted ``StaticFiles`` that
has a name. What serves the files is ``static.py``, which is loaded when the first of them is asked for.
"""

# Not pathlib: this is loaded with every app.
# ruff: noqa: PTH112, PTH119

from __future__ import annotations

import os
from collections.abc import MutableMapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from microweb.responses import Response
    from microweb.static import StaticFiles

__all__ = ["StaticFolder"]


class StaticFolder:
    """The static files at one place of an app: in ``folder``, which may not exist, or a program's own ``files``."""

    __slots__ = ("_app", "_files", "folder")

    def __init__(self, app: Any, folder: str, files: StaticFiles | None = None) -> None:
        self.folder = folder
        self._app = app
        self._files = files

    @property
    def exists(self) -> bool:
        """Whether the folder is there now."""
        return os.path.isdir(self.folder)

    @property
    def name(self) -> str:
        """The folder's own name, without those it lies in."""
        return os.path.basename(self.folder.rstrip("/"))

    @property
    def files(self) -> StaticFiles:
        """What serves them."""
        if self._files is None:
            from microweb.static import StaticFiles

            self._files = StaticFiles.of_static_folder(self.folder)
        return self._files

    async def static(self, request: Any, filename: str) -> Response:
        """The view.

        Raises:
            NotFound: there is no such file.
        """
        return await self.files.respond(request, filename)

    def add_fingerprint(self, endpoint: str, values: MutableMapping[str, Any]) -> None:
        """Add the content's hash to a URL as ``v``, if ``STATIC_FINGERPRINTS`` says so."""
        filename = values.get("filename")
        if isinstance(filename, str) and "v" not in values and self._app.config["STATIC_FINGERPRINTS"]:
            fingerprint = self.files.find_fingerprint(self._app.root_path, filename)
            if fingerprint is not None:
                values["v"] = fingerprint
