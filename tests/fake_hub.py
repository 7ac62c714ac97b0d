"""A Hub on loopback that implements enough of the protocol for the real client, and misbehaves on request.

Two servers on two ports, so two origins: the Hub itself, which redirects to a storage server, as the real one does.
``Fault`` describes a misbehaviour; limited faults are taken from ``FakeHub.faults``, one per request.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

from llmcli.network.transfers import DownloadRetryPolicy
from llmcli.types import Notice, Progress

REPO = "maker/tiny-GGUF"
QUICK_RETRIES = DownloadRetryPolicy(
    connect_timeout_s=30, response_timeout_s=30, read_timeout_s=30, max_tries=3, first_pause_s=0.001, max_pause_s=1
)
"""Retries hardly wait; the time-outs are longer than any pause of a machine under load."""
PORTAL_PAGE = b"<html><body>Please log in to the network</body></html>"


@dataclass(frozen=True)
class Fault:
    """The misbehaviour of one response.

    ``status`` with ``headers`` instead of the response; ``drop``: the connection ends after this many bytes of the
    file; ``stall``: no bytes come after this many; ``flip``: one bit is wrong; ``portal``: a page instead ("html", or
    "raw" for one with the file's type and length); ``shorter``: a truncated file with this many bytes less than
    announced; ``longer``: more bytes than announced come, in chunks; ``silent``: no response at all; ``hang_up``: the
    connection ends without one; ``slow``: seconds between blocks of 64 kB.
    """

    status: int = 0
    headers: dict = field(default_factory=dict)
    drop: int | None = None
    stall: int | None = None
    flip: bool = False
    portal: str = ""
    shorter: int = 0
    longer: int = 0
    silent: bool = False
    hang_up: bool = False
    slow: float = 0
    bad_range: bool = False


@dataclass
class ReceivedRequest:
    """A received request: its server ("hub" or "storage"), path, headers with lower-case names, query."""

    server: str
    path: str
    headers: dict
    query: dict = field(default_factory=dict)


class FakeHub:
    """The two servers. ``repos`` maps a repository to its files; ``token`` is required if it is set.

    ``gated`` repositories are listed, but their files are refused. ``past``: the contents of older commits; ``gone``:
    commits that are unknown now; ``meanwhile`` is called after a listing. ``always``: a fault of every storage response
    without its own fault.

    ``sizes``: claimed sizes of files (by repository and name); ``cards``: the search results about a repository.
    Requests for a range with an end are for headers, and have their own faults.
    """

    def __init__(self) -> None:
        self.repos: dict[str, dict[str, bytes]] = {}
        self.sizes: dict[tuple[str, str], int] = {}
        self.cards: dict[str, dict] = {}
        self.commit = "c" * 40
        self.token = ""
        self.gated: set[str] = set()
        self.past: dict[str, dict[str, dict[str, bytes]]] = {}
        self.gone: set[str] = set()
        self.meanwhile: Callable[[], None] = lambda: None
        self.always = Fault()
        self.ranges = True
        self.listing_faults: list[Fault] = []
        self.file_faults: list[Fault] = []  # for the Hub's response about a file
        self.storage_faults: list[Fault] = []
        self.header_faults: list[Fault] = []  # for the storage's response about the beginning of a file
        self.asked: list[ReceivedRequest] = []
        self.over = threading.Event()  # ends stalled responses
        self._servers = [self._serve("hub"), self._serve("storage")]
        self.endpoint, self.storage = (f"http://127.0.0.1:{server.server_port}" for server in self._servers)

    def _serve(self, name: str) -> ThreadingHTTPServer:
        handler = type("Handler", (_Handler,), {"hub": self, "name": name})
        server = _Server(("127.0.0.1", 0), handler)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return server

    def close(self) -> None:
        self.over.set()
        for server in self._servers:
            server.shutdown()
            server.server_close()

    def push(self, repo: str, files: dict[str, bytes]) -> None:
        """Set the main branch of ``repo`` to ``files``, at a new commit."""
        self.past[self.commit] = dict(self.repos)
        self.repos = {**self.repos, repo: files}
        self.commit = hashlib.sha1(self.commit.encode()).hexdigest()

    def paths(self, server: str) -> list[str]:
        """Return the paths that were requested from one of the servers."""
        return [asked.path for asked in self.asked if asked.server == server]

    def headers_asked(self) -> list[str]:
        """Return the ranges that were requested from the storage for headers."""
        ranges = [asked.headers.get("range", "") for asked in self.asked if asked.server == "storage"]
        return [asked for asked in ranges if _BOUNDED.fullmatch(asked)]

    def file(self, sha256: str) -> tuple[bytes, int]:
        """Return a file's bytes and its size, real or claimed."""
        return next(
            (content, self.size(repo, name, content))
            for repos in [self.repos, *self.past.values()]
            for repo, files in repos.items()
            for name, content in files.items()
            if _sha256(content) == sha256
        )

    def size(self, repo: str, name: str, content: bytes) -> int:
        return self.sizes.get((repo, name), len(content))


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_args) -> None:
        """Do nothing: clients may disconnect in the middle of a response here."""


