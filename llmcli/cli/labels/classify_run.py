"""One run of classify or sentiment: labels, examples, threshold, records, summary; scale and aspects of sentiment."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from llmcli.cli.command_context import CommandContext
from llmcli.cli.labels.calibration_options import CalibrationOptions, read_labelled_file
from llmcli.cli.labels.scoring_flags import ScoringFlags
from llmcli.cli.records.record_flags import record_flags
from llmcli.cli.records.record_run import RecordRunSpec, prompt_manifest, run_records
from llmcli.documents.format_registry import LINES, record_format_by_suffix
from llmcli.errors import UsageError
from llmcli.fast_dataclass import asdict, replace
from llmcli.tasks.classify import (
    MULTI_PROMPT,
    PROMPT,
    ClassifyOptions,
    LabelTask,
    MultiLabelTask,
    calibration_identity,
    make_label_task,
)
from llmcli.tasks.labels.label_scorer import add_scoring_notices
from llmcli.tasks.labels.label_summary import LabelSummary
from llmcli.types import TaskEvent

if TYPE_CHECKING:
    from llmcli.backends.base import Backend
    from llmcli.cli.labels.fitted_calibration import CalibrationProblem, LabelledFile
    from llmcli.cli.labels.labelled_rows import LabelledRows, LabelParser
    from llmcli.prompts import Prompt
    from llmcli.tasks.labels.label_set import LabelSet
    from llmcli.tasks.runner.task_requests import GenerationOptions

_DEFAULT_NEAREST = 8

_MakeVerb = Callable[["Backend", "GenerationOptions", ClassifyOptions], LabelTask]


def read_labels(ctx: CommandContext, text: str) -> LabelSet:
    """Return the labels of ``--labels``: names with commas, or ``@FILE``. Raises as the parsers do."""
    from llmcli.cli.input import inputs
    from llmcli.tasks.labels.label_set import parse_label_file, parse_label_names

    if not text.startswith("@"):
        return parse_label_names(inputs.decode_argument(text))
    if text == "@":
        raise UsageError("--labels @ names no file", detail="Try: --labels @labels.yaml")
    return parse_label_file(inputs.read_document(ctx, text[1:]).text, text[1:])


def scoring_flags(ctx: CommandContext) -> ScoringFlags:
    """Return the options of the command."""
    assert isinstance(ctx.flags, ScoringFlags)
    return ctx.flags


def run_classify(ctx: CommandContext, labels: LabelSet, files: Sequence[str], *, multi: bool) -> int:
    """Label the records; return the exit code. Raises ``UsageError`` for options that exclude each other."""
    run = _MultiLabelRun(ctx, labels) if multi else make_classify_run(ctx, labels)
    return run.run(files)


def classify_spec(ctx: CommandContext, labels: LabelSet, *, multi: bool) -> RecordRunSpec:
    """Return how records are labelled. Raises as ``run_classify``."""
    run = _MultiLabelRun(ctx, labels) if multi else make_classify_run(ctx, labels)
    return run.spec()


def make_classify_run(ctx: CommandContext, labels: LabelSet) -> ScoringRun:
    """Return a run with labels that exclude each other."""
    prompt = ctx.runtime.prompts.get(PROMPT)
    return ScoringRun(
        ctx,
        labels.names,
        lambda backend, generation, options: make_label_task(backend, prompt, labels, generation, options),
        lambda: calibration_identity(prompt, labels),
        lambda: _labels_manifest(prompt, labels, multi=False),
    )


def _labels_manifest(prompt: Prompt, labels: LabelSet, *, multi: bool) -> dict[str, Any]:
    return {**prompt_manifest(prompt), "labels": [asdict(label) for label in labels.labels], "--multi": multi}


class _LabelRun(ABC):
    """A run that gives records labels: ``spec`` says how."""

    def __init__(self, ctx: CommandContext) -> None:
        self._ctx = ctx
        self._flags = scoring_flags(ctx)
        self.summary = LabelSummary()
        self._calibrated: CalibrationOptions
        self._task: LabelTask | MultiLabelTask | None = None

    @abstractmethod
    def _make_task(self, backend: Backend, generation: GenerationOptions) -> LabelTask | MultiLabelTask:
        """Return the task."""

    @abstractmethod
    def spec(self) -> RecordRunSpec:
        """Return how records are labelled."""

    def run(self, files: Sequence[str]) -> int:
        """Label the records; write the summary into the file of --summary, and on a terminal. Return the exit code.

        Without files, --eval and --calibrate report on their own rows.
        """
        ctx = self._ctx
        if self._calibrated.reports(files):
            backend = ctx.runtime.backend()
            return self._calibrated.report(backend, self._make_task(backend, ctx.generation_options()).scorer)
        code = run_records(ctx, files, self.spec())
        if self._task is not None and self._flags.examples is None and not self._calibrated.is_calibrated:
            from llmcli.cli.labels.low_margin_warning import warn_about_low_margins

            warn_about_low_margins(ctx, self._task.scorer, self.summary)
        if self._flags.summary is not None or ctx.console.stderr_is_terminal:
            from llmcli.cli.labels.summary_view import write_summary

            write_summary(ctx, self.summary, self._flags.summary)
        self._calibrated.draw_plot()
        return code

    def _open_task(self, backend: Backend, generation: GenerationOptions) -> LabelTask | MultiLabelTask:
        self._task = self._make_task(backend, generation)
        return self._task

    def _add_notices(self, events: Iterable[TaskEvent]) -> Iterator[TaskEvent]:
        yield from self._calibrated.notices(self.summary)
        yield from add_scoring_notices(events, labels=True)


class _MultiLabelRun(_LabelRun):
    """A run with labels that do not exclude each other. Raises ``UsageError`` for options that need one label."""

    def __init__(self, ctx: CommandContext, labels: LabelSet) -> None:
        from llmcli.cli.labels.calibration_report import SEVERAL_PLOTS
        from llmcli.cli.labels.labelled_rows import make_label_list_parser

        super().__init__(ctx)
        self._labels = labels
        self._prompt = prompt = ctx.runtime.prompts.get(MULTI_PROMPT)
        if self._flags.examples is not None:
            raise UsageError("--examples needs labels that exclude each other", detail="Leave out --multi.")
        if self._flags.plot is not None:
            raise UsageError(SEVERAL_PLOTS, detail="Leave it out.")

        def make_problem() -> CalibrationProblem:
            from llmcli.cli.labels.fitted_calibration import PresenceProblem

            return PresenceProblem(labels.names)

        self._calibrated = CalibrationOptions(
            ctx,
            make_problem,
            lambda: make_label_list_parser(labels.names),
            lambda: calibration_identity(prompt, labels),
        )

    def _make_task(self, backend: Backend, generation: GenerationOptions) -> MultiLabelTask:
        flags, labels, prompt = self._flags, self._labels, self._prompt
        options = ClassifyOptions(flags.threshold, not flags.no_prior, self._ctx.runtime.prior_directory)
        calibrator = self._calibrated.prepare(
            backend, lambda: MultiLabelTask(backend, prompt, labels, generation, options).scorer
        )
        thresholds = {name: chosen.threshold for name, chosen in self._calibrated.thresholds.items()}
        return MultiLabelTask(
            backend, prompt, labels, generation, replace(options, calibrator=calibrator), thresholds=thresholds
        )

    def spec(self) -> RecordRunSpec:
        return RecordRunSpec(
            self._open_task,
            lambda: {**_labels_manifest(self._prompt, self._labels, multi=True), **self._calibrated.manifest()},
            self._add_notices,
            summary=self.summary,
        )


class ScoringRun(_LabelRun):
    """A run of a ``LabelTask`` with ``labels``, which ``make_verb`` builds."""

    def __init__(
        self,
        ctx: CommandContext,
        labels: Sequence[str],
        make_verb: _MakeVerb,
        identity: Callable[[], Mapping[str, Any]],
        manifest: Callable[[], Mapping[str, Any]],
        *,
        input_format: str | None = None,
        splits_long_texts: bool = False,
        suits_small_models: bool | None = None,
    ) -> None:
        """Read the labelled rows. Raises ``UsageError`` for options that exclude each other, and what reading raises.

        ``identity`` returns what a calibration depends on: prompt and labels, as JSON values; ``manifest`` what the
        results do, beside the options here. ``input_format`` overrides --format. ``suits_small_models`` is as in
        ``DisplayOptions``; None: with labelled rows.
        """
        super().__init__(ctx)
        self._labels = labels
        self._make_verb = make_verb
        self._manifest = manifest
        self._input_format = input_format
        self._splits_long_texts = splits_long_texts
        self._suits_small_models = suits_small_models
        examples = self._read_examples()
        self._examples: LabelledRows = [] if examples is None else examples.rows
        self._nearest = self._flags.nearest or _DEFAULT_NEAREST

        def make_problem() -> CalibrationProblem:
            from llmcli.cli.labels.fitted_calibration import LabelProblem

            return LabelProblem()

        self._calibrated = CalibrationOptions(
            ctx,
            make_problem,
            self._label_reader,
            lambda: {**identity(), "set of --examples": self._examples_digest()},
            examples=examples,
        )
        if len(self._examples) > self._nearest and self._calibrated.is_calibrated:
            words = "a calibration needs the same examples before every text"
            detail = f"Leave out --examples, or show all of them: --nearest {len(self._examples)}"
            raise UsageError(words, detail=detail)

    def _read_examples(self) -> LabelledFile | None:
        flags = self._flags
        if flags.nearest is not None and flags.examples is None:
            raise UsageError("--nearest chooses among --examples", detail="Add --examples FILE.")
        return None if flags.examples is None else read_labelled_file(self._ctx, flags.examples, self._label_reader())

    def _label_reader(self) -> LabelParser:
        from llmcli.cli.labels.labelled_rows import make_label_parser

        return make_label_parser(self._labels)

    def _examples_digest(self) -> str:
        from llmcli.tasks.labels.scored_records import rows_digest

        return rows_digest(self._examples)

    def spec(self) -> RecordRunSpec:
        suits = self._suits_small_models
        return RecordRunSpec(
            self._open_task,
            lambda: {**self._manifest(), **self._flags_manifest()},
            self._add_notices,
            input_format=self._input_format,
            summary=self.summary,
            suits_small_models=bool(self._examples or self._calibrated.is_calibrated) if suits is None else suits,
        )

    def _flags_manifest(self) -> dict[str, Any]:
        examples = {"rows of --examples": self._examples_digest(), "--nearest": self._nearest}
        return {**self._calibrated.manifest(), **examples}

    def _make_task(self, backend: Backend, generation: GenerationOptions) -> LabelTask:
        flags, examples = self._flags, self._examples
        options = ClassifyOptions(
            flags.threshold,
            not flags.no_prior,
            self._ctx.runtime.prior_directory,
            examples,
            splits_long_texts=self._splits_long_texts,
        )
        if len(examples) > self._nearest:
            from llmcli.tasks.labels.example_choice import make_chooser

            chooser = make_chooser(backend, examples, self._nearest)
            options = replace(options, examples=examples[: self._nearest], chooser=chooser)
        calibrator = self._calibrated.prepare(backend, lambda: self._make_verb(backend, generation, options).scorer)
        threshold = next((chosen.threshold for chosen in self._calibrated.thresholds.values()), flags.threshold)
        return self._make_verb(backend, generation, replace(options, threshold=threshold, calibrator=calibrator))


_BY_TABLE = "--by is for plain text; the records of a table are its rows"
_FORMATS = {"line": None, "sentence": "sentences", "paragraph": "paragraphs", "document": "document"}


def run_sentiment(ctx: CommandContext, files: Sequence[str], *, by: str, scale: int | None, aspects: bool) -> int:
    """Label the records; return the exit code.

    Raises as ``make_sentiment_run``, also for --by with a file of a table.
    """
    if _FORMATS[by] is not None and any(record_format_by_suffix(name) not in {None, LINES} for name in files):
        raise UsageError(_BY_TABLE, detail="Leave out --by.")
    return make_sentiment_run(ctx, by=by, scale=scale, aspects=aspects).run(files)


def make_sentiment_run(ctx: CommandContext, *, by: str, scale: int | None = None, aspects: bool = False) -> ScoringRun:
    """Return a run with the labels of the prompt file. Raises ``UsageError`` for --by with a table."""
    from llmcli.tasks import sentiment

    flags = record_flags(ctx)
    if _FORMATS[by] is not None and (flags.column or flags.template or flags.delimiter or flags.format):
        raise UsageError(_BY_TABLE, detail="Leave out --by.")
    prompts = ctx.runtime.prompts
    prompt = prompts.get(sentiment.PROMPT)
    files_of_prompts = [prompt]
    if aspects:
        from llmcli.tasks.sentiment_aspects import ASPECTS_PROMPT

        files_of_prompts.append(prompts.get(ASPECTS_PROMPT))

    def make_verb(backend: Backend, generation: GenerationOptions, options: ClassifyOptions) -> LabelTask:
        if aspects:
            from llmcli.tasks.sentiment_aspects import AspectSentimentTask

            return AspectSentimentTask(backend, prompts, generation, options, scale=scale)
        return sentiment.SentimentTask(backend, prompts, generation, options, scale=scale)

    return ScoringRun(
        ctx,
        prompt.labels,
        make_verb,
        lambda: {"prompt": prompt.fingerprint, "label set": list(prompt.labels)},
        lambda: {**prompt_manifest(*files_of_prompts), "--by": by, "--scale": scale, "--aspects": aspects},
        input_format=_FORMATS[by],
        splits_long_texts=by == "document",
        suits_small_models=not aspects,
    )
