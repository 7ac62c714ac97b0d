"""What the libraries of a server log, as lines without tracebacks."""

from __future__ import annotations

import logging
import time
import traceback
from collections.abc import Callable
from pathlib import Path

_QUIET = 1.0
"""Seconds between two lines."""
_WIDTH = 200


def tell(say: Callable[[str], None]) -> None:
    """Have warnings and errors of asyncio and uvicorn told to ``say``, and to nobody else."""
    for name in ("asyncio", "uvicorn"):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [_Lines(say)], False


class _Lines(logging.Handler):
    """Errors of the libraries as lines of the log: what and where, without anybody's text, and not for ever the same."""

    def __init__(self, say: Callable[[str], None]) -> None:
        super().__init__(logging.WARNING)
        self._say = say
        self._quiet_until = 0.0

    def emit(self, record: logging.LogRecord) -> None:
        """Write the line, if the last one is a while ago."""
        now = time.monotonic()
        if now < self._quiet_until:
            return
        self._quiet_until = now + _QUIET
        error = record.exc_info[1] if record.exc_info else None
        frames = traceback.extract_tb(error.__traceback__)[-1:] if error else []
        where = "".join(f" at {Path(frame.filename).name}:{frame.lineno}" for frame in frames)
        what = f" ({type(error).__name__}{where})" if error else ""
        self._say(f"{record.levelname.lower()}: {_words(record).splitlines()[0][:_WIDTH]}{what}")


def _words(record: logging.LogRecord) -> str:
    """Return the message with its numbers in it: what else would be put into it may be somebody's text."""
    numbers = isinstance(record.args, tuple) and all(isinstance(each, int) for each in record.args)
    return record.getMessage() if numbers else str(record.msg)
