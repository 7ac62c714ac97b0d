"""``llm generate report|article|book|slides``: the outline, the sections, the file, and one section again."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from llmcli.cli.command_context import CommandContext
from llmcli.cli.commands.ask.answer_display import keep_in_log
from llmcli.cli.commands.generate.text_options import LongTextOptions
from llmcli.cli.commands.generate.text_output import TextJob, TextOutput
from llmcli.cli.console.suggestion import format_command
from llmcli.cli.input import document_inputs, inputs, question_inputs, source_inputs
from llmcli.cli.input.inputs import STDIN
from llmcli.cli.input.text_values import join_words
from llmcli.cli.records.record_run import generation_manifest
from llmcli.cli.render.estimate_table import write_estimates
from llmcli.cli.render.renderer import DisplayOptions, render_events
from llmcli.documents.reading.document import Document
from llmcli.documents.reading.file_reader import open_stream
from llmcli.errors import BadDocument, PartialError, UsageError
from llmcli.fast_dataclass import frozen
from llmcli.interrupt import run_interruptible
from llmcli.tasks.generate import find_kind
from llmcli.tasks.generate.long_text import estimate_long_text, estimate_outline, write_long_text
from llmcli.tasks.generate.name_spelling import NameGlossary
from llmcli.tasks.generate.outline import FORMS, LongKind, Outline, choose_shape, parse_outline
from llmcli.tasks.generate.outline_making import PROMPT as OUTLINE_PROMPT
from llmcli.tasks.generate.outline_making import outline_request, outline_task, shape_outline
from llmcli.tasks.generate.section_writing import NEXT_PROMPT, PROMPT, LongTextPlan
from llmcli.tasks.generate.source_facts import SourceFacts
from llmcli.tasks.generate.text_revision import Revision, choose_section, revise_section
from llmcli.types import ItemFailed, Result, TaskEvent, Usage

if TYPE_CHECKING:
    from llmcli.backends.base import Backend
    from llmcli.tasks.runner.work_estimate import WorkEstimate

_KINDS = ", ".join(LongKind)
_OUTLINE_FACTS = 8
"""Sentences of the sources that the model sees when it makes the outline."""


def run_long_text(ctx: CommandContext, kind: str, options: LongTextOptions, *, takes_text: bool) -> int:
    """Write a long text, its outline, or one section of it again; return the exit code.

    ``takes_text`` False: options of other kinds of texts were given. Raises ``UsageError`` for what does not go
    together, before a model is looked for.
    """
    if kind not in {*LongKind}:
        raise _long_options_error(ctx, kind, options)
    if not takes_text:
        raise UsageError(
            f"a {kind} that is written section by section takes no --var, no -f and no records",
            detail=f'Try: llm generate {kind} "Heat pumps in old houses" --from FILE',
        )
    long_kind = LongKind(kind)
    if options.revise is not None:
        return _revise(ctx, long_kind, options)
    return _LongTextRun(ctx, long_kind, options).run()


def _long_options_error(ctx: CommandContext, kind: str, options: LongTextOptions) -> UsageError:
    """Return the error for options that a kind does not take. Raises ``MissingError`` for a word that is no kind."""
    prompt = find_kind(ctx.runtime.prompts, kind)
    option = options.option_names[0]
    values = {"--language": options.language, "--words": options.words}
    if option.removeprefix("--") in prompt.variables and option in values:
        again = format_command("generate", kind, "--var", f"{option.removeprefix('--')}={values[option]}")
        return UsageError(f"{option} is for {_KINDS}", detail=f"Try: {again}")
    if option != "TOPIC":
        return UsageError(f"{option} is for {_KINDS}", detail=f"Leave it out for {kind}.")
    required = [variable.name for variable in prompt.variables.values() if variable.default is None]
    texts = [" ".join(options.topic), *["..."] * len(required)]
    words = [word for name, text in zip(required, texts, strict=False) for word in ("--var", f"{name}={text}")]
    again = format_command("generate", kind, *(words or ["--list"]))
    return UsageError(f"only {_KINDS} take a TOPIC", detail=f"Try: {again}")


@frozen
class _Sources:
    """The documents of ``--from``, and the files among them that cannot be read."""

    documents: Sequence[Document]
    failed: Sequence[ItemFailed]
    facts: SourceFacts

    @property
    def digest(self) -> str:
        """A hash of all texts."""
        texts = hashlib.sha256()
        for document in self.documents:
            texts.update(document.text.encode("utf-8", "surrogatepass") + b"\0")
        return texts.hexdigest() if self.documents else ""

    def add_notes(self, events: Iterator[TaskEvent]) -> Iterator[TaskEvent]:
        """Add to the events of a text what was left out of the documents, and the files that cannot be read."""
        noted = source_inputs.add_source_notes(events, self.documents, one_answer=True)
        return source_inputs.append_failed(noted, self.failed)


def _read_sources(ctx: CommandContext, names: Sequence[str], *, reads_stdin: bool = True) -> _Sources:
    """Read the sources, and a text that is piped in. Raises what a file that is named itself raises."""
    documents, failed = question_inputs.read_texts(ctx, names, reads_stdin=reads_stdin)
    return _Sources(documents, failed, SourceFacts(documents))


def _language_name(language: str) -> str:
    """Return the English name of a language, "" for none. Raises ``UsageError``."""
    if not language:
        return ""
    from llmcli.tasks.languages import parse_language

    return parse_language(language).name


class _LongTextRun:
    """One run: reads everything, then writes the text or its outline."""

    def __init__(self, ctx: CommandContext, kind: LongKind, options: LongTextOptions) -> None:
        self._ctx, self._kind, self._options = ctx, kind, options
        if options.outline is not None and options.outline_only:
            raise UsageError("--outline and --outline-only exclude each other")
        if options.edit and (options.outline is not None or options.outline_only):
            raise UsageError(
                "--edit is for an outline that the model makes", detail="Edit the file, or leave --edit out."
            )
        if [options.outline, *options.sources].count(STDIN) > 1:
            raise UsageError("standard input can be read only once")
        self._topic = " ".join(inputs.decode_argument(join_words(ctx, options.topic) or "").split())
        if options.edit:
            from llmcli.cli.input.editor import require_editor

            require_editor(ctx.console)
        self._language = _language_name(options.language)
        self._output = TextOutput.choose(ctx, is_outline=options.outline_only)
        self._outline = None if options.outline is None else self._read_outline(options.outline)
        if self._outline is None and not self._topic:
            raise UsageError(
                f"what is the {kind} about?", detail=f'Try: llm generate {kind} "Heat pumps in old houses"'
            )
        self._sources = _read_sources(ctx, options.sources, reads_stdin=options.outline != STDIN)
        self._job: TextJob | None = None

    def _read_outline(self, name: str) -> Outline:
        return parse_outline(document_inputs.read_document(self._ctx, name).text, name, title=self._topic)

    def run(self) -> int:
        """Return the exit code; 3 if files of a directory could not be read."""
        if self._options.dry_run:
            return self._show_work()
        with self._output.hold():
            if self._options.outline_only:
                return self._show(keep_in_log(self._ctx, self._outline_events))
            try:
                return self._show(keep_in_log(self._ctx, self._text_events, _describe_text))
            finally:
                self._explain_resume()

    def _show(self, task: Callable[[Backend], Iterator[TaskEvent]]) -> int:
        display = DisplayOptions(silent=self._output.path is not None, markdown=not self._options.outline_only)

        def events() -> Iterator[TaskEvent]:
            found = self._output.write(lambda: task(self._ctx.runtime.backend()), on_written=self._finish_job)
            return self._sources.add_notes(found)

        return render_events(self._ctx, events, display).exit_code

    def _finish_job(self) -> None:
        if self._job is not None:
            self._job.finish()

    # ---- the outline ----------------------------------------------------------------------------------------------

    @property
    def _words(self) -> int:
        return self._options.words or FORMS[self._kind].words

    def _outline_events(self, backend: Backend) -> Iterator[TaskEvent]:
        return outline_task(
            backend,
            self._ctx.runtime.prompts,
            self._ctx.generation_options(),
            self._kind,
            self._topic,
            choose_shape(FORMS[self._kind], self._words),
            words=self._words,
            language=self._language,
            facts=self._outline_facts(),
        )

    def _outline_facts(self) -> list[str]:
        quotes = self._sources.facts.search([self._topic], each=_OUTLINE_FACTS, limit=_OUTLINE_FACTS)
        return [quote.line for quote in quotes]

    # ---- the text -------------------------------------------------------------------------------------------------

    def _plan(self, outline: Outline) -> LongTextPlan:
        outline = outline.with_lengths(FORMS[self._kind], self._options.words)
        texts = [outline.to_markdown(), *(document.text for document in self._sources.documents)]
        names = run_interruptible(NameGlossary, [line for text in texts for line in text.splitlines()])
        is_own = self._outline is not None or self._options.edit
        given = (self._topic, *(outline.texts if is_own else ()))
        return LongTextPlan(self._kind, outline, self._language, names.most_frequent, given)

    def _text_events(self, backend: Backend) -> Iterator[TaskEvent]:
        """Yield the events of the outline, if it is to be made, and of the text; its usage is that of both in all runs."""
        job = self._job = TextJob(self._output.path, self._manifest())
        outline = self._outline or job.outline
        if outline is None:
            outline, usage = yield from self._make_outline(backend)
            if outline is None:
                return
            job.save_outline(outline, usage)
        if self._options.edit and not job.answers:
            outline = self._edit(outline)
            job.save_outline(outline, job.outline_usage)
        for event in self._section_events(backend, outline, job):
            yield job.add_earlier_work(event) if isinstance(event, Result) else event

    def _section_events(self, backend: Backend, outline: Outline, job: TextJob) -> Iterator[TaskEvent]:
        plan = self._plan(outline)
        return write_long_text(
            backend,
            self._ctx.runtime.prompts,
            plan,
            self._sources.facts,
            self._ctx.generation_options(),
            answers=job.answers_for(plan.outline),
            on_answer=job.save_answers,
        )

    def _make_outline(self, backend: Backend) -> Generator[TaskEvent, None, tuple[Outline | None, Usage]]:
        """Yield the events of the outline, but for its result; return it and its usage. None: there is none."""
        for event in self._outline_events(backend):
            if isinstance(event, Result):
                return parse_outline(event.text or "", "outline", title=self._topic), event.usage
            yield event
        return None, Usage()

    def _edit(self, outline: Outline) -> Outline:
        """Return the outline as the user edits it; one that cannot be read can be edited again.

        Raises ``BadDocument`` if it stays as it is, and what ``compose_text`` raises.
        """
        from llmcli.cli.console.confirm import ask_yes_no, can_ask
        from llmcli.cli.input.editor import compose_text

        console, text = self._ctx.console, outline.to_markdown()
        while True:
            console.status_line.hide()
            text = compose_text(console, text)
            try:
                return parse_outline(text, "the edited outline")
            except BadDocument as error:
                if not can_ask(console):
                    raise
                console.write_error(error)
                if not ask_yes_no(console, "llm: Edit it again?"):
                    raise

    def _explain_resume(self) -> None:
        """Say how an unfinished text goes on."""
        job = self._job
        if job is not None and job.is_kept:
            again = format_command(*self._ctx.console.environment.argv)
            begun = f"{job.num_begun} section{' is' if job.num_begun == 1 else 's are'} begun"
            kept = begun if job.num_begun else "the outline is kept"
            self._ctx.console.write_message(f"llm: {kept}. To go on: {again}")

    def _manifest(self) -> dict[str, Any]:
        """Return what the text depends on: an interrupted one goes on only with the same."""
        ctx, prompts = self._ctx, self._ctx.runtime.prompts
        model_id = ctx.runtime.backend().info().model_id
        return {
            **generation_manifest(ctx, model_id, ctx.generation_options()),
            "verb": f"{ctx.verb} {self._kind}",
            "TOPIC": self._topic,
            "--outline": "" if self._outline is None else self._outline.to_markdown(),
            "--words": self._options.words,
            "--language": self._language,
            "--from": self._sources.digest,
            "prompt file": [prompts.get(name).fingerprint for name in (OUTLINE_PROMPT, PROMPT, NEXT_PROMPT)],
        }

    # ---- --dry-run ------------------------------------------------------------------------------------------------

    def _show_work(self) -> int:
        for failure in self._sources.failed:
            self._ctx.console.write_error(failure.error, name=failure.name)
        name = self._topic or (self._outline.title if self._outline else "")
        code = write_estimates(self._ctx, [name], lambda _index: self._estimate())
        return PartialError.exit_code if code == 0 and self._sources.failed else code

    def _estimate(self) -> WorkEstimate:
        """Return the work of the text, of its outline if that is to be made, or of the outline alone."""
        backend, prompts, options = (
            self._ctx.runtime.backend(),
            self._ctx.runtime.prompts,
            self._ctx.generation_options(),
        )
        outline, request = self._outline, None
        if outline is None:
            shape = choose_shape(FORMS[self._kind], self._words)
            request = outline_request(
                prompts, options, self._kind, self._topic, shape, language=self._language, facts=self._outline_facts()
            )
            outline = shape_outline(self._topic, shape).with_lengths(FORMS[self._kind], self._words)
            if self._options.outline_only:
                return estimate_outline(backend, request, self._kind, outline)
        plan = self._plan(outline)
        return estimate_long_text(backend, prompts, plan, self._sources.facts, options, outline=request)


def _describe_text(result: Result) -> str:
    """Return what the user asked for, as the log has it."""
    fields = result.fields
    return f"{fields['kind']} of {fields['wanted']:,} words: {fields['title']}"


def _revise(ctx: CommandContext, kind: LongKind, options: LongTextOptions) -> int:
    """Write one section of the file of -o again; return the exit code.

    Raises ``UsageError`` if the file has no such section.
    """
    refused = [name for name in options.option_names if name in {"--outline", "--outline-only", "--edit", "--dry-run"}]
    if refused:
        raise UsageError(f"--revise and {refused[0]} exclude each other")
    path, section = ctx.flags.output, inputs.decode_argument(options.revise or "")
    change = inputs.decode_argument(join_words(ctx, options.topic) or "").strip()
    if path is None:
        raise UsageError("--revise needs the file with the text", detail="Name it: -o FILE")
    if not change:
        raise UsageError(
            "what is to be changed?", detail=f'Try: llm generate {kind} -o {path} --revise "{section}" "Shorter"'
        )
    language = _language_name(options.language)
    output = TextOutput.choose(ctx, is_outline=False)
    output.require_markdown()
    sources = _read_sources(ctx, options.sources)
    with open_stream(path, ctx.runtime.interrupt):  # a missing text is a missing input, not an output that fails
        pass
    with output.hold():  # before the text is read: another revision would be lost
        document = source_inputs.read_earlier_file(ctx, path)
        number = choose_section(document.text, path, section)
        revision = Revision(kind, document.text, number, change, options.words, language)

        def task(backend: Backend) -> Iterator[TaskEvent]:
            return revise_section(backend, ctx.runtime.prompts, revision, sources.facts, ctx.generation_options())

        logged = keep_in_log(ctx, task)

        def events() -> Iterator[TaskEvent]:
            bom = "\ufeff" if document.bom else ""
            return sources.add_notes(output.write(lambda: logged(ctx.runtime.backend()), prefix=bom))

        return render_events(ctx, events, DisplayOptions(silent=True)).exit_code
