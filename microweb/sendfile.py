"""Flask's ``send_file`` and ``send_from_directory``: a ``FileResponse`` for a path that means something to the app.

Here is decided which file is meant, and that a name from outside leads nowhere else; how it is sent is the
business of ``files.py``. Called by views, and by ``Router.send_static_file``.
"""

# Not pathlib: the system calls want strings, and a path object costs as much as they do.
# ruff: noqa: PTH117, PTH118

from __future__ import annotations

import os
from datetime import datetime
from typing import TypedDict, Unpack

from microweb.context import current
from microweb.disk import find_inside
from microweb.errors import NotFound, OutsideContextError
from microweb.filebody import BinaryFile
from microweb.filenames import split_filename
from microweb.files import FileResponse, MaxAge, content_type_of
from microweb.mediatype import with_charset

__all__ = ["FileOptions", "send_file", "send_from_directory"]


class FileOptions(TypedDict, total=False):
    """The options of ``send_file`` and ``send_from_directory``; see ``FileResponse`` for what they mean."""

    mimetype: str | None
    as_attachment: bool
    download_name: str | None
    conditional: bool
    etag: bool | str
    last_modified: datetime | float | None
    max_age: MaxAge | None


def send_file(
    path_or_file: str | os.PathLike[str] | BinaryFile,
    mimetype: str | None = None,
    as_attachment: bool = False,
    download_name: str | None = None,
    conditional: bool = True,
    etag: bool | str = True,
    last_modified: datetime | float | None = None,
    max_age: MaxAge | None = None,
) -> FileResponse:
    """Answer with a file, as in Flask; a relative path starts at the folder of the app's module.

    Never give it a path that came from outside: ``send_from_directory`` is for those.

    Raises:
        OutsideContextError: the path is relative and there is no current app.
        TypeError: the type of a file object is unknown: it has neither ``mimetype`` nor ``download_name``.
        NotFound, Forbidden, ValueError: as ``FileResponse``.
    """
    if isinstance(path_or_file, str | os.PathLike):
        path_or_file = beside_app(path_or_file, "send_file()")
    elif mimetype is None and download_name is None:
        raise TypeError("send_file() of a file object needs mimetype=... or download_name=...")
    return FileResponse(
        path_or_file,
        content_type=None if mimetype is None else with_charset(mimetype),
        as_attachment=as_attachment,
        download_name=download_name,
        conditional=conditional,
        etag=etag,
        last_modified=last_modified,
        max_age=max_age,
    )


def send_from_directory(
    directory: str | os.PathLike[str], path: str | os.PathLike[str], **options: Unpack[FileOptions]
) -> FileResponse:
    """Answer with the file ``path`` of ``directory``; ``path`` may come from outside, the directory may not.

    ``path`` is written with slashes. What leads out of the directory does not exist: ``..``, absolute paths,
    and symbolic links to the outside. A relative directory starts at the folder of the app's module. The
    options are those of ``send_file``.

    Raises:
        NotFound: there is no such regular file in the directory.
        OutsideContextError: the directory is relative and there is no current app.
        Forbidden, ValueError: as ``FileResponse``.
    """
    segments = split_filename(os.fspath(path))
    if segments is None:
        raise NotFound
    found = find_inside(beside_app(directory, "send_from_directory()"), segments)
    # The name that was asked for counts, not the one that a link leads to.
    if options.get("mimetype") is None:
        options["mimetype"] = content_type_of(options.get("download_name") or segments[-1])
    if options.get("as_attachment") and not options.get("download_name"):
        options["download_name"] = segments[-1]
    return send_file(found, **options)


def beside_app(path: str | os.PathLike[str], caller: str) -> str:
    """``path``, seen from the folder of the current app's module.

    Raises:
        OutsideContextError: it is relative and there is no current app.
    """
    path = os.fspath(path)
    if os.path.isabs(path):
        return path
    context = current.get(None)
    if context is None:
        raise OutsideContextError(
            f"{caller} was given the relative path {path!r} where no app is current, so nobody knows where "
            "it starts; give an absolute path, or use `with app.app_context():`"
        )
    return os.path.join(context.app.root_path, path)
