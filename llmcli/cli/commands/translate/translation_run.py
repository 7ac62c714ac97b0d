"""One run of ``llm translate``: all checks first, then translations, results, report."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, nullcontext
from functools import partial
from typing import TYPE_CHECKING, Any

from llmcli.cli.command_context import CommandContext
from llmcli.cli.commands.translate import result_stream
from llmcli.cli.commands.translate.memory_file import (
    create_memory_cache,
    memory_for_job,
    memory_path,
    report_memory_trouble,
)
from llmcli.cli.commands.translate.plan import PlanOptions, TranslationPlan, plan_translations
from llmcli.cli.commands.translate.spec_builder import SpecBuilder, TranslateOptions
from llmcli.cli.flags import STDOUT
from llmcli.cli.input import document_inputs
from llmcli.cli.input.inputs import check_distinct
from llmcli.cli.records.record_flags import record_flags, wants_records
from llmcli.cli.render.renderer import DisplayOptions, RenderReport, render_events
from llmcli.cli.render.text_writer import TextEnding
from llmcli.documents.format_registry import record_format_names
from llmcli.documents.reading.translatable import find_document_format
from llmcli.errors import UsageError
from llmcli.fast_dataclass import replace
from llmcli.interrupt import run_interruptible
from llmcli.types import ItemFailed, TaskEvent

if TYPE_CHECKING:
    from llmcli.documents.reading.document import Document
    from llmcli.tasks.translate.memory_cache import TranslationMemoryCache
    from llmcli.tasks.translate.segment_state import TranslationReport
    from llmcli.tasks.translate.target_file import TranslationSpec
    from llmcli.tasks.translate.translation_estimate import TranslationEstimate
    from llmcli.tasks.translate.translator import Translator

PSEUDO_LANGUAGE = "en-XA"
"""The default code for pseudo-localisation (Unicode CLDR)."""


def run_translation(ctx: CommandContext, options: TranslateOptions) -> int:
    """Translate, write, show; return the exit code. Raises for invalid options before a model is looked for."""
    if translates_records(ctx, options):
        return run_record_translation(ctx, options)
    if options.check is not None:
        from llmcli.cli.commands.translate.output_check import run_check

        return run_check(ctx, options, options.check)
    languages = options.target_languages or ([PSEUDO_LANGUAGE] if options.pseudo else [])
    if not languages:
        raise UsageError("into which language?", detail="Try: llm translate --to fr FILE")
    _refuse_contradictions(ctx, options)
    builder = SpecBuilder(ctx, options)
    builder.validate()
    output = options.update_target or ctx.flags.output
    plan_options = PlanOptions(
        options.files,
        languages,
        output,
        options.force,
        updates_existing=options.update_target is not None,
        writes_files=not options.dry_run,
    )
    plan = plan_translations(ctx, plan_options)
    _refuse_terminal(ctx, options, plan)
    named_output = None if plan.has_derived_names else output
    uses_memory = options.uses_memory and options.pseudo is None
    check_distinct(_read_files(options, plan), _written_files(ctx, options, plan, uses_memory=uses_memory))
    with ExitStack() as stack:
        memory = memory_for_job(ctx, options.memory_file, read_only=options.dry_run) if uses_memory else None
        if memory is not None:
            stack.enter_context(memory)
        if options.dry_run:
            specs = builder.build_specs(plan.translations)
            return _write_estimate(ctx, specs, create_memory_cache(memory), (named_output, options.report_file))
        reference = None if options.reference_file is None else _read_reference(ctx, options.reference_file, plan)
        sink = None
        if options.report_file is not None:
            from llmcli.files.atomic_file import atomic_write

            sink = stack.enter_context(atomic_write(options.report_file, interrupt=ctx.runtime.interrupt))
        from llmcli.tasks.translate.segment_state import TranslationReport

        rows, remembered = TranslationReport(), create_memory_cache(memory)
        shown = _render_translations(
            ctx, builder, plan, remembered, rows, reference=reference, estimates_quality=options.estimates_quality
        )
        report_memory_trouble(ctx, remembered)
        if sink is not None:
            sink.write(run_interruptible(result_stream.format_report, shown.ends, rows).encode())
    return shown.exit_code


def _refuse_terminal(ctx: CommandContext, options: TranslateOptions, plan: TranslationPlan) -> None:
    """Raise ``UsageError`` if the bytes of an archive would be written to a terminal."""
    document = plan.translations[0].document
    is_text = options.dry_run or options.reference_file is not None or options.interleaves
    if plan.has_derived_names or plan.translations[0].path or is_text or ctx.console.as_json:
        return
    if not isinstance(document, ItemFailed) and document.data is not None and ctx.console.stdout_is_terminal:
        form = find_document_format(document, options.format_name)
        if form.is_package:
            raise UsageError(f"a {form.name} file is not shown on a terminal", detail="Write it to a file: -o FILE")


def _refuse_contradictions(ctx: CommandContext, options: TranslateOptions) -> None:
    """Raise ``UsageError`` for options that exclude each other."""
    if options.update_target is not None and ctx.flags.output not in {None, options.update_target}:
        raise UsageError("--update already names the output; leave out -o")
    if options.update_target is not None and options.interleaves:
        raise UsageError("--update and --bilingual exclude each other")
    if options.estimates_quality and (options.pseudo is not None or options.dry_run):
        raise UsageError("--qe needs translations of a model", detail="Leave out --pseudo and --dry-run.")
    if options.report_file == STDOUT:
        raise UsageError("--report needs a file", detail="For standard output: --report /dev/stdout")


def _read_files(options: TranslateOptions, plan: TranslationPlan) -> Iterator[tuple[str, str]]:
    yield from (("a document to translate", name) for name in plan.input_names)
    if options.glossary_file is not None:
        yield "the glossary", options.glossary_file
    if options.context is not None and options.context.startswith("@"):
        yield "the context", options.context[1:]
    if options.style is not None and options.style.startswith("@"):
        yield "the style guide", options.style[1:]
    if options.reference_file is not None:
        yield "the reference", options.reference_file


def _written_files(
    ctx: CommandContext, options: TranslateOptions, plan: TranslationPlan, *, uses_memory: bool
) -> Iterator[tuple[str, str]]:
    yield from (
        ("an output", str(pair.path)) for pair in plan.translations if pair.path is not None and not pair.keeps_existing
    )
    if options.report_file is not None:
        yield "the report", options.report_file
    if uses_memory:
        yield "the translation memory", str(memory_path(ctx, options.memory_file))


def _render_translations(
    ctx: CommandContext,
    builder: SpecBuilder,
    plan: TranslationPlan,
    remembered: TranslationMemoryCache,
    rows: TranslationReport,
    *,
    reference: Document | None,
    estimates_quality: bool,
) -> RenderReport:
    """Show the translations; with a ``reference`` standard output gets the scores.

    With ``estimates_quality``, standard error gets the ranking of the segments.
    """
    from llmcli.tasks.translate import translate

    single = None if plan.has_derived_names else plan.translations[0]
    path = None if single is None else single.path

    def events() -> Iterator[TaskEvent]:
        specs = builder.build_specs(plan.translations)
        found = translate(specs, remembered=remembered, report=rows, estimates_quality=estimates_quality)
        if plan.has_derived_names:
            found = result_stream.write_results(ctx, found, plan, remembered)
        if reference is not None:
            found = result_stream.add_scores(found, reference, rows)
        return found

    display = DisplayOptions(
        input_names=plan.input_names,
        ending=TextEnding.DOCUMENT,
        markdown=False,
        format_row=result_stream.format_scores if reference is not None and path is None else None,
        output=None if path is None else str(path),
        replace_guard=nullcontext
        if single is None or path is None
        else partial(result_stream.guard_rename, remembered, path, single.existing),
        silent=plan.has_derived_names,
        encoding="utf-8" if single is None or (reference is not None and path is None) else single.encoding,
        keeps_ends=True,
    )
    shown = render_events(ctx, events, display)
    good = shown.results
    if reference is not None and path is not None and not ctx.console.as_json:
        ctx.console.write_stdout("".join(result_stream.format_scores(result) + "\n" for result in good))
    if estimates_quality and not ctx.console.as_json:
        for ranking in filter(None, map(result_stream.format_quality, good)):
            ctx.console.write_stderr(ranking)
    if ctx.console.shows_notes:
        for result in good:
            ctx.console.write_explanation(result_stream.format_result_note(result))
    return shown


def _read_reference(ctx: CommandContext, name: str, plan: TranslationPlan) -> Document:
    """Return the translation to compare with. Raises ``UsageError`` for several documents, and ``MissingExtra``."""
    from llmcli.tasks.translate.quality import require_sacrebleu

    if plan.has_derived_names or len(plan.translations) > 1:
        raise UsageError("--eval compares one document with one reference")
    require_sacrebleu()
    return document_inputs.read_translatable_document(ctx, name)


# ---- --dry-run -------------------------------------------------------------------------------------------------------


def _write_estimate(
    ctx: CommandContext,
    specs: Sequence[TranslationSpec | ItemFailed],
    memory: TranslationMemoryCache,
    outputs: Iterable[str | None],
) -> int:
    """Write the work for each document and in total, a line each; return the exit code.

    ``outputs``: the file of the one translation, if the user named it, and the report.
    """
    from llmcli.cli.render.estimate_table import SUMMED_WORK, write_estimate_rows
    from llmcli.tasks.translate.translation_estimate import estimate_translation

    def make_row(index: int) -> dict[str, Any]:
        spec = specs[index]
        if isinstance(spec, ItemFailed):
            raise spec.error
        return _estimate_row(ctx, estimate_translation(spec, memory))

    return write_estimate_rows(
        ctx, [spec.name for spec in specs], make_row, summed=("segments", "new", *SUMMED_WORK), outputs=outputs
    )


def _estimate_row(ctx: CommandContext, found: TranslationEstimate) -> dict[str, Any]:
    from llmcli.cli.render.estimate_table import work_columns

    return {
        "name": found.name,
        "to": found.target,
        "from": found.source,
        "format": found.format,
        "segments": found.segments,
        "new": found.new_segments,
        **work_columns(ctx, found.work),
    }


def translates_records(ctx: CommandContext, options: TranslateOptions) -> bool:
    """Whether the input is records: an option says so, or the format."""
    return options.format_name in record_format_names() or wants_records(record_flags(ctx))


def run_record_translation(ctx: CommandContext, options: TranslateOptions) -> int:
    """Translate columns of records; return the exit code. Raises ``UsageError`` for options of documents."""
    from llmcli.cli.records.record_run import RecordRunSpec, run_records
    from llmcli.tasks.languages import parse_language
    from llmcli.tasks.translate.translate_records import TranslateVerb, translated_columns

    _refuse_document_options(options)
    flags = record_flags(ctx)
    if flags.column and flags.template is not None:
        raise UsageError(
            "--template makes a text of several columns, --column translates each", detail="Give one of them."
        )
    ctx.flags = replace(flags, format=options.format_name)
    builder = SpecBuilder(ctx, replace(options, format_name=None))
    builder.validate()
    source = None if options.source_language is None else parse_language(options.source_language)
    translators = [builder.build_translator(parse_language(name)) for name in options.target_languages]
    columns = translated_columns(flags.column or (), translators)
    with ExitStack() as stack:
        memory = memory_for_job(ctx, options.memory_file, read_only=options.dry_run) if options.uses_memory else None
        if memory is not None:
            stack.enter_context(memory)
        remembered = create_memory_cache(memory)
        several = len(columns) > len(translators)
        task = RecordRunSpec(
            lambda *_: TranslateVerb(columns, source, remembered),
            lambda: _manifest(options, translators, several=several),
        )
        code = run_records(ctx, options.files, task)
        remembered.flush()
        report_memory_trouble(ctx, remembered)
    return code


def _refuse_document_options(options: TranslateOptions) -> None:
    refused = [
        *(["--update"] if options.update_target is not None else []),
        *options.names_for_documents(),
        *(["--check"] if options.check is not None else []),
    ]
    if refused:
        raise UsageError(f"{refused[0]} is for documents, not for records", detail=f"Leave out {refused[0]}.")
    if not options.target_languages:
        raise UsageError("into which language?", detail="Try: llm translate --to fr FILE")


def _manifest(options: TranslateOptions, translators: list[Translator], *, several: bool) -> dict[str, Any]:
    from llmcli.cli.records.record_run import prompt_manifest

    prompts = [prompt for prompt in (translators[0].prompt, translators[0].review_prompt) if prompt is not None]
    found = prompt_manifest(*prompts)
    return {
        **found,
        "uses columns": found["uses columns"] or several,
        "--to": [translator.target.code for translator in translators],
        "--from": options.source_language,
        "--style, --context and --glossary": translators[0].cache_key,
    }
