"""Records per second of `llm classify` against typed-gguf (PyPI), on the same model, labels and texts, alternately.

typed-gguf answers one question at a time. It runs in this benchmark's child process, with its model loaded once, and
with llama.cpp's libraries of this environment, so that both evaluate with the same code; only its questions are timed.
`llm classify` is timed as a whole command, its start included, with a warm worker and the original weights. The texts
are Amazon snippets (`sentiment_quality.py` says where to get them), a block of them for each run. The aim is a ratio of
at least 5.

typed-gguf is looked for in the environment of ``--peer-python``:

    python -m venv tg && tg/bin/pip install --no-deps typed-gguf
    python benchmarks/typed_decisions.py hutto_ICWSM_2014 --peer-python tg/bin/python
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import common
from sentiment_quality import SETS, load, sample

LABELS = ("positive", "negative")
_PEER = """
import json, sys
from typed_gguf import cli
from typed_gguf.engine import session

first = json.loads(sys.stdin.readline())
prepared = cli.prepare_decision(first)
with session.open_model(prepared.model_path, fit_plan=prepared.plan) as handle:
    print("ready", flush=True)
    for line in sys.stdin:
        answer = cli.decide_on_handle(prepared, json.loads(line), handle)["answers"]["label"]
        print(json.dumps(answer["choice"]), flush=True)
"""
"""Prepares once and answers each line: what its warm host does, without its sockets."""


class Peer:
    """typed-gguf with a loaded model."""

    def __init__(self, python: str, model: str, threads: int | None, directory: str) -> None:
        import llama_cpp

        assert llama_cpp.__file__ is not None
        libraries = str(Path(llama_cpp.__file__).parent / "lib")
        environ = {**os.environ, "TYPED_GGUF_RUNTIME_DIR": libraries, "TYPED_GGUF_HOME": directory}
        environ.pop("PYTHONPATH", None)
        self._model, self._options = model, {"backend": "cpu"} | ({"threads": threads} if threads else {})
        with Path(directory, "messages").open("w", encoding="utf-8") as messages:
            self._process = subprocess.Popen(
                [python, "-c", _PEER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=messages, env=environ,
                text=True,
            )  # fmt: skip
        if self._exchange("A text.") != "ready\n":
            sys.exit(f"typed-gguf: {Path(directory, 'messages').read_text(encoding='utf-8')[-2000:]}")

    def _exchange(self, text: str) -> str:
        question = {
            "type": "choice",
            "instructions": "Is the opinion of the text positive or negative?",
            "criteria": dict.fromkeys(LABELS, ""),
        }
        request: dict[str, Any] = {"model": self._model, "state": text, "questions": {"label": question}}
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({**request, "options": self._options}) + "\n")
        self._process.stdin.flush()
        return self._process.stdout.readline()

    def label(self, texts: list[str]) -> tuple[float, list[str]]:
        """Return the seconds for these texts, and their labels."""
        started = time.perf_counter()
        labels = [json.loads(self._exchange(text)) for text in texts]
        return time.perf_counter() - started, labels

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._process.wait()


def label_records(command: list[str], texts: list[str], environ: dict[str, str]) -> tuple[float, list[str]]:
    """Return the seconds of one `llm classify` for these texts, and their labels."""
    lines = "".join(f"{' '.join(text.split())}\n" for text in texts).encode()
    started = time.perf_counter()
    done = subprocess.run(command, input=lines, capture_output=True, check=False, env=environ)
    seconds = time.perf_counter() - started
    if done.returncode:
        sys.exit(f"{' '.join(command)}: exit {done.returncode}: {done.stderr.decode()}")
    return seconds, [line.split("\t")[0] for line in done.stdout.decode().splitlines()]


def main() -> None:
    """Label the texts and print."""
    parser = common.parser(__doc__ or "", runs=10)
    parser.add_argument("directory", type=Path, help="hutto_ICWSM_2014")
    parser.add_argument("--count", type=int, default=200, help="texts of all runs together (default: 200)")
    parser.add_argument("--peer-python", default=sys.executable, help="an interpreter that imports typed_gguf")
    parser.add_argument("--peer-threads", type=int, help="threads of typed-gguf (default: its own choice)")
    options = parser.parse_args()
    found = subprocess.run([options.peer_python, "-c", "import typed_gguf"], capture_output=True, check=False)
    if found.returncode:
        print(
            f"{options.peer_python} cannot import typed_gguf: see the first lines of {__file__}. Nothing was measured."
        )
        return
    model = common.model_path(options.model)
    rows = sample(load(options.directory, SETS["Amazon"], 1), options.count)
    blocks = [rows[start :: options.runs] for start in range(options.runs)]
    with tempfile.TemporaryDirectory(prefix="llm") as directory:
        names = ("CONFIG_DIR", "DATA_DIR", "CACHE_DIR", "RUNTIME_DIR")
        environ = {**os.environ, "LLMCLI_TUNE": "off", "LLMCLI_WORKER": "on", "LLMCLI_MODEL": model}
        for name in names:
            Path(directory, name).mkdir(mode=0o700)
            environ[f"LLMCLI_{name}"] = str(Path(directory, name))
        command = [options.llm, "classify", "--labels", ",".join(LABELS)]
        label_records(command, ["A text."], environ)  # start the worker and measure the prior
        peer = Peer(options.peer_python, model, options.peer_threads, directory)
        ours: list[float] = []
        theirs: list[float] = []
        right = [0, 0]
        for block in blocks:
            texts = [text for text, _ in block]
            expected = [LABELS[rating < 0] for _, rating in block]
            runs = label_records(command, texts, environ), peer.label(texts)
            for index, (seconds, labels) in enumerate(runs):
                (ours, theirs)[index].append(len(block) / seconds)
                right[index] += sum(map(str.__eq__, labels, expected))
            print(f"{ours[-1]:.2f} {theirs[-1]:.2f} records/s", flush=True)
        peer.close()
        subprocess.run([options.llm, "worker", "stop"], check=False, capture_output=True, env=environ)
    ratio = f"{common.median_ratio(ours, theirs):.1f}"
    table = [
        ["llm classify", common.median_range(ours), f"{right[0] / len(rows):.3f}", ratio],
        ["typed-gguf", common.median_range(theirs), f"{right[1] / len(rows):.3f}", "1"],
    ]
    common.print_table(table, ["", "records/s", "accuracy", "ratio"])


if __name__ == "__main__":
    main()
