"""Seconds and peak memory of ``llm records merge`` for a thousand and for a million records in ten parts.

The parts are written as jobs write them, without a model: a labelled table, once with a row for each record and once as
``filter`` leaves it, with a third of them. The goal is 60 s for a million records, and a ratio of the peaks of at most
1.05. Beside it stands the time that cat(1) needs for the same parts. The peaks are read from /proc, so this needs Linux.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from llmcli.documents.records.part_file import PartFile, PartInfo

RECORDS = (1_000, 1_000_000)
PARTS = 10
OUTPUTS = {"all rows": 1, "a third of the rows": 3}
"""What is merged: of how many records one has a row."""
_HEAD = b"id,text,label,p_positive,p_neutral,p_negative,margin,score,error\n"


def write_parts(directory: Path, records: int, step: int) -> list[str]:
    """Write the parts of a table of that many records; one of ``step`` records has a row. Return their paths."""
    paths = []
    for number in range(PARTS):
        path = str(directory / f"part-{number + 1}.csv")
        part = PartFile(path)
        part.truncate(0)
        part.truncate_rows(0)
        rows, size = [_HEAD], 0
        for index in range(number, records, PARTS):
            row = b'%d,"the text of record %07d, of some words",positive,0.8094,0.105,0.0856,0.7,0.72,\n' % (
                index,
                index,
            )
            kept = index % step == 0
            part.add_row(index, len(row) if kept else 0)
            if kept:
                rows.append(row)
                size += len(row)
            if size >= 1 << 20:
                part.write(b"".join(rows))
                rows, size = [], 0
        part.write(b"".join(rows))
        shard = f"{number + 1}/{PARTS}"
        part.describe(PartInfo(shard, {}, records, "", "csv", len(_HEAD), 0, 0, keeps_failed=True, summary=None))
        part.commit()
        paths.append(path)
    return paths


def measure(directory: Path, paths: list[str]) -> tuple[float, float, float]:
    """Return the seconds of the merge, its peak resident memory in MiB, and the seconds of cat."""
    target, peak = directory / "out.csv", directory / "peak"
    started = time.perf_counter()
    child = [sys.executable, "-P", str(Path(__file__).with_name("record_memory.py")), "--child", str(peak)]
    command = [*child, "records", "merge", *paths, "-o", str(target)]
    subprocess.run(command, check=True)
    merged = time.perf_counter() - started
    started = time.perf_counter()
    with target.open("wb") as file:
        subprocess.run(["cat", *paths], check=True, stdout=file)
    return merged, float(peak.read_text(encoding="utf-8")), time.perf_counter() - started


def main() -> None:
    """Measure and print."""
    import common

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, nargs=2, default=RECORDS, help="of the short and the long run")
    options = parser.parse_args()
    table = []
    for name, step in OUTPUTS.items():
        peaks = []
        for records in options.records:
            with tempfile.TemporaryDirectory(prefix="llm") as made:
                directory = Path(made)
                seconds, peak, copied = measure(directory, write_parts(directory, records, step))
            peaks.append(peak)
            row = [name, f"{records:,}", f"{seconds:.1f}", f"{copied:.1f}", f"{peak:.1f}", f"{peak / peaks[0]:.3f}"]
            table.append(row)
            print(" | ".join(row), flush=True)
    common.print_table(table, ["parts with", "records", "seconds", "of cat", "peak MiB", "ratio"])


if __name__ == "__main__":
    main()
