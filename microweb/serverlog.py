"""The server's log, less what was told already.

When an answer breaks off in its middle, the app logs the error and raises it to the server, which alone can break
the connection, and which logs it once more. When the grace period is over, the server says how many requests it
cancels, and then shows for each of them where it was. Here the second record is left out, and so is the traceback of
what is the mistake of a client alone. Called by ``server.py``: the log of a server that somebody else has started is
theirs.
"""

from __future__ import annotations

import logging
from asyncio import CancelledError
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["log_errors_once"]

_TOLD = "_microweb_told"


@contextmanager
def log_errors_once(is_stopping: Callable[[], bool] = lambda: False) -> Iterator[None]:
    """Leave out of uvicorn's log what was told, for the time of a ``with`` block.

    That is what was logged as ``microweb``, and what the server has cancelled itself while it stops. An error that our
    own logger is told to be silent about is in uvicorn's, as without this.
    """

    def is_new(record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        if error is None:
            return True
        if isinstance(error, UnicodeDecodeError) and "from client" in record.getMessage():
            # SECURITY: test_text_that_is_no_utf8_is_one_line_in_the_log
            record.exc_info = None
        return not _is_told(error) and not (isinstance(error, CancelledError) and is_stopping())

    filters = {"microweb": _note, "uvicorn.error": is_new}
    for name, function in filters.items():
        logging.getLogger(name).addFilter(function)
    try:
        yield
    finally:
        for name, function in filters.items():
            logging.getLogger(name).removeFilter(function)


def _note(record: logging.LogRecord) -> bool:
    if record.exc_info and record.exc_info[1] is not None:
        # On the error itself: a list of errors would keep them, and with them their frames, for longer.
        vars(record.exc_info[1])[_TOLD] = True
    return True


def _is_told(error: BaseException) -> bool:
    if isinstance(error, BaseExceptionGroup):
        return all(map(_is_told, error.exceptions))
    return _TOLD in vars(error)
