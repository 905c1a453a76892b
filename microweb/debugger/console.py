"""The debugger of one app: answers unhandled errors with a page, keeps the last ones, runs their consoles.

The consoles are reached at ``/_microweb/debugger``, before the walk: the program's own routes, hooks and
middleware see nothing of it. The page works without werkzeug; only the consoles are werkzeug's.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from contextvars import copy_context
from secrets import token_hex, token_urlsafe
from threading import Lock
from typing import TYPE_CHECKING, Any, Protocol

from microweb.asgi import Receive, Scope, Send
from microweb.debugger.access import COOKIE, Access, is_for_other_site, is_local, is_same_origin
from microweb.debugger.page import draw_page
from microweb.debugger.records import ErrorRecord
from microweb.errorhandlers import PROBLEM, default_answer, wants_html
from microweb.errors import ClientDisconnect, Forbidden, HTTPException, MethodNotAllowed, NotFound
from microweb.headers import find_header
from microweb.incoming import below_root
from microweb.pagepolicy import make_policy
from microweb.quoting import quote_path
from microweb.requests import Request
from microweb.responses import JSONResponse, Response

if TYPE_CHECKING:
    from microweb.app import App

__all__ = ["PATH", "Debugger"]

logger = logging.getLogger("microweb")
PATH = "/_microweb/debugger"
MOST_ERRORS = 10
"""Errors whose frames are kept, with everything that their variables hold."""
LONGEST_MESSAGE = 64 * 1024
TERMINALS = ("curl/", "httpie/", "wget/", "xh/")


class Shell(Protocol):
    """A console of werkzeug's."""

    def eval(self, code: str) -> str:
        """Run a line; what it printed, as HTML."""
        ...


class KeptError:
    """An error whose consoles can be used: its record, the context it happened in, the consoles opened so far."""

    def __init__(self, record: ErrorRecord) -> None:
        self.record = record
        self.context = copy_context()
        self.consoles: dict[int, Shell] = {}
        self.lock = Lock()

    def evaluate(self, index: int, code: str) -> str:
        """Run a line in a frame; what it printed, as HTML. Blocks as long as the line runs.

        Raises:
            IndexError: there is no such frame.
        """
        request = self.record.request
        with self.lock:
            frame = self.record.frames[index]
            if index not in self.consoles:
                from werkzeug.debug.console import Console

                self.consoles[index] = Console(frame.global_names, frame.local_names)
            # The request is over, and the proxies would refuse it; here it is what the line wants to look at.
            closed, request.closed = request.closed, False
            try:
                return self.context.run(self.consoles[index].eval, code)
            finally:
                request.closed = closed


