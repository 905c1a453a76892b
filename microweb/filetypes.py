"""The media type of a file, by the ending of its name. Called by ``files``."""

from __future__ import annotations

__all__ = ["guess_content_type"]

# What the web serves, so that few programs load the standard library's table, which is also
# different on each system. Types are IANA's.
_TYPES = {
    "7z": "application/x-7z-compressed",
    "aac": "audio/aac",
    "apng": "image/apng",
    "avif": "image/avif",
    "bin": "application/octet-stream",
    "bmp": "image/bmp",
    "css": "text/css",
    "csv": "text/csv",
    "docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    "epub": "application/epub+zip",
    "flac": "audio/flac",
    "gif": "image/gif",
    "htm": "text/html",
    "html": "text/html",
    "ico": "image/vnd.microsoft.icon",
    "ics": "text/calendar",
    "jpeg": "image/jpeg",
    "jpg": "image/jpeg",
    "js": "text/javascript",
    "json": "application/json",
    "jsonld": "application/ld+json",
    "m4a": "audio/mp4",
    "map": "application/json",
    "md": "text/markdown",
    "mjs": "text/javascript",
    "mov": "video/quicktime",
    "mp3": "audio/mpeg",
    "mp4": "video/mp4",
    "mpeg": "video/mpeg",
    "oga": "audio/ogg",
    "ogg": "audio/ogg",
    "ogv": "video/ogg",
    "opus": "audio/opus",
    "otf": "font/otf",
    "pdf": "application/pdf",
    "png": "image/png",
    "pptx": "application/vnd.openxmlformats-officedocument.presentationml.presentation",
    "rtf": "application/rtf",
    "svg": "image/svg+xml",
    "tar": "application/x-tar",
    "tif": "image/tiff",
    "tiff": "image/tiff",
    "toml": "application/toml",
    "ttf": "font/ttf",
    "txt": "text/plain",
    "wasm": "application/wasm",
    "wav": "audio/wav",
    "weba": "audio/webm",
    "webm": "video/webm",
    "webmanifest": "application/manifest+json",
    "webp": "image/webp",
    "woff": "font/woff",
    "woff2": "font/woff2",
    "xhtml": "application/xhtml+xml",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "xml": "text/xml",
    "yaml": "application/yaml",
    "yml": "application/yaml",
    "zip": "application/zip",
}
_ENCODINGS = {"br": "br", "bz2": "bzip2", "gz": "gzip", "xz": "xz", "zst": "zstd"}


def guess_content_type(filename: str) -> tuple[str | None, str | None]:
    """The media type and the content coding that a file's name speaks for, each None if it names none.

    Only the ends of the last path segment count, in any case.

    >>> guess_content_type("report.csv"), guess_content_type("backup/site.TAR.gz")
    (('text/csv', None), ('application/x-tar', 'gzip'))
    """
    stem, ending = _split_ending(filename)
    encoding = _ENCODINGS.get(ending)
    if encoding is not None:
        _, ending = _split_ending(stem)
    if not ending:
        return None, encoding
    known = _TYPES.get(ending)
    if known is not None:
        return known, encoding
    from mimetypes import guess_type

    # Only the ending is asked for: a whole name is taken for a URL, and "data:text/html,x.foo" for HTML.
    media_type, short = guess_type("x." + ending)
    return media_type, encoding or short


def _split_ending(filename: str) -> tuple[str, str]:
    name = filename.replace("\\", "/").rpartition("/")[2]
    stem, _, ending = name.rpartition(".")
    # As os.path.splitext: the dots that a hidden file's name begins with separate nothing.
    return (stem, ending.lower()) if stem.strip(".") else (name, "")
