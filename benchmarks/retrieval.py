"""Measure the index of passages: how long 10,000 passages take to index, and how long a search takes.

    python benchmarks/retrieval.py [--passages N] [--searches N]

The passages are random words in the frequencies of a language (Zipf's law), a hundred to a passage. Questions are of
eight words of the same kind, so that most match many passages: the slow case.
"""

from __future__ import annotations

import argparse
import itertools
import random
import statistics
import tempfile
import time
from pathlib import Path

from llmcli.interrupt import Interrupt
from llmcli.store.passage_index import IndexFiles
from llmcli.tasks.retrieval.index_update import IndexUpdater

VOCABULARY = 30_000
WORDS_PER_PASSAGE = 150
PASSAGES_PER_FILE = 50
QUESTION_WORDS = 8
MAX_INDEX_S, MAX_SEARCH_S = 30.0, 0.050
"""Limits for 10,000 passages."""


def write_files(directory: Path, passages: int, choose: RandomWords) -> None:
    """Write text files of ``PASSAGES_PER_FILE`` paragraphs."""
    for number in range(-(-passages // PASSAGES_PER_FILE)):
        count = min(PASSAGES_PER_FILE, passages - number * PASSAGES_PER_FILE)
        text = "\n\n".join(choose(WORDS_PER_PASSAGE) for _ in range(count))
        (directory / f"{number}.txt").write_text(text, encoding="utf-8")


class RandomWords:
    """Chooses words with a probability of 1 / rank."""

    def __init__(self) -> None:
        self._random = random.Random(20)  # noqa: S311 (no secret)
        letters = "abcdefghijklmnopqrstuvwxyz"
        self._words = ["".join(self._random.choices(letters, k=2 + rank % 9)) for rank in range(VOCABULARY)]
        self._weights = list(itertools.accumulate(1 / (rank + 1) for rank in range(VOCABULARY)))

    def __call__(self, count: int) -> str:
        """Return words with blanks between them."""
        return " ".join(self._random.choices(self._words, cum_weights=self._weights, k=count))


def main() -> None:
    """Print the figures and whether they are within the limits."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--passages", type=int, default=10_000, metavar="N")
    parser.add_argument("--searches", type=int, default=200, metavar="N")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="retrieval") as name:
        directory, choose = Path(name) / "docs", RandomWords()
        directory.mkdir()
        write_files(directory, given.passages, choose)
        with IndexFiles(Path(name) / "indexes").open(str(directory)) as index:
            start = time.perf_counter()
            list(IndexUpdater(index, str(directory), Interrupt()).update())
            indexing = time.perf_counter() - start
            start = time.perf_counter()
            list(IndexUpdater(index, str(directory), Interrupt()).update())
            checking = time.perf_counter() - start
            summary = index.summary()
            times, cpu_times = [], []
            for _ in range(given.searches):
                question = choose(QUESTION_WORDS)
                start, cpu_start = time.perf_counter(), time.process_time()
                index.passages(index.search_words(question, 24))
                times.append(time.perf_counter() - start)
                cpu_times.append(time.process_time() - cpu_start)
    print(f"{summary.passages:,} passages of {summary.characters:,} characters, index of {summary.size:,} bytes")
    print(f"index: {indexing:.2f} s (limit {MAX_INDEX_S:g}): {'yes' if indexing < MAX_INDEX_S else 'NO'}")
    print(f"up to date again: {checking:.3f} s")
    for what, found in (("elapsed", times), ("processor time", cpu_times)):
        middle, most = statistics.median(found), max(found)
        print(
            f"search, {what}: median {middle * 1000:.1f} ms, slowest {most * 1000:.1f} ms "
            f"(limit {MAX_SEARCH_S * 1000:g}): {'yes' if most < MAX_SEARCH_S else 'NO'}"
        )


if __name__ == "__main__":
    main()