class Debugger:
    """The debugger of one app; made by it when it is composed with ``debug=True``.

    Raises:
        SetupError: the config's ``DEBUG_PIN`` is too short.
    """

    def __init__(self, app: App) -> None:
        self.app = app
        self.access = Access(app.config.get("DEBUG_PIN"))
        self.kept: OrderedDict[str, KeptError] = OrderedDict()
        self.has_consoles = finds_werkzeug()

    # Pages -----------------------------------------------------------------------------------------

    def render(self, request: Request, error: BaseException) -> Response | None:
        """The answer to an unhandled error: a page, a problem or text, as the client likes it.

        None, for the built-in answer, if the request did not come from this machine, or came from another site's
        script. Never raises an ``Exception``.
        """
        if not is_local(request.scope) or is_for_other_site(request.scope):
            return None
        try:
            return self._render(request, error)
        except Exception as failure:  # noqa: BLE001 - a debugger that fails must not hide the error it should show
            self.app.log_failure("the debugger could not show an error", failure)
            return None

    def _render(self, request: Request, error: BaseException) -> Response:
        record = ErrorRecord(token_hex(8), error, request)
        headers = {"cache-control": "no-store", "x-content-type-options": "nosniff"}
        if wants_html(request):
            self.kept[record.key] = KeptError(record)
            while len(self.kept) > MOST_ERRORS:
                self.kept.popitem(last=False)
            nonce = token_urlsafe(16)
            headers["content-security-policy"] = make_policy(nonce)
            headers["referrer-policy"] = "no-referrer"
            url = quote_path(find_root(request)) + PATH
            page = draw_page(record, nonce, url=url, token=self.access.token, has_consoles=self.has_consoles)
            return Response(page, 500, headers)
        if is_terminal(request):
            return Response(record.text, 500, headers, content_type="text/plain; charset=utf-8")
        problem = {
            "type": "about:blank",
            "title": "Internal Server Error",
            "status": 500,
            "detail": record.title,
            "traceback": record.text,
        }
        return JSONResponse(problem, 500, headers, content_type=PROBLEM.decode())

    # Consoles --------------------------------------------------------------------------------------

    def is_asked(self, scope: Scope) -> bool:
        """Whether a request is for the consoles, not for the app."""
        path: str = scope["path"]
        return path.endswith(PATH) and below_root(scope.get("root_path", ""), path, None)[0] == PATH

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request to the consoles."""
        request = Request(self.app, scope, receive)
        request.max_content_length = LONGEST_MESSAGE
        try:
            response = await self._answer(request)
        except ClientDisconnect:
            return
        except HTTPException as error:
            response = default_answer(request, error)
        response.headers["cache-control"] = "no-store"
        await response.send(request, send)

    async def _answer(self, request: Request) -> Response:
        if not is_local(request.scope):
            raise NotFound
        if request.method != "POST":
            raise MethodNotAllowed(allow=("POST",))
        if not is_same_origin(request) or not self.access.has_token(request):
            raise Forbidden("This request does not come from an error page of this process; reload the page.")
        if not self.has_consoles:
            raise NotFound("The consoles need werkzeug.")
        if self.access.is_locked:
            raise Forbidden("Too many wrong PINs: the consoles are locked until the server is restarted.")
        message = await request.json(dict[str, Any])
        if "pin" in message:
            return self._check_pin(str(message["pin"]), request)
        if not self.access.has_ticket(request):
            logger.warning("The PIN of the debugger is %s", self.access.pin)
            return JSONResponse({"detail": "The PIN stands in the terminal of the server."}, 401)
        return await self._evaluate(message)

    def _check_pin(self, pin: str, request: Request) -> Response:
        if not self.access.try_pin(pin):
            return JSONResponse({"detail": "That is not the PIN."}, 401)
        response = JSONResponse({"detail": "ok"})
        path = request.scope["path"]
        response.set_cookie(
            COOKIE, self.access.ticket, path=path, httponly=True, samesite="Strict", secure=request.is_secure
        )
        return response

    async def _evaluate(self, message: dict[str, Any]) -> Response:
        kept = self.kept.get(str(message.get("error")))
        index, code = message.get("frame"), message.get("code")
        if kept is None or type(index) is not int or not 0 <= index < len(kept.record.frames):
            raise NotFound("This error is not kept any more; cause it again.")
        # In a thread: a line may take as long as it likes, and the app goes on.
        output = await self.app.workers.pick().run(kept.evaluate, index, str(code), label="a debugger console")
        return JSONResponse({"output": output})


def find_root(request: Request) -> str:
    """The root path of the outermost app, whose debugger answers."""
    outermost: Any = request
    while outermost.parent is not None:
        outermost = outermost.parent
    root: str = outermost.root_path
    return root.rstrip("/")


def is_terminal(request: Request) -> bool:
    """Whether somebody looks at the answer in a terminal: a command that accepts anything."""
    accept = find_header(request.scope["headers"], b"accept")
    agent = find_header(request.scope["headers"], b"user-agent") or b""
    return accept in (None, b"*/*") and agent.decode("latin-1").lower().startswith(TERMINALS)


def finds_werkzeug() -> bool:
    """Whether the consoles are installed; without loading them."""
    from importlib.util import find_spec

    return find_spec("werkzeug") is not None
