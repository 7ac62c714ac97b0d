"""One run of a command that labels records: options, labelled rows, calibration, records, summary."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from llmcli.cli.command_context import CommandContext
from llmcli.cli.labels.calibration_options import CalibrationOptions, read_labelled_file
from llmcli.cli.labels.scoring_flags import CalibrationFlags, ScoringFlags
from llmcli.cli.records.record_flags import record_flags
from llmcli.cli.records.record_run import RecordRunSpec, prompt_manifest, run_records
from llmcli.documents.format_registry import LINES, record_format_by_suffix
from llmcli.errors import UsageError
from llmcli.fast_dataclass import replace
from llmcli.models.size_classes import is_toy_size
from llmcli.tasks.labels.label_scorer import add_scoring_notices
from llmcli.tasks.labels.label_spec import NEAREST_EXAMPLES, LabelOptions, LabelSpec, rows_digest
from llmcli.tasks.labels.label_summary import LOW_MARGIN, LabelSummary
from llmcli.types import TaskEvent

if TYPE_CHECKING:
    from llmcli.backends.base import Backend
    from llmcli.cli.labels.fitted_calibration import LabelledFile
    from llmcli.tasks.labels.label_scorer import LabelScorer
    from llmcli.tasks.labels.label_set import LabelSet
    from llmcli.tasks.runner.record_runner import RecordProcessor
    from llmcli.tasks.runner.task_requests import GenerationOptions


class LabelRun:
    """Labels records as a ``LabelSpec`` says, with the examples, threshold and calibration of the options."""

    def __init__(self, ctx: CommandContext, spec: LabelSpec, *, input_format: str | None = None) -> None:
        """Read the labelled rows; ``input_format`` overrides --format.

        Raises ``UsageError`` for options that exclude each other, and what reading raises.
        """
        assert isinstance(ctx.flags, CalibrationFlags)
        self._ctx, self._flags, self._input_format = ctx, ctx.flags, input_format
        examples = _read_examples(ctx, spec)
        self.spec = replace(spec, options=_label_options(ctx.flags, examples))
        self.calibration = CalibrationOptions(ctx, self.spec, examples=examples)
        if self.spec.options.chooses_examples and self.calibration.is_requested:
            words = "a calibration needs the same examples before every text"
            raise UsageError(words, detail=f"Leave out --examples, or give at most {NEAREST_EXAMPLES} of them.")
        self.summary = LabelSummary()
        self._scorer: LabelScorer | None = None

    def make_task(self, backend: Backend, generation: GenerationOptions) -> RecordProcessor:
        """Return the task, with the calibration and the thresholds of the options."""
        cache = self._ctx.runtime.prior_directory
        scorer = self.spec.make_scorer(backend, generation, cache)
        calibrator = self.calibration.prepare(scorer)
        if calibrator is not None:
            scorer = self.spec.make_scorer(backend, generation, cache, calibrator)
        self._scorer = scorer
        thresholds = {name: chosen.threshold for name, chosen in self.calibration.thresholds.items()}
        return self.spec.make_task(scorer, thresholds)

    def record_spec(self) -> RecordRunSpec:
        """Return how records are labelled."""
        suits = self.spec.suits_small_models
        return RecordRunSpec(
            self.make_task,
            self.manifest,
            self.add_notices,
            input_format=self._input_format,
            summary=self.summary,
            suits_small_models=self._has_labelled_rows if suits is None else suits,
        )

    @property
    def _has_labelled_rows(self) -> bool:
        return bool(self.spec.options.examples) or self.calibration.is_requested

    def manifest(self) -> dict[str, Any]:
        """Return everything that the labels depend on beside the options of all commands, as JSON values."""
        own = {**prompt_manifest(*self.spec.prompts), **self.spec.manifest(), **self.view_manifest()}
        own |= self.calibration.manifest()
        if not self.spec.is_exclusive:
            return own
        return {**own, "rows of --examples": rows_digest(self.spec.options.examples)}

    def view_manifest(self) -> dict[str, Any]:
        """Return what the rows of the output depend on beside the labels, as JSON values."""
        return {}

    def add_notices(self, events: Iterable[TaskEvent]) -> Iterator[TaskEvent]:
        """Add what there is to say about the calibration and the scores."""
        yield from self.calibration.notices(self.summary)
        yield from add_scoring_notices(events, labels=True)

    def run(self, files: Sequence[str]) -> int:
        """Label the records; write the summary into the file of --summary, and on a terminal. Return the exit code.

        Without files, --eval and --calibrate report on their own rows.
        """
        ctx = self._ctx
        if self._flags.dry_run:
            self._require_plan()
            return run_records(ctx, files, self.record_spec())
        if self.calibration.reports(files):
            self.make_task(ctx.runtime.backend(), ctx.generation_options())
            assert self._scorer is not None
            return self.calibration.report(self._scorer)
        code = run_records(ctx, files, self.record_spec())
        if self._scorer is not None and not self._has_labelled_rows:
            self._warn_about_low_margins(self._scorer)
        if self._flags.summary is not None or ctx.console.stderr_is_terminal:
            from llmcli.cli.labels.summary_view import write_summary

            write_summary(ctx, self.summary, self._flags.summary)
        self.calibration.draw_plot()
        return code

    def _warn_about_low_margins(self, scorer: LabelScorer) -> None:
        """Warn on stderr, in pipes too, if a small model gave labels that nothing corrects: how many it was unsure of.

        With ``--summary`` the file has the sentence as ``warning``.
        """
        if not self.summary.scored or scorer.has_examples or scorer.calibrator is not None:
            return
        runtime = self._ctx.runtime
        info = runtime.backend().info()
        if not is_toy_size(info.parameters):
            return
        model = f"{info.model} on {runtime.responder_name}" if runtime.is_remote else runtime.responder_name
        text = (
            f"{self.summary.unsure} of {self.summary.scored} margins were below {LOW_MARGIN:g}, and labels of a model "
            f"as small as {model} are often wrong; to measure them: --eval LABELLED_FILE"
        )
        self.summary.details["warning"] = text
        self._ctx.console.warn(text)

    def _require_plan(self) -> None:
        """Raise ``UsageError`` for options whose work --dry-run cannot know without running the model."""
        for option in ("calibrate", "evaluate"):
            if getattr(self._flags, option) is not None:
                name = {"evaluate": "--eval"}.get(option, f"--{option}")
                raise UsageError(f"--dry-run and {name} exclude each other", detail="Leave out one of them.")
        if self.spec.options.chooses_examples:
            words = "--dry-run cannot count examples that are chosen for each text"
            raise UsageError(words, detail=f"Give at most {NEAREST_EXAMPLES} examples.")


def _read_examples(ctx: CommandContext, spec: LabelSpec) -> LabelledFile | None:
    flags = ctx.flags
    if not isinstance(flags, ScoringFlags) or not spec.is_exclusive:
        return None
    return None if flags.examples is None else read_labelled_file(ctx, flags.examples, spec)


def _label_options(flags: CalibrationFlags, examples: LabelledFile | None) -> LabelOptions:
    rows = () if examples is None else examples.rows
    return LabelOptions(flags.threshold, rows)


# ---- classify ---------------------------------------------------------------------------------------------------


def read_labels(ctx: CommandContext, text: str) -> LabelSet:
    """Return the labels of ``--labels``: names with commas, or ``@FILE``. Raises as the parsers do."""
    from llmcli.cli.input import inputs
    from llmcli.tasks.labels.label_set import parse_label_file, parse_label_names

    if not text.startswith("@"):
        return parse_label_names(inputs.decode_argument(text))
    if text == "@":
        raise UsageError("--labels @ names no file", detail="Try: --labels @labels.yaml")
    from llmcli.cli.input import document_inputs

    return parse_label_file(document_inputs.read_document(ctx, text[1:]).text, text[1:])


def make_classify_run(ctx: CommandContext, labels: LabelSet, *, multi: bool) -> LabelRun:
    """Return a run with these labels. Raises ``UsageError`` for options that exclude each other."""
    from llmcli.tasks.classify import MULTI_PROMPT, PROMPT, ClassifySpec, MultiLabelSpec

    prompts, flags = ctx.runtime.prompts, ctx.flags
    if not multi:
        return LabelRun(ctx, ClassifySpec(prompts.get(PROMPT), labels))
    assert isinstance(flags, ScoringFlags)
    prompt = prompts.get(MULTI_PROMPT)
    if flags.examples is not None:
        raise UsageError("--examples needs labels that exclude each other", detail="Leave out --multi.")
    if flags.plot is not None:
        from llmcli.cli.labels.calibration_report import SEVERAL_PLOTS

        raise UsageError(SEVERAL_PLOTS, detail="Leave it out.")
    return LabelRun(ctx, MultiLabelSpec(prompt, labels))


# ---- sentiment --------------------------------------------------------------------------------------------------

_BY_TABLE = "--by is for plain text; the records of a table are its rows"
_FORMATS = {"line": None, "sentence": "sentences", "paragraph": "paragraphs", "document": "document"}


def run_sentiment(ctx: CommandContext, files: Sequence[str], *, by: str, scale: int | None, aspects: bool) -> int:
    """Label the records; return the exit code.

    Raises as ``make_sentiment_run``, also for --by with a file of a table.
    """
    if _FORMATS[by] is not None and any(record_format_by_suffix(name) not in {None, LINES} for name in files):
        raise UsageError(_BY_TABLE, detail="Leave out --by.")
    return make_sentiment_run(ctx, by=by, scale=scale, aspects=aspects).run(files)


def make_sentiment_run(ctx: CommandContext, *, by: str, scale: int | None = None, aspects: bool = False) -> LabelRun:
    """Return a run with the labels of the prompt file. Raises ``UsageError`` for --by with a table."""
    from llmcli.tasks.sentiment import sentiment_spec

    flags = record_flags(ctx)
    if _FORMATS[by] is not None and (flags.column or flags.template or flags.delimiter or flags.format):
        raise UsageError(_BY_TABLE, detail="Leave out --by.")
    spec = sentiment_spec(ctx.runtime.prompts, unit=by, scale=scale)
    if aspects:
        from llmcli.tasks.sentiment_aspects import add_aspects

        spec = add_aspects(spec, ctx.runtime.prompts)
    return LabelRun(ctx, spec, input_format=_FORMATS[by])
