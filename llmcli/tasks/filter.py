"""filter: whether a statement holds for each record, with its probability, by scoring and without generating."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from llmcli.backends.base import Backend
from llmcli.documents.records.record import ColumnType, Record
from llmcli.fast_dataclass import frozen, replace
from llmcli.prompts import Prompt
from llmcli.tasks.labels.label_scorer import LabelCalibrator, ScorerOptions
from llmcli.tasks.labels.long_texts import TextSplitter
from llmcli.tasks.labels.multi_label_scorer import MultiLabelScorer
from llmcli.tasks.runner.record_runner import RecordProcessor
from llmcli.tasks.runner.task_requests import GenerationOptions
from llmcli.tasks.runner.task_run import TaskRun
from llmcli.types import Result

PROMPT = "filter"
MATCH = "match"
DEFAULT_THRESHOLD = 0.5


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
class FilterOptions:
    """``corrects_prior`` and ``cache`` are as in ``ScorerOptions``.

    ``splits_long_texts``: a statement holds for a text that does not fit the context if it holds for a passage of it;
    otherwise such a text is refused. ``calibrator``: computes the probability of the whole query, by the name
    ``MATCH``.
    """

    corrects_prior: bool = True
    cache: Path | None = None
    splits_long_texts: bool = False
    calibrator: LabelCalibrator | None = None


class FilterTask(RecordProcessor):
    """Whether a query holds for a record.

    A Result has the text of the record. Its fields: ``line``, ``match`` and ``probability``; with several statements
    and no calibrator also ``statements``, the probability of each. A blank record matches nothing (with ``invert``:
    everything) and has the probability None. In a table, no column is added.

    Raises as ``LabelScorer`` does; for the probability of a statement see ``MultiLabelScorer``.
    """

    columns: Mapping[str, ColumnType] = {}

    def __init__(
        self,
        backend: Backend,
        prompt: Prompt,
        query: FilterQuery,
        generation: GenerationOptions,
        options: FilterOptions | None = None,
    ) -> None:
        chosen = options or FilterOptions()
        self._query = query
        scoring = ScorerOptions(
            {"statements": query.statements}, (), chosen.corrects_prior, chosen.cache, chosen.calibrator
        )
        self.scorer = scorer = MultiLabelScorer(backend, prompt, query.statements, generation, scoring)
        self._names = query.statements if chosen.calibrator is None else (MATCH,)
        self._splitter = (
            TextSplitter(backend, lambda text: scorer.make_request("passage", text, {}))
            if chosen.splits_long_texts
            else None
        )

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
