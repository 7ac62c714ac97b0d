"""One run of ``llm translate``: everything that can be refused is, then jobs, results, report."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from llmcli.cli import inputs
from llmcli.cli.context import Context
from llmcli.cli.output import How, deliver
from llmcli.cli.text import Ending
from llmcli.cli.translation import results
from llmcli.cli.translation.distinct import check_distinct
from llmcli.cli.translation.maker import Maker
from llmcli.cli.translation.pairs import Pairs, Wish, find_pairs
from llmcli.cli.translation.remembering import memory_for_job, memory_path, remembering, tell_trouble
from llmcli.documents.formats import SUFFIXES
from llmcli.documents.writing import atomic_write
from llmcli.errors import UsageError
from llmcli.interrupt import run_interruptible
from llmcli.tasks.translation.report import Report
from llmcli.types import ItemFailed, Result, TaskEvent

if TYPE_CHECKING:
    from llmcli.documents.reading import Document
    from llmcli.tasks.translation.remembered import Remembered

PSEUDO = "en-XA"
"""The code of a pseudo-localisation where none is named (Unicode CLDR)."""


@dataclass(frozen=True)
class Wanted:
    """What was typed beside the recurring options and what ``Maker`` holds; all but ``files`` and ``to`` as the options."""

    files: Sequence[str]
    to: Sequence[str]
    update: str | None
    force: bool
    memory: str | None
    remembers: bool
    dry_run: bool
    report: str | None
    reference: str | None


def run(cli: Context, wanted: Wanted, make: Maker) -> int:
    """Translate, write, show; return the exit code. Raises what is wrong with the wish before a model is looked for."""
    languages = wanted.to or ([PSEUDO] if make.pseudo else [])
    if not languages:
        raise UsageError("into which language?", detail="Try: llm translate --to fr FILE")
    if wanted.update is not None and cli.flags.output not in {None, wanted.update}:
        raise UsageError("--update names the output too; leave out -o")
    if wanted.update is not None and make.layout != "translation":
        raise UsageError("--update renews a translation, and --bilingual shows two languages: choose one")
    make.check()
    output = wanted.update or cli.flags.output
    wish = Wish(
        wanted.files, languages, output, wanted.force, updates=wanted.update is not None, writes=not wanted.dry_run
    )
    pairs = find_pairs(cli, wish, SUFFIXES)
    uses_memory = wanted.remembers and make.pseudo is None
    check_distinct(_reads(wanted, make, pairs), _writes(cli, wanted, pairs, uses_memory=uses_memory))
    with ExitStack() as stack:
        memory = memory_for_job(cli, wanted.memory, looks=wanted.dry_run) if uses_memory else None
        if memory is not None:
            stack.enter_context(memory)
        if wanted.dry_run:
            from llmcli.cli.translation.survey import dry_run

            return dry_run(cli, make.jobs(pairs.all), memory)
        reference = None if wanted.reference is None else _reference(cli, wanted.reference, pairs)
        sink = None
        if wanted.report is not None:
            sink = stack.enter_context(atomic_write(wanted.report, interrupt=cli.interrupt))
        rows, remembered = Report(), remembering(memory)
        code, ends = _deliver(cli, make, pairs, remembered, rows, reference=reference)
        tell_trouble(cli, remembered)
        if sink is not None:
            sink.write(run_interruptible(results.report_text, ends, rows).encode())
    return code


def _reads(wanted: Wanted, make: Maker, pairs: Pairs) -> Iterator[tuple[str, str]]:
    yield from (("a document to translate", name) for name in pairs.names)
    if make.glossary is not None:
        yield "the glossary", make.glossary
    if make.context is not None and make.context.startswith("@"):
        yield "the context", make.context[1:]
    if wanted.reference is not None:
        yield "the reference", wanted.reference


def _writes(cli: Context, wanted: Wanted, pairs: Pairs, *, uses_memory: bool) -> Iterator[tuple[str, str]]:
    yield from (("an output", str(pair.path)) for pair in pairs.all if pair.path is not None and not pair.keep)
    if wanted.report is not None:
        yield "the report", wanted.report
    if uses_memory:
        yield "the translation memory", str(memory_path(cli, wanted.memory))


def _deliver(
    cli: Context, make: Maker, pairs: Pairs, remembered: Remembered, rows: Report, *, reference: Document | None
) -> tuple[int, list[Result | ItemFailed]]:
    """Return the exit code and how each document ended; with a ``reference`` standard output gets the scores."""
    from llmcli.tasks.translate import translate

    path = None if pairs.derived else pairs.all[0].path
    ends: list[Result | ItemFailed] = []

    def events() -> Iterator[TaskEvent]:
        found = translate(make.jobs(pairs.all), remembered=remembered, report=rows)
        if pairs.derived:
            found = results.written(cli, found, pairs.outputs, remembered)
        if reference is not None:
            found = results.scored(found, reference, rows)
        return results.noted(found, ends)

    how = How(
        names=pairs.names,
        ending=Ending.DOCUMENT,
        markdown=False,
        row=results.scores if reference is not None and path is None else None,
        output=None if path is None else str(path),
        placing=nullcontext if path is None else partial(remembered.placing, path),
        silent=pairs.derived,
    )
    code = deliver(cli, events, how)
    good = [end for end in ends if isinstance(end, Result)]
    if reference is not None and path is not None and not cli.flags.json:
        cli.write("".join(results.scores(result) + "\n" for result in good))
    if cli.flags.verbose or (cli.world.terminal(cli.world.stderr) and not cli.flags.quiet):
        for result in good:
            cli.say(results.said(result))
    return code, ends


def _reference(cli: Context, name: str, pairs: Pairs) -> Document:
    """Return the translation to compare with. Raises ``UsageError`` for several documents, and ``MissingExtra``."""
    from llmcli.tasks.translation.evaluate import check_installed

    if pairs.derived or len(pairs.all) > 1:
        raise UsageError("--eval compares one document with one reference")
    check_installed()
    return inputs.document(cli, name)
