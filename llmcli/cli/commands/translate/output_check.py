"""``--check``: the defects of translations that exist, as a table, JSON or SARIF; no model is needed."""

from __future__ import annotations

from collections import Counter
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

from llmcli.cli.command_context import CommandContext
from llmcli.cli.commands.translate.memory_file import create_memory_cache, memory_for_job, report_memory_trouble
from llmcli.cli.commands.translate.plan import PlannedTranslation, PlanOptions, plan_translations, read_earlier
from llmcli.cli.commands.translate.spec_builder import CheckOptions, SpecBuilder, TranslateOptions
from llmcli.cli.console import json_text
from llmcli.cli.input.inputs import format_source_name
from llmcli.cli.render.sarif import file_uri, make_log
from llmcli.documents.reading.translatable import find_document_format
from llmcli.errors import BadDocument, LlmError, PartialError, UsageError
from llmcli.fast_dataclass import frozen
from llmcli.interrupt import run_interruptible
from llmcli.tasks.languages import parse_language
from llmcli.tasks.translate.translation_check import Defect, DefectKind, TranslationToCheck, check_translation
from llmcli.types import ItemFailed

if TYPE_CHECKING:
    from llmcli.tasks.translate.memory_cache import TranslationMemoryCache

_RULES = {
    DefectKind.MISSING: ("error", "A text has no translation."),
    DefectKind.STALE: ("warning", "The source of a translation has changed since."),
    DefectKind.DAMAGED: ("error", "A translation lost code, a placeholder or a tag, or its file is invalid."),
    DefectKind.UNTRANSLATED: ("warning", "A translation is still in the source language."),
}


@frozen
class _Row:
    """A defect in its files."""

    source: str
    translation: str
    language: str
    defect: Defect

    @property
    def file(self) -> str:
        """The file that the line of the defect is in."""
        return self.source if self.defect.in_source else self.translation


def run_check(ctx: CommandContext, options: TranslateOptions, check: CheckOptions) -> int:
    """Show the defects; return 1 if there are some, else 0. Raises for invalid options."""
    if not options.target_languages:
        raise UsageError("into which language?", detail="Try: llm translate --check --to fr docs -o docs-fr")
    _refuse_contradictions(ctx, options, check)
    builder = SpecBuilder(ctx, options)
    builder.validate()
    output = options.update_target or ctx.flags.output
    plan_options = PlanOptions(options.files, options.target_languages, output, writes_files=False, reads_existing=True)
    pairs = plan_translations(ctx, plan_options).translations
    memory = memory_for_job(ctx, options.memory_file, read_only=True) if options.uses_memory else None
    rows: list[_Row] = []
    failed: list[LlmError] = []
    with memory if memory is not None else nullcontext():
        remembered = create_memory_cache(memory)
        sources = {code: remembered.sources_by_translation(code) for code in {pair.target.code for pair in pairs}}
        for pair in pairs:
            try:
                rows += _check_pair(ctx, pair, builder, options, remembered, sources[pair.target.code])
            except LlmError as error:
                ctx.runtime.interrupt.check()  # not a failure of this document
                failed.append(error)
                ctx.console.write_error(error, name=pair.document.name)
        report_memory_trouble(ctx, remembered)
    wanted = [row for row in rows if not check.only or row.defect.kind in check.only]
    _write_rows(ctx, wanted, sarif=check.sarif)
    _write_summary(ctx, wanted, len(pairs) - len(failed))
    if failed:
        return PartialError.exit_code if len(failed) < len(pairs) else failed[0].exit_code
    return 1 if wanted else 0


def _refuse_contradictions(ctx: CommandContext, options: TranslateOptions, check: CheckOptions) -> None:
    """Raise ``UsageError`` for options that exclude each other."""
    given = {"--dry-run": options.dry_run, "--review": options.review, "--force": options.force}
    refused = options.names_for_documents() + [name for name, is_given in given.items() if is_given]
    if refused:
        raise UsageError(f"--check and {refused[0]} exclude each other", detail="--check only reads translations.")
    if options.update_target is not None and ctx.flags.output not in {None, options.update_target}:
        raise UsageError("--update already names the translation; leave out -o")
    if check.sarif and ctx.console.as_json:
        raise UsageError("--sarif and --json are two forms of output", detail="Leave out one of them.")


