"""Records answers of a small model that repeat themselves: the texts of `tests/text_stream/loops.jsonl.gz`.

Each line of the output is an answer, with its model, prompt, temperature and seed. An answer ends when it has
repeated one block often enough, or at `--max-tokens`; the guard against repetition is off. With `--lines` the prompts
are those of `line_loops.jsonl.gz`, whose answers vary the same few lines; each goes on to `--max-tokens`.
"""

from __future__ import annotations

import argparse
import json
import subprocess
from collections.abc import Collection, Iterator
from pathlib import Path

from llmcli.config.engine_options import EngineOptions
from llmcli.interrupt import Interrupt
from llmcli.runtime.backend_factory import open_local_backend
from llmcli.types import Finished, Message, Request, Role, Sampling, TextDelta

SYSTEM = "You are a helpful assistant. Answer clearly and correctly. If you do not know the answer, say so."
PROMPTS = (
    "List 100 animals, one on each line.",
    "Write a long story about a lighthouse keeper who never sleeps.",
    "Write a poem about rain with twenty verses.",
    "Write a Python class for a bank account with all methods and their docstrings.",
    "Translate into German: The workshop opens on Saturday at 10:00. Bring your bicycle and a friend.",
    "Write a changelog of a program with 30 versions.",
    "Write the numbers from one to one hundred in words.",
    "Explain step by step how to repair a bicycle.",
    "Write a YAML file that configures ten servers.",
    "Write an email to a colleague about a later meeting.",
    "Make a Markdown table of the planets with ten columns.",
    "Write SQL that creates and fills a table of customers.",
    "Write a dialogue between a teacher and a pupil about fractions.",
    "What are the advantages and disadvantages of nuclear power? Answer in a list.",
    "Write a test plan for a login form with all cases.",
    "Describe every day of a week at the sea.",
    "Write HTML for a page with a menu and a gallery.",
    "Summarize: The roof has to be repaired after the storm. The workshop is closed on Monday.",
    "Name all rivers of Europe with their lengths.",
    "Write a recipe for bread in French.",
)
LINE_PROMPTS = (
    "Write release notes for version 2.0 of an invoice program.",
    "List the reasons why people move to the country.",
    "Write a checklist for moving house.",
    "What should I take on a hiking trip of a week? One item on each line.",
    "Give me 40 ideas for a birthday present for my father.",
    "Write the rules of a shared kitchen, one sentence on each line.",
    "Write user stories for a library app.",
    "Write the acceptance criteria of a search form as a list.",
    "Write a FAQ for an online shop.",
    "Write interview questions for a nurse.",
    "Write 30 short product descriptions of candles, one on each line.",
    "What happened in the history of Norway? Write one line for each event.",
    "Write a list of the duties of a secretary.",
    "Explain the steps to install a printer, one on each line.",
    "Write pros and cons of working at home as two lists.",
    "Write a to-do list for the opening of a restaurant.",
    "Write comments that explain each line of a bubble sort.",
    "Write a list of error messages of a program that copies files.",
    "Write the minutes of a meeting about a new roof as a list.",
    "List the symptoms of a cold, each in a sentence on its own line.",
    "Write a list of goals for a school year.",
    "Describe the pictures of a photo album, one line for each.",
    "Write tips for a good night's sleep.",
    "Write a timeline of a day at the hospital, one line for each hour.",
    "Write subject lines for a newsletter about gardening.",
    "List what can go wrong during a software release.",
    "Write the table of contents of a book about bees.",
    "Write twenty sentences with the word although.",
    "Write a vocabulary list with English words and their meanings.",
    "Write a log of a ship's journey, one line for each day.",
)
COMMITS = ("ed6f1637", "7c8fd8b1", "49ab57a8")
LINE_COMMITS = ("673ed32b", "494ad003", "bcc61ea5", "ddccf85c", "765a917b", "0188500e", "b8b0cbec", "952cfa9b")
TEMPERATURES = (0.0, 0.3, 0.7, 1.0)
_EXTRA_CHARS = 450
"""Characters after the third round that a recorded loop has at least."""
_ANCHOR_CHARS = 40
_SHOWN_CHARS = 60
_CHECK_INTERVAL = 20


