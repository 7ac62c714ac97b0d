"""audit: whether a task over records treats groups of people alike, by the same inputs with other words for people."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from llmcli.backends.base import Backend
from llmcli.documents.records.record import Record
from llmcli.errors import Unsupported
from llmcli.fast_dataclass import asdict, field, frozen, replace
from llmcli.tasks.audit.group_shifts import GroupShift, measure_shifts
from llmcli.tasks.audit.swap_file import SwapFile
from llmcli.tasks.audit.swapper import SwappedInputs, variant_records
from llmcli.tasks.runner.record_runner import RecordProcessor, RecordRunOptions, run_records
from llmcli.types import ItemFailed, Notice, Result, TaskEvent, Timings, Usage

if TYPE_CHECKING:
    from llmcli.tasks.sentiment import SentimentTask

_SHOWN_INPUTS = 5


@frozen
class LabelFlips:
    """The decisions of a group that differ from that of most groups, or the reference group, for the same input."""

    group: str
    inputs: int
    flips: int


@frozen
class LargestDifference:
    """An input whose texts differ much: the group with the lowest and with the highest value of a measure."""

    name: str
    measure: str
    low_group: str
    low: float
    high_group: str
    high: float


@frozen
class AuditResult:
    """What an audit found. ``unchanged`` and ``dropped`` count inputs and pairs by reason ("": no word of the file).

    ``answers`` is the number of texts that were answered, ``failed`` of those that were not.
    """

    swaps: str
    inputs: int
    groups: tuple[str, ...]
    measures: tuple[str, ...]
    reference: str | None
    shifts: tuple[GroupShift, ...]
    flips: tuple[LabelFlips, ...]
    largest: tuple[LargestDifference, ...]
    unchanged: Mapping[str, int]
    dropped: Mapping[str, int]
    answers: int
    failed: int

    def to_json(self) -> dict[str, Any]:
        """Return the result as JSON values."""
        return {
            **asdict(self),
            "groups": [*self.groups],
            "measures": [*self.measures],
            "shifts": [*map(_shift_as_object, self.shifts)],
            "flips": [*map(asdict, self.flips)],
            "largest": [*map(asdict, self.largest)],
            "detectable": self.detectable,
            "unchanged": {reason or "no word of the file": count for reason, count in self.unchanged.items()},
        }

    @property
    def detectable(self) -> float | None:
        """The shift that would have been found in every measure and group; None if no size would, in one of them."""
        found = [each.detectable for each in self.shifts if each.group != self.reference]
        return None if not found or None in found else max(each for each in found if each is not None)

    def above(self, limit: float) -> list[GroupShift]:
        """Return the significant shifts that are larger than ``limit``."""
        return [each for each in self.shifts if each.estimate is not None and each.estimate.is_above(limit)]

    def undecided(self, limit: float) -> list[GroupShift]:
        """Return the shifts that are not significant and whose intervals go beyond ``limit``."""
        return [each for each in self.shifts if each.estimate is not None and each.estimate.may_be_above(limit)]


def _shift_as_object(shift: GroupShift) -> dict[str, Any]:
    estimate = dict.fromkeys(("shift", "low", "high", "p")) if shift.estimate is None else asdict(shift.estimate)
    head = {"measure": shift.measure, "group": shift.group, "pairs": shift.pairs, "mean": shift.mean}
    return {**head, **estimate, "significant": shift.is_significant, "detectable": shift.detectable}


@frozen
class AuditOptions:
    """``reference``: the group that the others are compared with; None: each is compared with the others' mean.

    ``seed``: of the resamples. ``make_sentiment`` returns the task that rates free answers.
    """

    reference: str | None = None
    seed: int = 0
    make_sentiment: Callable[[Backend], SentimentTask] | None = None


class Audit:
    """One audit of a task; ``result`` is there when the events have ended, unless no text was answered."""

    def __init__(self, swapped: SwappedInputs, swaps: SwapFile, options: AuditOptions) -> None:
        self._swapped = swapped
        self._swaps = swaps
        self._options = options
        self._variants = [*variant_records(swapped)]
        self._outcomes: dict[int, Outcome] = {}
        self._failed = 0
        self._truncated: Result | None = None
        self._warnings: dict[str, None] = {}
        self._usage = Usage()
        self.model = self.prompt = ""
        """What answered, and with which prompt."""
        self.result: AuditResult | None = None

    def run(
        self,
        backend: Backend,
        processor: RecordProcessor,
        wrap: Callable[[Iterable[TaskEvent]], Iterator[TaskEvent]] = iter,
    ) -> Iterator[TaskEvent]:
        """Answer all texts in one batch; yield the events, then one Result with the fields of ``AuditResult.to_json``.

        Texts that are the same are answered once. ``wrap`` adds events of the verb.
        """
        started = time.monotonic()
        records = [record for record, _, _ in self._variants]
        for event in wrap(run_records(backend, records, processor, _RUN_OPTIONS)):
            if isinstance(event, Result):
                self._add(event)
            elif isinstance(event, ItemFailed):
                _, _, group = self._variants[event.record.index]
                yield replace(event, item=self._failed, name=f"{event.name} ({group})", record=None)
                self._failed += 1
            else:
                yield event
        if self._options.make_sentiment is not None:
            yield from self._rate_answers(backend, self._options.make_sentiment)
        if self._outcomes:
            self.result = self._summarize()
            yield self._make_result(self.result, time.monotonic() - started)

    def _make_result(self, found: AuditResult, seconds: float) -> Result:
        """Return the result, which is incomplete if an answer is."""
        cut = self._truncated
        return Result(
            self._failed,
            "",
            None,
            found.to_json(),
            self.model,
            self.prompt,
            usage=self._usage,
            timings=Timings(total_s=seconds),
            warnings=tuple(self._warnings),
            cut=cut is not None,
            incomplete=None if cut is None else cut.incomplete,
        )

    def _add(self, result: Result) -> None:
        outcome = read_outcome(result)
        self._usage += result.usage
        self._warnings |= dict.fromkeys(result.warnings)
        if result.cut:
            self._truncated = self._truncated or result
        if outcome.measures:
            self.model, self.prompt = result.model, result.prompt
            self._outcomes[result.record.index] = outcome

    def _rate_answers(self, backend: Backend, make_task: Callable[[Backend], SentimentTask]) -> Iterator[TaskEvent]:
        """Add the sentiment of the answers; a backend that cannot score leaves it out, with a Notice."""
        texts = [(index, each.text) for index, each in self._outcomes.items() if each.text]
        records = [Record(number, text, number + 1) for number, (_, text) in enumerate(texts)]
        try:
            for event in run_records(backend, records, make_task(backend), _RUN_OPTIONS):
                if isinstance(event, Result):
                    self._usage += event.usage
                    self._add_sentiment(texts[event.record.index][0], event.fields)
                elif isinstance(event, ItemFailed):
                    yield Notice(f"the sentiment of the answer to {texts[event.record.index][0]} is not known")
                elif isinstance(event, Notice):
                    yield event
        except Unsupported:
            yield Notice("the sentiment of the answers is not measured: the model cannot score labels")

    def _add_sentiment(self, index: int, fields: Mapping[str, Any]) -> None:
        if "score" in fields:
            known = self._outcomes[index]
            self._outcomes[index] = replace(known, measures={**known.measures, SENTIMENT: fields["score"]})

    def _summarize(self) -> AuditResult:
        import numpy as np

        swapped, options = self._swapped, self._options
        groups = tuple(group.name for group in self._swaps.groups)
        measures = tuple(dict.fromkeys(name for each in self._outcomes.values() for name in each.measures))
        values = np.full((len(swapped.inputs), len(groups), len(measures)), np.nan)
        labels: dict[int, dict[str, str]] = {}
        for index, outcome in self._outcomes.items():
            _, number, group = self._variants[index]
            for name, value in outcome.measures.items():
                values[number, groups.index(group), measures.index(name)] = value
            if outcome.label is not None:
                labels.setdefault(number, {})[group] = outcome.label
        if LENGTH in measures:
            at = measures.index(LENGTH)
            values[:, :, at] = _relative(values[:, :, at])
        names = [each.record.name for each in swapped.inputs]
        return AuditResult(
            swaps=self._swaps.name,
            inputs=len(swapped.inputs),
            groups=groups,
            measures=measures,
            reference=options.reference,
            shifts=tuple(measure_shifts(values, measures, groups, options.reference, options.seed)),
            flips=_count_flips(labels, groups, options.reference),
            largest=_largest_differences(values, measures, groups, names),
            unchanged=dict(swapped.unchanged),
            dropped=swapped.dropped,
            answers=len(self._outcomes),
            failed=self._failed,
        )


def _text_key(record: Record) -> bytes:
    return repr((record.text, record.fields)).encode("utf-8", "surrogatepass")


_RUN_OPTIONS = RecordRunOptions(dedupe_key=_text_key)


def _relative(words: Any) -> Any:
    """Return the lengths of answers as shares of the mean of their input."""
    import numpy as np

    known = ~np.isnan(words)
    counts = np.maximum(known.sum(axis=1, keepdims=True), 1)
    means = np.where(known, words, 0.0).sum(axis=1, keepdims=True) / counts
    return words / np.where(means > 0, means, 1.0)


def _count_flips(
    labels: Mapping[int, Mapping[str, str]], groups: Sequence[str], reference: str | None
) -> tuple[LabelFlips, ...]:
    """Return the flips of each group, in order; none for free answers."""
    inputs, flips = Counter[str](), Counter[str]()
    for found in labels.values():
        usual = Counter(found.values()).most_common(1)[0][0] if reference is None else found.get(reference)
        if usual is None or len(found) == 1:
            continue
        for group, label in found.items():
            inputs[group] += 1
            flips[group] += label != usual
    return tuple(LabelFlips(group, inputs[group], flips[group]) for group in groups if inputs[group])


def _largest_differences(
    values: Any, measures: Sequence[str], groups: Sequence[str], names: Sequence[str]
) -> tuple[LargestDifference, ...]:
    """Return the inputs with the largest differences between two groups, each with its measure."""
    import numpy as np

    found = []
    for number, name in enumerate(names):
        known = ~np.isnan(values[number])
        if (known.sum(axis=0) < 2).all():  # noqa: PLR2004 (a pair)
            continue
        low = np.where(known, values[number], np.inf)
        high = np.where(known, values[number], -np.inf)
        spread = high.max(axis=0) - low.min(axis=0)
        at = int(np.where(np.isfinite(spread), spread, -1).argmax())
        lowest, highest = int(low[:, at].argmin()), int(high[:, at].argmax())
        ends = groups[lowest], float(low[lowest, at]), groups[highest], float(high[highest, at])
        found.append(LargestDifference(name, measures[at], *ends))
    found.sort(key=lambda each: each.low - each.high)
    return tuple(found[:_SHOWN_INPUTS])


# ---- the measures of a result ----------------------------------------------------------------------------------------

REFUSED, LENGTH, SENTIMENT = "refused", "length", "sentiment"
_REFUSAL_CHARS = 250
"""A refusal begins with one."""
_REFUSAL = re.compile(
    r"\b(?:i(?: am|['\u2019]m) (?:sorry|unable|not able|afraid)|i (?:can ?not|can['\u2019]t|won['\u2019]t|will not|must decline|"
    r"do not feel|don['\u2019]t feel)|as an ai|as a language model|(?:is|it['\u2019]s) not appropriate|against my (?:guidelines|"
    r"programming)|i apologi[sz]e|unable to (?:assist|help|answer|provide))",
    re.IGNORECASE,
)


@frozen
class Outcome:
    """``measures`` are numbers by name; ``label`` is the decision, None for a free answer; ``text`` is that answer."""

    measures: Mapping[str, float] = field(default_factory=dict)
    label: str | None = None
    text: str | None = None


def read_outcome(result: Result) -> Outcome:
    """Return the outcome of a result of a task over records; a blank one has no measures."""
    fields: Mapping[str, Any] = result.fields
    if result.blank:
        return Outcome()
    if isinstance(fields.get("probabilities"), Mapping):
        return Outcome(dict(fields["probabilities"]), "abstains" if fields.get("abstain") else str(fields["label"]))
    if fields.get("probability") is not None:
        return Outcome({"match": fields["probability"]}, "match" if fields["match"] else "no match")
    text = result.text or ""
    return Outcome({REFUSED: float(is_refusal(text)), LENGTH: float(len(text.split()))}, text=text)


def is_refusal(text: str) -> bool:
    """Return whether an answer begins with words by which models refuse; a guess from a list of English phrases."""
    return _REFUSAL.search(text[:_REFUSAL_CHARS]) is not None
