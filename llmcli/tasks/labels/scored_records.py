"""Scores of many records as values, for thresholds and calibration."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping, Sequence

from llmcli.backends.base import Backend
from llmcli.documents.records.record import ColumnType, Record
from llmcli.fast_dataclass import frozen
from llmcli.tasks.labels.label_scorer import LabelScorer, LabelScores
from llmcli.tasks.runner.record_runner import RecordProcessor, run_records
from llmcli.tasks.runner.task_run import TaskRun
from llmcli.types import HiddenStates, ItemFailed, Result


@frozen
class ScoredRecord:
    """The scores of one record; ``states`` None: not requested, or the server does not give them."""

    record: Record
    scores: LabelScores
    states: HiddenStates | None = None


def score_records(
    backend: Backend, scorer: LabelScorer, records: Iterable[Record], *, hidden_states: bool = False
) -> Generator[ScoredRecord]:
    """Yield the scores of each record that is not blank, in their order. Raises the first failure."""
    for event in run_records(backend, records, _ScoringTask(scorer, hidden_states=hidden_states)):
        if isinstance(event, ItemFailed):
            raise event.error
        if isinstance(event, Result) and not event.blank:
            yield event.fields["scored"]


class _ScoringTask(RecordProcessor):
    """A task whose results have one field, ``scored``."""

    columns: Mapping[str, ColumnType] = {}

    def __init__(self, scorer: LabelScorer, *, hidden_states: bool) -> None:
        self._scorer = scorer
        self._hidden_states = hidden_states

    async def process(self, run: TaskRun, record: Record) -> Result:
        request_id, states = str(record.index), None
        if self._hidden_states:
            request = self._scorer.make_request(request_id, record.text, record.fields, hidden_states=True)
            answer = await run.ask(request)
            scores, states = self._scorer.read_scores(answer), answer.states
        else:
            scores = await self._scorer.score(run, request_id, record.text, record.fields)
        return run.result(None, {"scored": ScoredRecord(record, scores, states)})


def labelled_records(rows: Sequence[tuple[str, str]]) -> tuple[list[Record], dict[int, str]]:
    """Return records of the texts of (text, label) pairs, and the labels by their index."""
    records = [Record(index, text, index + 1) for index, (text, _) in enumerate(rows)]
    return records, {index: label for index, (_, label) in enumerate(rows)}
