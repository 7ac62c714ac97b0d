"""A server of OpenAI's protocol on loopback that answers as a test defines, correctly or not.

``script`` has a ``Behaviour`` for each of the next chat completions; later ones use ``usual``. A behaviour is a
function of the handler and the request's body. Those below imitate servers, proxies and networks.
"""

from __future__ import annotations

import json
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import zip_longest
from pathlib import Path
from types import MappingProxyType


@dataclass
class ReceivedRequest:
    """A received request, headers with lower-case names."""

    method: str
    path: str
    headers: dict
    body: dict = field(default_factory=dict)


class FakeServer:
    """The server. ``models`` are the entries of its list; ``fields_refused`` get a 400 that names them.

    ``bears``: more concurrent requests get a 429. ``paths``: functions for further paths.
    """

    def __init__(self, tls: ssl.SSLContext | None = None, port: int = 0) -> None:
        self.script: list[Behaviour] = []
        self.usual: Behaviour = stream_answer()
        self.models = [{"id": "big", "object": "model", "owned_by": "somebody", "max_model_len": 4096}]
        self.fields_refused: set[str] = set()
        self.key = ""
        self.bears: int | None = None
        self.paths: dict[str, Behaviour] = {}
        self.asked: list[ReceivedRequest] = []
        self.most = 0
        self.running = 0
        self.lock = threading.Lock()
        self.over = threading.Event()  # ends stalled responses
        handler = type("Handler", (_Handler,), {"fake": self})
        self._server = _Server(("127.0.0.1", port), handler)
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        self.port = self._server.server_port
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self.port}/v1"

    def close(self) -> None:
        self.over.set()
        self._server.shutdown()
        self._server.server_close()

    def chats(self) -> list[dict]:
        """Return the bodies of the received chat completions."""
        return [asked.body for asked in self.asked if self.answers(asked.path)]

    # ---- what other protocols have otherwise -------------------------------------------------------------------------

    def answers(self, path: str) -> bool:
        """Return whether answers are asked for at the path."""
        return path.endswith("/chat/completions")

    def knows_key(self, headers) -> bool:
        """Return whether the key came, if one is wanted."""
        return not self.key or headers.get("Authorization") == f"Bearer {self.key}"

    def list_models(self) -> dict:
        """Return the list of models."""
        return {"object": "list", "data": self.models}

    def error_body(self, message: str, *, param: str | None = None, code: str | None = None) -> dict:
        """Return an error in the protocol's shape."""
        return {"error": {"message": message, "type": "error", "param": param, "code": code}}

    def sent_fields(self, body: dict) -> set[str]:
        """Return the names of the fields of a body that may be refused."""
        return set(body)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, *_args) -> None:
        """Do nothing: clients may disconnect in the middle of a response here."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1  # headers and first piece in one segment
    fake: FakeServer

    def log_message(self, *_args) -> None:
        pass

    def do_GET(self) -> None:
        self.serve({})

    def do_POST(self) -> None:
        self.serve(json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))) or b"{}"))

    def serve(self, body: dict) -> None:
        fake = self.fake
        fake.asked.append(
            ReceivedRequest(
                self.command, self.path, {name.lower(): value for name, value in self.headers.items()}, body
            )
        )
        if not fake.knows_key(self.headers):
            error_answer(401, f"Incorrect API key provided: {self.headers.get('Authorization')}")(self, body)
        elif self.path in fake.paths:
            fake.paths[self.path](self, body)
        elif self.path.partition("?")[0].endswith("/models"):
            self.give(200, fake.list_models())
        elif not fake.answers(self.path):
            error_answer(404, "not found")(self, body)
        else:
            self.chat(body)

    def chat(self, body: dict) -> None:
        fake = self.fake
        with fake.lock:
            fake.running += 1
            fake.most = max(fake.most, fake.running)
            busy = fake.bears is not None and fake.running > fake.bears
            behaviour = fake.script.pop(0) if fake.script else fake.usual
        try:
            unknown = sorted(fake.fields_refused & fake.sent_fields(body))
            if busy:
                error_answer(429, "too many")(self, body)
            elif unknown:
                error_answer(400, f"Unrecognized request argument supplied: {unknown[0]}", param=unknown[0])(self, body)
            else:
                behaviour(self, body)
        finally:
            with fake.lock:
                fake.running -= 1

    def give(self, status: int, content: dict | bytes, kind: str = "application/json", **headers: str) -> None:
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(data)
        self.wfile.flush()

    def stream(self, events: Iterator[bytes], *, ends: bool = True) -> None:
        """Send the data of server-sent events; see ``stream_blocks``."""
        self.stream_blocks((b"data: " + event + b"\n\n" for event in events), ends=ends)

    def stream_blocks(self, blocks: Iterable[bytes], *, ends: bool = True) -> None:
        """Send an event stream in these blocks, one chunk each; unless it ``ends`` the connection is cut after them."""
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for data in blocks:
            self.wfile.write(b"%x\r\n%b\r\n" % (len(data), data))
            self.wfile.flush()
        if ends:
            self.wfile.write(b"0\r\n\r\n")
            self.wfile.flush()
        else:
            self.close_connection = True


Behaviour = Callable[[_Handler, dict], None]


def last_message(body: dict) -> str:
    """Return the user's last message."""
    return body["messages"][-1]["content"]


