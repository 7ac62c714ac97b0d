"""Times the answers of a long chat: the next turn, the chat reopened after its worker ended, and one evaluated again.

A chat of about ``--tokens`` tokens is written once, with random English words. Then each run adds the same question to
a copy of it: on the warm worker; on a new worker, which loads the evaluated state from the disk; and on a new worker
without that state. Figures: seconds to the first token of the request; seconds of the whole command, which include the
start of the worker; and the tokens of the prompt that were evaluated. The ratio is that of the last two.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import common

ANSWER_TOKENS = 8
WORDS_PER_MESSAGE = 700
KINDS = ("the next turn, warm", "reopened, new worker", "evaluated again, new worker")


@dataclass(frozen=True)
class Turn:
    """One answer: seconds to its first token, seconds of its command, tokens of the prompt, and those of the cache."""

    first_token_s: float
    seconds: float
    prompt_tokens: int
    cached_tokens: int


class Chats:
    """The chats of this benchmark, in directories of their own."""

    def __init__(self, directory: Path, model: str, llm: str, context: int) -> None:
        self._cache, self._data = directory / "cache", directory / "data"
        self._words = [llm, "chat", "-m", model, "--session", "long", "--json", "--temperature", "0"]
        self._words += ["--max-tokens", str(ANSWER_TOKENS), "--ctx", str(context)]
        self._llm = llm
        runtime = directory / "run"
        runtime.mkdir(mode=0o700)
        own = {"DATA": self._data, "CACHE": self._cache, "CONFIG": directory / "config", "RUNTIME": runtime}
        self._environ = {**os.environ, **{f"LLMCLI_{kind}_DIR": str(path) for kind, path in own.items()}}
        self._environ |= {"LLMCLI_TUNE": "off", "LLMCLI_WEIGHTS": "original"}

    def say(self, *messages: str) -> list[Turn]:
        """Send messages in one run of ``llm chat``."""
        started = time.perf_counter()
        text = "".join(f"{message}\n" for message in messages)
        done = subprocess.run(self._words, input=text, capture_output=True, text=True, env=self._environ, check=False)
        seconds = time.perf_counter() - started
        if done.returncode:
            sys.exit(f"chat: exit {done.returncode}: {done.stderr[-500:]}")
        answers = map(json.loads, done.stdout.splitlines())
        return [
            Turn(
                answer["timings"]["first_token_s"],
                seconds,
                answer["usage"]["prompt_tokens"],
                answer["usage"]["cached_tokens"],
            )
            for answer in answers
        ]

    def stop_worker(self) -> None:
        """End the worker, which stores the state of the chat."""
        subprocess.run([self._llm, "worker", "stop"], env=self._environ, check=True, capture_output=True)

    def remember(self) -> None:
        """Keep a copy of the chats and of the states as they are now."""
        if not self._data.is_dir():
            sys.exit(f"{self._llm} saves chats elsewhere than in LLMCLI_DATA_DIR: name the script of llm itself")
        for path in (self._data, self._cache):
            shutil.copytree(path, path.with_name(f"{path.name}.kept"))

    def restore(self, *, states: bool) -> None:
        """Return to the copy, with or without the evaluated states."""
        for path in (self._data, self._cache):
            shutil.rmtree(path)
            shutil.copytree(path.with_name(f"{path.name}.kept"), path)
        if not states:
            shutil.rmtree(self._cache / "prefixes")


def measure(chats: Chats) -> tuple[Turn, Turn, Turn]:
    """Return one turn of each kind."""
    question = "Which of these words came first?"
    chats.restore(states=True)
    (reopened,) = chats.say(question)
    (warm,) = chats.say("And which came last?")
    chats.stop_worker()
    chats.restore(states=False)
    (again,) = chats.say(question)
    chats.stop_worker()
    return warm, reopened, again


def main(argv: list[str]) -> int:
    """Print the table; returns the exit code."""
    options = common.parser(__doc__ or "")
    options.add_argument("--tokens", type=int, default=6000, help="about as many tokens has the chat (default: 6000)")
    options.add_argument("--context", type=int, default=8192, help="tokens of the context (default: 8192)")
    given = options.parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="llm", dir="/tmp") as name:  # a path short enough for sockets
        chats = Chats(Path(name), common.model_path(given.model), given.llm, given.context)
        count = -(-given.tokens // WORDS_PER_MESSAGE)
        texts = [" ".join(common.words(given.tokens // count - ANSWER_TOKENS - 20, number)) for number in range(count)]
        length = chats.say(*texts)[-1].prompt_tokens
        chats.stop_worker()
        chats.remember()
        turns = list(zip(*(measure(chats) for _ in range(given.runs)), strict=True))
    rows = [
        [
            kind,
            common.median_range([turn.first_token_s for turn in each]),
            common.median_range([turn.seconds for turn in each]),
            str(statistics.median_low([turn.prompt_tokens - turn.cached_tokens for turn in each])),
        ]
        for kind, each in zip(KINDS, turns, strict=True)
    ]
    print(f"A chat of {length} tokens\n")
    common.print_table(rows, ["turn", "first token, s", "command, s", "tokens evaluated"])
    _, reopened, again = turns
    first, whole = (
        common.median_ratio([getattr(turn, name) for turn in again], [getattr(turn, name) for turn in reopened])
        for name in ("first_token_s", "seconds")
    )
    print(
        f"\nReopening gives the first token {first:.1f} times sooner than evaluating again, the answer {whole:.1f} times."
    )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
