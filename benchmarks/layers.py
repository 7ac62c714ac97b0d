"""Measures the labels by the layer whose hidden states a calibration reads, and what a record of it takes.

For the rated sets see `sentiment_quality.py`: rows whose text has an odd SHA-256. All layers of `--layers` are read in
one evaluation of the prompt of `llm sentiment`, with the scores of its labels. For each layer and each combination of
features, a calibration (`llm sentiment --calibrate`, without the probe that ships with llm) is fitted on `--labels`
rows of each set, in `--splits` random splits, and labels the others: accuracy and expected calibration error in ten
bins, as means over splits and sets. The layer "last" is what calibrations read before they read any other: the states
after the norm, whose mean is over the whole prompt. "both" are the states of all layers of `--layers` together, as
calibrations use them. "ms" is the CPU time of a record in one thread, with what those features need and no more. "of
bound" is the share that its rate has of the rate that multiply-adds allow: that of scores with the states of the last
of `--layers`, for which the whole model and the output matrix are evaluated, times its multiply-adds over those of the
kept layers. They count the tokens that were not in the prefix cache, with attention to the whole prompt. Beside scores,
the states of layer "last" are below the bound, since llama.cpp then computes logits for all tokens.

With `--other TYPE`, the same calibrations label the rows by the weights in that type too. "flips" is the share of rows
whose label differs, "difference" the mean difference of the probabilities.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import common
import numpy as np
from sentiment_quality import SETS, Rated, builtin_prompts, load, open_with_weights, plain_scorer, sample

from llmcli.backends.base import Backend, run_requests
from llmcli.fast_dataclass import replace
from llmcli.models.gguf.header_parser import read_header
from llmcli.settings import ORIGINAL_WEIGHTS
from llmcli.tasks.calibration.calibration import FitOptions, fit
from llmcli.tasks.calibration.calibration_figures import measure_figures
from llmcli.tasks.calibration.feature_blocks import LAST, MEAN, SCORES, state_block
from llmcli.tasks.calibration.feature_set import FeatureSet
from llmcli.tasks.calibration.model_selection import SelectionOptions
from llmcli.tasks.calibration.record_features import record_features
from llmcli.tasks.labels.label_scores import label_logprobs
from llmcli.tasks.labels.scored_records import ScoredRecord, labelled_records
from llmcli.tasks.sentiment import NEGATIVE, POSITIVE, sentiment_spec
from llmcli.types import CandidateScores, Finished, FinishReason, HiddenStates

LABELS = (POSITIVE, NEGATIVE)
COMBINATIONS: dict[str, dict[str, float]] = {
    "last": {LAST: 1.0},
    "last, mean": {LAST: 1.0, MEAN: 0.7},
    "scores, last": {SCORES: 0.5, LAST: 1.0},
    "scores, last, mean": {SCORES: 0.5, LAST: 1.0, MEAN: 0.7},
}


@dataclass(frozen=True)
class Work:
    """What rows took: CPU seconds, tokens of prompts, those that were evaluated, and tokens whose logits were computed."""

    seconds: float
    prompt: int
    evaluated: int
    outputs: int


def count_multiply_adds(model: str, work: Work, rows: int, layers: int | None) -> float:
    """Return the multiply-adds of a row with so many layers of a model; None: all of them and the output matrix."""
    header = read_header(Path(model))
    kept = header.block_count if layers is None else layers
    matrices = [
        math.prod(each.shape) for each in header.tensors if each.name.startswith("blk.") and len(each.shape) > 1
    ]
    heads, size = header.arch_integer("attention.head_count"), header.arch_integer("attention.key_length")
    width = header.arch_integer("embedding_length")
    assert header.block_count is not None and kept is not None and heads is not None and width is not None  # noqa: PT018 (for the type checker)
    attention = 2 * heads * (size or width // heads) * work.prompt / rows
    total = kept * (sum(matrices) / header.block_count + attention) * work.evaluated
    if layers is None:
        (output,) = (math.prod(each.shape) for each in header.tensors if each.name == "token_embd.weight")
        total += output * work.outputs
    return total / rows


def read_features(
    backend: Backend, rows: Rated, layers: Sequence[int], *, scores: bool = True
) -> tuple[FeatureSet, Work]:
    """Return the features of the rows, with the states after each of the layers, and what they took."""
    scorer = plain_scorer(backend, sentiment_spec(builtin_prompts()))
    records, _ = labelled_records([(text, "") for text, _ in rows])
    requests = [
        replace(scorer.make_request(str(each.index), each.text, {}, hidden_states=True), state_layers=tuple(layers))
        for each in records
    ]
    if not scores:
        requests = [replace(each, candidates=()) for each in requests]
    states: dict[str, HiddenStates] = {}
    logprobs: dict[str, Mapping[str, float]] = {}
    prompt = evaluated = outputs = 0
    started = time.process_time()
    for event in run_requests(backend, requests):
        if isinstance(event, HiddenStates):
            states[event.id] = event
        elif isinstance(event, CandidateScores):
            logprobs[event.id] = label_logprobs(event.scores)
            outputs += 1 + sum(each.tokens - 1 for each in event.scores)
        elif isinstance(event, Finished):
            if event.reason is not FinishReason.STOP:
                raise SystemExit(str(event.error))
            prompt += event.usage.prompt_tokens
            evaluated += event.usage.prompt_tokens - event.usage.cached_tokens
    evaluated += max(0, outputs - len(rows))
    work = Work(time.process_time() - started, prompt, evaluated, outputs)
    nothing = dict.fromkeys(scorer.labels, 0.0)
    found = [
        ScoredRecord(each, scorer.correct_scores(logprobs.get(str(each.index), nothing), None), states[str(each.index)])
        for each in records
    ]
    return record_features(found), work


def try_splits(
    features: FeatureSet,
    others: FeatureSet | None,
    targets: np.ndarray,
    weights: Mapping[str, float],
    count: int,
    splits: int,
) -> np.ndarray:
    """Return accuracy, calibration error, flips and difference of probabilities: means over the splits."""
    found = []
    options = FitOptions(
        labels=LABELS, heldout=False, curve=False, selection=SelectionOptions(repeats=1, candidates=[weights])
    )
    for seed in range(splits):
        order = np.random.default_rng(seed).permutation(len(targets))
        known, rest = order[:count], order[count:]
        calibration = fit(features.take(known), [LABELS[target] for target in targets[known]], options)
        shares = calibration.probabilities(features.take(rest))
        figures = measure_figures(shares, targets[rest], LABELS)
        flips = gap = np.nan
        if others is not None:
            again = calibration.probabilities(others.take(rest))
            flips, gap = (again.argmax(axis=1) != shares.argmax(axis=1)).mean(), np.abs(again - shares).mean()
        found.append((figures.accuracy.value, figures.ece.value, flips, gap))
    return np.asarray(np.mean(found, axis=0))


def main() -> None:
    """Read, fit, label and print."""
    parser = common.parser(__doc__ or "")
    parser.add_argument("directory", type=Path, help="hutto_ICWSM_2014")
    parser.add_argument("--layers", type=int, nargs="+", required=True, help="the layers to read, counted from 1")
    parser.add_argument("--count", type=int, default=400, help="rows of each set (default: 400)")
    parser.add_argument("--labels", type=int, default=200, help="labelled rows of each set (default: 200)")
    parser.add_argument("--splits", type=int, default=8, help="random splits (default: 8)")
    parser.add_argument("--timed", type=int, default=60, help="rows whose time is measured (default: 60)")
    parser.add_argument("--sets", nargs="*", default=[*SETS], help="of " + ", ".join(SETS))
    parser.add_argument("--weights", default=ORIGINAL_WEIGHTS, help="a type of weights (default: original)")
    parser.add_argument("--other", help="another type, to compare labels")
    options = parser.parse_args()
    model = common.model_path(options.model)
    sets = {
        title: sample(load(options.directory, name, 1), options.count)
        for title, name in SETS.items()
        if title in options.sets
    }
    timed = next(iter(sets.values()))[: options.timed]
    features: dict[str, dict[str, FeatureSet]] = {}
    works: dict[tuple[int | None, bool], Work] = {}
    for weights in filter(None, (options.weights, options.other)):
        with open_with_weights(model, weights) as backend:
            scores = weights == options.weights
            features[weights] = {}
            for title, rows in sets.items():
                whole, _ = read_features(backend, rows, (), scores=scores)
                layers, _ = read_features(backend, rows, options.layers, scores=scores)
                features[weights][title] = FeatureSet({**layers.blocks, **whole.blocks})
            for layer in (*options.layers, None) if scores else ():
                for scored in (False, True):
                    read_features(backend, timed[:2], () if layer is None else (layer,), scores=scored)  # the prefix
                    _, works[layer, scored] = read_features(
                        backend, timed, () if layer is None else (layer,), scores=scored
                    )
    whole_work = works[options.layers[-1], True]
    seconds_each = whole_work.seconds / count_multiply_adds(model, whole_work, len(timed), None)
    table = []
    for title, layers in (
        *((str(each), (each,)) for each in options.layers),
        ("both", options.layers),
        ("last", (None,)),
    ):
        for name, kinds in COMBINATIONS.items():
            weights_by_block = {
                block: kinds[each]
                for each in kinds
                for block in ([SCORES] if each == SCORES else [state_block(each, layer) for layer in layers])
            }
            work = works[layers[-1], SCORES in kinds]
            is_short = SCORES not in kinds and layers[-1] is not None
            possible = seconds_each * count_multiply_adds(model, work, len(timed), layers[-1] if is_short else None)
            found = []
            for set_name, rows in sets.items():
                targets = np.array([0 if rating > 0 else 1 for _, rating in rows])
                others = None if options.other is None or SCORES in kinds else features[options.other][set_name]
                own = features[options.weights][set_name]
                found.append(try_splits(own, others, targets, weights_by_block, options.labels, options.splits))
            each_set = " ".join(f"{row[0]:.3f}" for row in found)
            accuracy, error, flips, gap = np.mean(found, axis=0)
            spent = [f"{1000 * work.seconds / len(timed):.1f}", f"{possible / work.seconds:.2f}"]
            table.append(
                [title, name, f"{accuracy:.3f}", each_set, f"{error:.3f}", *spent, f"{flips:.3f}", f"{gap:.4f}"]
            )
            print(*table[-1], flush=True)
    header = ["layer", "features", "accuracy", "by set", "ECE", "ms", "of bound", "flips", "difference"]
    common.print_table(table, header)


if __name__ == "__main__":
    main()
