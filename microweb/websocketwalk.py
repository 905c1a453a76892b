"""The walk of one websocket, as ``App.__call__`` is that of a request: look up, serve, end, tear down.

Every error ends here. Before ``accept`` it is answered by the error handlers, as a response that refuses the
handshake; after it the websocket is closed with a code. Called by ``app.py``, and by itself for mounted apps.
"""

from __future__ import annotations

from asyncio import CancelledError
from typing import Any

from microweb.asgi import Message, Receive, Scope, Send
from microweb.assembly import Target
from microweb.conclusion import close, finish, report_broken
from microweb.context import current
from microweb.conversion import to_response
from microweb.errorhandlers import keep_headers
from microweb.errors import ClientDisconnect, Forbidden, HTTPException, NotFound, WebSocketDisconnect, leaf_of
from microweb.farewells import RESTARTS
from microweb.lookout import Lookout, needs_lookout
from microweb.mounts import is_mountable_inside, make_scope
from microweb.responses import Response
from microweb.websocketcomposition import check_origin
from microweb.websockets import WebSocket

__all__ = ["enter_mounted", "serve_websocket"]

CLOSE_CODES = {400: 1007, 413: 1009, 415: 1003, 422: 1007}
"""The codes of RFC 6455 §7.4 for errors after ``accept``; other errors of the client are 1008, of ours 1011."""


async def serve_websocket(
    app: Any,
    scope: Scope,
    receive: Receive,
    send: Send,
    parent: WebSocket | None = None,
    bubbles: bool = False,
) -> None:
    """Serve one websocket from its handshake to its end; ``parent`` is that of the app around this one."""
    if (await receive())["type"] != "websocket.connect":
        return  # The client left during its handshake.
    target, values = app.find_websocket(scope)
    lookout: Lookout | None = None
    if parent is None and needs_lookout(scope):
        lookout = Lookout(receive, send, app.limits.body_timeout)
        receive, send = lookout.receive, lookout.send
    websocket = WebSocket(app, scope, receive, send, target, values)
    if parent is not None:
        websocket.parent, websocket.bubbles = parent, bubbles
    token = current.set(websocket)
    farewells = app.shutting_down.farewells
    place = farewells.add(websocket)
    response: Response | None = None
    try:
        try:
            plan = target.lone
            with place:
                if plan is None:
                    response = await target.serve(websocket)
                else:
                    # PERF(websockets.text-turns): no hook, no layer: the view is awaited from here.
                    check_origin(websocket)
                    value = await plan.call(websocket)
                    if value is not None and websocket.state_of_connection == "connecting":
                        response = to_response(value, websocket, plan.label)
            if response is None and websocket.state_of_connection == "connecting":
                raise Forbidden("The websocket was not accepted.")
        except Exception as error:  # noqa: BLE001 - the boundary: every error becomes an answer or a close code
            response = await end_with_error(websocket, error)
        except CancelledError:
            if not farewells.claim(websocket):
                raise
        try:
            if response is not None and websocket.state_of_connection == "connecting":
                response = await refuse(websocket, await finish(websocket, response))
            await websocket.close(RESTARTS if farewells.has_dismissed(websocket) else 1000)
        except ClientDisconnect:
            pass  # Nobody is left to be told.
        except CancelledError:
            if not farewells.claim(websocket):
                raise
    except BaseException as error:
        if target.teardown is not None:
            websocket.notes.unhandled = error  # One that was cancelled, or bubbles, did not go well.
        raise
    finally:
        farewells.discard(websocket)
        try:
            if lookout is not None:
                await lookout.end()
        finally:
            if websocket._notes is not None or target.teardown is not None:
                await close(websocket, target, response)
            websocket.closed = True
            websocket._receive = receive  # Its own has the time limit of its route, and holds the websocket.
            current.reset(token)


