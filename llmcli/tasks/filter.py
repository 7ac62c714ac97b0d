"""filter: whether a statement holds for each record, with its probability, by scoring and without generating."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from llmcli.documents.records.record import ColumnType, Record, value_as_text
from llmcli.fast_dataclass import asdict, frozen, replace
from llmcli.prompts.prompt_file import Prompt
from llmcli.tasks.labels.label_scorer import LabelScorer
from llmcli.tasks.labels.label_spec import LabelOptions, LabelSpec, UnknownLabel
from llmcli.tasks.labels.long_texts import TextSplitter
from llmcli.tasks.labels.multi_label_scorer import MultiLabelScorer
from llmcli.tasks.runner.record_runner import RecordProcessor
from llmcli.tasks.runner.task_run import TaskRun
from llmcli.types import Request, Result

PROMPT = "filter"
MATCH = "match"
DEFAULT_THRESHOLD = 0.5
_TRUE, _FALSE = frozenset({"yes", "true", "1"}), frozenset({"no", "false", "0"})


@frozen
class FilterQuery:
    """``statement`` and all of ``conjuncts`` and none of ``excluded`` hold, or any of ``alternatives`` does.

    A record matches from a probability of ``threshold``; with ``invert``, below it.
    """

    statement: str
    conjuncts: tuple[str, ...] = ()
    alternatives: tuple[str, ...] = ()
    excluded: tuple[str, ...] = ()
    invert: bool = False
    threshold: float = DEFAULT_THRESHOLD

    @property
    def statements(self) -> tuple[str, ...]:
        """All statements, each once."""
        return tuple(dict.fromkeys([self.statement, *self.conjuncts, *self.excluded, *self.alternatives]))

    def combine(self, probabilities: Mapping[str, float]) -> float:
        """Return the probability of the whole query from those of its statements.

        How the statements depend on each other is unknown, so "and" is the minimum, "or" the maximum and "not" the
        complement (Zadeh 1965, Fuzzy Sets): the bounds of Frechet that are reached when one statement implies the
        other. With a threshold of 0.5, the decision is then the same as that of the single decisions combined.
        """
        required = [probabilities[each] for each in (self.statement, *self.conjuncts)]
        together = min(*required, 1.0, *(1 - probabilities[each] for each in self.excluded))
        return max(together, *(probabilities[each] for each in self.alternatives), 0.0)

    def matches(self, probability: float) -> bool:
        """Whether a record for which the query holds with this probability matches."""
        return (probability >= self.threshold) != self.invert


@frozen
class FilterSpec(LabelSpec):
    """Whether a query holds: a calibration is fitted to the whole of it, ``MATCH``.

    ``splits_long_texts``: a statement holds for a text that does not fit the context if it holds for a passage of it;
    otherwise such a text is refused.
    """

    prompt: Prompt
    query: FilterQuery
    options: LabelOptions = LabelOptions()
    splits_long_texts: bool = False
    verb = "filter"
    is_exclusive = False

    @property
    def names(self) -> tuple[str, ...]:
        """The statements."""
        return self.query.statements

    @property
    def targets(self) -> tuple[str, ...]:
        """The whole query."""
        return (MATCH,)

    @property
    def is_inverted(self) -> bool:
        """Whether the records are printed for which the query does not hold."""
        return self.query.invert

    @property
    def variables(self) -> Mapping[str, object]:
        """The statements."""
        return {"statements": self.names}

    def combine(self, probabilities: Mapping[str, float]) -> Mapping[str, float]:
        """Return the probability of the whole query."""
        return probabilities if [*probabilities] == [MATCH] else {MATCH: self.query.combine(probabilities)}

    def label_identity(self) -> dict[str, Any]:
        """Return the statements."""
        query = asdict(self.query)
        return {"statement": {name: query[name] for name in ("statement", "conjuncts", "alternatives", "excluded")}}

    def manifest(self) -> dict[str, Any]:
        """Return the query with its threshold."""
        return {"query": asdict(self.query)}

    def read_label(self, value: Any) -> tuple[str, ...] | None:
        """Return whether the query holds for a row: its cell has yes, true or 1, or no, false or 0.

        Raises ``UnknownLabel``.
        """
        text = value_as_text(value).strip().lower()
        if text in _TRUE:
            return (MATCH,)
        if text and text not in _FALSE:
            raise UnknownLabel(text, ("yes", "no"))
        return () if text else None

    def make_task(self, scorer: LabelScorer, thresholds: Mapping[str, float] | None = None) -> FilterTask:
        """Return the task."""
        query, least = self.query, (thresholds or {}).get(MATCH)
        if least is not None:
            # what is printed with --invert are probabilities below the threshold
            query = replace(query, threshold=math.nextafter(1 - least, 2.0) if query.invert else least)
        return FilterTask(scorer, query, splits_long_texts=self.splits_long_texts)


class FilterTask(RecordProcessor):
    """Whether a query holds for a record.

    A Result has the text of the record. Its fields: ``line``, ``match`` and ``probability``; with several statements
    and no calibrator also ``statements``, the probability of each. A blank record matches nothing (with ``invert``:
    everything) and has the probability None. In a table, no column is added.

    For the probability of a statement see ``MultiLabelScorer``. ``splits_long_texts`` is as in ``FilterSpec``.
    """

    columns: Mapping[str, ColumnType] = {}

    def __init__(self, scorer: LabelScorer, query: FilterQuery, *, splits_long_texts: bool = False) -> None:
        assert isinstance(scorer, MultiLabelScorer)
        self.scorer = scorer
        self._query = query
        self._names = query.statements if scorer.calibrator is None else (MATCH,)
        self._splitter = (
            TextSplitter(scorer.backend, lambda text: scorer.make_request("passage", text, {}))
            if splits_long_texts
            else None
        )

    def plan_setup(self) -> Sequence[Request]:
        """Return the requests that measure the prior."""
        return self.scorer.plan_prior()

    async def process(self, run: TaskRun, record: Record) -> Result:
        """Return whether the query holds. Raises the failure of a request."""
        passages = [record.text] if self._splitter is None else self._splitter.split(record.text)
        answers = await run.gather(
            run.ask(self.scorer.make_request(f"{record.index}.{number}", passage, record.fields))
            for number, passage in enumerate(passages)
        )
        scores = [*map(self.scorer.read_scores, answers)]
        found = [self.scorer.presence(each) for each in scores]
        probabilities = {name: max(each[name] for each in found) for name in self._names}
        probability = probabilities[MATCH] if self._names == (MATCH,) else self._query.combine(probabilities)
        fields: dict[str, Any] = {"match": self._query.matches(probability), "probability": probability}
        if len(probabilities) > 1:
            fields["statements"] = probabilities
        if scores[0].method:
            fields["scoring"] = scores[0].method
        return run.result(record.text, {**record.position, **fields}, prompt=self.scorer.prompt.name)

    def blank_result(self, record: Record) -> Result:
        """Return the result of a record without text."""
        blank = self.scorer.blank_result(record, {"match": self._query.invert, "probability": None})
        return replace(blank, text=record.text)

    def line(self, result: Result) -> str:
        """Return the text of the record."""
        record: Record = result.record
        return record.text
