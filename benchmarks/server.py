"""The process of one server: uvicorn with httptools and uvloop, one worker, no access log, one row's app.

    python -m benchmarks.server FRAMEWORK ROW [VARIANT] [WEBSOCKETS]

`wire.py` and `websockets.py` start it. Of an app's variants it serves the last one, the quickest, if none is
named. WEBSOCKETS is the implementation of websockets, by uvicorn's name for it. It listens on a free port of the
loopback, prints the port on a line, and serves until it is terminated.
"""

from __future__ import annotations

import importlib
import resource
import socket
import sys
from typing import Any

import uvicorn


def main(framework: str, row: str, variant: str | None = None, websockets: Any = "auto") -> None:
    module = importlib.import_module(f"benchmarks.apps.{framework}")
    app = module.build(row, module.VARIANTS.get(row, ("",))[-1] if variant is None else variant)
    config = uvicorn.Config(
        app,
        http="httptools",
        loop="uvloop",
        ws=websockets,
        ws_ping_interval=None,
        access_log=False,
        log_level="warning",
    )
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    with socket.create_server(("127.0.0.1", 0), backlog=2048) as listener:
        print(listener.getsockname()[1], flush=True)
        uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    main(*sys.argv[1:])
