"""Measures whether the same records get the same labels, at what cost, and how far types of weights disagree.

Identity: the records are labelled at once by two threads in a fresh engine. That is the reference for one thread,
another order, a second run in the same engine, some of them alone in fresh engines, and a worker. A row counts as
different if a probability differs at all.

Rate: processor seconds of one thread without the rule (`engine/schedule/invariant_batches.py`), divided by those with
it, for records that are scored by the shipped probe, and for `llm classify` with short and long labels; pairs run one
after the other.

Types: the share of rows whose label differs between two types of weights (at most 1%), and the mean absolute difference
of their probabilities (at most 0.01), on the sets that `sentiment_quality.py` describes.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import random
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from unittest import mock

import common
from sentiment_quality import SETS, builtin_prompts, load, options_with_weights, sample

from llmcli.documents.records.record import Record
from llmcli.engine import engine_setup
from llmcli.engine.engine import Engine
from llmcli.fast_dataclass import replace
from llmcli.settings import DERIVED_TYPES, ORIGINAL_WEIGHTS
from llmcli.tasks.classify import PROMPT, ClassifySpec
from llmcli.tasks.labels.label_set import parse_label_names
from llmcli.tasks.runner.record_runner import run_records
from llmcli.tasks.runner.task_requests import GenerationOptions
from llmcli.tasks.sentiment import sentiment_spec
from llmcli.types import Result

TYPES = (ORIGINAL_WEIGHTS, *DERIVED_TYPES)
ALONE = 5
LABELS = {"short labels": "positive,negative", "long labels": "very good product,poor quality,neither good nor bad"}

Rows = list[dict[str, float]]


@contextlib.contextmanager
def engine(model: str, weights: str, threads: int, *, invariant: bool = True) -> Iterator[Engine]:
    """Yield a fresh engine; ``invariant`` False: requests that generate nothing are evaluated as others."""
    options = replace(options_with_weights(model, weights), threads=threads)
    plan = engine_setup.plan_scoring if invariant else lambda *_: None
    with mock.patch.object(engine_setup, "plan_scoring", plan):
        backend = Engine(Path(model), "m", common.model_id(model), options, lambda: None)
        try:
            backend.info()
            yield backend
        finally:
            backend.close()


def label(backend: Engine, texts: Sequence[str], labels: str = "") -> Rows:
    """Return the probabilities of each text: of `llm sentiment`, or of `llm classify` with ``labels``."""
    prompts = builtin_prompts()
    spec = ClassifySpec(prompts.get(PROMPT), parse_label_names(labels)) if labels else sentiment_spec(prompts)
    verb = spec.make_task(spec.make_scorer(backend, GenerationOptions()))
    records = [Record(index, text, index + 1) for index, text in enumerate(texts)]
    found = [each for each in run_records(backend, records, verb) if isinstance(each, Result)]
    if len(found) != len(texts):
        raise SystemExit(f"{len(texts) - len(found)} rows failed")
    return [dict(each.fields["probabilities"]) for each in found]


def label_by_worker(llm: str, model: str, texts: Sequence[str], weights: str) -> Rows:
    """Return the probabilities that the command line prints, from a worker that it starts and stops."""
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory, "texts.txt")
        file.write_text("".join(f"{' '.join(text.split())}\n" for text in texts), encoding="utf-8")
        command = [llm, "sentiment", "--json", "-m", model, "--set", f"weights={weights}", str(file)]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=True, env=dict(os.environ))
        subprocess.run([llm, "worker", "stop"], stdin=subprocess.DEVNULL, capture_output=True, check=True)
    return [json.loads(line)["probabilities"] for line in done.stdout.splitlines()]


def compare_conditions(llm: str, model: str, texts: Sequence[str], weights: str) -> list[list[str]]:
    """Return a row for each condition: how many rows differ, and by how much at most."""
    texts = [" ".join(text.split()) for text in texts]
    order = random.Random(0).sample(range(len(texts)), len(texts))  # noqa: S311 (an order, no secret)
    with engine(model, weights, 2) as backend:
        expected = label(backend, texts)
        found = {"again, warm": label(backend, texts)}
        shuffled = label(backend, [texts[index] for index in order])
    found["other order"] = [shuffled[order.index(index)] for index in range(len(texts))]
    with engine(model, weights, 1) as backend:
        found["one thread"] = label(backend, texts)
    found["alone, cold"] = []
    for text in texts[:ALONE]:
        with engine(model, weights, 2) as backend:
            found["alone, cold"] += label(backend, [text])
    found["worker"] = label_by_worker(llm, model, texts, weights)
    rows = []
    for name, others in found.items():
        gaps = [max(abs(a[key] - b[key]) for key in a) for a, b in zip(expected, others, strict=False)]
        rows.append([weights, name, str(len(gaps)), str(sum(gap > 0 for gap in gaps)), f"{max(gaps):.6f}"])
    return rows


def compare_rates(model: str, texts: Sequence[str], weights: str, runs: int) -> list[list[str]]:
    """Return a row for each kind of records: the rate with the rule divided by that without it."""
    rows = []
    for name, labels in {"sentiment": "", **LABELS}.items():
        ratios = []
        for _ in range(runs):
            seconds = []
            for invariant in (False, True):
                with engine(model, weights, 1, invariant=invariant) as backend:
                    started = time.process_time()
                    label(backend, texts, labels)
                    seconds.append(time.process_time() - started)
            ratios.append(seconds[0] / seconds[1])
        rows.append([weights, name, f"{statistics.median(ratios):.2f}", f"{min(ratios):.2f} to {max(ratios):.2f}"])
    return rows


def compare_types(model: str, sets: dict[str, list[str]], types: Sequence[str]) -> list[list[str]]:
    """Return a row for each set and pair of types: flips, and the mean difference of probabilities."""
    found: dict[str, dict[str, Rows]] = {}
    for weights in types:
        with engine(model, weights, 2) as backend:
            found[weights] = {name: label(backend, texts) for name, texts in sets.items()}
    rows = []
    for name, (first, second) in itertools.product(sets, itertools.combinations(types, 2)):
        pairs = list(zip(found[first][name], found[second][name], strict=True))
        flips = sum(max(a, key=a.__getitem__) != max(b, key=b.__getitem__) for a, b in pairs) / len(pairs)
        gap = statistics.fmean(abs(a[key] - b[key]) for a, b in pairs for key in a)
        rows.append([name, f"{first} - {second}", str(len(pairs)), f"{flips:.2%}", f"{gap:.4f}"])
    return rows


def main() -> None:
    """Label and print."""
    parser = common.parser(__doc__ or "", runs=3)
    parser.add_argument("directory", type=Path, help="hutto_ICWSM_2014")
    parser.add_argument("--count", type=int, default=600, help="rows of each set for the types (default: 600)")
    parser.add_argument("--rows", type=int, default=150, help="rows for identity and rates (default: 150)")
    parser.add_argument("--types", default=",".join(TYPES), help=f"types of weights (default: {','.join(TYPES)})")
    parser.add_argument("--only", choices=["identity", "rate", "types"], help="one of the parts (default: all)")
    options = parser.parse_args()
    model, types = common.model_path(options.model), options.types.split(",")
    texts = [text for text, _ in sample(load(options.directory, SETS["Amazon"], 1), options.rows)]
    if options.only in {None, "identity"}:
        rows = [row for each in types for row in compare_conditions(options.llm, model, texts, each)]
        common.print_table(rows, ["weights", "condition", "rows", "different", "largest difference"])
    if options.only in {None, "rate"}:
        rows = [row for each in types for row in compare_rates(model, texts, each, options.runs)]
        common.print_table(rows, ["weights", "records", "rate, times that without", "range"])
    if options.only in {None, "types"}:
        sets = {name: [t for t, _ in sample(load(options.directory, SETS[name], 1), options.count)] for name in SETS}
        common.print_table(compare_types(model, sets, types), ["set", "types", "rows", "flips", "mean difference"])


if __name__ == "__main__":
    main()
