"""A web server on loopback that serves pages as a test defines, and records what it was asked."""

from __future__ import annotations

import ssl
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Page:
    """An answer; ``fields`` are its header, ``parts`` its body, None is a silence until the server closes."""

    body: bytes = b""
    media_type: str = "text/html"
    status: int = 200
    fields: dict = field(default_factory=dict)
    stalls: bool = False


class PageServer:
    """The server: ``pages`` by path; ``asked``: the host field and path of each request."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.pages: dict[str, Page] = {}
        self.asked: list[tuple[str, str]] = []
        self.over = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_PageHandler,), {"owner": self}))
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        self.port = self._server.server_port
        self.url = f"http://127.0.0.1:{self.port}"

    def close(self) -> None:
        self.over.set()
        self._server.shutdown()
        self._server.server_close()


class _PageHandler(BaseHTTPRequestHandler):
    owner: PageServer

    def do_GET(self):
        self.owner.asked.append((self.headers["Host"], self.path))
        page = self.owner.pages.get(self.path, Page(b"nothing here", "text/plain", 404))
        self.send_response(page.status)
        for name, value in {"Content-Type": page.media_type, **page.fields}.items():
            if value:
                self.send_header(name, value)
        if "Content-Length" not in page.fields and not page.stalls:
            self.send_header("Content-Length", str(len(page.body)))
        self.end_headers()
        self.wfile.write(page.body)
        if page.stalls:
            self.wfile.flush()
            self.owner.over.wait(20)

    def log_message(self, *args):
        pass
