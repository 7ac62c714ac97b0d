"""What the libraries of a server log, as lines without tracebacks."""

from __future__ import annotations

import logging
import time
import traceback
from collections.abc import Callable
from pathlib import Path

_MIN_INTERVAL_S = 1.0
"""Seconds between two lines."""
_MAX_LINE_CHARS = 200


def redirect_library_logs(say: Callable[[str], None]) -> None:
    """Have warnings and errors of asyncio and uvicorn told to ``say``, and to nobody else."""
    for name in ("asyncio", "uvicorn"):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [_LineHandler(say)], False


class _LineHandler(logging.Handler):
    """Errors of the libraries as lines of the log: what and where, without anybody's text, and not for ever the same."""

    def __init__(self, say: Callable[[str], None]) -> None:
        super().__init__(logging.WARNING)
        self._write_line = say
        self._quiet_until = 0.0

    def emit(self, record: logging.LogRecord) -> None:
        """Write the line, if the last one is a while ago."""
        now = time.monotonic()
        if now < self._quiet_until:
            return
        self._quiet_until = now + _MIN_INTERVAL_S
        error = record.exc_info[1] if record.exc_info else None
        frames = traceback.extract_tb(error.__traceback__)[-1:] if error else []
        where = "".join(f" at {Path(frame.filename).name}:{frame.lineno}" for frame in frames)
        what = f" ({type(error).__name__}{where})" if error else ""
        self._write_line(
            f"{record.levelname.lower()}: {_redacted_message(record).splitlines()[0][:_MAX_LINE_CHARS]}{what}"
        )


def _redacted_message(record: logging.LogRecord) -> str:
    """Return the message with its numbers in it: what else would be put into it may be somebody's text."""
    numbers = isinstance(record.args, tuple) and all(isinstance(each, int) for each in record.args)
    return record.getMessage() if numbers else str(record.msg)
