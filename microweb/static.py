"""Static files: from the path of a URL to a file of one directory.

``StaticFiles`` is asked by the routes that ``assembly.py`` makes of ``static_folder``, entered by
``mounts.py`` where a program mounts one, and is an ASGI app by itself anywhere else. How a file is sent is
the business of ``files.py``; here it is found: by which name, in which coding, for how long. All of that
happens in one hop to a thread, together with reading the file if it is small.
"""

# Not pathlib: the system calls want strings, and a path object costs as much as they do.
# ruff: noqa: PTH112, PTH116, PTH118, PTH123

from __future__ import annotations

import logging
import os
import stat
from collections.abc import Iterator
from typing import Any, NamedTuple

from microweb.accept import AcceptEncoding
from microweb.asgi import Receive, Scope, Send
from microweb.conversion import own
from microweb.disk import answer_to, find_inside, look_at
from microweb.errorhandlers import default_answer
from microweb.errors import ClientDisconnect, HTTPException, MethodNotAllowed, NotFound
from microweb.filebody import CHUNK
from microweb.filenames import split_filename
from microweb.files import FileResponse, content_type_of, offers_pathsend
from microweb.incoming import Incoming
from microweb.limits import DEFAULTS, Limits
from microweb.quoting import quote_path, quote_query
from microweb.requests import Request
from microweb.responses import Response
from microweb.workers import run_blocking

__all__ = ["StaticFiles"]

METHODS = ("GET", "HEAD", "OPTIONS")

SIBLINGS = {"br": ".br", "zstd": ".zst", "gzip": ".gz"}
"""The codings of a file that lie beside it, the one that is usually smallest first."""

IMMUTABLE = "public, max-age=31536000, immutable"
"""For a URL that names its content (RFC 8246). A year is what RFC 2616 §14.21 called for ever."""

LARGEST_HASHED = 16 * 1024 * 1024
"""Bytes up to which a fingerprint is a hash of the content; of what is larger it is size and time: hashing
holds up the page that names the file, for some 10 ms at this size."""

CONDITIONS = (b"if-none-match", b"if-modified-since", b"if-match", b"if-unmodified-since", b"range")

logger = logging.getLogger("microweb")


class Question(NamedTuple):
    """What a request asks of a directory."""

    root: str
    filename: str
    accept_encoding: str | None
    precompressed: bool
    version: str | None
    wants_page: bool
    reads_ahead: bool