def encode_chunk(delta: dict, fields: Mapping[str, str] = MappingProxyType({}), **more) -> bytes:
    """Return the data of one event with these ``fields``; ``more`` goes into the choice."""
    return json.dumps({**fields, "choices": [{"index": 0, "delta": delta, "finish_reason": None, **more}]}).encode()


def split_tokens(text: str) -> list[str]:
    """Split a text into pieces of up to five characters, like tokens."""
    return [text[start : start + 5] for start in range(0, len(text), 5)]


def iter_answer_events(
    text: str, *, reasoning: str = "", reason: str = "stop", field: str = "content", model: str | None = None
) -> Iterator[bytes]:
    """Yield the events of a complete answer; with ``model``, each names it."""
    named = {} if model is None else {"model": model}
    yield encode_chunk({"role": "assistant", "content": ""}, named)
    for piece in split_tokens(reasoning):
        yield encode_chunk({"reasoning_content": piece}, named)
    for piece in split_tokens(text):
        yield encode_chunk({field: piece}, named)
    yield encode_chunk({}, finish_reason=reason)
    usage = {
        "prompt_tokens": 7,
        "completion_tokens": len(split_tokens(text)),
        "prompt_tokens_details": {"cached_tokens": 2},
    }
    yield json.dumps({"choices": [], "usage": usage}).encode()
    yield b"[DONE]"


def stream_answer(text: str | Callable[[dict], str] = last_message, *, seconds: float = 0.0, **how) -> Behaviour:
    """Answer with a text, or with what a function makes of the body, after a delay in seconds."""

    def behave(handler: _Handler, body: dict) -> None:
        time.sleep(seconds)
        said = text if isinstance(text, str) else text(body)
        if body.get("stream"):
            handler.stream(iter_answer_events(said, **how))
        else:
            complete_answer({"content": said}, model=how.get("model"))(handler, body)

    return behave


def embed_texts(vector: Callable[[str], list[float]], **more) -> Behaviour:
    """Answer with a vector for each text, the last one first; ``more`` goes into the answer."""

    def behave(handler: _Handler, body: dict) -> None:
        data = [
            {"object": "embedding", "index": index, "embedding": vector(text)}
            for index, text in enumerate(body["input"])
        ]
        usage = {"prompt_tokens": sum(map(len, body["input"])), "total_tokens": 0}
        handler.give(200, {"object": "list", "data": data[::-1], "usage": usage, **more})

    return behave


