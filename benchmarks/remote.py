"""``llm summarize`` over many files on a remote server, against the same with one request at a time.

The server listens on loopback, takes 200 ms for an answer and refuses (429) more than 16 requests at once. Figure:
wall-clock seconds of the whole command, including the start of the process.
"""

from __future__ import annotations

import json
import sys
import tempfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import common

FILES = 100
SECONDS = 0.2
MAX_CONCURRENT = 16
WORDS = 300


class Handler(BaseHTTPRequestHandler):
    """Answers chat completions as a stream that arrives at once after the pause."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    running = most = refused = 0
    lock = threading.Lock()

    def log_message(self, *_args: object) -> None:
        """Log nothing."""

    def do_GET(self) -> None:
        """List the one model."""
        self._give(200, "application/json", json.dumps({"data": [{"id": "m", "max_model_len": 8192}]}).encode())

    def do_POST(self) -> None:
        """Answer, unless there are too many requests."""
        self.rfile.read(int(self.headers["Content-Length"]))
        with self.lock:
            Handler.running += 1
            Handler.most = max(Handler.most, Handler.running)
            busy = Handler.running > MAX_CONCURRENT
        try:
            if busy:
                Handler.refused += 1
                self._give(429, "application/json", b"{}")
                return
            time.sleep(SECONDS)
        finally:
            with self.lock:  # before the response, after which the client may send the next request
                Handler.running -= 1
        self.give_answer()

    def give_answer(self) -> None:
        """Send an answer of twenty words as a stream."""
        chunks = [{"delta": {"content": word + " "}, "finish_reason": None} for word in common.words(20, 1)]
        chunks.append({"delta": {}, "finish_reason": "stop"})
        data = b"".join(b"data: %b\n\n" % json.dumps({"choices": [{"index": 0, **each}]}).encode() for each in chunks)
        self._give(200, "text/event-stream", data + b"data: [DONE]\n\n")

    def _give(self, status: int, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()


class Server(ThreadingHTTPServer):
    """Accepts many connections at once."""

    daemon_threads = True
    request_queue_size = 128


def main() -> None:
    """Measure and print."""
    options = common.parser(__doc__ or "").parse_args()
    server = Server(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with tempfile.TemporaryDirectory() as kept:
        files = [Path(kept) / f"{number}.txt" for number in range(FILES)]
        for number, file in enumerate(files):
            file.write_text(" ".join(common.words(WORDS, number)) + "\n")

        def seconds(concurrency: int) -> float:
            config = Path(kept) / str(concurrency)
            config.mkdir(exist_ok=True)
            described = {"type": "openai", "base_url": f"http://127.0.0.1:{server.server_port}/v1"}
            settings = {"backends": {"there": {**described, "concurrency": concurrency}}}
            (config / "config.yaml").write_text(json.dumps(settings))
            command = [options.llm, "summarize", "--backend", "there", *map(str, files)]
            done = common.run(command, LLMCLI_CONFIG_DIR=str(config))
            if done.output.count("==>") != FILES:
                sys.exit(f"not every file was summarized: {done.output[-500:]}")
            return done.seconds

        many, one = common.interleave(options.runs, lambda: seconds(MAX_CONCURRENT), lambda: seconds(1))
    server.shutdown()
    ratio = f"{common.median_ratio(one, many):.1f}"
    common.print_table(
        [[f"{FILES} files", common.median_range(many), common.median_range(one), ratio, "12"]],
        ["seconds", f"{MAX_CONCURRENT} at once", "one by one", "times faster", "at least"],
    )
    print(f"\nmost at once: {Handler.most}, refused: {Handler.refused}")


if __name__ == "__main__":
    main()
