"""The servers share unchanged signal handlers, and a log of plain lines."""

from __future__ import annotations

import logging
import signal

from uvicorn.protocols.http.h11_impl import H11Protocol

from llmcli.http_server import HttpServer


def test_signal_handlers_of_the_command_stay():
    """Uvicorn would replace them."""
    server = HttpServer(None, H11Protocol, lambda _: None)
    before = signal.getsignal(signal.SIGTERM)
    with server.capture_signals():
        assert signal.getsignal(signal.SIGTERM) is before


def test_warnings_of_libraries_are_one_line():
    """Without a traceback; options go to uvicorn."""
    lines = []
    server = HttpServer(None, H11Protocol, lines.append, timeout_keep_alive=7)
    logging.getLogger("uvicorn").warning("beware")
    assert lines == ["warning: beware"] and server.config.timeout_keep_alive == 7
    assert not server.config.access_log and not server.config.server_header