_BLOCK = 65536
_BOUNDED = re.compile(r"bytes=(\d+)-(\d+)")


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: FakeHub
    name: str

    def log_message(self, *_args) -> None:
        pass

    def do_GET(self) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        address = urlsplit(self.path)
        path, query = unquote(address.path), parse_qs(address.query)
        self.hub.asked.append(ReceivedRequest(self.name, path, headers, query))
        bounded = _BOUNDED.fullmatch(headers.get("range", ""))
        if self.name == "storage":
            faults = self.hub.header_faults if bounded else self.hub.storage_faults
            fault = self.next_fault(faults)
            self.give(*self.hub.file(path.strip("/")), self.hub.always if fault == Fault() and not bounded else fault)
        elif path == "/api/models":
            self.search(query, self.next_fault(self.hub.listing_faults))
        elif match := re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/revision/([^/]+))?", path):
            self.listing(match[1], self.next_fault(self.hub.listing_faults))
        elif match := re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
            self.resolve(*match.groups(), Fault() if bounded else self.next_fault(self.hub.file_faults))
        else:
            self.answer(404)

    def do_HEAD(self) -> None:  # of the Hub; the storage gets no HEAD requests
        self.do_GET()

    def next_fault(self, faults: list[Fault]) -> Fault:
        return faults.pop(0) if faults else Fault()

    def answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def refused(self, repo: str | None, fault: Fault) -> bool:
        """Send the error that prevents the response, if there is one."""
        if fault.silent:
            self.hub.over.wait()
        elif fault.hang_up:
            self.close_connection = True
        elif fault.status:
            self.answer(fault.status, **fault.headers)
        elif fault.portal:
            self.answer(200, PORTAL_PAGE, Content_Type="text/html")
        elif repo is None:
            return False
        elif self.hub.token and self.headers.get("Authorization") != f"Bearer {self.hub.token}":
            self.answer(401, X_Error_Message="Invalid credentials in Authorization header")
        elif repo not in self.hub.repos:
            self.answer(401, X_Error_Code="RepoNotFound", X_Error_Message="Repository not found")
        else:
            return False
        return True

    def listing(self, repo: str, fault: Fault) -> None:
        if self.refused(repo, fault):
            return
        siblings = [
            {
                "rfilename": name,
                "size": self.hub.size(repo, name, content),
                "blobId": hashlib.sha1(content).hexdigest(),
                "lfs": {"sha256": _sha256(content), "size": self.hub.size(repo, name, content), "pointerSize": 130},
            }
            for name, content in self.hub.repos[repo].items()
        ]
        siblings.append({"rfilename": "README.md", "size": 3, "blobId": "0" * 40})
        answer = {"id": repo, "sha": self.hub.commit, "siblings": siblings}
        self.hub.meanwhile()
        self.answer(200, json.dumps(answer).encode(), Content_Type="application/json")

    def search(self, query: dict, fault: Fault) -> None:
        """List the repositories whose names contain the words, by downloads, like the real Hub."""
        if self.refused(None, fault):
            return
        words = query.get("search", [""])[0].lower().split()
        found = [{"id": repo, "downloads": 0, **self.hub.cards.get(repo, {})} for repo in self.hub.repos]
        found = [card for card in found if all(word in card["id"].lower() for word in words)]
        found.sort(key=lambda card: -card["downloads"])
        body = json.dumps(found[: int(query.get("limit", ["1000"])[0])]).encode()
        self.answer(200, body, Content_Type="application/json")

    def resolve(self, repo: str, revision: str, file: str, fault: Fault) -> None:
        if self.refused(repo, fault):
            return
        if repo in self.hub.gated:
            status = 403 if self.headers.get("Authorization") else 401
            said = f"Access to model {repo} is restricted. You must have access to it and be authenticated"
            self.answer(status, X_Error_Code="GatedRepo", X_Error_Message=said)
            return
        if revision in self.hub.gone:
            self.answer(404, X_Error_Code="RevisionNotFound", X_Error_Message=f"Invalid rev id: {revision}")
            return
        content = self.hub.past.get(revision, self.hub.repos)[repo].get(file)
        if content is None:
            self.answer(404, X_Error_Code="EntryNotFound", X_Error_Message="Entry not found")
            return
        digest = _sha256(content)
        self.answer(
            302,
            Location=f"{self.hub.storage}/{digest}",
            X_Repo_Commit=self.hub.commit if revision == "main" else revision,
            X_Linked_Etag=f'"{digest}"',
            X_Linked_Size=str(self.hub.size(repo, file, content)),
        )

    def give(self, content: bytes, size: int, fault: Fault) -> None:
        """Send the file, or the requested part of it, with the fault."""
        if fault.status:
            self.answer(fault.status, **fault.headers)
            return
        total = size
        match = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", "")) if self.hub.ranges else None
        start = int(match[1]) if match else 0
        end = min(int(match[2]) + 1, total) if match and match[2] else total
        kind = "application/octet-stream"
        if fault.flip:
            middle = len(content) // 2
            content = content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]
        if fault.portal:
            content = (PORTAL_PAGE * (len(content) // len(PORTAL_PAGE) + 1))[: len(content)]
            kind = "text/html" if fault.portal == "html" else kind
        promised = end - start - fault.shorter
        body = content[start : start + promised]
        if end < total:
            body = body.ljust(promised, b"\0")  # of a file with a claimed size
        self.send_response(206 if match else 200)
        if match:
            first = start + 1 if fault.bad_range else start
            self.send_header("Content-Range", f"bytes {first}-{end - 1}/{total}")
        self.send_header("Content-Type", kind)
        if fault.longer:
            self.send_header("Connection", "close")  # no length: the end of the connection is the end of the body
            self.end_headers()
            self.wfile.write(body + b"x" * fault.longer)
            self.close_connection = True
            return
        self.send_header("Content-Length", str(promised))
        self.end_headers()
        cut = fault.drop if fault.drop is not None else fault.stall
        body = body if cut is None else body[:cut]
        step = _BLOCK if fault.slow else max(1, len(body))
        for at in range(0, len(body), step):
            self.wfile.write(body[at : at + step])
            self.hub.over.wait(fault.slow or 0)
        if fault.stall is not None:
            self.wfile.flush()
            self.hub.over.wait()
        if cut is not None or len(body) < promised:
            self.close_connection = True


def pull(library, name, interrupt):
    """Return the model that a library pulls; all events before it are progress and notices."""
    *events, model = library.pull(name, interrupt)
    assert all(isinstance(event, Progress | Notice) for event in events)
    return model
