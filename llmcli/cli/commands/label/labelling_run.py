"""One run of ``llm label``: candidates, questions, and what they result in."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmcli.cli.command_context import CommandContext
from llmcli.cli.console import confirm, key_reader, sanitize
from llmcli.cli.console.console import Console
from llmcli.cli.console.suggestion import format_command
from llmcli.cli.console.wrapping import wrap_words
from llmcli.cli.input.inputs import check_distinct
from llmcli.cli.records import record_inputs
from llmcli.documents.format_registry import LINES, load_record_format, output_record_format, record_format_by_suffix
from llmcli.documents.records.formats.record_format import OutputColumns
from llmcli.documents.records.record import Record, RecordSchema
from llmcli.documents.records.record_source import draw_sample
from llmcli.errors import Interrupted, MissingError, UsageError
from llmcli.tasks.classify import PROMPT, ClassifySpec
from llmcli.tasks.label.answer_file import AnswerFile
from llmcli.tasks.label.state_store import StateStore
from llmcli.tasks.labels.label_set import LabelSet
from llmcli.tasks.labels.label_spec import LABEL
from llmcli.types import Progress

if TYPE_CHECKING:
    from llmcli.backends.base import Backend
    from llmcli.tasks.label.background_scoring import CandidateScoring
    from llmcli.tasks.label.labelling_progress import LabellingProgress
    from llmcli.tasks.labels.label_scorer import LabelScorer
    from llmcli.tasks.labels.scored_records import ScoredRecord

MAX_CANDIDATES = 2000
MEASURE_EVERY = 5
"""Answers between two measurements of the accuracy."""
MIN_CALIBRATION_ROWS = 10
UNDO, SKIP, QUIT = "u", "s", key_reader.END_OF_INPUT
_DIGITS = "123456789"


def assign_keys(labels: Sequence[str]) -> dict[str, str]:
    """Return the label of each key: digits for the first nine, and the first letter where it is free.

    Raises ``UsageError`` for a label that gets no key.
    """
    keys = dict(zip(_DIGITS, labels, strict=False))
    taken = {UNDO, SKIP, QUIT}
    for label in labels:
        letter = label[:1].lower()
        if letter and letter.isalpha() and letter not in taken:
            taken.add(letter)
            keys[letter] = label
    unreachable = [label for label in labels if label not in keys.values()]
    if unreachable:
        words = f"no key is left for the label {unreachable[0]}"
        raise UsageError(words, detail="Use nine labels at most, or further ones with first letters of their own.")
    return keys


class LabellingRun:
    """Asks for labels of the records of ``file``."""

    def __init__(
        self, ctx: CommandContext, labels: LabelSet, file: str, *, calibration: str | None, column: str
    ) -> None:
        """Check the options. Raises ``UsageError`` and ``MissingError``."""
        self._ctx, self._labels, self._file, self._column = ctx, labels, file, column
        self._keys = assign_keys(labels.names)
        self._calibration = calibration
        self._check(calibration)
        given = ctx.flags.output
        self._output = Path(given) if given is not None else _default_output(file)
        check_distinct([("an input", file)], [("the output", str(self._output))])
        self._output_format = output_record_format(str(self._output))
        self._answers_path = self._output.with_name(f"{self._output.name}.answers.jsonl")
        if given is None and self._output.exists() and not self._answers_path.exists():
            raise UsageError(f"{self._output} already exists", detail="Name another output: -o FILE")

    def _check(self, calibration: str | None) -> None:
        from llmcli.tasks.calibration.calibration_store import require_calibration_name

        if not confirm.can_ask(self._ctx.console):
            advice = "Run it without pipes. For labels by the model: llm classify --labels A,B,... FILE"
            raise UsageError("llm label asks you for the labels and needs a terminal", detail=advice)
        if not os.path.isfile(self._file):  # noqa: PTH113 (a Path raises for a long name)
            raise MissingError(self._file, kind="input", detail="there is no such file")
        if calibration is not None:
            require_calibration_name(calibration)

    def run(self) -> int:
        """Ask until the person quits or nothing is left; write the output and the calibration.

        Returns the exit code.
        """
        from llmcli.tasks.label.background_scoring import CandidateScoring

        records, digest = self._read_candidates()
        answers = AnswerFile(self._answers_path, {"input": digest, "labels": list(self._labels.names)})
        try:
            backend = self._ctx.runtime.backend()
            scoring = CandidateScoring(
                backend,
                lambda: self._make_scorer(backend),
                records,
                lambda: StateStore(self._ctx.runtime.paths.label_states, self._identity(backend), digest),
            )
            scoring.start()
            try:
                self._ask(records, answers, scoring)
                self._write_output(answers)
                is_saved = self._calibration is not None and self._save_calibration(backend, records, answers, scoring)
            finally:
                scoring.stop()
            self._report(records, answers, is_saved=is_saved)
        except Interrupted:
            again = format_command(*self._ctx.console.environment.argv)
            self._ctx.console.write_message(f"llm: your answers are in {self._answers_path}; to go on: {again}")
            raise
        finally:
            answers.close()
        return 0

    @cached_property
    def _spec(self) -> ClassifySpec:
        """The labels of llm classify, which accepts the calibration."""
        return ClassifySpec(self._ctx.runtime.prompts.get(PROMPT), self._labels)

    def _make_scorer(self, backend: Backend) -> LabelScorer:
        runtime = self._ctx.runtime
        return self._spec.make_scorer(backend, self._ctx.generation_options(), runtime.prior_directory)

    def _identity(self, backend: Backend) -> dict[str, Any]:
        """Return what the scores depend on."""
        return self._spec.identity(backend.info().model_id, self._ctx.runtime.weights)

    def _report(self, records: list[Record], answers: AnswerFile, *, is_saved: bool) -> None:
        """Print the result as an object with --json; notes have said it to people."""
        if self._ctx.console.as_json:
            fields: dict[str, Any] = {
                "output": str(self._output),
                "answers": str(self._answers_path),
                "candidates": len(records),
            }
            counts = Counter(answers.labels.values())
            fields |= {"labels": {name: counts[name] for name in self._labels.names}, "skipped": len(answers.skipped)}
            self._ctx.console.write_record({**fields, "calibration": self._calibration if is_saved else None})

    # ---- records --------------------------------------------------------------------------------------------------

    def _records(self) -> Iterator[tuple[RecordSchema, Record]]:
        source = record_inputs.open_source(self._ctx, [self._file])
        try:
            schema = source.open()
            choice = record_inputs.text_choice(self._ctx, required=True)
            choice = choice.resolve(schema)
            for index, record in enumerate(source):
                self._ctx.runtime.interrupt.check()
                choice.apply(record)
                record.index = index
                yield schema, record
        finally:
            source.close()

    def _read_candidates(self) -> tuple[list[Record], str]:
        """Return the records to ask about and the hash of all texts. Raises ``UsageError`` if there are none."""
        digest, count = hashlib.sha256(), 0

        def candidates() -> Iterator[Record]:
            nonlocal count
            for schema, record in self._records():
                if self._column in schema.columns or self._column in record.fields:
                    words = f"the input already has the column {self._column}"
                    raise UsageError(words, detail="Name another one: --label-column NAME")
                if record.error is not None:
                    raise record.error
                data = record.text.encode("utf-8", "surrogatepass")
                digest.update(b"%d\n" % len(data) + data)
                if record.text.strip():
                    count += 1
                    yield record

        records = draw_sample(candidates(), MAX_CANDIDATES, 0)
        if not records:
            raise UsageError(f"{self._file} has no texts", detail="Name the column with the text: --column NAME")
        if count > len(records):
            self._ctx.console.write_note(f"{len(records)} of {count} records, drawn at random, are candidates")
        return records, digest.hexdigest()

    # ---- questions ------------------------------------------------------------------------------------------------

    def _ask(self, records: list[Record], answers: AnswerFile, scoring: CandidateScoring) -> None:
        rows = {record.index: row for row, record in enumerate(records)}
        names, console = self._labels.names, self._ctx.console
        progress = _measure(rows, answers, scoring)
        accepted_flat = False
        repeated: int | None = None
        with key_reader.single_keys(console.environment.stdin):
            while True:
                known = {rows[index]: names.index(label) for index, label in answers.labels.items()}
                row = repeated
                if row is None:
                    row = scoring.next_row(known, {rows[index] for index in answers.skipped})
                if row is None:
                    console.write_message("llm: every candidate has an answer")
                    return
                if progress is not None and progress.flat and not accepted_flat:
                    if not self._go_on(progress, scoring):
                        return
                    accepted_flat = True
                key = self._read_answer(records[row].text, len(known), progress, scoring)
                repeated = None
                if key == QUIT:
                    return
                if key == UNDO:
                    undone = answers.undo()
                    repeated = row if undone is None else rows[undone]
                    continue
                answers.add(records[row].index, None if key == SKIP else self._keys[key])
                if len(answers.labels) % MEASURE_EVERY == 0:
                    progress = _measure(rows, answers, scoring)

    def _read_answer(self, text: str, count: int, progress: LabellingProgress | None, scoring: CandidateScoring) -> str:
        share = "" if progress is None else f", {progress.accuracy:.0%} right by cross-validation"

        def show() -> None:
            rest = "" if scoring.is_complete else f", {scoring.scored_rows:,} records evaluated"
            show_question(self._ctx.console, text, self._keys, f"{count} labelled{share}{rest}")

        while True:
            key = key_reader.read_key(self._ctx.console, show, scoring.check)
            if key in self._keys or key in {UNDO, SKIP, QUIT}:
                return key

    def _go_on(self, progress: LabellingProgress, scoring: CandidateScoring) -> bool:
        console = self._ctx.console
        words = f"llm: more labels would hardly raise the accuracy, {progress.accuracy:.0%}. Go on? [y/N]"
        return key_reader.read_key(console, lambda: console.write_message(words), scoring.check) == "y"

    # ---- results --------------------------------------------------------------------------------------------------

    def _write_output(self, answers: AnswerFile) -> None:
        """Write all records with the labels that were given; the label of the others is empty."""
        from llmcli.files.atomic_file import atomic_write

        labels, writer = answers.labels, None
        with atomic_write(str(self._output), interrupt=self._ctx.runtime.interrupt) as file:
            for schema, record in self._records():
                if writer is None:
                    own = "csv" if schema.format == LINES else schema.format
                    chosen = load_record_format(self._output_format or own)
                    writer = chosen.open_writer(OutputColumns(schema, {self._column: str}, has_error=False))
                    file.write(writer.head())
                file.write(writer.row(record, {self._column: labels.get(record.index, "")}, ""))
            if writer is not None:
                file.write(writer.tail())
        count = "1 label is" if len(labels) == 1 else f"{len(labels)} labels are"
        self._ctx.console.write_note(f"{count} in {self._output}")

    def _save_calibration(
        self, backend: Backend, records: list[Record], answers: AnswerFile, scoring: CandidateScoring
    ) -> bool:
        """Save the calibration that the answers give; return whether there are enough of them."""
        from llmcli.cli.labels.calibration_report import describe_gain, next_command
        from llmcli.tasks.calibration.calibration_store import CalibrationStore, StoredCalibration
        from llmcli.tasks.calibration.label_calibration import fit_labels
        from llmcli.tasks.calibration.record_features import record_features
        from llmcli.tasks.label.labelling_progress import selection_options

        rows = {record.index: row for row, record in enumerate(records)}
        labels, name = answers.labels, self._calibration or ""
        if len(labels) < MIN_CALIBRATION_ROWS or len(set(labels.values())) == 1:
            words = f"no calibration yet: it needs {MIN_CALIBRATION_ROWS} labels, and two different ones"
            self._ctx.console.write_message(f"llm: {words}")
            return False
        scorer, scored = self._await_scores([rows[index] for index in labels], scoring)
        problem = fit_labels(scored, [*labels.values()], scorer, selection_options(record_features(scored)))
        created = datetime.now(UTC).isoformat(timespec="seconds")
        stored = StoredCalibration({LABEL: problem}, self._identity(backend), scorer.model, created)
        path = CalibrationStore(self._ctx.runtime.paths.calibrations).save(name, stored)
        self._ctx.console.write_note(f"saved the calibration {name} in {path}")
        self._ctx.console.write_note(describe_gain(problem.gain))
        self._ctx.console.write_note(f"next: {next_command(self._ctx.flags, name, stored)}")
        return True

    def _await_scores(self, rows: list[int], scoring: CandidateScoring) -> tuple[LabelScorer, list[ScoredRecord]]:
        """Wait for the scores of the rows that have answers, whose number is shown."""
        console = self._ctx.console

        def check(done: int) -> None:
            console.interrupt.check()
            console.status_line.show(Progress(done, len(rows), "records"))

        try:
            scorer = scoring.wait_for(rows, check)
        finally:
            console.status_line.hide()
        return scorer, scoring.scored(rows)


def _default_output(file: str) -> Path:
    path = Path(file)
    named = record_format_by_suffix(file)
    suffix = path.suffix if named is not None and named != LINES else ".csv"
    return path.with_name(f"{path.stem}.labelled{suffix}")


def _measure(rows: dict[int, int], answers: AnswerFile, scoring: CandidateScoring) -> LabellingProgress | None:
    """Return the progress by the answers whose records are scored by now."""
    from llmcli.tasks.calibration.record_features import record_features
    from llmcli.tasks.label.labelling_progress import measure_progress

    labels = {rows[index]: label for index, label in answers.labels.items()}
    scored = scoring.scored([*labels])
    if not scored:
        return None
    return measure_progress(record_features(scored), [labels[each.record.index] for each in scored])


_OTHER_LINES = 7
"""Of a question, beside its text."""
_MIN_TEXT_LINES = 3


def show_question(console: Console, text: str, keys: Mapping[str, str], progress: str) -> None:
    """Write a question to the terminal, in its present size; the rest of a long text is left out, which is said."""
    environment = console.environment
    columns = max(20, environment.columns(environment.stderr) - 1)
    shown = max(_MIN_TEXT_LINES, environment.rows(environment.stderr) - _OTHER_LINES)
    lines = [
        part for line in sanitize.strip_controls(text).expandtabs().splitlines() for part in wrap_words(line, columns)
    ]
    if len(lines) > shown:
        lines = [*lines[:shown], f"({len(lines) - shown} more lines)"]
    names: dict[str, list[str]] = {}
    for key, label in keys.items():
        names.setdefault(label, []).append(key)
    choices = "  ".join(f"[{'/'.join(found)}] {sanitize.single_line(label)}" for label, found in names.items())
    others = f"[{UNDO}] undo  [{SKIP}] skip  [{QUIT}] quit"
    foot = [part for line in (choices, f"{progress}  {others}") for part in wrap_words(line, columns)]
    console.write_stderr("\n".join(["-" * columns, *lines, "", *foot]))
