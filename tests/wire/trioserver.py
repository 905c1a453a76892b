"""``python trioserver.py MODULE PORT``: hypercorn on trio in one process, for tests; not a test file.

Hypercorn's own command serves on trio in worker processes only, and there is no handler for SIGTERM otherwise.
"""

import importlib
import signal
import sys
from functools import partial

import trio
from hypercorn.config import Config
from hypercorn.trio import serve

app = importlib.import_module(sys.argv[1]).app


async def stopped():
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async for _ in signals:
            app.shutting_down.set()
            return


config = Config.from_mapping(bind=f"127.0.0.1:{sys.argv[2]}", graceful_timeout=5)
trio.run(partial(serve, app, config, shutdown_trigger=stopped))
