"""The job of a record whose prompt holds the examples that are nearest to it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from llmcli.documents.records.record import Record
from llmcli.tasks.classification.example_choice import ExampleChooser, hidden_states_request
from llmcli.tasks.classification.label_scorer import LabelScorer
from llmcli.tasks.execution.document_jobs import JobStep
from llmcli.tasks.runner.answers import ResponseBuffer, UsageTally, raise_request_error
from llmcli.types import Event, Finished, HiddenStates, Request, Result


class NearestExamplesJob:
    """Gets the hidden states of the text if the chooser compares these, then scores the labels.

    ``finish`` makes the result from the scores and from the usage of both requests.
    """

    step = ""

    def __init__(
        self,
        record: Record,
        chooser: ExampleChooser,
        scorer: LabelScorer,
        finish: Callable[[Record, ResponseBuffer, UsageTally], Result],
    ) -> None:
        self.item = record.index
        self.name = record.name
        self._record = record
        self._chooser = chooser
        self._scorer = scorer
        self._make_result = finish
        self._states: bytes | None = None
        self._answer = ResponseBuffer()
        self._tally = UsageTally()
        self._is_scoring = False

    def start(self) -> Iterator[JobStep]:
        """Yield the first request."""
        if self._chooser.needs_hidden_states:
            yield hidden_states_request(str(self.item), self._record.text)
        else:
            yield self._scoring_request(str(self.item))

    def handle_event(self, event: Event) -> Iterator[JobStep]:
        """Yield the scoring request after the hidden states, and the result after the scores."""
        if isinstance(event, HiddenStates):
            self._states = event.mean
        if self._is_scoring:
            self._answer.add_event(event)
        if not isinstance(event, Finished):
            return
        raise_request_error(event)
        self._tally.add(event)
        if self._is_scoring:
            yield self._make_result(self._record, self._answer, self._tally)
        else:
            yield self._scoring_request(f"{self.item}.scores")

    def _scoring_request(self, request_id: str) -> Request:
        self._is_scoring = True
        record = self._record
        examples = self._chooser.choose(record.text, self._states)
        return self._scorer.make_request(request_id, record.text, record.fields, examples=examples)
