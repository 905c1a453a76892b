"""File names that came from outside: which of them may be looked for, and how one is made safe to keep.

Only names are judged here; the disk is not asked. ``sendfile.py`` and ``static.py`` call ``split_filename``
before they look for a file, programs call ``secure_filename`` before they store an upload.
"""

from __future__ import annotations

import os

__all__ = ["secure_filename", "split_filename"]

ON_WINDOWS = os.name == "nt"

# https://learn.microsoft.com/windows/win32/fileio/naming-a-file: these are devices in every folder there,
# with any ending, and reading one may wait for ever.
DEVICES = frozenset(
    ("CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$")
    + tuple(f"{port}{number}" for port in ("COM", "LPT") for number in "123456789¹²³")
)
SAFE = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-")


def split_filename(filename: str, *, windows: bool = ON_WINDOWS) -> list[str] | None:
    """The segments of a relative path with slashes, or None if it may lead out of the folder it is for.

    None is the answer to empty segments, ``.`` and ``..``, an absolute path, a backslash, a NUL, and a lone
    surrogate; on Windows also to drives, streams and devices.

    >>> split_filename("css/site.css"), split_filename("css/../../secret"), split_filename("/etc/passwd")
    (['css', 'site.css'], None, None)
    """
    # SECURITY: test_filenames.py::test_a_name_that_could_lead_out_of_its_folder_has_no_segments
    if "\\" in filename or "\0" in filename:
        return None
    try:
        filename.encode()
    except UnicodeEncodeError:
        return None
    segments = filename.split("/")
    for segment in segments:
        if segment in ("", ".", ".."):
            return None
        # Windows drops dots and spaces at the end: "site.py." would be a way around a rule about endings.
        if windows and (":" in segment or segment[-1] in ". " or is_device(segment)):
            return None
    return segments


def is_device(name: str) -> bool:
    return name.partition(".")[0].strip().upper() in DEVICES


def secure_filename(filename: str, *, windows: bool = ON_WINDOWS) -> str:
    """A name for storing an uploaded file, made of ASCII letters, digits and ``._-``; may be empty.

    It says nothing about whether such a file exists. The rules are werkzeug's.

    >>> secure_filename("../../etc/pass wd"), secure_filename("naïve.txt"), secure_filename("..")
    ('etc_pass_wd', 'naive.txt', '')
    """
    from unicodedata import normalize

    # SECURITY: test_filenames.py::test_a_secure_name_is_one_plain_segment
    name = normalize("NFKD", filename).encode("ascii", "ignore").decode("ascii")
    name = name.replace("/", " ")
    if windows:
        name = name.replace("\\", " ")
    name = "".join([character for character in "_".join(name.split()) if character in SAFE]).strip("._")
    return f"_{name}" if windows and is_device(name) else name