def repeats_at_end(text: str) -> bool:
    """Whether three rounds of one block and ``_EXTRA_CHARS`` more are at the end."""
    anchor = text[-_ANCHOR_CHARS:]
    at = text.rfind(anchor, 0, -1)
    while at >= 0:
        period = len(text) - len(anchor) - at
        length = 2 * period + _EXTRA_CHARS
        if length + period > len(text):
            return False
        if text[-length:] == text[-length - period : -period]:
            return True
        at = text.rfind(anchor, 0, at + len(anchor) - 1)
    return False


def make_prompts(*, lines: bool) -> list[str]:
    """Return the prompts: questions, and changes of this repository for commit messages."""
    changes = []
    for commit in LINE_COMMITS if lines else COMMITS:
        shown = subprocess.run(["git", "show", commit], capture_output=True, text=True, check=True).stdout[:2500]
        changes.append(f"{shown}\n\nWrite a commit message for this change.")
    return [*changes, *(LINE_PROMPTS if lines else PROMPTS)]


def make_requests(options: argparse.Namespace, recorded: Collection[tuple[str, float, int]]) -> Iterator[Request]:
    """Yield the requests whose answers are not ``recorded`` yet."""
    for number, prompt in enumerate(make_prompts(lines=options.lines)):
        for temperature in options.temperatures:
            for seed in options.seeds if temperature else options.seeds[:1]:
                if (prompt[-_SHOWN_CHARS:], temperature, seed) not in recorded:
                    messages = (Message(Role.SYSTEM, SYSTEM), Message(Role.USER, prompt))
                    sampling = Sampling(temperature=temperature, seed=seed)
                    name = f"{number}.{temperature}.{seed}"
                    yield Request(name, messages, sampling=sampling, max_tokens=options.max_tokens)


def record(model: str, request: Request, text: str, finished: Finished) -> dict[str, object]:
    """Return an answer as a line of the output."""
    return {
        "model": model,
        "prompt": request.messages[-1].content[-_SHOWN_CHARS:],
        "temperature": request.sampling.temperature,
        "seed": request.sampling.seed,
        "reason": finished.reason,
        "text": text,
    }


def main() -> None:
    """Record the answers."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path, help="a GGUF file")
    parser.add_argument("output", type=Path, help="JSON Lines, appended to")
    parser.add_argument("--lines", action="store_true", help="ask what is answered with loops of lines")
    parser.add_argument("--max-tokens", type=int, default=900)
    parser.add_argument("--threads", type=int, help="one thread is faster than two on a busy machine")
    parser.add_argument("--temperatures", type=float, nargs="+", default=TEMPERATURES)
    parser.add_argument("--seeds", type=int, nargs="+", default=(0, 1))
    options = parser.parse_args()
    lines = options.output.read_text(encoding="utf-8").splitlines() if options.output.exists() else []
    recorded = {(line["prompt"], line["temperature"], line["seed"]) for line in map(json.loads, lines)}
    engine = open_local_backend(
        options.model,
        name=options.model.stem,
        model_id="x",
        options=EngineOptions(threads=options.threads),
        interrupt=Interrupt(),
    )
    known = {each.id: each for each in make_requests(options, recorded)}
    pieces: dict[str, list[str]] = {request_id: [] for request_id in known}
    with engine.open() as job, options.output.open("a", encoding="utf-8") as output:
        for request in known.values():
            job.submit(request)
        job.close_input()
        for event in job:
            said = pieces[event.id]
            if isinstance(event, TextDelta):
                said.append(event.text)
                if not options.lines and len(said) % _CHECK_INTERVAL == 0 and repeats_at_end("".join(said)):
                    job.cancel(event.id)
            elif isinstance(event, Finished):
                line = record(options.model.stem, known[event.id], "".join(said), event)
                output.write(json.dumps(line, ensure_ascii=False) + "\n")
                output.flush()
    engine.close()


if __name__ == "__main__":
    main()
