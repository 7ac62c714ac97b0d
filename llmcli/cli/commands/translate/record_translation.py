"""``llm translate`` over records: columns in other languages."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from llmcli.cli.command_context import CommandContext
from llmcli.cli.commands.translate.memory_file import create_memory_cache, memory_for_job, report_memory_trouble
from llmcli.cli.commands.translate.spec_builder import TRANSLATION_ONLY, SpecBuilder, TranslateOptions
from llmcli.cli.records.record_flags import wants_records
from llmcli.cli.records.record_inputs import record_flags
from llmcli.documents.format_registry import record_format_names
from llmcli.errors import UsageError
from llmcli.frozen_dataclass import replace

if TYPE_CHECKING:
    from llmcli.tasks.translate.translator import Translator


def translates_records(ctx: CommandContext, options: TranslateOptions) -> bool:
    """Whether the input is records: an option says so, or the format."""
    return options.format_name in record_format_names() or wants_records(record_flags(ctx))


def run_record_translation(ctx: CommandContext, options: TranslateOptions) -> int:
    """Translate columns of records; return the exit code. Raises ``UsageError`` for options of documents."""
    from llmcli.cli.records.record_run import RecordTask, run_records
    from llmcli.tasks.languages import parse_language
    from llmcli.tasks.translate.translate_records import TranslateVerb, translated_columns

    _refuse_document_options(options)
    ctx.flags = replace(record_flags(ctx), format=options.format_name)
    builder = SpecBuilder(ctx, replace(options, format_name=None))
    builder.validate()
    source = None if options.source_language is None else parse_language(options.source_language)
    translators = [builder.build_translator(parse_language(name)) for name in options.target_languages]
    columns = translated_columns(record_flags(ctx).column or (), translators)
    with ExitStack() as stack:
        memory = memory_for_job(ctx, options.memory_file, read_only=False) if options.uses_memory else None
        if memory is not None:
            stack.enter_context(memory)
        remembered = create_memory_cache(memory)
        several = len(columns) > len(translators)
        task = RecordTask(
            lambda *_: TranslateVerb(columns, source, remembered),
            lambda: _manifest(options, translators, several=several),
        )
        code = run_records(ctx, options.files, task)
        remembered.flush()
        report_memory_trouble(ctx, remembered)
    return code


def _refuse_document_options(options: TranslateOptions) -> None:
    given = {
        "--update": options.update_target is not None,
        "--bilingual": options.layout != TRANSLATION_ONLY,
        "--dry-run": options.dry_run,
        "--report": options.report_file is not None,
        "--pseudo": options.pseudo is not None,
        "--eval": options.reference_file is not None,
        "--qe": options.estimates_quality,
    }
    refused = [name for name, is_given in given.items() if is_given]
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
        "--formality": options.formality,
        "--context and --glossary": translators[0].cache_key,
    }
