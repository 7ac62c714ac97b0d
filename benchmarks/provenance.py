"""The cost of --provenance: the same question with and without it, alternately, on a warm worker.

Milliseconds of the command's processor time, which other programs do not distort as they do the wall clock; and the
median of the pairwise differences.
"""

from __future__ import annotations

import resource
import statistics
import tempfile
from pathlib import Path

import common

LIMIT_MS = 10.0


def processor_ms(command: list[str]) -> float:
    """Run a command to its end; return the milliseconds of processor time that it took."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    common.run(command)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return 1000 * (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


def main() -> None:
    """Measure and print."""
    options = common.parser(__doc__ or "", runs=15).parse_args()
    with tempfile.TemporaryDirectory() as directory:
        notes, output = Path(directory) / "notes.txt", str(Path(directory) / "out.txt")
        notes.write_text(" ".join(common.words(300)) + "\n")
        model = ["-m", options.model] if options.model else []
        command = [
            options.llm,
            "ask",
            *model,
            "-f",
            str(notes),
            "--max-tokens",
            "2",
            "--seed",
            "1",
            "Hi?",
            "-o",
            output,
        ]
        plain, described = common.interleave(
            options.runs, lambda: processor_ms(command), lambda: processor_ms([*command, "--provenance"])
        )
    added = [more - less for less, more in zip(plain, described, strict=True)]
    common.print_table(
        [
            ["llm ask, ms", common.median_range(plain, 1)],
            ["llm ask --provenance, ms", common.median_range(described, 1)],
            ["difference, ms", f"{statistics.median(added):.1f} (at most {LIMIT_MS:g})"],
        ],
        ["", "processor time"],
    )


if __name__ == "__main__":
    main()
