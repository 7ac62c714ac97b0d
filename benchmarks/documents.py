"""Splitting and joining documents of a megabyte: seconds, and bytes a second; no model, no peer.

The texts are this repository's README and the documents of the tests, repeated. "as it is" joins without translations,
"all of it" with a translation for each segment.
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path

import common

from llmcli.documents.format_registry import find_format
from llmcli.documents.segments import join_segments

MEGABYTE = 1_000_000
TARGET = 2.0
ROOT = Path(__file__).parents[1]
REAL = ROOT / "tests" / "documents" / "real"


def repeated(path: Path) -> str:
    """Return a megabyte of a document by repeating it, without the lines that may occur only once."""
    text = path.read_bytes().decode().removeprefix("\ufeff").replace("\r\n", "\n")
    if path.suffix == ".arb":
        return "[" + ",".join([text] * (MEGABYTE // len(text))) + "]"
    if path.suffix == ".yml":
        return "\n---\n".join([text] * (MEGABYTE // len(text)))
    head = {".vtt": "WEBVTT\n\n"}.get(path.suffix, "")
    return head + (text.removeprefix("WEBVTT - A film\nKind: captions\n") + "\n") * (MEGABYTE // len(text))


def measure(path: Path, runs: int) -> list[str]:
    """Return a row of the table: name, segments, and the medians of splitting and joining."""
    text = repeated(path)
    form = find_format(path.name, text)
    split, as_it_is, all_of_it = [], [], []
    for _ in range(runs):
        start = time.perf_counter()
        segments = form.split(text, "de")
        split.append(time.perf_counter() - start)
        start = time.perf_counter()
        joined = join_segments(text, segments, [None] * len(segments))
        as_it_is.append(time.perf_counter() - start)
        if joined != text:
            raise SystemExit(f"{path.name} changes when it is joined without translations")
        start = time.perf_counter()
        join_segments(text, segments, [segment.text for segment in segments])
        all_of_it.append(time.perf_counter() - start)
    whole = statistics.median(split) + statistics.median(as_it_is)
    times = [common.median_range(times, 3) for times in (split, as_it_is, all_of_it)]
    return [path.name, form.name, str(len(segments)), *times, f"{len(text) / whole / 1e6:.1f}"]


def main() -> None:
    """Measure and print."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--runs", type=int, default=5, help="runs of each (default: 5)")
    runs = options.parse_args().runs
    rows = [measure(path, runs) for path in [ROOT / "README.md", *sorted(REAL.iterdir())]]
    header = ["document", "format", "segments", "split, s", "join as it is, s", "join all of it, s", "MB/s"]
    common.print_table(rows, header)
    print(f"\nTarget: a megabyte of Markdown is split and joined in less than {TARGET:.0f} s.")


if __name__ == "__main__":
    main()