def continue_prompt(text: str | Callable[[dict], str], *, logprobs: Iterable[dict | None] = ()) -> Behaviour:
    """Answer a completion with a text, or what a function makes of the body; ``logprobs`` are those of its pieces."""

    def events(body: dict) -> Iterator[bytes]:
        pieces = split_tokens(text if isinstance(text, str) else text(body))
        for piece, said in zip_longest(pieces, logprobs):
            choice = {"index": 0, "text": piece or "", "logprobs": said, "finish_reason": None}
            yield json.dumps({"object": "text_completion", "choices": [choice]}).encode()
        usage = {"prompt_tokens": len(body["prompt"]), "completion_tokens": len(pieces)}
        reason = "stop" if len(pieces) < body["max_tokens"] else "length"
        yield json.dumps({"choices": [{"index": 0, "text": "", "finish_reason": reason}]}).encode()
        yield json.dumps({"choices": [], "usage": usage}).encode()
        yield b"[DONE]"

    return lambda handler, body: handler.stream(events(body))


def complete_answer(message: dict, *, model: str | None = None, **more) -> Behaviour:
    """Answer like a server without streaming, and name ``model``; ``more`` goes into the choice."""

    def behave(handler: _Handler, _body: dict) -> None:
        choice = {"index": 0, "message": {"role": "assistant", **message}, "finish_reason": "stop", **more}
        named = {} if model is None else {"model": model}
        handler.give(200, {**named, "choices": [choice], "usage": {"prompt_tokens": 7, "completion_tokens": 1}})

    return behave


def error_answer(
    status: int, message: str = "", *, param: str | None = None, code: str | None = None, **headers
) -> Behaviour:
    """Answer with an error in the shape of the server's protocol, which is OpenAI's."""
    return lambda handler, _body: handler.give(
        status, handler.fake.error_body(message, param=param, code=code), **headers
    )


def cut_connection(text: str = "Half an ans") -> Behaviour:
    """Send some pieces, then cut the connection."""
    return lambda handler, _body: handler.stream(
        map(encode_chunk, ({"content": piece} for piece in split_tokens(text))), ends=False
    )


def end_without_finish(text: str = "Half an ans") -> Behaviour:
    """Send some pieces and end the stream as if it were complete."""
    return lambda handler, _body: handler.stream(
        map(encode_chunk, ({"content": piece} for piece in split_tokens(text)))
    )


def close_connection() -> Behaviour:
    """Close the connection without a response."""

    def behave(handler: _Handler, _body: dict) -> None:
        handler.close_connection = True

    return behave


def send_events(*data: bytes) -> Behaviour:
    """Send events of this data."""
    return lambda handler, _body: handler.stream(iter(data))


def send_content(kind: str, content: bytes) -> Behaviour:
    """Send this content as that type."""
    return lambda handler, _body: handler.give(200, content, kind)


def repeat_event(event: bytes) -> Behaviour:
    """Send the same event endlessly."""

    def forever(handler: _Handler) -> Iterator[bytes]:
        while not handler.fake.over.is_set():
            yield event

    return lambda handler, _body: handler.stream(forever(handler))


def stall_after(*data: bytes) -> Behaviour:
    """Send events of this data, then nothing more."""

    def stall(handler: _Handler) -> Iterator[bytes]:
        yield from data
        handler.fake.over.wait(20)

    return lambda handler, _body: handler.stream(stall(handler))


def certificate(directory: Path, name: str = "IP:127.0.0.1") -> ssl.SSLContext:
    """Return a server's context with a self-signed certificate for ``name``, which is cert.pem."""
    key, cert = directory / "key.pem", directory / "cert.pem"
    request = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    names = ["-subj", "/CN=test", "-addext", f"subjectAltName={name}", "-days", "2"]
    files = ["-keyout", str(key), "-out", str(cert)]
    subprocess.run([*request, *names, *files], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    return context
