"""Several servers behind one backend, compared to the same servers driven directly, and to one of them.

Two ``llm serve`` of one thread each answer a job of one client that has both as one backend, and the halves of a job of
two clients at once, alternately: labels (``sentiment``, records a second) and answers of mixed length (``ask``, tokens
a second). Sixteen scripted servers that take 200 ms for each answer, one at a time, are compared to one. All figures
include the start of the clients. Each job has texts of its own, so that no server has seen them before.
"""

from __future__ import annotations

import contextlib
import http.client
import itertools
import json
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import common
import remote
import serve

SCRIPTED_SERVERS = 16
ANSWER_TOKENS = 160
TOKEN_VARIABLE = "FARM_TOKEN"  # noqa: S105 (the name of the variable)
PARTS = ("sentiment", "answers", "scripted")
SEEDS = itertools.count(int(time.time()))


class SlowServer(remote.Server):
    """A scripted server that works on one answer at a time."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), SlowHandler)
        self.gate = threading.Lock()
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.server_port}/v1"


class SlowHandler(remote.Handler):
    """Answers after its pause."""

    server: SlowServer

    def do_POST(self) -> None:  # noqa: N802 (the name in the base class)
        """Answer when all earlier requests are answered."""
        self.rfile.read(int(self.headers["Content-Length"]))
        with self.server.gate:
            time.sleep(remote.SECONDS)
        self.give_answer()


class Clients:
    """Commands that have servers as backends: each alone by its number, and ``all`` of them."""

    def __init__(self, llm: str, directory: Path, urls: Sequence[str], **fields: object) -> None:
        self._llm = llm
        self._directory = directory
        self.num_servers = len(urls)
        shared = {"type": "openai", **fields}
        backends = {str(number): {**shared, "base_url": url} for number, url in enumerate(urls)}
        backends["all"] = {**shared, "base_urls": list(urls)}
        (directory / "config.yaml").write_text(json.dumps({"backends": backends}))
        self._environ = {**os.environ, "LLMCLI_CONFIG_DIR": str(directory), TOKEN_VARIABLE: serve.TOKEN}

    def run(self, verb: Sequence[str], jobs: dict[str, Sequence[str]]) -> tuple[float, int]:
        """Run the jobs (backend: texts) at once.

        Return the seconds until all have ended, and the tokens of their answers.
        """
        commands = []
        for backend, texts in jobs.items():
            file = self._directory / f"{backend}.csv"
            file.write_text("\n".join(["text", *texts]) + "\n")
            output = ("-o", str(file.with_suffix(".jsonl")), "--json", "--stats")
            commands.append([self._llm, *verb, "--backend", backend, *output])
            commands[-1][commands[-1].index("INPUT")] = str(file)
        started = time.perf_counter()
        running = [
            subprocess.Popen(command, env=self._environ, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
            for command in commands
        ]
        said = [process.communicate()[1] for process in running]
        seconds = time.perf_counter() - started
        tokens = 0
        for process, messages, (backend, texts) in zip(running, said, jobs.items(), strict=True):
            rows = (self._directory / f"{backend}.jsonl").read_text().splitlines()
            if process.returncode not in {0, 3} or len(rows) != len(texts):
                sys.exit(f"{' '.join(process.args)}: exit {process.returncode}, {len(rows)} rows\n{messages}")
            tokens += json.loads(messages.splitlines()[-1])["stats"]["completion_tokens"]
        return seconds, tokens

    def share_out(self, texts: Sequence[str]) -> dict[str, Sequence[str]]:
        """Return the jobs of clients with one server each."""
        return {str(number): texts[number :: self.num_servers] for number in range(self.num_servers)}


def make_texts(count: int, shortest: int, longest: int) -> list[str]:
    """Return texts that no job has had, of so many words."""
    chance = random.Random(next(SEEDS))  # noqa: S311 (texts to measure with)
    return [" ".join(common.words(chance.randint(shortest, longest), chance.randrange(1 << 60))) for _ in range(count)]


@contextlib.contextmanager
def serving(options: object, model: str) -> Iterator[Clients]:
    """Run two ``llm serve`` of one thread each; give clients that use them."""
    llm = options.llm  # type: ignore[attr-defined]  # of argparse
    with contextlib.ExitStack() as stack:
        targets = [stack.enter_context(serve.ours(llm, model, LLMCLI_THREADS="1")) for _ in range(2)]
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        urls = [f"http://127.0.0.1:{target.port}/v1" for target in targets]
        name = served_name(targets[0], model)
        yield Clients(llm, directory, urls, model=name, key_env=TOKEN_VARIABLE)


def served_name(target: serve.Target, model: str) -> str:
    """Return the name of a model file at a server: that of the file, or else the first."""
    connection = http.client.HTTPConnection("127.0.0.1", target.port)
    with contextlib.closing(connection):
        connection.request("GET", "/v1/models", headers={"Authorization": f"Bearer {serve.TOKEN}"})
        names = [entry["id"] for entry in json.loads(connection.getresponse().read())["data"]]
    return next((name for name in names if name == Path(model).name), names[0])


def compare_labels(clients: Clients, records: int, runs: int) -> list[str]:
    """Return the row of ``sentiment``."""
    verb = ("sentiment", "INPUT")

    def farm() -> float:
        return records / clients.run(verb, {"all": make_texts(records, 8, 40)})[0]

    def direct() -> float:
        return records / clients.run(verb, clients.share_out(make_texts(records, 8, 40)))[0]

    ours, theirs = common.interleave(runs, farm, direct)
    return _row(f"sentiment of {records} records, records/s", ours, theirs, "at least 0.9")


def compare_answers(clients: Clients, answers: int, runs: int) -> list[str]:
    """Return the row of ``ask``: texts and answers of different lengths."""
    question = "Tell a story about this."
    verb = ("ask", "-f", "INPUT", "--column", "text", question, "--max-tokens", str(ANSWER_TOKENS))

    def rate(jobs: dict[str, Sequence[str]]) -> float:
        seconds, tokens = clients.run(verb, jobs)
        return tokens / seconds

    ours, theirs = common.interleave(
        runs,
        lambda: rate({"all": make_texts(answers, 3, 60)}),
        lambda: rate(clients.share_out(make_texts(answers, 3, 60))),
    )
    return _row(f"{answers} answers of mixed length, tokens/s", ours, theirs, "at least 0.9")


def compare_scripted(options: object, each: int, runs: int) -> list[str]:
    """Return the row of scripted servers; ``each`` of them answers so many requests."""
    verb = ("ask", "-f", "INPUT", "--column", "text", "What is it?")
    servers = [SlowServer() for _ in range(SCRIPTED_SERVERS)]
    with tempfile.TemporaryDirectory() as directory:
        clients = Clients(options.llm, Path(directory), [server.url for server in servers])  # type: ignore[attr-defined]  # of argparse

        def rate(backend: str, count: int) -> float:
            return count / clients.run(verb, {backend: make_texts(count, 3, 9)})[0]

        ours, theirs = common.interleave(runs, lambda: rate("all", each * len(servers)), lambda: rate("0", each))
    for server in servers:
        server.shutdown()
    return _row(f"{len(servers)} scripted servers, answers/s", ours, theirs, "at least 15")


def _row(label: str, ours: Sequence[float], theirs: Sequence[float], aim: str) -> list[str]:
    ratio = f"{common.median_ratio(ours, theirs):.2f}"
    return [label, common.median_range(ours), common.median_range(theirs), ratio, aim]


def main() -> None:
    """Measure and print."""
    parser = common.parser(__doc__ or "", runs=3)
    parser.add_argument("--part", action="append", choices=PARTS, help="only this part (repeatable; default: all)")
    parser.add_argument("--records", type=int, default=1000, help="records to label (default: 1000)")
    parser.add_argument("--answers", type=int, default=100, help="answers of mixed length (default: 100)")
    parser.add_argument("--scripted", type=int, default=40, help="answers of each scripted server (default: 40)")
    options = parser.parse_args()
    parts, rows = options.part or PARTS, []
    if {"sentiment", "answers"} & set(parts):
        with serving(options, common.model_path(options.model)) as clients:
            if "sentiment" in parts:
                rows.append(compare_labels(clients, options.records, options.runs))
            if "answers" in parts:
                rows.append(compare_answers(clients, options.answers, options.runs))
    if "scripted" in parts:
        rows.append(compare_scripted(options, options.scripted, options.runs))
    print(common.versions(None))
    common.print_table(rows, ["", "one backend", "directly, or one server", "ratio", "aim"])


if __name__ == "__main__":
    main()
