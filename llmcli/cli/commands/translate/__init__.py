"""``llm translate``."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from llmcli.cli.command_context import CommandContext
from llmcli.cli.options import FilesArgument, command
from llmcli.cli.parsing.parameters import Option
from llmcli.cli.records.record_flags import RecordFlags, record_flags
from llmcli.machine_needs import TRANSLATION


class Formality(StrEnum):
    """How the reader is addressed: the values of --formality, which --style replaces."""

    AUTO = "auto"
    FORMAL = "formal"
    INFORMAL = "informal"


class BilingualLayout(StrEnum):
    """The layout of source and translation."""

    INTERLEAVED = "interleaved"


class PseudoLocalization(StrEnum):
    """The pseudo-translation used instead of a model."""

    ACCENTS = "accents"
    IDENTITY = "identity"


class QualityMethod(StrEnum):
    """How --qe estimates the quality of a translation."""

    SURPRISAL = "surprisal"


class CheckedDefect(StrEnum):
    """What --check looks for; the names are those of ``translation_check.DefectKind``."""

    MISSING = "missing"
    STALE = "stale"
    DAMAGED = "damaged"
    UNTRANSLATED = "untranslated"


@command(
    without=("format",),  # that of documents too
    examples="""
      llm translate --to fr notes.txt > notes.fr.txt
      llm translate --to de messages.po -o messages.de.po
      llm translate --to de report.docx -o report.de.docx
      llm translate --to fr --to es -o '{dir}/{name}.{lang}{ext}' docs/*.md
      llm translate --to fr docs -o docs-fr --glossary terms.csv --report fr.json
      llm translate --to fr guide.md --update guide.fr.md
      llm translate --to de --style @style.md docs -o docs-de
      llm translate --to de --qe surprisal messages.po -o messages.de.po
      llm translate --check --to fr docs -o docs-fr
      llm translate --check --only stale --sarif --to fr docs -o docs-fr > stale.sarif
      llm translate --pseudo accents strings.json
      llm translate --to fr --column title articles.csv -o articles.fr.csv
    """,
    flags=RecordFlags,
    model_task="translate",
    overflow_advice="shorten --context or the glossary",
    needs=TRANSLATION,
    also="Its memory: llm tm.",
)
def translate(
    ctx: CommandContext,
    *,
    files: FilesArgument = None,
    to: Annotated[
        list[str] | None,
        Option(
            "--to",
            metavar="LANG",
            help="The target language: fr, pt-BR, French; repeatable.",
            autocompletion="languages",
        ),
    ] = None,
    source: Annotated[
        str | None,
        Option(
            "--from",
            metavar="LANG",
            help="The language of the document (default: detected).",
            autocompletion="languages",
        ),
    ] = None,
    format_name: Annotated[
        str | None,
        Option(
            "--format",
            metavar="FORMAT",
            help="plain, markdown, html, po, ... (default: detected).",
            autocompletion="formats",
        ),
    ] = None,
    style: Annotated[
        str | None,
        Option(
            "--style",
            metavar="STYLE|@FILE",
            help="formal, informal, or your style guide.",
            autocompletion="translation_styles",
        ),
    ] = None,
    formality: Annotated[
        Formality | None, Option("--formality", help="The former name of --style.", hidden=True)
    ] = None,
    context: Annotated[
        str | None, Option("--context", metavar="TEXT|@FILE", help="What the model should know about the text.")
    ] = None,
    glossary: Annotated[
        str | None,
        Option("--glossary", metavar="FILE", help="CSV: term, translation (empty: keep the term), note."),
    ] = None,
    update: Annotated[
        str | None,
        Option("--update", metavar="TARGET", help="Update this translation; keep people's edits."),
    ] = None,
    memory: Annotated[
        str | None, Option("--tm", metavar="FILE", help="Translation memory (default: in the data directory).")
    ] = None,
    no_memory: Annotated[bool, Option("--no-tm", help="Do not read or write a translation memory.", rare=True)] = False,
    review: Annotated[bool, Option("--review", help="Correct doubtful segments in a second pass.")] = False,
    bilingual: Annotated[
        BilingualLayout | None, Option("--bilingual", help="Write the source together with its translation.", rare=True)
    ] = None,
    report: Annotated[
        str | None, Option("--report", metavar="FILE", help="Write the outcome of each segment, as JSON.")
    ] = None,
    pseudo: Annotated[
        PseudoLocalization | None,
        Option("--pseudo", help="Use no model: write accented letters, or copy the text.", rare=True),
    ] = None,
    reference: Annotated[
        str | None,
        Option("--eval", metavar="REFERENCE", help="Print BLEU and chrF scores against this translation.", rare=True),
    ] = None,
    quality: Annotated[
        QualityMethod | None,
        Option("--qe", help="Rank translations by how suspicious they are."),
    ] = None,
    check: Annotated[
        bool, Option("--check", help="List what is wrong with the translations in -o; exit 1 if anything is; no model.")
    ] = False,
    only: Annotated[
        list[CheckedDefect] | None, Option("--only", help="Check for these problems alone; repeatable.", rare=True)
    ] = None,
    sarif: Annotated[
        bool, Option("--sarif", help="Check, and print a SARIF 2.1.0 log for code review tools.", rare=True)
    ] = False,
) -> int:
    """Translate documents into another language.

    Reads plain text, Markdown, reStructuredText, HTML, Office files, EPUB, subtitles and message files (PO, XLIFF,
    JSON, YAML, .properties, Android, Apple, .NET, Qt, Fluent); everything but the words stays the same, byte for byte.
    A segment without a valid translation keeps its text and is reported (exit 3). For several documents or languages,
    -o is a DIR that mirrors the inputs, or a pattern with {dir}, {name}, {lang} and {ext}. With --column, or --format
    csv, the columns of records are translated into new columns NAME_LANG. With --check and the same inputs and -o,
    nothing is translated: the translations there are compared with their sources.
    """
    from llmcli.cli.commands.translate.spec_builder import CheckOptions, TranslateOptions
    from llmcli.cli.commands.translate.translation_run import run_translation

    options = TranslateOptions(
        files=files or [],
        target_languages=to or [],
        source_language=source,
        format_name=format_name,
        style=style if style is not None or formality is None else formality.value,
        context=context,
        glossary_file=glossary,
        update_target=update,
        force=ctx.flags.force,
        memory_file=memory,
        uses_memory=not no_memory,
        review=review,
        interleaves=bilingual is not None,
        dry_run=record_flags(ctx).dry_run,
        report_file=report,
        pseudo=pseudo.value if pseudo else None,
        reference_file=reference,
        estimates_quality=quality is not None,
        check=CheckOptions(only or [], sarif) if check or only or sarif else None,
    )
    return run_translation(ctx, options)
