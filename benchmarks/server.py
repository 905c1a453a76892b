"""The process of one server: uvicorn with httptools and uvloop, one worker, no access log, one row's app.

    python -m benchmarks.server FRAMEWORK ROW

`wire.py` starts it. Of an app's variants it serves the last one, the quickest. It listens on a free port
of the loopback, prints the port on a line, and serves until it is terminated.
"""

from __future__ import annotations

import importlib
import socket
import sys

import uvicorn


def main(framework: str, row: str) -> None:
    module = importlib.import_module(f"benchmarks.apps.{framework}")
    app = module.build(row, module.VARIANTS.get(row, ("",))[-1])
    config = uvicorn.Config(app, http="httptools", loop="uvloop", access_log=False, log_level="warning")
    with socket.create_server(("127.0.0.1", 0), backlog=2048) as listener:
        print(listener.getsockname()[1], flush=True)
        uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    main(*sys.argv[1:])