async def end_with_error(websocket: WebSocket, error: Exception) -> Response | None:
    """Close an open websocket for an error; one that is not open yet gets the response of the error handlers."""
    whole = error  # It is raised on as it came: a leaf that is raised while its group is handled is a cycle with it.
    if isinstance(error, ExceptionGroup):
        # Tasks that serve one websocket learn of its end at the same time; what else went wrong is an error.
        ends, others = error.split(WebSocketDisconnect)
        if ends is not None:
            error = others or WebSocketDisconnect()
    error = leaf_of(error)
    try:
        if isinstance(error, WebSocketDisconnect):
            return None
        if isinstance(error, ClientDisconnect):
            await websocket.close(1013, str(error))  # A channel gave it up as too slow: it may try again.
            return None
        if websocket.state_of_connection == "connecting":
            response = await websocket.app.answer_error(websocket, error)
            if websocket.bubbles and websocket.notes.unhandled is not None:
                raise websocket.notes.unhandled
            return response
        if websocket._notes is not None and websocket.notes.unhandled is error:
            raise whole  # A mounted app has reported it: it broke a refusal that had begun.
        code, reason = 1011, ""
        if isinstance(error, HTTPException):
            code = CLOSE_CODES.get(error.status, 1008 if error.status < 500 else 1011)
            reason = error.description or error.title
        elif websocket.bubbles:
            raise whole
        else:
            await websocket.app.report(websocket, error)
        await websocket.close(code, reason)
        return None
    finally:
        del error, whole  # One that is raised on keeps this frame in its traceback.


async def refuse(websocket: WebSocket, response: Response) -> Response:
    """Refuse the handshake; an error before the refusal has begun is answered in its place."""
    try:
        await websocket.deny(response)
        return response
    except ClientDisconnect:
        raise
    except Exception as error:
        if websocket._started:
            await report_broken(websocket, error, None)
            note_outside(websocket, leaf_of(error))
            raise
        response = keep_headers(response, await websocket.app.answer_error(websocket, error))
    if websocket.bubbles and websocket.notes.unhandled is not None:
        raise websocket.notes.unhandled
    await websocket.deny(response)
    return response


def note_outside(websocket: WebSocket, error: BaseException) -> None:
    """Note a reported error that breaks the connection for the apps around: they pass it on, to the server."""
    parent = websocket.parent
    while parent is not None:
        parent.notes.unhandled = error
        parent = parent.parent


async def enter_mounted(websocket: WebSocket, target: Target) -> None:
    """Give a websocket to the app that is mounted where ``target`` stands."""
    assert target.mount is not None
    inner = target.mount.target
    if hasattr(inner, "respond_below"):
        raise NotFound  # Files have no websockets.
    scope = make_scope(websocket, target)
    handshake: list[Message] = [{"type": "websocket.connect"}]

    async def receive() -> Message:
        return handshake.pop() if handshake else await websocket._receive()

    refusal: OSError | None = None

    async def send(message: Message) -> None:
        nonlocal refusal
        # What the app does to the websocket is what we know of it.
        if message["type"] == "websocket.accept":
            message = {**message, "headers": [*message.get("headers", ()), *await websocket.save_session()]}
        try:
            if websocket.close_code is not None:
                raise OSError("the websocket was closed here, at the shutdown for instance")
            if message["type"] == "websocket.accept":
                websocket.state_of_connection = "open"
            elif message["type"] != "websocket.send":
                websocket.state_of_connection = "closed"
            await websocket._send(message)
        except OSError as error:
            refusal = error  # The client left (ASGI websockets 2.4; before, the lookout says so).
            raise

    if not is_mountable_inside(inner):
        try:
            await inner(scope, receive, send)
        except Exception as error:
            from microweb.foreign import told_by

            if refusal is not None and told_by(error, refusal):
                websocket._end(1006, "")
                raise WebSocketDisconnect(1006) from None
            raise
        finally:
            refusal = None  # Its traceback holds the frames that would hold it.
        return
    if inner._gate is not None:
        await inner._start()
    app = websocket.app
    app.shutting_down.farewells.discard(websocket)  # It is the inner one that is closed, and knows of it.
    await serve_websocket(inner, scope, receive, send, websocket, target.mount.errors == "bubble")
