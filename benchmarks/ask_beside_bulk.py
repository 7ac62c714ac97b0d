"""An answer that is asked for while bulk work starts, against the same answer alone.

Each try has a worker of its own, in a runtime directory of this benchmark, so that bulk work meets everything for the
first time: it creates its context and does not know yet how long a step takes. The worker answers three questions
alone, whose median is the solo time. Then a command begins bulk work, and up to 0.3 s after its first request has
reached the worker, one more question arrives. Aim: at most twice the solo time plus 0.3 s, in every try.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import tempfile
import threading
import time
from pathlib import Path

import common
from mixed import Worker

from llmcli.worker import runtime_dir
from llmcli.worker.client import channel, worker_status

TRIES = 50
ANSWER_TOKENS = 8
SOLO_ANSWERS = 3
MAX_DELAY_S = 0.3
POLL_S = 0.002
STATUS_TIMEOUT_S = 10.0


def bulk_commands() -> dict[str, tuple[tuple[str, ...], str]]:
    """Return the arguments and the input of each kind of bulk work."""
    records = [f"I really like the number {number}, it is a nice one." for number in range(300)]
    paragraphs = [" ".join(common.words(50 + 20 * (number % 5), number)) for number in range(60)]
    text = "\n\n".join(paragraphs)
    return {
        "sentiment": (("sentiment",), "\n".join(records)),
        "translate": (("translate", "--to", "fr", "--no-tm"), text),
        "summarize": (("summarize", "--style", "paragraph"), text),
        "key sentences": (("summarize", "--style", "key-sentences"), text),
    }


def allowed_s(solo_s: float) -> float:
    """Return how long an answer beside bulk work may take."""
    return 2 * solo_s + 0.3


def measure_try(llm: str, model: str, argv: tuple[str, ...], text: str, delay_s: float) -> tuple[float, float]:
    """Return the seconds of an answer alone, and beside bulk work that started ``delay_s`` seconds before."""
    with tempfile.TemporaryDirectory(prefix="llm") as directory:
        environ = os.environ | {"LLMCLI_RUNTIME_DIR": directory, "LLMCLI_TUNE": "off", "LLMCLI_WORKER": "on"}
        common.run([llm, "ask", "-m", model, "--no-stdin", "--max-tokens", "1", "hi"], **environ)
        (found,) = runtime_dir.list_worker_paths(Path(directory))
        worker = Worker(found.socket)
        try:
            alone = [worker.ask(f"What is {number} and {number}?", ANSWER_TOKENS)[0] for number in range(SOLO_ANSWERS)]
            bulk = subprocess.Popen(
                [llm, *argv, "-m", model],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=environ,
                text=True,
            )
            feeding = threading.Thread(target=bulk.communicate, args=(text,))
            feeding.start()
            try:
                while not channel.request_json(found.socket, "GET", "/llm/status", timeout=STATUS_TIMEOUT_S)["active"]:
                    if bulk.poll() is not None:
                        raise SystemExit(f"{' '.join(argv)} ended with {bulk.returncode}")
                    time.sleep(POLL_S)
                time.sleep(delay_s)
                beside = worker.ask("What is seven and seven?", ANSWER_TOKENS)[0]
            finally:
                bulk.terminate()
                feeding.join()
        finally:
            worker_status.stop_worker(found)
    return statistics.median(alone), beside


def main() -> None:
    """Measure and print."""
    parser = common.parser(__doc__ or "", runs=TRIES)
    parser.add_argument("--bulk", choices=bulk_commands(), action="append", help="kinds of bulk work (default: all)")
    options = parser.parse_args()
    model = common.model_path(options.model)
    rows = []
    for name in options.bulk or bulk_commands():
        argv, text = bulk_commands()[name]
        tries = [
            measure_try(options.llm, model, argv, text, MAX_DELAY_S * number / max(1, options.runs - 1))
            for number in range(options.runs)
        ]
        alone, beside = ([each[which] for each in tries] for which in (0, 1))
        within = sum(taken <= allowed_s(solo) for solo, taken in tries)
        waited = [taken - solo for solo, taken in tries]
        rows.append([name, common.median_range(alone), common.median_range(beside), common.median_range(waited),
                     f"{within} of {len(tries)}"])  # fmt: skip
    common.print_table(
        rows, ["bulk work that starts", "alone, s", "beside it, s", "longer by, s", "within 2 * alone + 0.3 s"]
    )


if __name__ == "__main__":
    main()
