"""Seconds and peak memory of ``llm merge`` for a hundred thousand and a million records in ten parts.

The parts are written as jobs write them, without a model: a labelled table with a row for each record, or with a third
of them, as ``filter`` leaves it. The goal is 60 s for a million records, and a ratio of the peaks of at most 1.05
(Parquet: 1.25, since the library keeps what it has freed). Beside it stands the time that cat(1) needs for the same
parts. The peaks are read from /proc, so this needs Linux.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from llmcli.documents.format_registry import load_record_format
from llmcli.documents.records.formats.record_format import OutputColumns
from llmcli.documents.records.part_file import PartFile, PartInfo
from llmcli.documents.records.record import Record, RecordSchema

RECORDS = (100_000, 1_000_000)
PARTS = 10
OUTPUTS = [("csv", 1), ("csv", 3), ("jsonl", 1), ("parquet", 1)]
"""What is merged: the format, and of how many records one has a row."""


def write_parts(directory: Path, format_name: str, records: int, step: int) -> list[str]:
    """Write the parts of a table of that many records; one of ``step`` records has a row. Return their paths."""
    added: dict[str, type] = {"label": str, "p_positive": float, "p_neutral": float, "p_negative": float}
    columns = OutputColumns(RecordSchema("csv", ("id", "text")), added, has_error=True)
    values = {"label": "positive", "p_positive": 0.8094, "p_neutral": 0.105, "p_negative": 0.0856}
    paths = []
    for number in range(PARTS):
        path = str(directory / f"part-{number + 1}.{format_name}")
        writer = load_record_format(format_name).open_writer(columns)
        part = PartFile(path)
        part.truncate(0)
        part.truncate_rows(0)
        head = writer.head()
        part.write(head)
        for index in range(number, records, PARTS):
            length = 0
            if index % step == 0:
                text = f"the text of record {index:07}, of some words"
                row = writer.row(Record(index, text, index, fields={"id": index, "text": text}), values, "")
                part.write(row)
                length = 1 if format_name == "parquet" else len(row)
            part.add_row(index, length)
        part.write(writer.tail())
        shard = f"{number + 1}/{PARTS}"
        part.describe(PartInfo(shard, {}, records, "", format_name, len(head), 0, 0, keeps_failed=True, summary=None))
        part.commit()
        paths.append(path)
    return paths


def measure(directory: Path, paths: list[str]) -> tuple[float, float, float]:
    """Return the seconds of the merge, its peak resident memory in MiB, and the seconds of cat."""
    target, peak = directory / f"out{Path(paths[0]).suffix}", directory / "peak"
    started = time.perf_counter()
    child = [sys.executable, "-P", str(Path(__file__).with_name("record_memory.py")), "--child", str(peak)]
    command = [*child, "merge", *paths, "-o", str(target)]
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
    for format_name, step in OUTPUTS:
        peaks = []
        for records in options.records:
            with tempfile.TemporaryDirectory(prefix="llm") as made:
                directory = Path(made)
                seconds, peak, copied = measure(directory, write_parts(directory, format_name, records, step))
            peaks.append(peak)
            row = [
                format_name,
                f"1 of {step}",
                f"{records:,}",
                f"{seconds:.1f}",
                f"{copied:.1f}",
                f"{peak:.1f}",
                f"{peak / peaks[0]:.3f}",
            ]
            table.append(row)
            print(" | ".join(row), flush=True)
    common.print_table(table, ["parts", "rows", "records", "seconds", "of cat", "peak MiB", "ratio"])


if __name__ == "__main__":
    main()
