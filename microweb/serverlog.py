"""The server's log, less what the app's log has told already.

When an answer breaks off in its middle, the app logs the error and raises it to the server, which alone can break
the connection, and which logs it once more. Here the second record is left out. Called by ``server.py``: the log of a
server that somebody else has started is theirs.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["log_errors_once"]

_TOLD = "_microweb_told"


@contextmanager
def log_errors_once() -> Iterator[None]:
    """Leave out of uvicorn's log what was logged as ``microweb``, for the time of a ``with`` block.

    An error that our own logger is told to be silent about is in uvicorn's, as without this.
    """
    filters = {"microweb": _note, "uvicorn.error": _is_new}
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


def _is_new(record: logging.LogRecord) -> bool:
    return not record.exc_info or record.exc_info[1] is None or not _is_told(record.exc_info[1])


def _is_told(error: BaseException) -> bool:
    if isinstance(error, BaseExceptionGroup):
        return all(map(_is_told, error.exceptions))
    return _TOLD in vars(error)
