"""``llm serve`` compared to llama-server, on the same model, both warm, alternately in one run.

Figures: generated tokens a second of 16 clients at once; seconds to the first token of one client with a new prompt;
and the memory of the server after 100 and after 2,000 requests. Needs ``--llama-cpp``.

Since the servers alternate, each one has just seen the other's load. Our engine measures the load since its last step,
so it starts with fewer threads. Set ``LLMCLI_THREADS`` to the number of cores for figures without that effect.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import queue
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import common

CLIENTS = 16
ANSWER_TOKENS = 128
WORDS = 64
REQUESTS = 2000
TOKEN = "benchmark"  # noqa: S105 (of a server on loopback that lives for a minute)
PARTS = ("rate", "first", "memory")


@dataclass(frozen=True)
class Target:
    """A server to measure."""

    port: int
    pid: int = 0

    def stream(self, body: dict[str, Any]) -> tuple[float, int]:
        """Ask for a stream; return the seconds to its first piece of text, and the number of pieces."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=600)
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {TOKEN}"}
        with contextlib.closing(connection):
            started, first, pieces = time.perf_counter(), 0.0, 0
            connection.request("POST", "/v1/chat/completions", json.dumps({**body, "stream": True}), headers)
            answer = connection.getresponse()
            if answer.status != http.HTTPStatus.OK:
                sys.exit(f"status {answer.status}: {answer.read()[:500]!r}")
            for line in answer:
                if line.startswith(b"data: {") and json.loads(line[6:])["choices"][0]["delta"].get("content"):
                    first = first or time.perf_counter() - started
                    pieces += 1
        return first, pieces


def body(number: int, tokens: int, words: int = WORDS) -> dict[str, Any]:
    """Return a request with a unique prompt."""
    text = " ".join(common.words(words, number))
    return {
        "messages": [{"role": "user", "content": text}],
        "max_tokens": tokens,
        "temperature": 0,
        "ignore_eos": True,
    }


def rate(target: Target, numbers: Iterator[int]) -> float:
    """Return the generated tokens a second of concurrent clients, from the first request to the last answer."""
    bodies = [body(next(numbers), ANSWER_TOKENS) for _ in range(CLIENTS)]
    started = time.perf_counter()
    with ThreadPoolExecutor(CLIENTS) as pool:
        list(pool.map(target.stream, bodies))
    return CLIENTS * ANSWER_TOKENS / (time.perf_counter() - started)


def ask_many(target: Target, count: int, numbers: Iterator[int]) -> None:
    """Send requests from several clients over persistent connections."""
    waiting: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
    for _ in range(count):
        waiting.put(body(next(numbers), 2, words=4))

    def client() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", target.port, timeout=600)
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {TOKEN}"}
        with contextlib.closing(connection), contextlib.suppress(queue.Empty):
            while True:
                connection.request("POST", "/v1/chat/completions", json.dumps(waiting.get_nowait()), headers)
                answer = connection.getresponse()
                if answer.status != http.HTTPStatus.OK:
                    raise RuntimeError(f"status {answer.status}: {answer.read()[:500]!r}")
                answer.read()

    with ThreadPoolExecutor(CLIENTS) as pool:
        for ended in [pool.submit(client) for _ in range(CLIENTS)]:
            ended.result()


@contextlib.contextmanager
def ours(llm: str, model: str, **variables: str) -> Iterator[Target]:
    """Run ``llm serve`` with its own directories, and with environment variables; the worker ends with it."""
    with tempfile.TemporaryDirectory(prefix="llm") as runtime:
        environ = {**os.environ, "LLMCLI_RUNTIME_DIR": runtime, "LLMCLI_SERVE_TOKEN": TOKEN, **variables}
        command = [llm, "serve", "-m", model, "--port", "0", "--json"]
        process = subprocess.Popen(command, env=environ, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        try:
            said = json.loads(process.stderr.readline() if process.stderr else "")
            yield Target(int(said["listening"]["url"].rpartition(":")[2]), process.pid)
        finally:
            process.terminate()
            process.wait()
            subprocess.run([llm, "worker", "stop"], env=environ, check=False)


def resident(pid: int) -> int:
    """Return the resident memory of a process in bytes."""
    pages = Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def counting() -> Iterator[int]:
    """Yield numbers that were never used before."""
    number = int(time.time()) << 16
    while True:
        number += 1
        yield number


def compare(options: Any, model: str, parts: Sequence[str]) -> Iterator[list[str]]:
    """Compare the chosen figures with llama-server."""
    numbers = counting()
    arguments = common.slot_arguments(CLIENTS, 2 * WORDS + ANSWER_TOKENS)
    with ours(options.llm, model) as mine, common.run_llama_server(options.llama_cpp, model, *arguments) as port:
        targets = [mine, Target(port)]
        if "rate" in parts:
            own, peer = common.interleave(options.runs, *(lambda t=target: rate(t, numbers) for target in targets))
            yield [f"{CLIENTS} clients, tokens/s", common.median_range(own), common.median_range(peer),
                   f"{common.median_ratio(own, peer):.2f}", "at least 0.95"]  # fmt: skip
        if "first" in parts:
            own, peer = common.interleave(
                3 * options.runs, *(lambda t=target: t.stream(body(next(numbers), 2))[0] for target in targets)
            )
            yield ["first token of one client, s", common.median_range(own, 4), common.median_range(peer, 4),
                   f"{common.median_ratio(own, peer):.2f}", "at most 1.3"]  # fmt: skip


def main() -> None:
    """Measure and print."""
    parser = common.parser(__doc__ or "")
    parser.add_argument("--part", action="append", choices=PARTS, help="only this part (repeatable; default: all)")
    options = parser.parse_args()
    parts, model, rows = options.part or PARTS, common.model_path(options.model), []
    if {"rate", "first"} & set(parts):
        if options.llama_cpp is None:
            sys.exit("--llama-cpp says where llama-server is")
        rows += compare(options, model, parts)
    if "memory" in parts:
        with ours(options.llm, model) as target:
            numbers = counting()
            ask_many(target, 100, numbers)
            before = resident(target.pid)
            ask_many(target, REQUESTS - 100, numbers)
            after = resident(target.pid)
        label = f"memory after {REQUESTS} requests, MiB"
        first = f"after 100: {before / 2**20:.1f}"
        rows.append([label, f"{after / 2**20:.1f}", first, f"{after / before:.3f}", "at most 1.02"])
    print(common.versions(options.llama_cpp))
    common.print_table(rows, ["", "llm serve", "llama-server", "ratio", "aim"])


if __name__ == "__main__":
    main()
