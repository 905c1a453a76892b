"""Photos that guests upload: checked by what is in them, kept in a folder, sent back as nothing but pictures.

The name and the type that came with an upload are never used: a photo gets a name made of random digits, and an
ending by the first bytes of its content.
"""

import secrets
from collections.abc import AsyncGenerator
from pathlib import Path

from anyio import to_thread

from microweb import App, FileResponse, SyncUploadFile, current_app, send_from_directory

__all__ = ["find_photo_problem", "keep_photo", "prepare_photos", "remove_photo", "send_photo"]

DAY = 86_400


def find_ending(start: bytes) -> str | None:
    """The ending for a picture that begins like this; None if it is none of the kinds that browsers show.

    SVG is not among them: it can hold scripts.
    """
    if start.startswith(b"\x89PNG\r\n\x1a\n"):
        return ".png"
    if start.startswith(b"\xff\xd8\xff"):
        return ".jpg"
    if start.startswith((b"GIF87a", b"GIF89a")):
        return ".gif"
    if start.startswith(b"RIFF") and start[8:12] == b"WEBP":
        return ".webp"
    return None


def ending_of(upload: SyncUploadFile) -> str | None:
    """The ending for an upload."""
    upload.seek(0)
    return find_ending(upload.read(12))


def find_photo_problem(upload: SyncUploadFile) -> tuple[int, str] | None:
    """Why an upload cannot be kept, as a status and words for the guest; None if it can."""
    largest: int = current_app.config["PHOTO_SIZE"]
    if upload.size > largest:
        return 413, f"Please choose a photo of at most {largest / 1_000_000:g} MB; this one has {megabytes(upload)}."
    if ending_of(upload) is None:
        return 415, "This is no picture that browsers show: please choose a JPEG, PNG, GIF or WebP."
    return None


def megabytes(upload: SyncUploadFile) -> str:
    return f"{upload.size / 1_000_000:.1f} MB"


def keep_photo(upload: SyncUploadFile) -> str:
    """Store an upload that has no problem; gives the name of its file."""
    name = f"{secrets.token_hex(16)}{ending_of(upload)}"
    upload.save(find_folder(current_app) / name)
    return name


def remove_photo(name: str | None) -> None:
    """Delete a photo, if there is one."""
    if name is not None:
        (find_folder(current_app) / name).unlink(missing_ok=True)


def send_photo(name: str) -> FileResponse:
    """The answer with a photo, which browsers take for a picture whatever is in it."""
    answer = send_from_directory(find_folder(current_app), name, max_age=DAY)
    answer.headers["X-Content-Type-Options"] = "nosniff"
    answer.headers["Content-Security-Policy"] = "default-src 'none'; sandbox"
    return answer


def find_folder(app: App) -> Path:
    """Where the photos of an app are."""
    return Path(app.config["DATA"], "photos").absolute()


async def prepare_photos(app: App) -> AsyncGenerator[None, None]:
    """Make the folder before the first request."""
    await to_thread.run_sync(lambda: find_folder(app).mkdir(parents=True, exist_ok=True))
    yield
