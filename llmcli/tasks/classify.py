"""classify: one label, or several, with probabilities for each record, by scoring and without generating."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmcli.backends.base import Backend
from llmcli.documents.records.record import Record
from llmcli.frozen_dataclass import frozen
from llmcli.prompts import Prompt
from llmcli.tasks.classification.label_decision import (
    LabelDecision,
    decide,
    format_labels,
    probability_column,
    table_values,
)
from llmcli.tasks.classification.label_scorer import Examples, LabelCalibrator, LabelScorer, LabelScores, ScorerOptions
from llmcli.tasks.classification.label_scores import PROBABILITY_DIGITS, round_probabilities
from llmcli.tasks.execution.document_jobs import DocumentJob
from llmcli.tasks.execution.request_job import RequestJob
from llmcli.tasks.runner.answers import ResponseBuffer, UsageTally
from llmcli.tasks.runner.task_requests import GenerationOptions
from llmcli.types import Finished, Result

if TYPE_CHECKING:
    from llmcli.tasks.classification.example_choice import ExampleChooser
    from llmcli.tasks.classification.label_set import LabelSet
    from llmcli.tasks.classification.long_texts import TextSplitter

PROMPT = "classify"
MULTI_PROMPT = "classify.multi"
LABEL_SEPARATOR = ", "
"""Between the labels of a record that has several."""
DEFAULT_MULTI_THRESHOLD = 0.5


@frozen
class ClassifyOptions:
    """``threshold``: the least probability of a label, None: the most likely one is always given.

    ``cache``, ``corrects_prior`` and ``calibrator`` are as in ``ScorerOptions``. ``chooser`` chooses examples for each record.
    ``splits_long_texts``: a text that does not fit the context is scored in pieces; otherwise it is refused.
    """

    threshold: float | None = None
    corrects_prior: bool = True
    cache: Path | None = None
    examples: Examples = ()
    chooser: ExampleChooser | None = None
    splits_long_texts: bool = False
    calibrator: LabelCalibrator | None = None


class ScoringVerb:
    """The common part of verbs whose records get one of several labels.

    A Result's fields: ``line`` (from 1), ``label``, ``probabilities`` (by label, not rounded), ``margin`` (how far the
    most likely label leads) and, with a threshold, ``abstain``. A blank record has None for label and probabilities, so
    that output lines match input lines. ``scoring`` is how a remote server scored (``CandidateScores.method``). In a
    table: ``label``, ``p_LABEL`` for each label, rounded, ``margin``, ``abstain``.
    """

    def __init__(self, backend: Backend, scorer: LabelScorer, options: ClassifyOptions) -> None:
        self.scorer = scorer
        self.threshold = options.threshold
        self.single_request = not options.splits_long_texts and (
            options.chooser is None or not options.chooser.needs_hidden_states
        )
        self._splitter: TextSplitter | None = None
        if options.splits_long_texts:
            from llmcli.tasks.classification.long_texts import TextSplitter

            self._splitter = TextSplitter(backend, lambda text: scorer.make_request("piece", text, {}))
        self._chooser = options.chooser
        abstain = {} if self.threshold is None else {"abstain": bool}
        probabilities = dict.fromkeys(map(probability_column, scorer.labels), float)
        self.columns: Mapping[str, type] = {"label": str, **probabilities, "margin": float, **abstain}

    def make_job(self, record: Record) -> DocumentJob:
        """Return the job that scores the labels."""
        pieces = [record.text] if self._splitter is None else self._splitter.split(record.text)
        if len(pieces) > 1:
            return self._make_pooled_job(record, pieces)
        if self._chooser is None:
            request = self.scorer.make_request(str(record.index), record.text, record.fields)
            return RequestJob(record, request, self._finish_request)
        from llmcli.tasks.classification.nearest_examples_job import NearestExamplesJob

        return NearestExamplesJob(record, self._chooser, self.scorer, self._finish_answer)

    def _make_pooled_job(self, record: Record, pieces: Sequence[str]) -> DocumentJob:
        """Return the job that scores the pieces of a text; examples are not chosen for each of them."""
        from llmcli.tasks.classification.long_texts import pool_scores
        from llmcli.tasks.execution.multi_request_job import MultiRequestJob

        requests = [
            self.scorer.make_request(f"{record.index}.{number}", piece, record.fields)
            for number, piece in enumerate(pieces)
        ]

        def finish(record: Record, answers: Mapping[str, ResponseBuffer], tally: UsageTally) -> Result:
            scores = [self.scorer.read_scores(answer) for answer in answers.values()]
            return self._make_result(record, pool_scores(scores, [*map(len, pieces)]), tally)

        return MultiRequestJob(record, requests, finish)

    def _finish_answer(self, record: Record, answer: ResponseBuffer, tally: UsageTally) -> Result:
        return self._make_result(record, self.scorer.read_scores(answer), tally)

    def _finish_request(self, record: Record, answer: ResponseBuffer, finished: Finished) -> Result:
        tally = UsageTally()
        tally.add(finished)
        return self._finish_answer(record, answer, tally)

    def _make_result(self, record: Record, scores: LabelScores, tally: UsageTally) -> Result:
        decision = decide(scores.probabilities, self.threshold)
        return Result(
            record.index,
            record.name,
            None,
            {**record.position, **self.result_fields(decision, scores)},
            model=self.scorer.model,
            prompt=self.scorer.prompt.name,
            usage=tally.usage,
            timings=tally.timings,
        )

    def result_fields(self, decision: LabelDecision, scores: LabelScores) -> dict[str, Any]:
        """Return the fields of a result apart from the position of its record."""
        return {
            "label": decision.label,
            "probabilities": decision.probabilities,
            "margin": decision.margin,
            **({} if self.threshold is None else {"abstain": decision.abstain}),
            **({"scoring": scores.method} if scores.method else {}),
        }

    def blank_result(self, record: Record) -> Result:
        """Return the result of a record without text."""
        fields = {**record.position, "label": None, "probabilities": None}
        return Result(
            record.index,
            record.name,
            None,
            fields,
            model=self.scorer.model,
            prompt=self.scorer.prompt.name,
            blank=True,
        )

    def row(self, result: Result) -> Mapping[str, Any]:
        """Return the label, the rounded probabilities, the margin and, with a threshold, whether it abstains."""
        fields = result.fields
        if fields["probabilities"] is None:
            return {}
        abstain = fields.get("abstain", False)
        decision = LabelDecision(fields["label"], fields["probabilities"], fields["margin"], abstain)
        return table_values(decision, shows_abstention=self.threshold is not None)

    def line(self, result: Result) -> str:
        """Return label and probabilities as ``format_labels`` does; "" if blank."""
        found = result.fields["probabilities"]
        if found is None:
            return ""
        return format_labels(result.fields["label"], round_probabilities(found), PROBABILITY_DIGITS)


def make_classify_verb(
    backend: Backend, prompt: Prompt, labels: LabelSet, generation: GenerationOptions, options: ClassifyOptions
) -> ScoringVerb:
    """Return the verb that gives each record one of ``labels``, whose examples stand before those of the options.

    Raises as ``LabelScorer`` does.
    """
    scorer = LabelScorer(
        backend,
        prompt,
        labels.names,
        generation,
        ScorerOptions(
            {"labels": labels.labels},
            (*labels.examples, *options.examples),
            options.corrects_prior,
            options.cache,
            options.calibrator,
        ),
    )
    return ScoringVerb(backend, scorer, options)


class MultiLabelVerb:
    """Gives each record every label that applies to it; see ``PresenceScorer``.

    A Result's fields: ``labels`` (those with a probability of at least the threshold), ``label`` (the same as a text)
    and ``probabilities`` (by label; they do not sum to 1). In a table: ``label`` and ``p_LABEL``. ``thresholds`` by label
    take the place of the common one.

    Raises as ``LabelScorer`` does.
    """

    single_request = True

    def __init__(
        self,
        backend: Backend,
        prompt: Prompt,
        labels: LabelSet,
        generation: GenerationOptions,
        options: ClassifyOptions,
        *,
        thresholds: Mapping[str, float] | None = None,
    ) -> None:
        from llmcli.tasks.classification.presence_scorer import PresenceScorer

        threshold = DEFAULT_MULTI_THRESHOLD if options.threshold is None else options.threshold
        self._thresholds = {**dict.fromkeys(labels.names, threshold), **(thresholds or {})}
        self.scorer = PresenceScorer(
            backend,
            prompt,
            labels.names,
            generation,
            ScorerOptions(
                {"labels": labels.labels},
                labels.examples,
                options.corrects_prior,
                options.cache,
                options.calibrator,
            ),
        )
        columns = dict.fromkeys(map(probability_column, labels.names), float)
        self.columns: Mapping[str, type] = {"label": str, **columns}

    def make_job(self, record: Record) -> DocumentJob:
        """Return the job that scores the labels."""
        request = self.scorer.make_request(str(record.index), record.text, record.fields)
        return RequestJob(record, request, self._make_result)

    def _make_result(self, record: Record, answer: ResponseBuffer, finished: Finished) -> Result:
        scores = self.scorer.read_scores(answer)
        probabilities = self.scorer.presence(scores)
        chosen = [label for label, share in probabilities.items() if share >= self._thresholds[label]]
        method = {"scoring": scores.method} if scores.method else {}
        fields = {"labels": chosen, "label": LABEL_SEPARATOR.join(chosen), "probabilities": probabilities, **method}
        return Result(
            record.index,
            record.name,
            None,
            {**record.position, **fields},
            model=self.scorer.model,
            prompt=self.scorer.prompt.name,
            usage=finished.usage,
            timings=finished.timings,
        )

    def blank_result(self, record: Record) -> Result:
        """Return the result of a record without text."""
        fields = {**record.position, "labels": None, "label": None, "probabilities": None}
        scorer = self.scorer
        return Result(
            record.index, record.name, None, fields, model=scorer.model, prompt=scorer.prompt.name, blank=True
        )

    def row(self, result: Result) -> Mapping[str, Any]:
        """Return the labels and the rounded probabilities."""
        found = result.fields["probabilities"]
        if found is None:
            return {}
        rounded = {probability_column(label): round(share, PROBABILITY_DIGITS) for label, share in found.items()}
        return {"label": result.fields["label"], **rounded}

    def line(self, result: Result) -> str:
        """Return labels and probabilities as ``format_labels`` does; "" if blank."""
        found = result.fields["probabilities"]
        return "" if found is None else format_labels(result.fields["label"], found, PROBABILITY_DIGITS)
