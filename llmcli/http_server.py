"""The servers of the worker and of ``llm serve``: uvicorn on a listening socket, silent and without HTML.

The logs of the libraries become lines without tracebacks.
"""

from __future__ import annotations

import contextlib
import logging
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol


class HttpServer(uvicorn.Server):
    """Serves the ASGI application ``app``; warnings of libraries go to ``write_line``, and nothing else is logged."""

    def __init__(
        self, app: Any, protocol: type[H11Protocol], write_line: Callable[[str], None], **options: Any
    ) -> None:
        """``options``: more options of ``uvicorn.Config``."""
        _redirect_library_logs(write_line)
        super().__init__(
            uvicorn.Config(
                app,
                http=protocol,
                loop="asyncio",
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                **options,
            )
        )

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Keep the signal handlers that the command or the worker has installed."""
        yield


_MIN_INTERVAL_S = 1.0
"""Seconds between two lines."""
_MAX_LINE_CHARS = 200


def _redirect_library_logs(write_line: Callable[[str], None]) -> None:
    """Send warnings and errors of asyncio and uvicorn to ``write_line`` only."""
    for name in ("asyncio", "uvicorn"):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [_LineHandler(write_line)], False


class _LineHandler(logging.Handler):
    """Logs errors of the libraries as lines: what and where, without users' texts, at a limited rate."""

    def __init__(self, write_line: Callable[[str], None]) -> None:
        super().__init__(logging.WARNING)
        self._write_line = write_line
        self._quiet_until = 0.0

    def emit(self, record: logging.LogRecord) -> None:
        """Write the line, unless the last one was too recent."""
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
    """Return the message with its arguments if they are numbers: others may be a user's text."""
    numbers = isinstance(record.args, tuple) and all(isinstance(each, int) for each in record.args)
    return record.getMessage() if numbers else str(record.msg)
