"""What the worker and ``llm serve`` share as servers: uvicorn on a listening socket, silent and without HTML."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from llmcli.http_server import server_logs


class HttpServer(uvicorn.Server):
    """Serves the ASGI application ``app``; warnings of libraries go to ``write_line``, and nothing else is logged."""

    def __init__(
        self, app: Any, protocol: type[H11Protocol], write_line: Callable[[str], None], **options: Any
    ) -> None:
        """``options``: more options of ``uvicorn.Config``."""
        server_logs.redirect_library_logs(write_line)
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
