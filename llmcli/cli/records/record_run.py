"""One run of a verb over records: its input, its job, its output. Every verb that processes records uses it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from llmcli.cli.command_context import CommandContext
from llmcli.cli.flags import manifest_options
from llmcli.cli.input import inputs
from llmcli.cli.records import record_inputs
from llmcli.cli.records.record_flags import record_flags
from llmcli.cli.records.record_inputs import RecordSummary, RecordWork
from llmcli.cli.records.record_output import RecordOutput
from llmcli.cli.render.renderer import DisplayOptions, render_events
from llmcli.documents.records.record import Record, RecordSchema
from llmcli.documents.records.record_source import RecordSource, TextChoice, chain_digests
from llmcli.errors import Interrupted, PartialError, UsageError
from llmcli.fast_dataclass import asdict, field, frozen
from llmcli.prompts.prompt_file import ROW_VARIABLE
from llmcli.types import ItemFailed, Notice, Progress, Result, TaskEvent

if TYPE_CHECKING:
    from llmcli.backends.base import Backend
    from llmcli.prompts.prompt_file import Prompt
    from llmcli.tasks.runner.record_runner import RecordProcessor
    from llmcli.tasks.runner.task_requests import GenerationOptions
    from llmcli.tasks.summarize.summary_options import SummaryOptions


@frozen
class RecordRunSpec:
    """What a command does with records.

    ``make_verb`` returns the verb for a backend and the user's options. ``manifest`` returns everything else that the
    results depend on, by its name for people, as JSON values; a job is continued only with the same. It is called only
    where it is needed, since hashing takes 3 ms to import. ``wrap`` adds events. ``prepare`` takes the records of the
    input as they were read, and yields those that count. ``generation`` changes the ``GenerationOptions`` of the
    command. ``needs_text`` False: a table without a text column is fine. ``make_output`` returns the output.
    ``input_format`` overrides --format. ``summary`` counts the rows of the output. ``suits_small_models`` is as in
    ``DisplayOptions``.
    """

    make_verb: Callable[[Backend, GenerationOptions], RecordProcessor]
    manifest: Callable[[], Mapping[str, Any]]
    wrap: Callable[[Iterable[TaskEvent]], Iterator[TaskEvent]] = iter
    prepare: Callable[[Iterable[Record]], Iterable[Record]] = iter
    generation: Mapping[str, Any] = field(default_factory=dict)
    needs_text: bool = True
    make_output: Callable[[CommandContext, RecordWork], RecordOutput] = RecordOutput
    input_format: str | None = None
    summary: RecordSummary | None = None
    suits_small_models: bool = False


def run_records(ctx: CommandContext, files: Sequence[str], task: RecordRunSpec) -> int:
    """Process the records of ``files``, or of standard input; return the exit code.

    Raises for invalid options and inputs before a model is loaded, unless the input is a pipe, whose first bytes may
    come late.
    """
    run = _RecordRun(ctx, files, task)
    try:
        if record_flags(ctx).dry_run:
            return run.show_work()
        display = DisplayOptions(markdown=False, records=run.output, suits_small_models=task.suits_small_models)
        return run.output.exit_code(render_events(ctx, run.events, display).exit_code)
    finally:
        run.source.close()


class _RecordRun:
    """The parts of one run."""

    def __init__(self, ctx: CommandContext, files: Sequence[str], task: RecordRunSpec) -> None:
        self._ctx = ctx
        self._task = task
        self._flags = record_flags(ctx)
        self.source: RecordSource = record_inputs.open_source(ctx, files, task.input_format)
        self._sharded = record_inputs.sharded_input(ctx)
        self.output = task.make_output(ctx, RecordWork(self.source.paths, self._sharded, task.summary))
        self._choice: TextChoice = record_inputs.text_choice(ctx, required=task.needs_text)
        self._selection = record_inputs.selection(ctx)
        # records of the input so far, those of them that this run processes, and the bytes read: one value, since the
        # thread that reads is ahead of the one that shows the progress
        self._counts = 0, 0, 0
        if not self.source.is_stream:
            self._choice = self._choice.resolve(self.source.open())

    def show_work(self) -> int:
        """Write the work of the job, which reads its input and runs no model; return the exit code.

        Raises ``UsageError`` for a job that goes on.
        """
        from llmcli.cli.render.estimate_table import SUMMED_WORK, work_columns, write_estimate_rows
        from llmcli.tasks.runner.record_estimate import estimate_records

        ctx, flags = self._ctx, self._flags
        for option, is_given in (("--resume", flags.resume), ("--retry-failed", flags.retry_failed)):
            if is_given:
                raise UsageError(f"--dry-run counts a whole job, without {option}", detail="Leave out one of them.")
        name = ", ".join(self.source.names)

        def make_row(_index: int) -> dict[str, Any]:
            verb, _, _ = self._prepare()
            key = self._dedupe_key if flags.dedupe else None
            found = estimate_records(ctx.runtime.backend(), self._records(), verb, name=name, dedupe_key=key)
            return {"name": name, "records": found.records, **work_columns(ctx, found.work)}

        code = write_estimate_rows(ctx, [name], make_row, summed=SUMMED_WORK, outputs=[flags.output])
        for file, error in self.source.failed:
            ctx.console.write_error(error, name=file)
        return PartialError.exit_code if code == 0 and self.source.failed else code

    def _prepare(self) -> tuple[RecordProcessor, RecordSchema, GenerationOptions]:
        """Open the input, and return the verb, the columns of the input and the options of answers."""
        generation = self._ctx.generation_options(**self._task.generation)
        backend = self._ctx.runtime.backend()
        schema = self.source.open()
        self._choice = self._choice.resolve(schema)
        return self._task.make_verb(backend, generation), schema, generation

    def events(self) -> Iterator[TaskEvent]:
        """Prepare everything, and return the events of the verb."""
        from llmcli.tasks.runner.record_runner import RecordRunOptions, run_records

        ctx = self._ctx
        verb, schema, generation = self._prepare()
        backend = ctx.runtime.backend()
        self.output.begin(schema, verb, lambda: self._manifest(backend.info().model_id, generation))
        ctx.runtime.interrupt.drains_on_interrupt = self.output.job is not None
        if self.output.job is not None and self.output.job.is_finished:
            return iter(())
        options = RecordRunOptions(
            dedupe_key=self._dedupe_key if self._flags.dedupe else None,
            progress=self._progress,
        )
        return self._complete(schema, self._task.wrap(run_records(backend, self._records(), verb, options)))

    def _complete(self, schema: RecordSchema, events: Iterator[TaskEvent]) -> Iterator[TaskEvent]:
        """Add what the source has to say: renamed columns first, inputs that could not be opened last."""
        if schema.renamed:
            yield Notice(f"columns without a name of their own are called {', '.join(schema.renamed)}")
        count = 0
        for event in events:
            count += isinstance(event, Result | ItemFailed)
            yield event
        for number, (name, error) in enumerate(self.source.failed, count):
            yield ItemFailed(number, name, error)

    def _records(self) -> Iterator[Record]:
        """Yield the records to process, with their texts."""
        records: Iterable[Record] = self._selection.apply(self._task.prepare(self.source))
        job = self.output.job
        if job is not None or self._sharded is not None:
            records = chain_digests(records)
        if self._sharded is not None:
            records = self._sharded.select(records)
        if job is not None:
            if job.retries:
                records = self.output.carry_over(records)
            records = job.skip_done(records)
        interrupt, choice = self._ctx.runtime.interrupt, self._choice
        try:
            for record in records:
                interrupt.check_input()
                choice.apply(record)
                self._counts = record.index + 1, self._counts[1] + 1, self.source.position
                yield record
            self.source.require_unchanged()  # with --limit, no end of an input is reached
        except Interrupted:
            if interrupt.draining and self._ctx.console.shows_notes:
                self._ctx.console.write_message("llm: finishing the records that run; Ctrl-C again stops at once")
            raise

    def _dedupe_key(self, record: Record) -> bytes:
        """Return the digest of what the answer depends on: a text may have megabytes, and many keys are kept."""
        import hashlib

        used = f"{record.text}\0{record.fields!r}" if self._task_uses_row else record.text
        return hashlib.blake2b(used.encode("utf-8", "surrogatepass"), digest_size=16).digest()

    @cached_property
    def _task_uses_row(self) -> bool:
        return bool(self._task.manifest().get("uses columns"))

    def _progress(self, done: int) -> Progress:
        """Return how many records of this run are done, of how many: estimated by the bytes that were read so far.

        The number is exact once all are read, with --sample, and unknown for a pipe.
        """
        selection, (num_seen, num_started, read) = self._selection, self._counts
        wanted = selection.sample or selection.limit
        if wanted is not None and self._sharded is not None:
            wanted = self._sharded.shard.share_of(wanted)
        known = None if wanted is None else wanted - (num_seen - num_started)
        size = self.source.size
        if selection.sample is not None or size is None or not read:
            return Progress(done, known, "records")
        unread = max(0, round(num_seen * (size - read) / read))
        estimated = max(done, num_started + unread)
        if known is not None and known <= estimated:
            return Progress(done, max(done, known), "records")
        return Progress(done, estimated, "records", estimated=read < size)

    def _manifest(self, model_id: str, generation: GenerationOptions) -> dict[str, Any]:
        """Return everything that the results depend on, apart from the input."""
        return {
            **generation_manifest(self._ctx, model_id, generation),
            **self._task.manifest(),
            **manifest_options(self._flags),
            "column": list(self._choice.columns),
            "sample seed": 0 if self._selection.sample is None else self._selection.seed,
            "--json": self._ctx.console.as_json,
        }


def generation_manifest(ctx: CommandContext, model_id: str, generation: GenerationOptions) -> dict[str, Any]:
    """Return the part of a manifest that the command, the model, its weights and the options of answers contribute.

    What has its default is None, which is the same as no entry.
    """
    answers = asdict(generation)
    for name in ("deadline", "progress", "priority", "stop_condition", "shows_deltas"):  # they do not change results
        del answers[name]
    runtime, settings = ctx.runtime, ctx.runtime.settings
    return {
        "verb": ctx.verb,
        "model": model_id,
        "weights": runtime.weights,
        "--deterministic": settings["deterministic"] or None,
        "--redact": settings["redact"] if runtime.is_remote and settings["redact"] != "auto" else None,
        **{name.replace("_", " "): value for name, value in answers.items()},
    }


def prompt_manifest(*prompts: Prompt) -> dict[str, Any]:
    """Return the part of a manifest that prompt files contribute."""
    return {
        "prompt": [prompt.name for prompt in prompts],
        "prompt file": [prompt.fingerprint for prompt in prompts],
        "uses columns": any(prompt.uses(ROW_VARIABLE) for prompt in prompts),
    }


def ask_spec(ctx: CommandContext, prompt: str | None, *, system: str) -> RecordRunSpec:
    """Return how a question about each record, or each record, is answered, with the instructions ``system``."""
    from llmcli.tasks.ask import AskTask, ask_prompt

    question = None if prompt is None else inputs.decode_argument(prompt)
    chosen = ask_prompt(ctx.runtime.prompts, question)
    return RecordRunSpec(
        lambda backend, options: AskTask(backend, chosen, question, options),
        lambda: {**prompt_manifest(chosen), "question": question, **_system_manifest(system)},
        generation={"system": system},
    )


def summarize_records(ctx: CommandContext, files: Sequence[str], wanted: SummaryOptions) -> int:
    """Summarize each record; return the exit code."""
    from llmcli.tasks.summarize.record_summary import SummarizeTask
    from llmcli.tasks.summarize.summary_plan import MERGE_PROMPT, PROMPT

    prompts = ctx.runtime.prompts
    read = prompts.get(PROMPT), prompts.get(MERGE_PROMPT)
    task = RecordRunSpec(
        lambda backend, options: SummarizeTask(backend, prompts, options, wanted),
        lambda: {**prompt_manifest(*read), **asdict(wanted)},
    )
    return run_records(ctx, files, task)


def generate_spec(
    ctx: CommandContext, prompt: Prompt, variables: Mapping[str, str], *, system: str = ""
) -> RecordRunSpec:
    """Return how a text is written for each record, with the instructions ``system``."""
    from llmcli.tasks.generate import GenerateTask

    flags = record_flags(ctx)
    has_text = bool(flags.column or flags.template)
    return RecordRunSpec(
        lambda backend, options: GenerateTask(backend, prompt, variables, options, has_text=has_text),
        lambda: {
            **prompt_manifest(prompt),
            "uses columns": True,
            "variables": dict(variables),
            **_system_manifest(system),
        },
        generation={"system": system},
        needs_text=False,
    )


def _system_manifest(system: str) -> dict[str, str]:
    """Return the instructions as an entry of a manifest; none without them, as in manifests of earlier versions."""
    return {"system": system} if system else {}
