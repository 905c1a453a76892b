"""The logger that a program writes to as ``app.logger``, named after the program.

What microweb has to say goes to the logger ``microweb`` instead. A program that sets up logging itself is left
alone. Called by ``app.py``.
"""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import TextIO

__all__ = ["open_logger"]

FORMAT = "[%(asctime)s] %(levelname)s in %(module)s: %(message)s"


def open_logger(import_name: str | None, *, debug: bool) -> logging.Logger:
    """The logger of the module that made the app; of a script, the one that has the script's name.

    In debug its level is ``DEBUG``, unless it has one. It writes to stderr if nobody else would write its records.
    """
    logger = logging.getLogger(name_of_script() if import_name == "__main__" else import_name or "app")
    if debug and not logger.level:
        logger.setLevel(logging.DEBUG)
    if not has_writer(logger):
        handler = StderrHandler()
        handler.setFormatter(logging.Formatter(FORMAT))
        logger.addHandler(handler)
    return logger


def name_of_script() -> str:
    """The name of the running script without its ending; a script's own module is called ``__main__``."""
    file = getattr(sys.modules["__main__"], "__file__", None)
    return Path(file).stem if file else "__main__"


def has_writer(logger: logging.Logger) -> bool:
    """Whether a handler, its own or one above it, takes what the logger lets through."""
    level = logger.getEffectiveLevel()
    above: logging.Logger | None = logger
    while above is not None:
        if any(handler.level <= level for handler in above.handlers):
            return True
        above = above.parent if above.propagate else None
    return False


class StderrHandler(logging.StreamHandler[TextIO]):
    """Writes to what is ``sys.stderr`` at that moment: tests and servers replace it."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record."""
        self.stream = sys.stderr
        super().emit(record)
