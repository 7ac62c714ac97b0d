"""One run of classify or sentiment: labels, examples, threshold, records, summary."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from llmcli.cli.classification.prior_cache import prior_directory
from llmcli.cli.classification.scoring_flags import ScoringFlags
from llmcli.cli.classification.summary_view import write_summary
from llmcli.cli.command_context import CommandContext
from llmcli.cli.records.record_run import RecordTask, prompt_manifest, run_records
from llmcli.errors import UsageError
from llmcli.frozen_dataclass import asdict, frozen, replace
from llmcli.tasks.classification.label_summary import LabelSummary
from llmcli.tasks.classification.scoring_notices import add_scoring_notices
from llmcli.tasks.classify import (
    MULTI_PROMPT,
    PROMPT,
    ClassifyOptions,
    MultiLabelVerb,
    ScoringVerb,
    make_classify_verb,
)
from llmcli.types import Notice, TaskEvent

if TYPE_CHECKING:
    from llmcli.backends.base import Backend
    from llmcli.cli.classification.labelled_rows import LabelledRows
    from llmcli.prompts import Prompt
    from llmcli.tasks.classification.label_set import LabelSet
    from llmcli.tasks.classification.precision_threshold import PrecisionThreshold
    from llmcli.tasks.execution.task_requests import GenerationOptions

DEFAULT_NEAREST = 8

MakeVerb = Callable[["Backend", "GenerationOptions", ClassifyOptions], ScoringVerb]


def read_labels(ctx: CommandContext, text: str) -> LabelSet:
    """Return the labels of ``--labels``: names with commas, or ``@FILE``. Raises as the parsers do."""
    from llmcli.cli.input import inputs
    from llmcli.tasks.classification.label_set import parse_label_file, parse_label_names

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
    prompts = ctx.runtime.prompts
    if multi:
        return _run_multi(ctx, prompts.get(MULTI_PROMPT), labels, files)
    prompt = prompts.get(PROMPT)
    run = ScoringRun(
        ctx,
        labels.names,
        lambda backend, generation, options: make_classify_verb(backend, prompt, labels, generation, options),
    )
    return run.run(files, lambda: _labels_manifest(prompt, labels, multi=False))


def _labels_manifest(prompt: Prompt, labels: LabelSet, *, multi: bool) -> dict[str, Any]:
    return {**prompt_manifest(prompt), "labels": [asdict(label) for label in labels.labels], "--multi": multi}


def _run_multi(ctx: CommandContext, prompt: Prompt, labels: LabelSet, files: Sequence[str]) -> int:
    flags, summary = scoring_flags(ctx), LabelSummary()
    alone = {"--examples": flags.examples, "--target-precision": flags.target_precision, "--calibrate": flags.calibrate}
    given = [name for name, value in alone.items() if value is not None]
    if given:
        raise UsageError(f"{given[0]} needs labels that exclude each other", detail="Leave out --multi.")

    def make_verb(backend: Backend, generation: GenerationOptions) -> MultiLabelVerb:
        options = ClassifyOptions(flags.threshold, not flags.no_prior, prior_directory(ctx))
        return MultiLabelVerb(backend, prompt, labels, generation, options)

    task = RecordTask(
        make_verb,
        lambda: {
            **_labels_manifest(prompt, labels, multi=True),
            "--threshold": flags.threshold,
            "--no-prior": flags.no_prior,
        },
        lambda events: summary.observe(add_scoring_notices(events)),
    )
    code = run_records(ctx, files, task)
    write_summary(ctx, summary, flags.summary)
    return code


@frozen
class _LabelledInputs:
    """``examples`` and ``heldout`` rows (for the threshold), with the number of examples to show to each text."""

    examples: LabelledRows
    heldout: LabelledRows
    nearest: int


class ScoringRun:
    """A run of a ``ScoringVerb`` with ``labels``, which ``make_verb`` builds."""

    def __init__(
        self, ctx: CommandContext, labels: Sequence[str], make_verb: MakeVerb, *, splits_long_texts: bool = False
    ) -> None:
        """Read the labelled rows. Raises ``UsageError`` for options that exclude each other, and what reading raises."""
        self._ctx = ctx
        self._flags = scoring_flags(ctx)
        self._labels = labels
        self._make_verb = make_verb
        self._splits_long_texts = splits_long_texts
        self._chosen: PrecisionThreshold | None = None
        self.summary = LabelSummary()
        self._check_options()
        self._rows = self._read_rows()

    def _check_options(self) -> None:
        flags = self._flags
        if (flags.target_precision is None) != (flags.calibrate is None):
            words = "--target-precision and --calibrate belong together"
            raise UsageError(words, detail="Try: --target-precision 0.95 --calibrate LABELLED_FILE")
        if flags.target_precision is not None and flags.threshold is not None:
            raise UsageError("--target-precision sets the threshold", detail="Leave out --threshold.")
        if flags.nearest is not None and flags.examples is None:
            raise UsageError("--nearest chooses among --examples", detail="Add --examples FILE.")

    def _read_rows(self) -> _LabelledInputs:
        flags = self._flags
        if flags.examples is None and flags.calibrate is None:
            return _LabelledInputs([], [], DEFAULT_NEAREST)
        from llmcli.cli.classification.labelled_rows import read_labelled_rows

        examples, heldout = (
            [] if path is None else read_labelled_rows(self._ctx, path, flags.label_column, self._labels)
            for path in (flags.examples, flags.calibrate)
        )
        shared = {text for text, _ in examples} & {text for text, _ in heldout}
        if shared:
            words = f"{len(shared)} texts of --calibrate are also --examples, so they cannot tell how often labels are right"
            raise UsageError(words, detail="Leave them out of one of the files.")
        return _LabelledInputs(examples, heldout, flags.nearest or DEFAULT_NEAREST)

    def run(
        self, files: Sequence[str], manifest: Callable[[], Mapping[str, Any]], *, input_format: str | None = None
    ) -> int:
        """Label the records and write the summary; return the exit code. ``input_format`` overrides --format."""
        task = RecordTask(
            self._make, lambda: {**manifest(), **self._flags_manifest()}, self._wrap, input_format=input_format
        )
        code = run_records(self._ctx, files, task)
        write_summary(self._ctx, self.summary, self._flags.summary)
        return code

    def _flags_manifest(self) -> dict[str, Any]:
        from llmcli.cli.classification.labelled_rows import rows_digest

        flags, rows = self._flags, self._rows
        return {
            "--threshold": flags.threshold,
            "--no-prior": flags.no_prior,
            "--target-precision": flags.target_precision,
            "rows of --calibrate": rows_digest(rows.heldout),
            "rows of --examples": rows_digest(rows.examples),
            "--nearest": rows.nearest,
        }

    def _make(self, backend: Backend, generation: GenerationOptions) -> ScoringVerb:
        rows, flags = self._rows, self._flags
        options = ClassifyOptions(
            flags.threshold,
            not flags.no_prior,
            prior_directory(self._ctx),
            rows.examples,
            splits_long_texts=self._splits_long_texts,
        )
        if len(rows.examples) > rows.nearest:
            from llmcli.tasks.classification.example_choice import make_chooser

            chooser = make_chooser(backend, rows.examples, rows.nearest)
            options = replace(options, examples=rows.examples[: rows.nearest], chooser=chooser)
        verb = self._make_verb(backend, generation, options)
        if flags.target_precision is None:
            return verb
        from llmcli.tasks.classification.scored_records import choose_record_threshold, labelled_records, score_records

        records, labels = labelled_records(rows.heldout)
        scored = score_records(backend, verb.scorer, records)
        self._chosen = choose_record_threshold(scored, labels, flags.target_precision)
        return self._make_verb(backend, generation, replace(options, threshold=self._chosen.threshold))

    def _wrap(self, events: Iterable[TaskEvent]) -> Iterator[TaskEvent]:
        chosen = self._chosen
        if chosen is not None:
            self.summary.details["target_precision"] = {**asdict(chosen), "precision": chosen.precision}
            yield Notice(describe_threshold(chosen))
        elif self._flags.threshold is not None:
            self.summary.details["threshold"] = self._flags.threshold
        yield from self.summary.observe(add_scoring_notices(events))


def describe_threshold(chosen: PrecisionThreshold) -> str:
    """Return how the threshold does on the labelled rows, as a sentence."""
    share = f"{chosen.correct} of {chosen.answered} labels right"
    interval = f"95% interval {chosen.low:.2f} to {chosen.high:.2f}"
    head = f"threshold {chosen.threshold:.3f}: {share} ({interval}) on {chosen.rows} labelled rows"
    return head if chosen.reached else f"no threshold reaches a precision of {chosen.target:g}; {head}"