class StaticFiles:
    """The files of one directory, by URL.

    Mount it (``app.mount("/assets", StaticFiles("dist"), name="assets")``) or serve it as an ASGI app by
    itself. A relative directory starts at the folder of the app's module, without an app in the working
    directory.

    ``index`` True serves ``index.html`` for a directory, a name serves that; ``fallback`` is the file that
    answers where there is none, for single-page apps. Directories are never listed. Names that begin with a
    dot are not served, except ``.well-known`` (RFC 8615), and neither is what a symbolic link leads to
    outside.

    >>> from microweb import App
    >>> app = App(__name__, static_folder=None)
    >>> app.mount("", StaticFiles("dist", index=True, fallback="index.html"), name="pages")
    >>> app.url_for("pages", filename="css/site.css")
    '/css/site.css'
    """

    def __init__(
        self, directory: str | os.PathLike[str], *, index: bool | str = False, fallback: str | None = None
    ) -> None:
        self.directory = os.fspath(directory)
        self.index = "index.html" if index is True else index or None
        self.fallback = fallback
        self._hashes: dict[str, tuple[tuple[int, int], str]] = {}
        self._warns = True

    @classmethod
    def of_static_folder(cls, folder: str | os.PathLike[str]) -> StaticFiles:
        """The files of a router's ``static_folder``, which may not be there: most programs never set it."""
        files = cls(folder)
        files._warns = False
        return files

    def __repr__(self) -> str:
        return f"<StaticFiles {self.directory!r}>"

    # The three ways in -----------------------------------------------------------------------------

    async def respond(self, request: Incoming, filename: str) -> Response:
        """The answer to ``request`` for the file at ``filename``, a decoded path without a slash in front.

        Raises:
            MethodNotAllowed: it is neither GET nor HEAD.
            NotFound: there is no such file, and no fallback for it.
            Forbidden: the program has no permission to read it.
        """
        scope = request.scope
        if scope["method"] not in ("GET", "HEAD"):
            raise MethodNotAllowed(allow=METHODS)
        limits = request.app.limits
        has_version = limits.static_fingerprints and b"v=" in request.query_string
        question = Question(
            os.path.join(request.app.root_path, self.directory),
            filename,
            request.headers.get("accept-encoding"),
            limits.static_precompressed,
            request.args.get("v") if has_version else None,
            self.fallback is not None and wants_page(request, filename),
            scope["method"] == "GET"
            and not offers_pathsend(request)
            and not any(name in CONDITIONS for name, _ in scope["headers"]),
        )
        found = await run_blocking(self._answer, question)
        if found is None:
            return redirect_to_directory(request)
        return found

    async def respond_below(self, request: Incoming, rest: str) -> Response:
        """``respond`` for what is left of a path behind a mount: empty, or with a slash in front.

        Raises: as ``respond``.
        """
        if request.scope["method"] == "OPTIONS":
            return Response(headers={"allow": ", ".join(METHODS)})
        if not rest and self.index is None:
            raise NotFound
        return redirect_to_directory(request) if not rest else await self.respond(request, rest[1:])

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve as an ASGI app of its own, with the limits that a new app has.

        Raises:
            ValueError: the connection is neither HTTP nor a websocket, which is refused.
        """
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1000})
            return
        if scope["type"] != "http":
            raise ValueError(f"static files are served over HTTP, not {scope['type']!r}")
        host: Any = Alone
        request = Request(host, scope, receive)
        try:
            await self._serve(request, send)
        except ClientDisconnect:
            pass  # Nobody is left to answer.

    async def _serve(self, request: Request, send: Send) -> None:
        try:
            # Mounted at /assets by a server or another framework, just that has no slash to link from.
            is_bare = request.root_path and request.scope["path"] == request.root_path
            response = own(await self.respond_below(request, "" if is_bare else request.path), request)
            await response.send(request, send)
        except HTTPException as error:
            await default_answer(request, error).send(request, send)

    # In a thread -----------------------------------------------------------------------------------

    def _answer(self, question: Question) -> FileResponse | None:
        """The file as a response; None for a directory whose URL lacks its slash."""
        try:
            found = self._find(question.root, question.filename)
            return None if found is None else self._make(question, *found)
        except NotFound:
            self._warn_of_missing(question.root)
            if not question.wants_page or self.fallback is None:
                raise
            path = find_inside(question.root, self.fallback.split("/"))
            # What stands for other pages must not outlive a new version of itself.
            return self._make(question._replace(version=None), path, self.fallback, cache_control="no-cache")

    def _find(self, root: str, filename: str) -> tuple[str, str] | None:
        """The real path of a file and the name that tells its type; None if a directory lacks its slash."""
        bare = filename.removesuffix("/") if self.index is not None else filename
        segments = split_filename(bare) if bare else []
        if segments is None or (not segments and self.index is None) or any(map(is_hidden, segments)):
            raise NotFound
        path = find_inside(root, segments) if segments else os.path.realpath(root)
        if self.index is None:
            return path, filename
        try:
            is_directory = stat.S_ISDIR(os.stat(path).st_mode)
        except OSError as error:
            raise answer_to(error) from error
        if not is_directory:
            if bare != filename:
                raise NotFound  # A file has no slash at its end.
            return path, filename
        index = find_inside(root, [*segments, *self.index.split("/")])
        if filename and bare == filename:
            look_at(index)  # A directory without an index is not there, with or without its slash.
            return None
        return index, self.index

    def _make(self, question: Question, path: str, name: str, *, cache_control: str | None = None) -> FileResponse:
        seen = look_at(path)
        headers: dict[str, str] = {}
        # The name that was asked for tells the type: a link may lead to a name that tells nothing.
        content_type = content_type_of(name)
        if question.version is not None and question.version == self._fingerprint(path, seen):
            cache_control = IMMUTABLE
        if cache_control is not None:
            headers["cache-control"] = cache_control
        if question.precompressed:
            codings = dict(find_siblings(path, seen))
            if codings:
                headers["vary"] = "Accept-Encoding"
                coding = AcceptEncoding(question.accept_encoding).best([*codings, "identity"])
                if coding in codings:
                    headers["content-encoding"] = coding
                    path, seen = path + SIBLINGS[coding], codings[coding]
        response = FileResponse(path, headers=headers, content_type=content_type, stat_result=seen)
        if question.reads_ahead and seen.st_size <= CHUNK:
            response.read_ahead()
        return response

    def _warn_of_missing(self, root: str) -> None:
        if self._warns and not os.path.isdir(root):
            self._warns = False
            logger.warning("the directory %s of static files does not exist", root)

    # Fingerprints ------------------------------------------------------------------------------------

    def find_fingerprint(self, root_path: str | os.PathLike[str], filename: str) -> str | None:
        """What tells this content of a file from any other, for a URL; None if there is no such file.

        ``root_path`` is where a relative directory starts. Touches the disk; hashes once per content.
        """
        try:
            found = self._find(os.path.join(root_path, self.directory), filename)
            return None if found is None else self._fingerprint(found[0], look_at(found[0]))
        except (HTTPException, OSError):
            return None

    def _fingerprint(self, path: str, seen: os.stat_result) -> str:
        state = (seen.st_mtime_ns, seen.st_size)
        known = self._hashes.get(path)
        if known is not None and known[0] == state:
            return known[1]
        from hashlib import blake2b

        digest = blake2b(digest_size=8)
        if seen.st_size > LARGEST_HASHED:
            digest.update(f"{seen.st_mtime_ns} {seen.st_size}".encode("ascii"))
        else:
            with open(path, "rb") as file:
                digest.update(file.read())
        self._hashes[path] = (state, digest.hexdigest())
        return self._hashes[path][1]


class Alone:
    """What stands for the app where there is none."""

    limits = Limits.of(DEFAULTS)
    root_path = ""


def is_hidden(segment: str) -> bool:
    # SECURITY: test_static.py::test_names_that_begin_with_a_dot_are_not_served: .env, .git, .htpasswd.
    return segment.startswith(".") and segment != ".well-known"


def find_siblings(path: str, seen: os.stat_result) -> Iterator[tuple[str, os.stat_result]]:
    """The codings in which a file lies beside itself, each with its own stat.

    One that is older than the file was made of another content and does not count. Archives keep whole
    seconds, so those are compared.
    """
    for coding, ending in SIBLINGS.items():
        try:
            # SECURITY: test_static.py::test_a_compressed_sibling_that_is_a_link_is_not_served
            found = os.lstat(path + ending)
        except OSError:
            continue
        if stat.S_ISREG(found.st_mode) and int(found.st_mtime) >= int(seen.st_mtime):
            yield coding, found


def wants_page(request: Incoming, filename: str) -> bool:
    """Whether a miss is a page of a single-page app, and not a script that is gone.

    A browser that opens a page says text/html; other clients get one where the path names no file type.
    """
    return "." not in filename.rpartition("/")[2] or "text/html" in (request.headers.get("accept") or "")


def redirect_to_directory(request: Incoming) -> Response:
    """The answer to a directory's URL without its slash, in which relative links would lead elsewhere."""
    # SECURITY: test_static.py::test_a_redirect_to_a_directory_never_names_a_host: a path and a query.
    location = "/" + quote_path(request.root_path + request.path).strip("/") + "/"
    query = request.query_string
    if query:
        location += "?" + quote_query(query)
    return Response(b"", 308, {"location": location})
