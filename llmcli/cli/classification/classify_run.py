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
    from llmcli.cli.classification.calibration_run import CalibrationRun, LabelledFile
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
        lambda: {"prompt": prompt.fingerprint, "label set": [asdict(label) for label in labels.labels]},
    )
    return run.run(files, lambda: _labels_manifest(prompt, labels, multi=False))


def _labels_manifest(prompt: Prompt, labels: LabelSet, *, multi: bool) -> dict[str, Any]:
    return {**prompt_manifest(prompt), "labels": [asdict(label) for label in labels.labels], "--multi": multi}


def _run_multi(ctx: CommandContext, prompt: Prompt, labels: LabelSet, files: Sequence[str]) -> int:
    flags, summary = scoring_flags(ctx), LabelSummary()
    alone = {
        "--examples": flags.examples,
        "--target-precision": flags.target_precision,
        "--calibrate": flags.calibrate,
        "--calibration": flags.calibration,
        "--eval": flags.evaluate,
        "--plot": flags.plot,
    }
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
    """``examples``, with the number of them to show to each text; rows for ``calibration`` and ``evaluation``."""

    examples: LabelledRows
    nearest: int
    calibration: LabelledFile | None
    evaluation: LabelledFile | None


class ScoringRun:
    """A run of a ``ScoringVerb`` with ``labels``, which ``make_verb`` builds."""

    def __init__(
        self,
        ctx: CommandContext,
        labels: Sequence[str],
        make_verb: MakeVerb,
        identity: Callable[[], Mapping[str, Any]],
        *,
        splits_long_texts: bool = False,
    ) -> None:
        """Read the labelled rows. Raises ``UsageError`` for options that exclude each other, and what reading raises.

        ``identity`` returns what a calibration depends on: prompt and labels, as JSON values.
        """
        self._ctx = ctx
        self._flags = scoring_flags(ctx)
        self._labels = labels
        self._make_verb = make_verb
        self._splits_long_texts = splits_long_texts
        self._chosen: PrecisionThreshold | None = None
        self.summary = LabelSummary()
        self._check_options()
        self._rows = self._read_rows()
        self._calibration = self._open_calibration(identity)

    def _open_calibration(self, identity: Callable[[], Mapping[str, Any]]) -> CalibrationRun | None:
        """Return the calibration that the options ask for; None without one."""
        if self._flags.calibrate is None and self._flags.calibration is None:
            return None
        from llmcli.cli.classification.calibration_run import CalibrationRun
        from llmcli.cli.classification.labelled_rows import rows_digest

        examples = {"verb": self._ctx.verb, "set of --examples": rows_digest(self._rows.examples)}
        return CalibrationRun(self._ctx, self._flags, {**identity(), **examples})

    def _check_options(self) -> None:
        flags = self._flags
        if flags.target_precision is not None and flags.calibrate is None and flags.calibration is None:
            words = "--target-precision needs a calibration"
            raise UsageError(words, detail="Try: --target-precision 0.95 --calibrate LABELLED_FILE")
        if flags.target_precision is not None and flags.threshold is not None:
            raise UsageError("--target-precision sets the threshold", detail="Leave out --threshold.")
        if flags.nearest is not None and flags.examples is None:
            raise UsageError("--nearest chooses among --examples", detail="Add --examples FILE.")
        if flags.plot is not None:
            from llmcli.cli.classification.calibration_plot import check_plot_path

            check_plot_path(flags.plot)
            if flags.calibrate is None and flags.evaluate is None:
                raise UsageError("--plot draws the figures of --calibrate or --eval", detail="Add one of them.")

    def _read_rows(self) -> _LabelledInputs:
        flags = self._flags
        if flags.examples is None and flags.calibrate is None and flags.evaluate is None:
            return _LabelledInputs([], DEFAULT_NEAREST, None, None)
        from llmcli.cli.classification.calibration_run import LabelledFile

        found = {
            option: None if path is None else LabelledFile(path, self._read_labelled(path))
            for option, path in {
                "--examples": flags.examples,
                "--calibrate": flags.calibrate,
                "--eval": flags.evaluate,
            }.items()
        }
        for first, second in (("--calibrate", "--examples"), ("--eval", "--examples"), ("--eval", "--calibrate")):
            _check_disjoint(first, found[first], second, found[second])
        examples = found["--examples"]
        rows, nearest = [] if examples is None else examples.rows, flags.nearest or DEFAULT_NEAREST
        if len(rows) > nearest and (flags.calibrate is not None or flags.calibration is not None):
            words = "a calibration needs the same examples before every text"
            raise UsageError(words, detail=f"Leave out --examples, or show all of them: --nearest {len(rows)}")
        return _LabelledInputs(rows, nearest, found["--calibrate"], found["--eval"])

    def _read_labelled(self, path: str) -> LabelledRows:
        from llmcli.cli.classification.labelled_rows import read_labelled_rows

        return read_labelled_rows(self._ctx, path, self._flags.label_column, self._labels)

    def run(
        self, files: Sequence[str], manifest: Callable[[], Mapping[str, Any]], *, input_format: str | None = None
    ) -> int:
        """Label the records and write the summary; return the exit code. ``input_format`` overrides --format.

        Without files, --eval and --calibrate report on their own rows.
        """
        flags = self._flags
        if flags.evaluate is not None and files:
            raise UsageError("--eval reports on labelled rows and labels no others", detail="Leave out one of them.")
        if flags.evaluate is not None or (flags.calibrate is not None and not files):
            return self._report()
        task = RecordTask(
            self._make, lambda: {**manifest(), **self._flags_manifest()}, self._wrap, input_format=input_format
        )
        code = run_records(self._ctx, files, task)
        write_summary(self._ctx, self.summary, flags.summary)
        return code

    def _flags_manifest(self) -> dict[str, Any]:
        from llmcli.cli.classification.labelled_rows import rows_digest

        flags, rows = self._flags, self._rows
        return {
            "--threshold": flags.threshold,
            "--no-prior": flags.no_prior,
            "--target-precision": flags.target_precision,
            "rows of --calibrate": rows_digest(() if rows.calibration is None else rows.calibration.rows),
            "--calibration": None if self._calibration is None else self._calibration.digest(),
            "rows of --examples": rows_digest(rows.examples),
            "--nearest": rows.nearest,
        }

    def _report(self) -> int:
        """Fit the calibration, evaluate, and print the figures without labelling records."""
        from llmcli.cli.classification.calibration_report import write_calibration, write_evaluation
        from llmcli.cli.classification.calibration_run import evaluate

        backend = self._ctx.runtime.backend()
        verb = self._make(backend, self._ctx.generation_options())
        rows, flags = self._rows.evaluation, self._flags
        if rows is not None:
            figures = evaluate(backend, verb.scorer, rows.rows)
            write_evaluation(self._ctx, verb.scorer.model, figures, f"of {rows.path}")
        else:
            assert self._calibration is not None
            assert self._calibration.stored is not None
            origin = f"of {flags.calibrate}, each predicted without itself"
            write_calibration(self._ctx, flags.calibration, self._calibration.stored, origin)
        if self._chosen is not None:
            self._ctx.console.write_note(describe_threshold(self._chosen))
        return 0

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
        if self._calibration is None:
            return self._make_verb(backend, generation, options)
        plain = replace(options, corrects_prior=False)
        calibrator = self._calibration.prepare(
            backend, lambda: self._make_verb(backend, generation, plain).scorer, rows.calibration
        )
        if flags.target_precision is not None:
            self._chosen = self._calibration.choose_threshold(flags.target_precision)
            options = replace(options, threshold=self._chosen.threshold)
        return self._make_verb(backend, generation, replace(options, calibrator=calibrator))

    def _wrap(self, events: Iterable[TaskEvent]) -> Iterator[TaskEvent]:
        chosen = self._chosen
        if chosen is not None:
            self.summary.details["target_precision"] = {**asdict(chosen), "precision": chosen.precision}
            yield Notice(describe_threshold(chosen))
        elif self._flags.threshold is not None:
            self.summary.details["threshold"] = self._flags.threshold
        yield from self.summary.observe(add_scoring_notices(events))


def _check_disjoint(first: str, one: LabelledFile | None, second: str, other: LabelledFile | None) -> None:
    """Raise ``UsageError`` if two files have texts in common: the first one is to tell how often labels are right."""
    if one is None or other is None:
        return
    shared = {text for text, _ in one.rows} & {text for text, _ in other.rows}
    if shared:
        words = f"{len(shared)} texts of {first} are also in {second}, so they cannot tell how often labels are right"
        raise UsageError(words, detail="Leave them out of one of the files.")


def describe_threshold(chosen: PrecisionThreshold) -> str:
    """Return how the threshold does on the labelled rows, as a sentence."""
    share = f"{chosen.correct} of {chosen.answered} labels right"
    interval = f"95% interval {chosen.low:.2f} to {chosen.high:.2f}"
    head = f"threshold {chosen.threshold:.3f}: {share} ({interval}) on {chosen.rows} labelled rows"
    return head if chosen.reached else f"no threshold reaches a precision of {chosen.target:g}; {head}"
