"""Scripts of an app and a server for the tests of ``Lint`` and its checkers: each says what it is told, in turn.

Not a test file.
"""

from microweb.testing import Lint

START = {"type": "http.response.start", "status": 200}
BODY = {"type": "http.response.body"}
REQUEST = {"type": "http.request"}
ACCEPT = {"type": "websocket.accept"}
CONNECT = {"type": "websocket.connect"}
LIFESPAN = {"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}
RECEIVE = "receive"
"""In a script: the app calls receive() here."""


def http_scope(**changes):
    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.5"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": "/x",
        "raw_path": b"/x",
        "query_string": b"",
        "root_path": "",
        "headers": [(b"host", b"x")],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80),
        "state": {},
        "extensions": {},
    }
    return {**scope, **changes}


def websocket_scope(**changes):
    return http_scope(**{"type": "websocket", "scheme": "ws", "subprotocols": ["v1"], **changes})


class Server:
    """A server that says what it is told and keeps what it is sent."""

    def __init__(self, *messages):
        self.messages = list(messages)
        self.sent = []

    async def receive(self):
        return self.messages.pop(0)

    async def send(self, message):
        self.sent.append(message)


def scripted(*steps, result=None):
    """An app that sends the messages in turn."""

    async def app(scope, receive, send):
        for step in steps:
            if step == RECEIVE:
                await receive()
            else:
                await send(step)
        return result

    return app


async def check(scope, *steps, server=(REQUEST,), result=None):
    """Run a scripted app; what reached the server."""
    playing = Server(*server)
    await Lint(scripted(*steps, result=result))(scope, playing.receive, playing.send)
    return playing.sent


def with_headers(*pairs):
    return {**START, "headers": list(pairs)}


def body(data=b"", more=False):
    return {"type": "http.response.body", "body": data, "more_body": more}
