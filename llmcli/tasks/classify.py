"""classify: one label, or several, with probabilities for each record, by scoring and without generating."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from llmcli.documents.records.record import ColumnType, Record, value_as_text
from llmcli.fast_dataclass import asdict, frozen
from llmcli.prompts.prompt_file import Prompt
from llmcli.tasks.labels.label_scorer import Examples, LabelScorer, LabelScores
from llmcli.tasks.labels.label_scores import (
    LabelDecision,
    decide,
    format_labels,
    probability_column,
    round_probabilities,
    table_values,
)
from llmcli.tasks.labels.label_spec import LABEL, LabelOptions, LabelSpec, UnknownLabel, rows_digest
from llmcli.tasks.runner.record_runner import RecordProcessor
from llmcli.tasks.runner.task_run import TaskRun
from llmcli.types import PROBABILITY_DIGITS, Result

if TYPE_CHECKING:
    from llmcli.tasks.labels.example_choice import ExampleChooser
    from llmcli.tasks.labels.label_set import LabelSet
    from llmcli.tasks.labels.long_texts import TextSplitter
    from llmcli.types import Request

PROMPT = "classify"
MULTI_PROMPT = "classify.multi"
LABEL_SEPARATOR = ", "
"""Between the labels of a record that has several."""
DEFAULT_MULTI_THRESHOLD = 0.5


class LabelTask(RecordProcessor):
    """Gives each record one of several labels.

    A Result's fields: ``line`` (from 1), ``label``, ``probabilities`` (by label, not rounded), ``margin`` (how far the
    most likely label leads) and, with a threshold, ``abstain``. A blank record has None for label and probabilities, so
    that output lines match input lines. ``scoring`` is how a remote server scored (``CandidateScores.method``). In a
    table: ``label``, ``p_LABEL`` for each label, rounded, ``margin``, ``abstain``.

    ``threshold``: the least probability of a label; None: the most likely one is always given. ``chooser`` chooses
    examples for each record. ``splits_long_texts`` is as in ``LabelSpec``.
    """

    def __init__(
        self,
        scorer: LabelScorer,
        threshold: float | None = None,
        *,
        chooser: ExampleChooser | None = None,
        splits_long_texts: bool = False,
    ) -> None:
        self.scorer = scorer
        self.threshold = threshold
        self._splitter: TextSplitter | None = None
        if splits_long_texts:
            from llmcli.tasks.labels.long_texts import TextSplitter

            self._splitter = TextSplitter(scorer.backend, lambda text: scorer.make_request("passage", text, {}))
        self._chooser = chooser
        abstain = {} if self.threshold is None else {"abstain": bool}
        probabilities = dict.fromkeys(map(probability_column, scorer.labels), float)
        self.columns: Mapping[str, ColumnType] = {"label": str, **probabilities, "margin": float, **abstain}

    @property
    def calls_per_request(self) -> int:
        """The second stage of a cascade asks again, and so does a text whose states choose its examples."""
        calibrator = self.scorer.calibrator
        return 1 + (calibrator is not None and calibrator.second_stage is not None) + (self._chooser is not None)

    def plan_setup(self) -> Sequence[Request]:
        """Return the requests that measure the prior."""
        return self.scorer.plan_prior()

    async def process(self, run: TaskRun, record: Record) -> Result:
        """Return the label and the probabilities. Raises the failure of a request."""
        passages = [record.text] if self._splitter is None else self._splitter.split(record.text)
        scores = await (self._score(run, record) if len(passages) == 1 else self._score_passages(run, record, passages))
        decision = decide(scores.probabilities, self.threshold)
        fields = {**record.position, **self.result_fields(decision, scores)}
        return run.result(None, fields, prompt=self.scorer.prompt.name)

    async def _score(self, run: TaskRun, record: Record) -> LabelScores:
        """Return the scores of a text, after the examples that are nearest to it if there is a chooser."""
        request_id, examples = str(record.index), None
        if self._chooser is not None:
            states = None
            if self._chooser.needs_hidden_states:
                states = (await run.ask(self._chooser.states_request(request_id, record.text))).states
                request_id += ".scores"
            examples = self._chooser.choose(record.text, None if states is None else states.mean)
        return await self.scorer.score(run, request_id, record.text, record.fields, examples=examples)

    async def _score_passages(self, run: TaskRun, record: Record, passages: Sequence[str]) -> LabelScores:
        """Return the pooled scores of the passages of a text; examples are not chosen for each of them."""
        from llmcli.tasks.labels.long_texts import pool_scores

        scores = await run.gather(
            self.scorer.score(run, f"{record.index}.{number}", passage, record.fields)
            for number, passage in enumerate(passages)
        )
        return pool_scores(scores, [*map(len, passages)])

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
        return self.scorer.blank_result(record, {"label": None, "probabilities": None})

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
        return format_labels(result.fields["label"], round_probabilities(found))


@frozen
class ClassifySpec(LabelSpec):
    """Labels that exclude each other, whose own examples stand before those of the options."""

    prompt: Prompt
    labels: LabelSet
    options: LabelOptions = LabelOptions()
    verb = "classify"

    @property
    def names(self) -> tuple[str, ...]:
        """The labels."""
        return self.labels.names

    @property
    def variables(self) -> Mapping[str, object]:
        """The labels with their descriptions."""
        return {"labels": self.labels.labels}

    @property
    def examples(self) -> Examples:
        """The examples of the labels, then those of the options."""
        return (*self.labels.examples, *self.options.fixed_examples)

    @property
    def suits_small_models(self) -> bool | None:
        """With labelled rows."""
        return None

    def label_identity(self) -> dict[str, Any]:
        """Return the labels, and a hash of the examples of the options."""
        labels = [asdict(label) for label in self.labels.labels]
        return {"label set": labels, "set of --examples": rows_digest(self.options.examples)}

    def manifest(self) -> dict[str, Any]:
        """Return the labels."""
        return {"labels": [asdict(label) for label in self.labels.labels], "--multi": not self.is_exclusive}

    def make_task(self, scorer: LabelScorer, thresholds: Mapping[str, float] | None = None) -> RecordProcessor:
        """Return the task. Raises the failure of a request."""
        threshold = (thresholds or {}).get(LABEL, self.options.threshold)
        return LabelTask(scorer, threshold, chooser=self.options.make_chooser(scorer.backend))


class MultiLabelTask(RecordProcessor):
    """Gives each record every label that applies to it; see ``MultiLabelScorer``.

    A Result's fields: ``labels`` (those with a probability of at least the threshold), ``label`` (the same as a text)
    and ``probabilities`` (by label; they do not sum to 1). In a table: ``label`` and ``p_LABEL``. ``thresholds`` are
    by label.
    """

    def __init__(self, scorer: LabelScorer, thresholds: Mapping[str, float]) -> None:
        from llmcli.tasks.labels.multi_label_scorer import MultiLabelScorer

        assert isinstance(scorer, MultiLabelScorer)
        self.scorer = scorer
        self._thresholds = thresholds
        columns = dict.fromkeys(map(probability_column, scorer.names), float)
        self.columns: Mapping[str, ColumnType] = {"label": str, **columns}

    def plan_setup(self) -> Sequence[Request]:
        """Return the requests that measure the prior."""
        return self.scorer.plan_prior()

    async def process(self, run: TaskRun, record: Record) -> Result:
        """Return the labels and the probabilities. Raises the failure of a request."""
        request = self.scorer.make_request(str(record.index), record.text, record.fields)
        scores = self.scorer.read_scores(await run.ask(request))
        probabilities = self.scorer.presence(scores)
        chosen = [label for label, share in probabilities.items() if share >= self._thresholds[label]]
        method = {"scoring": scores.method} if scores.method else {}
        fields = {"labels": chosen, "label": LABEL_SEPARATOR.join(chosen), "probabilities": probabilities, **method}
        return run.result(None, {**record.position, **fields}, prompt=self.scorer.prompt.name)

    def blank_result(self, record: Record) -> Result:
        """Return the result of a record without text."""
        return self.scorer.blank_result(record, {"labels": None, "label": None, "probabilities": None})

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
        return "" if found is None else format_labels(result.fields["label"], found)


@frozen
class MultiLabelSpec(ClassifySpec):
    """Labels that do not exclude each other. They have no other examples than their own."""

    is_exclusive = False

    @property
    def suits_small_models(self) -> bool | None:
        """Never."""
        return False

    def label_identity(self) -> dict[str, Any]:
        """Return the labels."""
        return {"label set": [asdict(label) for label in self.labels.labels]}

    def read_label(self, value: Any) -> tuple[str, ...]:
        """Return the labels of a cell: a list, or a text with commas. An empty one has none of them.

        Raises ``UnknownLabel``.
        """
        if isinstance(value, list):
            names = [value_as_text(each).strip() for each in value]
        else:
            text = value_as_text(value).strip()
            names = [text] if text in self.names else [name.strip() for name in text.split(",") if name.strip()]
        for name in names:
            if name not in self.names:
                raise UnknownLabel(name, self.names)
        return tuple(label for label in self.names if label in names)

    def make_task(self, scorer: LabelScorer, thresholds: Mapping[str, float] | None = None) -> RecordProcessor:
        """Return the task."""
        common = DEFAULT_MULTI_THRESHOLD if self.options.threshold is None else self.options.threshold
        return MultiLabelTask(scorer, {**dict.fromkeys(self.names, common), **(thresholds or {})})
