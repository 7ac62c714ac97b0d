"""Measures the labels of `llm sentiment` and `llm classify` without labels of the user, on four sets that people rated.

The sets are those of Hutto and Gilbert 2014 (VADER: A Parsimonious Rule-based Model for Sentiment Analysis of Social
Media Text), which the source archive of `vaderSentiment` 3.3.2 on the Python Package Index holds, in
`additional_resources/hutto_ICWSM_2014.tar.gz`. They are not shipped here: unpack them and name the directory.

Prompts and prior correction were developed on the rows whose text has an even SHA-256; the figures are those of the odd
rows. Accuracy: the share of rows with an absolute rating above 0.5 whose P(positive) > P(negative) agrees with the sign
of the rating. ECE: expected calibration error of P(positive) / (P(positive) + P(negative)) in ten bins of equal width
(Guo et al. 2017, On Calibration of Modern Neural Networks).

``--weights TYPE`` labels with a copy of the weights in that type, which is made in the user's cache if it is missing.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import random
import tempfile
from collections.abc import Iterator
from pathlib import Path

import common

from llmcli.app_paths import DERIVED_DIRECTORY, find_paths
from llmcli.backends.base import Backend
from llmcli.config.engine_options import EngineOptions
from llmcli.documents.records.record import Record
from llmcli.fast_dataclass import replace
from llmcli.interrupt import Interrupt
from llmcli.models.library.derived_weights import DerivedWeightsStore
from llmcli.prompts.prompt_library import PromptLibrary, builtin_directory
from llmcli.settings import ORIGINAL_WEIGHTS
from llmcli.tasks.classify import PROMPT, ClassifySpec
from llmcli.tasks.labels.label_scorer import LabelScorer, ScorerOptions
from llmcli.tasks.labels.label_set import parse_label_names
from llmcli.tasks.labels.label_spec import LabelSpec
from llmcli.tasks.runner.record_runner import run_records
from llmcli.tasks.runner.task_requests import GenerationOptions
from llmcli.tasks.sentiment import NEGATIVE, POSITIVE, sentiment_spec
from llmcli.types import Result

SETS = {
    "Amazon": "amazonReviewSnippets",
    "films": "movieReviewSnippets",
    "editorials": "nytEditorialSnippets",
    "tweets": "tweets",
}
MIN_RATING = 0.5
BINS = 10

Rated = list[tuple[str, float]]


def load(directory: Path, name: str, parity: int) -> Rated:
    """Return (text, rating from -4 to 4) of the clearly rated rows whose text has a SHA-256 of this parity."""
    rows = []
    for line in (directory / f"{name}_GroundTruth.txt").read_bytes().decode("utf-8", "replace").splitlines():
        _, rating, text = (*line.split("\t", 2), "", "")[:3]
        if not text.strip() or abs(float(rating)) <= MIN_RATING:
            continue
        if int(hashlib.sha256(text.encode()).hexdigest(), 16) % 2 == parity:
            rows.append((text, float(rating)))
    return rows


def sample(rows: Rated, count: int | None) -> Rated:
    """Return ``count`` of the rows, always the same; all of them if there are no more or it is None."""
    if count is None or count >= len(rows):
        return rows
    return random.Random(0).sample(rows, count)  # noqa: S311 (a sample, no secret)


def expected_calibration_error(confidences: list[float], correct: list[bool]) -> float:
    """Return the mean absolute difference of confidence and accuracy over the bins, weighted by their rows."""
    bins: list[list[tuple[float, bool]]] = [[] for _ in range(BINS)]
    for confidence, right in zip(confidences, correct, strict=True):
        bins[min(BINS - 1, int(confidence * BINS))].append((confidence, right))
    gaps = (abs(sum(share for share, _ in each) - sum(right for _, right in each)) for each in bins)
    return sum(gaps) / len(confidences)


@contextlib.contextmanager
def open_with_weights(model: str, weights: str) -> Iterator[Backend]:
    """Yield an engine with a type of weights; with original weights nothing is kept in the cache."""
    with tempfile.TemporaryDirectory() as kept:
        options = options_with_weights(model, weights)
        with common.open_engine(model, replace(options, cache=options.cache or Path(kept))) as backend:
            yield backend


def options_with_weights(model: str, weights: str) -> EngineOptions:
    """Return options with a type of weights; a copy is made in the user's cache if it is missing."""
    if weights == ORIGINAL_WEIGHTS:
        return EngineOptions()
    from llmcli.engine.derivation import DerivationSource, derive_copy

    cache = find_paths(os.environ).cache
    source = DerivationSource(Path(model), "m", common.model_id(model))
    derive_copy(source, weights, DerivedWeightsStore(cache / DERIVED_DIRECTORY, limit_bytes=4 << 30), Interrupt())
    return EngineOptions(cache=cache, weights=weights)


def builtin_prompts() -> PromptLibrary:
    """Return the built-in prompt files, without the user's."""
    return PromptLibrary(builtin_directory())


def plain_scorer(backend: Backend, spec: LabelSpec) -> LabelScorer:
    """Return the scorer of a command without its probe, and without correction of the prior."""
    options = ScorerOptions(spec.variables, spec.examples, corrects_prior=False)
    return LabelScorer(backend, spec.prompt, spec.names, GenerationOptions(), options)


def main() -> None:
    """Label the rows and print."""
    parser = common.parser(__doc__ or "")
    parser.add_argument("directory", type=Path, help="hutto_ICWSM_2014")
    parser.add_argument("--set", choices=[*SETS], action="append", help="one of the sets, repeatable (default: all)")
    parser.add_argument("--count", type=int, help="rows of each set, drawn at random (default: all)")
    parser.add_argument("--even", action="store_true", help="the rows that prompts were developed on")
    parser.add_argument("--no-prior", action="store_true", help="without prior correction")
    parser.add_argument("--weights", default=ORIGINAL_WEIGHTS, help="a type of weights (default: original)")
    parser.add_argument("--classify", action="store_true", help="llm classify --labels positive,negative")
    options = parser.parse_args()
    model = common.model_path(options.model)
    table = []
    with open_with_weights(model, options.weights) as backend:
        prompts = builtin_prompts()
        if options.classify:
            spec = ClassifySpec(prompts.get(PROMPT), parse_label_names(f"{POSITIVE},{NEGATIVE}"))
        else:
            spec = sentiment_spec(prompts)
        scorer = plain_scorer(backend, spec) if options.no_prior else spec.make_scorer(backend, GenerationOptions())
        verb = spec.make_task(scorer)
        for title in options.set or SETS:
            name = SETS[title]
            rows = sample(load(options.directory, name, 0 if options.even else 1), options.count)
            records = [Record(index, text, index + 1) for index, (text, _) in enumerate(rows)]
            found = [each for each in run_records(backend, records, verb) if isinstance(each, Result)]
            if len(found) != len(rows):
                raise SystemExit(f"{len(rows) - len(found)} rows of {name} failed")
            confidences, correct = [], []
            for result, (_, rating) in zip(found, rows, strict=True):
                good, bad = (result.fields["probabilities"][label] for label in (POSITIVE, NEGATIVE))
                share = good / (good + bad)
                confidences.append(max(share, 1 - share))
                correct.append((share > 0.5) == (rating > 0))
            error = expected_calibration_error(confidences, correct)
            accuracy = sum(correct) / len(correct)
            table.append([title, str(len(rows)), f"{accuracy:.3f}", f"{error:.3f}"])
            print(*table[-1], flush=True)
    common.print_table(table, ["set", "rows", "accuracy", "ECE"])


if __name__ == "__main__":
    main()