def _check_pair(
    ctx: CommandContext,
    pair: PlannedTranslation,
    builder: SpecBuilder,
    options: TranslateOptions,
    remembered: TranslationMemoryCache,
    sources: dict[str, set[str]],
) -> list[_Row]:
    """Return the defects of a translation.

    Raises why its source cannot be read, and ``UsageError`` without a file for it.
    """
    document = pair.document
    if isinstance(document, ItemFailed):
        raise document.error
    if pair.path is not None:
        try:
            translation = read_earlier(ctx, pair.path)
        except BadDocument as error:
            damage = Defect(DefectKind.DAMAGED, error.line or 1, error.detail)
            return [_Row(document.name, str(pair.path), pair.target.code, damage)]
    else:
        form = find_document_format(document, options.format_name)
        if not form.holds_both_languages:
            raise UsageError(
                f"where is the translation of {format_source_name(document.name)}?",
                detail="Name it as when it was written: -o FILE, DIR or '{dir}/{name}.{lang}{ext}'",
            )
        translation = document
    source = None if options.source_language is None else parse_language(options.source_language)
    written = remembered.previous_output(pair.path, pair.target.code)
    checked = TranslationToCheck(
        document, translation, pair.target, source, options.format_name, builder.brief.glossary, written, sources
    )
    name = document.name if pair.path is None else str(pair.path)
    try:
        found = run_interruptible(check_translation, checked)
    except BadDocument as error:
        raise BadDocument(document.name, line=error.line, detail=error.detail) from error
    return [_Row(document.name, name, pair.target.code, defect) for defect in found]


# ---- the output ------------------------------------------------------------------------------------------------------


def _write_rows(ctx: CommandContext, rows: list[_Row], *, sarif: bool) -> None:
    if sarif:
        ctx.console.write_stdout(json_text.dumps(_sarif_log(rows), indent=2) + "\n")
    elif ctx.console.as_json:
        ctx.console.write_table([_as_object(row) for row in rows])
    else:
        ctx.console.write_table([_as_cells(row) for row in rows])


def _as_object(row: _Row) -> dict[str, Any]:
    defect = row.defect
    return {
        "problem": str(defect.kind),
        "file": row.file,
        "line": defect.line,
        **({"part": defect.part} if defect.part else {}),
        "source": row.source,
        "translation": row.translation,
        "to": row.language,
        "key": defect.key,
        "text": defect.text,
        "detail": defect.detail,
    }


def _as_cells(row: _Row) -> dict[str, Any]:
    name = format_source_name(row.file)
    place = f"{name}: {row.defect.part}" if row.defect.part else f"{name}:{row.defect.line}"
    return {"problem": str(row.defect.kind), "place": place, "text": row.defect.text, "why": row.defect.detail}


def _write_summary(ctx: CommandContext, rows: list[_Row], checked: int) -> None:
    """Say how many defects there are of each kind."""
    files = f"{checked} translation{'' if checked == 1 else 's'}"
    counts = Counter(row.defect.kind for row in rows)
    if rows and not ctx.console.quiet:
        ctx.console.write_notice(
            f"{files}: " + ", ".join(f"{counts[each]} {each}" for each in DefectKind if counts[each])
        )
    elif not rows:
        ctx.console.write_note(f"{files}: nothing found")


def _sarif_log(rows: list[_Row]) -> dict[str, Any]:
    """Return the defects as a log; ``properties`` name the source and the language."""
    rules = [
        {
            "id": f"{kind}-translation",
            "name": f"{kind.capitalize()}Translation",
            "shortDescription": {"text": text},
            "defaultConfiguration": {"level": level},
        }
        for kind, (level, text) in _RULES.items()
    ]
    return make_log("llm translate --check", rules, [_sarif_result(row) for row in rows])


def _sarif_result(row: _Row) -> dict[str, Any]:
    defect = row.defect
    subject = f"\u201c{defect.text}\u201d: " if defect.text else ""
    region = {} if defect.part else {"region": {"startLine": defect.line}}
    place = {"artifactLocation": {"uri": file_uri(row.file)}, **region}
    part = {"part": defect.part} if defect.part else {}
    return {
        "ruleId": f"{defect.kind}-translation",
        "ruleIndex": list(_RULES).index(defect.kind),
        "level": _RULES[defect.kind][0],
        "message": {"text": f"{subject}{defect.detail}."},
        "locations": [{"physicalLocation": place}],
        "properties": {
            "to": row.language,
            "source": row.source,
            "translation": row.translation,
            "key": defect.key,
            **part,
        },
    }
