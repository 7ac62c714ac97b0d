"""The speed of a model in each type of its weights on this machine, and the choice of the type for a job.

The engine measures this (``llmcli.engine.tuning``); a command reads it before it starts, so this module imports nothing
that takes time.
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Self

from llmcli.fast_dataclass import asdict, fields, frozen
from llmcli.machine_needs import MachineNeeds
from llmcli.settings import ORIGINAL_WEIGHTS

PROMPT_ROWS, BATCH_ROWS, WIDE_ROWS = 512, 16, 32
"""Tokens of a prompt, and sequences of a batch and of a wide batch, in the measurements."""
_MAX_DIVERGENCE, _MAX_DIVERGENCE_RATIO = 0.005, 1.5
"""A type may diverge from exact evaluation by ``_MAX_DIVERGENCE`` nats, or by this ratio more than the file itself."""
_MIN_GAIN = 0.9
"""Other weights than the original ones must reduce the time of a job to this fraction."""
_FORMAT = 1


@frozen
class StepTimes:
    """Seconds a token: of a prompt of ``PROMPT_ROWS``, of a lone sequence, of batches of 16 and of 32 sequences."""

    prompt: float
    single: float
    batch: float
    wide: float

    def step_seconds(self, rows: float) -> float:
        """Return the seconds of one evaluation of that many tokens, between the measured numbers linearly."""
        points = (
            (1, self.single),
            (BATCH_ROWS, BATCH_ROWS * self.batch),
            (WIDE_ROWS, WIDE_ROWS * self.wide),
            (PROMPT_ROWS, PROMPT_ROWS * self.prompt),
        )
        for (low, low_s), (high, high_s) in itertools.pairwise(points):
            if rows <= high:
                return low_s + (high_s - low_s) * (max(1, rows) - low) / (high - low)
        return rows * self.prompt


@frozen
class JobSize:
    """The size of a job: tokens of all prompts (common prefixes once), of all answers, and sequences at once."""

    prompt_tokens: int
    answer_tokens: int
    concurrency: int = 1

    def seconds(self, times: StepTimes) -> float:
        """Return the seconds that evaluating the weights takes."""
        full, rest = divmod(self.prompt_tokens, PROMPT_ROWS)
        prompts = full * times.step_seconds(PROMPT_ROWS) + (times.step_seconds(rest) if rest else 0.0)
        return prompts + self.answer_tokens / self.concurrency * times.step_seconds(self.concurrency)


REPRESENTATIVE_JOBS: Mapping[str, JobSize] = {
    "short answers": JobSize(40, 64),
    "long prompts": JobSize(4096, 128),
    "16 at once": JobSize(16 * 128, 16 * 128, BATCH_ROWS),
    "scoring": JobSize(400 * 20, 0, BATCH_ROWS),
}
"""The kinds of work for which ``llm models tune`` chooses weights: a question, a document, many answers, many
records."""


@frozen
class WeightsMeasurement:
    """One type of weights: bytes of the file, speed, seconds to load it, and divergence from exact evaluation.

    ``divergence``: mean Kullback-Leibler divergence in nats; None: not measured. It is 0 by definition for a type that
    evaluates the weights of the file as they are, where that of the file was not measured.
    """

    size: int
    times: StepTimes
    load_s: float
    divergence: float | None = None

    @classmethod
    def from_json(cls, data: Any) -> Self:
        """Read the output of ``asdict``. Raises ``ValueError``, ``TypeError`` or ``KeyError`` for other data."""
        times = StepTimes(*(parse_positive(data["times"][each.name]) for each in fields(StepTimes)))
        divergence = data["divergence"]
        return cls(
            int(parse_positive(data["size"])),
            times,
            parse_positive(data["load_s"]),
            None if divergence is None else parse_number(divergence),
        )


@frozen
class WeightsTable:
    """What was measured of a model: by type, with the original among them."""

    types: Mapping[str, WeightsMeasurement]

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {name: asdict(each) for name, each in self.types.items()}

    @classmethod
    def from_json(cls, data: Any) -> Self:
        """Read the output of ``to_json``. Raises as ``WeightsMeasurement.from_json``."""
        types = {str(name): WeightsMeasurement.from_json(each) for name, each in data.items()}
        types[ORIGINAL_WEIGHTS]  # must be there
        return cls(types)

    @property
    def faithful(self) -> tuple[str, ...]:
        """The types that diverge from exact evaluation little enough to be used, the original among them."""
        own = self.types[ORIGINAL_WEIGHTS].divergence
        limit = max(_MAX_DIVERGENCE, _MAX_DIVERGENCE_RATIO * (own or 0.0))
        return tuple(
            name
            for name, each in self.types.items()
            if name == ORIGINAL_WEIGHTS
            or each.divergence == 0
            or (own is not None and each.divergence is not None and each.divergence <= limit)
        )

    def choose(self, job: JobSize, available: Collection[str], loaded: Collection[str] = ()) -> str:
        """Return the fastest of the ``available`` faithful types for a job; the original unless another saves a tenth.

        Types that are not among the ``loaded`` ones have to be loaded first. A job without answers only reads
        probabilities and states, so for it a type must diverge no more than the original does.
        """
        own = self.types[ORIGINAL_WEIGHTS].divergence

        def seconds(name: str) -> float:
            each = self.types[name]
            return job.seconds(each.times) + (0.0 if name in loaded else each.load_s)

        def suits(name: str) -> bool:
            divergence = self.types[name].divergence
            exact_enough = job.answer_tokens or (divergence is not None and divergence <= (own or 0.0))
            return name == ORIGINAL_WEIGHTS or (name in available and bool(exact_enough))

        best = min(filter(suits, self.faithful), key=seconds)
        return best if seconds(best) <= _MIN_GAIN * seconds(ORIGINAL_WEIGHTS) else ORIGINAL_WEIGHTS

    def choices(self) -> dict[str, str]:
        """Return the best type for each kind of work in ``REPRESENTATIVE_JOBS``, once it is loaded."""
        return {work: self.choose(job, self.types, self.types) for work, job in REPRESENTATIVE_JOBS.items()}


def read_profile_json(path: Path) -> Any:
    """Return the content of a profile, None without a usable one."""
    try:
        data = json.loads(path.read_bytes())
        return data if data["format"] == _FORMAT else None
    except (OSError, ValueError, TypeError, KeyError, RecursionError):  # errors of damaged JSON
        return None


def load_weights_table(path: Path) -> WeightsTable | None:
    """Read the part of a profile about weights; None if there is none, or if it is unusable."""
    data = read_profile_json(path)
    try:
        return None if data is None else WeightsTable.from_json(data["weights"])
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError):
        return None


def dump_profile(content: Mapping[str, Any]) -> bytes:
    """Return the bytes of a profile with this content."""
    return json.dumps({"format": _FORMAT, **content}).encode()


def parse_number(value: Any) -> float:
    """Return a finite number. Raises ``ValueError`` or ``TypeError``."""
    number = float(value)
    if not math.isfinite(number):
        raise ValueError("not finite")
    return number


def parse_positive(value: Any) -> float:
    """Return a finite number that is not negative. Raises ``ValueError`` or ``TypeError``."""
    number = parse_number(value)
    if number < 0:
        raise ValueError("negative")
    return number


_CHARACTERS_PER_TOKEN = 4
_UNKNOWN_CHARACTERS = 4000
"""Characters of an input that is read while it arrives."""
_INSTRUCTION_TOKENS = 60
_FEW_SHOT_TOKENS = 250
"""Tokens that all prompts of a classification share."""
_SEGMENT_CHARACTERS = 300
_TRANSLATION_GROWTH = 1.3
"""Tokens of prompts and answers for each token of a document: instructions repeat, and other languages take more."""


def estimate_job(needs: MachineNeeds, characters: int | None, max_tokens: int | None) -> JobSize:
    """Return the size of a job of a command; ``characters`` of its input, None if unknown."""
    if needs.serves:
        return REPRESENTATIVE_JOBS["16 at once"]
    size = _UNKNOWN_CHARACTERS if characters is None else characters
    tokens = size // _CHARACTERS_PER_TOKEN
    if needs.labels:
        return JobSize(_FEW_SHOT_TOKENS + tokens, 0, BATCH_ROWS)
    if needs.translates:
        grown = int(_TRANSLATION_GROWTH * tokens)
        return JobSize(_INSTRUCTION_TOKENS + grown, grown, min(BATCH_ROWS, 1 + size // _SEGMENT_CHARACTERS))
    answer = needs.answer_tokens
    return JobSize(_INSTRUCTION_TOKENS + tokens, min(answer, max_tokens or answer))
