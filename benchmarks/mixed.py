"""Interactive answers beside bulk work, on one worker in a runtime directory of this benchmark.

Figures: the seconds of one interactive answer (32 tokens) and its tokens a second, alone and beside each kind of bulk
work; the seconds that four and sixteen interactive clients take for two answers each, alone and beside bulk work; the
seconds that bulk work takes alone and beside endless interactive work. The kinds of bulk work are long prompts, long
answers, and texts to embed.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import common

from llmcli.backends.worker_backend import WorkerBackend
from llmcli.config.engine_options import EngineOptions
from llmcli.interrupt import Interrupt
from llmcli.worker import runtime_dir
from llmcli.worker.client import channel, worker_status

ANSWER_TOKENS = 32
REQUESTS_PER_CLIENT = 2
"""Number of answers for each of several clients."""
GROUPS = (4, 16)
SHARE = (8, 400, 16)
"""Requests, words and tokens out of the bulk job that is timed."""
NO_LIMIT_S = 3600.0


@dataclass(frozen=True)
class Worker:
    """The worker under test."""

    socket: Path

    def ask(self, text: str, tokens: int = ANSWER_TOKENS) -> tuple[float, float]:
        """Return the seconds of an interactive answer, and its tokens a second after the first token."""
        body = {"messages": [{"role": "user", "content": text}], "max_tokens": tokens, "temperature": 0,
                "ignore_eos": True, "stream": True}  # fmt: skip
        connection = http.client.HTTPConnection("localhost")
        connection.sock = channel.connect_socket(self.socket)
        started = time.perf_counter()
        connection.request("POST", "/v1/chat/completions", json.dumps(body), {"Content-Type": "application/json"})
        first = None
        for line in connection.getresponse():
            if first is None and b'"content":"' in line and b'"content":""' not in line:
                first = time.perf_counter()
        ended = time.perf_counter()
        connection.close()
        if first is None:
            raise SystemExit("an answer without a token")
        return ended - started, (tokens - 1) / (ended - first)

    def group(self, clients: int) -> float:
        """Return the seconds that this many clients take for their answers."""
        started = time.perf_counter()
        with ThreadPoolExecutor(clients) as pool:
            list(pool.map(self._several, range(clients)))
        return time.perf_counter() - started

    def _several(self, number: int) -> None:
        for turn in range(REQUESTS_PER_CLIENT):
            self.ask(f"Tell me about ship {number} on day {turn}.", ANSWER_TOKENS)

    def embed(self, number: int) -> None:
        """Embed some texts."""
        texts = [" ".join(common.words(300, number, each)) for each in range(8)]
        channel.request_json(self.socket, "POST", "/v1/embeddings", {"input": texts}, timeout=NO_LIMIT_S)

    def bulk(self, count: int, words: int, tokens: int, *seed: int) -> float:
        """Run a bulk job and return its seconds: ``count`` texts, each answered with this many tokens."""
        requests = [
            common.greedy_request(str(n), " ".join(common.words(words, n, *seed)), tokens) for n in range(count)
        ]
        found = runtime_dir.WorkerPaths(self.socket.parent, self.socket.stem)
        starter = channel.WorkerLauncher(found, runtime_dir.WorkerConfig("", "", "", None, 1.0, ""), dict(os.environ))
        backend = WorkerBackend(starter, EngineOptions(), Interrupt())
        try:
            return common.engine_seconds(backend, requests)
        finally:
            backend.close()


@contextlib.contextmanager
def endless(work: Callable[[int], object], threads: int = 1) -> Iterator[None]:
    """Repeat ``work`` in threads while the block runs."""
    over = threading.Event()

    def repeat(first: int) -> None:
        number = first
        while not over.is_set():
            work(number)
            number += threads

    workers = [threading.Thread(target=repeat, args=(number,)) for number in range(threads)]
    for worker in workers:
        worker.start()
    time.sleep(3)  # it is in the middle of its work
    try:
        yield
    finally:
        over.set()
        for worker in workers:
            worker.join()


def measure(worker: Worker, runs: int) -> list[list[str]]:
    """Return the rows of the table."""
    question = "What is the capital of Spain?"
    works: dict[str, Callable[[], contextlib.AbstractContextManager[None]]] = {
        "long prompts": lambda: endless(lambda n: worker.bulk(4, 1500, 8, n)),
        "long answers": lambda: endless(lambda n: worker.bulk(32, 12, 128, n)),
        "16 clients that embed": lambda: endless(worker.embed, 16),
    }
    alone = [worker.ask(question, ANSWER_TOKENS) for _ in range(runs + 1)][1:]
    seconds, rate = (statistics.median(figures) for figures in zip(*alone, strict=True))
    groups = {clients: worker.group(clients) for clients in GROUPS}
    rows = []
    for name, work in works.items():
        with work():
            beside = [worker.ask(question, ANSWER_TOKENS) for _ in range(runs)]
            taken, rates = ([each[which] for each in beside] for which in (0, 1))
            bound = f"at most {2 * seconds + 0.3:.2f}"
            rows.append([f"one answer, {name}", f"{seconds:.2f} s", f"{common.median_range(taken)} s",
                         f"{statistics.median(taken) / seconds:.2f}", bound])  # fmt: skip
            rows.append([f"its tokens a second, {name}", f"{rate:.0f}", common.median_range(rates, 0),
                         f"{statistics.median(rates) / rate:.2f}", "at least 0.5"])  # fmt: skip
            for clients, before in groups.items():
                after = worker.group(clients)
                rows.append([f"{clients} clients, {name}", f"{before:.1f} s", f"{after:.1f} s",
                             f"{after / before:.2f}", "at most 1.5"])  # fmt: skip
    before = worker.bulk(*SHARE)
    with endless(lambda n: worker.ask(f"Tell me about ship {n}.", 256), 2):
        after = worker.bulk(*SHARE)
    rows.append(["bulk work beside endless answers", f"{before:.1f} s", f"{after:.1f} s",
                 f"{after / before:.2f}", "10, more for short steps"])  # fmt: skip
    return rows


def main() -> None:
    """Measure and print."""
    options = common.parser(__doc__ or "").parse_args()
    model = common.model_path(options.model)
    with tempfile.TemporaryDirectory(prefix="llm") as directory:
        os.environ["LLMCLI_RUNTIME_DIR"] = directory
        common.run([options.llm, "ask", "-m", model, "--no-stdin", "--max-tokens", "1", "hi"])
        (found,) = runtime_dir.list_worker_paths(Path(directory))
        try:
            rows = measure(Worker(found.socket), options.runs)
        finally:
            worker_status.stop_worker(found)
    common.print_table(rows, ["", "alone", "beside bulk work", "ratio", "aim"])


if __name__ == "__main__":
    main()
