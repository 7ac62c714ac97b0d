"""``llm translate``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from llmcli.cli import completers, inputs, translating
from llmcli.cli.context import Context
from llmcli.cli.options import Files, command
from llmcli.cli.output import How, deliver
from llmcli.cli.text import Ending
from llmcli.cli.translators import Maker, scored, scores
from llmcli.cli.translators import dry_run as dry_run_of
from llmcli.documents.writing import atomic_write
from llmcli.errors import UsageError
from llmcli.tasks.translation.report import Report
from llmcli.types import ItemFailed, Result, TaskEvent

if TYPE_CHECKING:
    from llmcli.documents.reading import Document
    from llmcli.store.memory import Memory


class Formality(StrEnum):
    """How the reader is addressed."""

    AUTO = "auto"
    FORMAL = "formal"
    INFORMAL = "informal"


class Bilingual(StrEnum):
    """How source and translation stand together."""

    INTERLEAVED = "interleaved"
    SIDE_BY_SIDE = "side-by-side"


class Pseudo(StrEnum):
    """What takes the place of a model."""

    ACCENTS = "accents"
    IDENTITY = "identity"


@command(
    examples="""
      llm translate --to fr notes.txt > notes.fr.txt
      llm translate --to de messages.po -o messages.de.po
      llm translate --to fr --to es -o '{dir}/{name}.{lang}{ext}' docs/*.md
      llm translate --to fr docs -o docs-fr --glossary terms.csv --report report.json
      llm translate --to fr guide.md --update guide.fr.md
      llm translate --pseudo accents strings.json
    """
)
def translate(
    cli: Context,
    *,
    files: Files = None,
    to: Annotated[
        list[str] | None,
        typer.Option(
            "--to",
            metavar="LANG",
            help="Code or name: fr, pt-BR, French; repeatable.",
            autocompletion=completers.languages,
        ),
    ] = None,
    source: Annotated[
        str | None,
        typer.Option("--from", metavar="LANG", help="The language it is in.", autocompletion=completers.languages),
    ] = None,
    format_name: Annotated[
        str | None,
        typer.Option(
            "--format",
            metavar="FORMAT",
            help="plain, markdown, html, po, ... (default: by name and content).",
            autocompletion=completers.formats,
        ),
    ] = None,
    formality: Annotated[Formality, typer.Option("--formality", help="How the reader is addressed.")] = Formality.AUTO,
    context: Annotated[
        str | None, typer.Option("--context", metavar="TEXT|@FILE", help="What the model should know about the text.")
    ] = None,
    glossary: Annotated[
        str | None,
        typer.Option("--glossary", metavar="FILE", help="CSV: term, translation (none: keep the term), note."),
    ] = None,
    update: Annotated[
        str | None,
        typer.Option(
            "--update", metavar="TARGET", help="Renew this translation, a file or a directory; keep its edits."
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite files that -o DIR or a pattern names.")] = False,
    memory: Annotated[
        str | None, typer.Option("--tm", metavar="FILE", help="Translation memory (default: your own).")
    ] = None,
    no_memory: Annotated[bool, typer.Option("--no-tm", help="Remember nothing, recall nothing.")] = False,
    review: Annotated[
        bool, typer.Option("--review", help="Have doubtful segments corrected in a second pass.")
    ] = False,
    bilingual: Annotated[
        Bilingual | None, typer.Option("--bilingual", help="Show the source with its translation.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say how much there is to do, and about how long it takes.")
    ] = False,
    report: Annotated[
        str | None, typer.Option("--report", metavar="FILE", help="Write what became of each segment, as JSON.")
    ] = None,
    pseudo: Annotated[
        Pseudo | None, typer.Option("--pseudo", help="No model: accented letters, or the text as it is.")
    ] = None,
    reference: Annotated[
        str | None,
        typer.Option("--eval", metavar="REFERENCE", help="Print BLEU and chrF against this translation."),
    ] = None,
) -> int:
    """Translate documents into another language.

    Plain text, Markdown, HTML, SRT, WebVTT, PO, JSON, YAML and .properties; all but the words stays byte for byte. A
    segment without a right translation keeps its text and is reported (exit 3). Several documents or languages go to
    -o DIR, which mirrors what was named, or to a pattern of {dir}, {name}, {lang} and {ext}.
    """
    from llmcli.documents.formats import SUFFIXES

    languages = to or (["en-XA"] if pseudo else [])
    if not languages:
        raise UsageError("into which language?", detail="Try: llm translate --to fr FILE")
    output = cli.flags.output
    if update is not None and output not in {None, update}:
        raise UsageError("--update names the output too; leave out -o")
    if bilingual is not None and update is not None:
        raise UsageError("--update renews a translation, and --bilingual shows two languages: choose one")
    make = Maker(
        cli,
        source=source,
        format_name=format_name,
        formality=formality.value,
        context=context,
        glossary=glossary,
        review=review,
        layout=bilingual.value if bilingual else "translation",
        pseudo=pseudo.value if pseudo else None,
    )
    make.check()
    wish = translating.Wish(files or [], languages, update or output, force, updates=update is not None)
    pairs = translating.pairs(cli, wish, SUFFIXES)
    with ExitStack() as stack:
        remembered = None if no_memory or pseudo else stack.enter_context(_memory(cli, memory))
        if dry_run:
            return dry_run_of(cli, make.jobs(pairs.all), remembered)
        compared = None if reference is None else _reference(cli, reference, pairs)
        sink = None if report is None else stack.enter_context(atomic_write(report, interrupt=cli.interrupt))
        rows = Report()
        ends: list[Result | ItemFailed] = []
        code = _run(cli, make, pairs, remembered, rows=rows, ends=ends, compared=compared)
        if sink is not None:
            sink.write(translating.report_text(ends, rows).encode("utf-8", "surrogateescape"))
    return code


def _run(
    cli: Context,
    make: Maker,
    pairs: translating.Pairs,
    memory: Memory | None,
    *,
    rows: Report,
    ends: list[Result | ItemFailed],
    compared: Document | None,
) -> int:
    """Translate, write and show; where it is ``compared``, standard output gets the scores."""
    from llmcli.tasks.translate import translate as task

    path = None if pairs.derived else pairs.all[0].path

    def events() -> Iterator[TaskEvent]:
        found = task(make.jobs(pairs.all), memory=memory, report=rows)
        if pairs.derived:
            found = translating.written(cli, found, pairs.outputs)
        if compared is not None:
            found = scored(found, compared, rows)
        return translating.noted(found, ends)

    code = deliver(
        cli,
        events,
        How(
            names=pairs.names,
            ending=Ending.DOCUMENT,
            markdown=False,
            row=scores if compared is not None and path is None else None,
            output=None if path is None else str(path),
            silent=pairs.derived,
        ),
    )
    if compared is not None and path is not None and not cli.flags.json:
        cli.write("".join(scores(end) + "\n" for end in ends if isinstance(end, Result)))
    if cli.flags.verbose or (cli.world.terminal(cli.world.stderr) and not cli.flags.quiet):
        for end in ends:
            if isinstance(end, Result):
                cli.say(translating.said(end))
    return code


def _memory(cli: Context, path: str | None) -> Memory:
    from llmcli.store.memory import Memory

    return Memory(Path(path) if path is not None else cli.paths.memory)


def _reference(cli: Context, name: str, pairs: translating.Pairs) -> Document:
    """Return the translation to compare with. Raises ``UsageError`` for several documents, and ``MissingExtra``."""
    from llmcli.tasks.translation.evaluate import check_installed

    if pairs.derived or len(pairs.all) > 1:
        raise UsageError("--eval compares one document with one reference")
    check_installed()
    return inputs.document(cli, name)
