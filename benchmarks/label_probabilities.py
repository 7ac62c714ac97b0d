"""Compares the label probabilities of `llm sentiment --json` with exact evaluation, for each type of weights.

Exact: the weights of the file, dequantized to F16 and evaluated in that type, as in the divergence that `llm models
tune` measures (BF16 for models that overflow in F16: ``--exact``). Each type labels the same records, drawn at random
from the Amazon snippets of Hutto and Gilbert 2014; ``sentiment_quality.py`` says where to get them.

Figures over all records and labels: the mean and the greatest absolute difference of a probability from the exact one,
and the share of records with another label. ``auto`` labels with what `llm models tune` chose in the user's cache,
which must be no further from exact evaluation than the file itself.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import common
import sentiment_quality

FILE = sentiment_quality.SETS["Amazon"]
TYPES = ("auto", "original", "bf16", "q8_0", "f16")
LABELS = ("positive", "neutral", "negative")


@dataclass(frozen=True)
class Labelling:
    """The labels of the records in order: ``weights`` answered, ``rows`` are probabilities in the order of ``LABELS``."""

    weights: str
    rows: list[list[float]]

    def differences(self, exact: Labelling) -> list[float]:
        """Return the absolute differences of all probabilities."""
        pairs = zip(self.rows, exact.rows, strict=True)
        return [abs(mine - right) for own, others in pairs for mine, right in zip(own, others, strict=True)]

    def other_labels(self, exact: Labelling) -> float:
        """Return the share of records whose most probable label differs."""
        pairs = zip(self.rows, exact.rows, strict=True)
        return sum(own.index(max(own)) != others.index(max(others)) for own, others in pairs) / len(self.rows)


def label(llm: str, model: str, texts: Path, weights: str) -> Labelling:
    """Label the lines of a file with a type of weights, in a fresh process."""
    command = [
        llm,
        "sentiment",
        "--json",
        "--set",
        "worker=off",
        "-m",
        model,
        "--set",
        f"weights={weights}",
        str(texts),
    ]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command)}: exit {done.returncode}: {done.stderr[-500:].decode('utf-8', 'replace')}")
    records = [json.loads(line) for line in done.stdout.splitlines()]
    used = {record["weights"] for record in records}
    rows = [[record["probabilities"][name] for name in LABELS] for record in records]
    return Labelling(", ".join(sorted(used)), rows)


def main() -> None:
    """Label the records and print."""
    parser = common.parser(__doc__ or "")
    parser.add_argument("directory", type=Path, help="hutto_ICWSM_2014")
    parser.add_argument("--count", type=int, default=1000, help="records (default: 1000)")
    parser.add_argument("--types", default=",".join(TYPES), help=f"types of weights (default: {','.join(TYPES)})")
    parser.add_argument("--exact", default="f16", help="the type of exact evaluation (default: f16)")
    options = parser.parse_args()
    lines = (options.directory / f"{FILE}_GroundTruth.txt").read_bytes().decode("utf-8", "replace").splitlines()
    texts = [" ".join(line.split("\t", 2)[2].split()) for line in lines]
    texts = random.Random(0).sample([text for text in texts if text], options.count)  # noqa: S311 (a sample, no secret)
    model = options.model or "smollm2-135m"
    rows = []
    with tempfile.TemporaryDirectory() as name:
        file = Path(name) / "texts.txt"
        file.write_text("\n".join(texts) + "\n")
        exact = label(options.llm, model, file, options.exact)
        for weights in options.types.split(","):
            found = exact if weights == options.exact else label(options.llm, model, file, weights)
            differences = found.differences(exact)
            mean, most = sum(differences) / len(differences), max(differences)
            row = [weights, found.weights, f"{mean:.5f}", f"{most:.4f}", f"{found.other_labels(exact):.3f}"]
            print(*row, flush=True)
            rows.append(row)
    print(common.versions(options.llama_cpp))
    common.print_table(rows, ["--set weights", "answered", "mean difference", "greatest", "other label"])


if __name__ == "__main__":
    main()
