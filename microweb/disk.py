"""What the disk says of a file: whether it is there, whether it lies inside its folder, and what a refusal means.

Nothing is opened here: that is the business of ``filebody.py``. Called by ``files.py``, ``sendfile.py`` and
``static.py``, and tested through what they give.
"""

# Not pathlib: the system calls want strings, and a path object costs as much as they do.
# ruff: noqa: PTH114, PTH116, PTH118

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Sequence

from microweb.errors import Forbidden, NotFound

__all__ = ["answer_to", "find_inside", "look_at"]

ABSENT = frozenset((errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.EINVAL))
"""What the system says where there is no such file, or where no file can have such a name."""


def find_inside(directory: str, segments: Sequence[str]) -> str:
    """The real path of what lies under ``directory``; touches the disk.

    Raises:
        NotFound: a symbolic link leads out of the directory.
    """
    # SECURITY: test_sendfile.py::test_a_symlink_that_leaves_the_directory_is_not_found. What is opened is the
    # path without links that was checked, so that no link is followed afterwards.
    root = os.path.realpath(directory)
    root = root if root.endswith(os.sep) else root + os.sep
    found = root + os.sep.join(segments)
    # Most paths hold no link, and a look at each of their few segments tells. Windows has other links too.
    here = root
    for segment in segments:
        here += segment
        if os.name == "nt" or os.path.islink(here):
            found = os.path.realpath(found)
            if not found.startswith(root):
                raise NotFound
            break
        here += os.sep
    return found


def look_at(path: str) -> os.stat_result:
    """What the disk says of a regular file.

    Raises:
        NotFound: it is not there, or it is something else.
        Forbidden: there is no permission to look.
    """
    try:
        seen = os.stat(path)
    except (OSError, ValueError) as error:
        raise answer_to(error) from error
    if not stat.S_ISREG(seen.st_mode):
        raise NotFound
    return seen


def answer_to(error: OSError | ValueError) -> Exception:
    """What an error of the disk becomes before an answer has started: itself, if it is no answer."""
    if isinstance(error, ValueError) or error.errno in ABSENT:
        return NotFound()
    if isinstance(error, PermissionError):
        return Forbidden("The server has no permission to read this file.")
    return error
