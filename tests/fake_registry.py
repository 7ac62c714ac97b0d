"""A registry of npm on loopback with a package for this machine, and misbehaviour on request."""

from __future__ import annotations

import base64
import hashlib
import io
import tarfile
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from llmcli.engine_packages.package_table import EnginePackage

LIBRARIES = {"libllama.v0.5.0.so": b"llama", "libggml-cpu-zen4.so": b"zen4", "libggml.so": b"ggml" * 50_000}


def build_archive(members: dict[str, bytes], links: dict[str, str] | None = None) -> bytes:
    """Return an archive with files, and with symbolic links to their targets."""
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w:gz") as archive:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
        for name, target in (links or {}).items():
            member = tarfile.TarInfo(name)
            member.type, member.linkname = tarfile.SYMTYPE, target
            archive.addfile(member)
    return written.getvalue()


def package_members(libraries: dict[str, bytes]) -> dict[str, bytes]:
    """Return the files of a package as node-llama-cpp's has them."""
    return {
        "package/LICENSE": b"MIT License",
        "package/package.json": b"{}",
        "package/bins/linux-x64/llama-addon.node": b"node",
        "package/bins/linux-x64/libllama-common.so": b"common",
        **{f"package/bins/linux-x64/{name}": content for name, content in libraries.items()},
    }


@dataclass
class FakeRegistry:
    """The server; ``drops``: bytes after which the next responses end early, -1 for a response without any.

    ``status`` instead of the archive; ``slow``: it sends half of the archive and waits until ``release`` is set.
    """

    archive: bytes = build_archive(package_members(LIBRARIES))
    drops: list[int] = field(default_factory=list)
    status: int = 0
    slow: bool = False
    release: threading.Event = field(default_factory=threading.Event)
    paths: list[str] = field(default_factory=list)
    ranges: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        registry = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                registry.answer(self)

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        """Answer a request as the test wants."""
        self.paths.append(handler.path)
        self.ranges.append(handler.headers.get("range", ""))
        handler.close_connection = True
        if self.status:
            handler.send_response(self.status)
            handler.send_header("content-length", "0")
            handler.end_headers()
            return
        given = handler.headers.get("range", "")
        start = int(given.removeprefix("bytes=").rstrip("-")) if given else 0
        body = self.archive[start:]
        handler.send_response(206 if given else 200)
        handler.send_header("content-length", str(len(body)))
        handler.end_headers()
        drop = self.drops.pop(0) if self.drops else None
        if self.slow:
            handler.wfile.write(body[: len(body) // 2])
            handler.wfile.flush()
            self.release.wait(30)
            return
        handler.wfile.write(body if drop is None else body[: max(0, drop)])

    def package(self, kind: str = "cpu", **changes) -> EnginePackage:
        """Return the line of the table for the archive as it is now."""
        sha512 = base64.b64encode(hashlib.sha512(self.archive).digest()).decode()
        fields = {
            "kind": kind,
            "name": "@node-llama-cpp/linux-x64",
            "version": "9.9.9",
            "size": len(self.archive),
            "installed_size": sum(map(len, LIBRARIES.values())),
            "sha512": sha512,
            "llama_cpp": "v0.5.0",
            "glibc": None,
        }
        return EnginePackage(**{**fields, **changes})

    def close(self) -> None:
        """End the server."""
        self.release.set()
        self.server.shutdown()
        self.server.server_close()
