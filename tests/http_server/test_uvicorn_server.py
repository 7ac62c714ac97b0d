"""What the servers share: no signals taken, and no log but lines."""

from __future__ import annotations

import logging
import signal

from uvicorn.protocols.http.h11_impl import H11Protocol

from llmcli.http_server.uvicorn_server import HttpServer


def test_signals_stay_as_the_command_has_set_them():
    """Uvicorn would take them."""
    server = HttpServer(None, H11Protocol, lambda _: None)
    before = signal.getsignal(signal.SIGTERM)
    with server.capture_signals():
        assert signal.getsignal(signal.SIGTERM) is before


def test_what_libraries_warn_of_is_a_line():
    """Without a traceback; options go to uvicorn."""
    lines = []
    server = HttpServer(None, H11Protocol, lines.append, timeout_keep_alive=7)
    logging.getLogger("uvicorn").warning("beware")
    assert lines == ["warning: beware"] and server.config.timeout_keep_alive == 7
    assert not server.config.access_log and not server.config.server_header
