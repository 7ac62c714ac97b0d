"""The files of ``llm quiz``: decks that are made, read, exported and imported, and the file of a learner's answers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from llmcli.cli.command_context import CommandContext
from llmcli.cli.console import confirm
from llmcli.cli.console.suggestion import format_option
from llmcli.cli.input import document_inputs, inputs, source_inputs
from llmcli.cli.render.renderer import DisplayOptions, render_task
from llmcli.cli.render.text_writer import TextEnding
from llmcli.documents.reading.document import STDIN, Document
from llmcli.errors import BadDocument, MissingError, UsageError
from llmcli.fast_dataclass import replace
from llmcli.tasks.quiz import deck_exchange
from llmcli.tasks.quiz.card import Card, CardKind, Level, deck_text, read_deck
from llmcli.tasks.quiz.deck_making import DEFAULT_COUNT, DeckOptions, make_deck
from llmcli.tasks.quiz.review_log import ReviewLog, reviews_path
from llmcli.tasks.tables.table_loader import holds_records
from llmcli.types import ItemFailed, Notice, Result, TaskEvent

if TYPE_CHECKING:
    from llmcli.backends.base import Backend

_MAX_NAMED_FILES = 3


def run_make(
    ctx: CommandContext, files: Sequence[str], *, count: int | None, kinds: Sequence[CardKind], level: Level | None
) -> int:
    """Make a deck and return the exit code; 3 if files of a directory could not be read.

    Raises ``BadDocument`` if no input has prose, and ``EmptyInput`` for a blank one.
    """
    if not files and not inputs.reads_stdin(ctx, ()):
        raise UsageError("no document to ask about", detail="Try: llm quiz make notes.pdf -o deck.jsonl")
    read, failed = source_inputs.read_evidence(ctx, files or [STDIN])
    documents, records = _separate_records(read)
    options = DeckOptions(count or DEFAULT_COUNT, (*dict.fromkeys(kinds),), level, is_required=count is not None)

    left_out = _describe_records(records)

    def task(backend: Backend) -> Iterator[TaskEvent]:
        yield from map(Notice, left_out)
        made = make_deck(backend, documents, ctx.generation_options(), options)
        for event in source_inputs.append_failed(
            source_inputs.add_source_notes(made, documents, one_answer=True), failed
        ):
            if isinstance(event, Result):
                ctx.console.write_note(_describe_deck(event))
                yield replace(event, warnings=(*left_out, *event.warnings))
            else:
                yield event

    return render_task(ctx, task, DisplayOptions(markdown=False, ending=TextEnding.DOCUMENT)).exit_code


def _separate_records(read: Sequence[Document | ItemFailed]) -> tuple[list[Document], list[str]]:
    """Return the documents of prose, and the names of the others: rows and JSON give no sentence worth learning.

    Raises ``BadDocument`` if there are only others, and the error of a document that cannot be read again.
    """
    documents: list[Document] = []
    records: list[str] = []
    for each in read:
        if isinstance(each, ItemFailed):
            raise each.error
        if holds_records(each):
            records.append(each.name)
        else:
            documents.append(each)
    if not documents:
        raise BadDocument(
            _list_names(records), detail="cards come from prose, not from tables and JSON", kind="records"
        )
    return documents, records


def _describe_records(names: Sequence[str]) -> list[str]:
    """Return the line about the inputs that gave no cards; none if there are none."""
    count = f"{len(names)} file{'' if len(names) == 1 else 's'} of rows or JSON"
    return [f"{count} left out, since cards come from prose: {_list_names(names)}"] if names else []


def _list_names(names: Sequence[str]) -> str:
    shown = ["standard input" if name == STDIN else name for name in names[:_MAX_NAMED_FILES]]
    return ", ".join(shown) + (f" and {len(names) - len(shown)} more" if len(names) > len(shown) else "")


def _describe_deck(result: Result) -> str:
    dropped = "; ".join(f"{reason}: {count}" for reason, count in result.fields["dropped"].items())
    cards, sentences = len(result.fields["cards"]), result.fields["sentences"]
    made = f"{cards} card{'' if cards == 1 else 's'} of {sentences} sentence{'' if sentences == 1 else 's'}"
    return f"{made} ({dropped})" if dropped else made


def read_cards(
    ctx: CommandContext, deck: str, kinds: Sequence[CardKind] | None = None, level: Level | None = None
) -> list[Card]:
    """Return the cards of a deck, of these kinds and this level. Raises as ``read_deck``, and ``UsageError``."""
    cards = read_deck(deck, document_inputs.read_document(ctx, deck).text)
    chosen = [card for card in cards if card.kind in (kinds or [*CardKind]) and level in {None, card.level}]
    if not chosen:
        raise UsageError(f"{deck} has no card of this kind and level")
    return chosen


def state_path(deck: str, state: str | None) -> Path:
    """Return the file of a learner's answers to a deck. Raises ``UsageError`` for a deck from standard input."""
    if state is None and deck == STDIN:
        raise UsageError("a deck from standard input has no file beside it", detail="Name one: --state FILE")
    return reviews_path(deck) if state is None else Path(state)


def require_state(deck: str, state: str | None) -> Path:
    """Return the file as ``state_path``. Raises ``MissingError`` if there is none."""
    path = state_path(deck, state)
    if not path.is_file():
        raise MissingError(str(path), kind="input", detail="there is no such file")
    return path


def remove_states(ctx: CommandContext, decks: Sequence[str], state: str | None, *, yes: bool) -> int:
    """Remove a learner's answers to decks, of all or none. Raises ``MissingError`` if there are none to one of them."""
    if state is not None and len(decks) > 1:
        raise UsageError("--state has the answers to one deck", detail="Name one deck")
    paths = [*dict.fromkeys(require_state(deck, state) for deck in decks)]
    with ExitStack() as stack:
        logs = [stack.enter_context(ReviewLog(path)) for path in paths]
        count = sum(len(log.reviews) for log in logs)
        again = ["quiz", "rm", "--yes", *decks, *format_option("--state", state)]
        what = f"Remove {count} answer{'' if count == 1 else 's'} in {_list_names([*map(str, paths)])}"
        if not yes and not confirm.require_confirmation(ctx.console, what, again, []):
            return 1
        for path in paths:
            path.unlink()
    if ctx.console.as_json:
        ctx.console.write_record({"removed": [*map(str, paths)], "answers": count})
    return 0


def export_deck(ctx: CommandContext, deck: str) -> int:
    """Write a deck: for Anki if the output has one of its names, otherwise as Markdown."""
    cards, output = read_cards(ctx, deck), ctx.flags.output
    suffix = "" if output is None else Path(output).suffix.lower()
    content: str | bytes
    if output is not None and suffix == deck_exchange.ANKI_PACKAGE_SUFFIX:
        content = _make_package(cards, deck, output)
    elif suffix == deck_exchange.ANKI_TEXT_SUFFIX:
        content = deck_exchange.anki_text(cards)
    else:
        content = deck_exchange.markdown_text(cards)
    _write_cards(ctx, deck, content, output, len(cards))
    return 0


def _make_package(cards: Sequence[Card], deck: str, anki: str) -> bytes:
    """Return an Anki package with the name and date of the deck's file; without a file, of the package and of now."""
    from llmcli.tasks.quiz.anki_package import anki_package

    path = Path(deck)
    if not path.is_file():
        return anki_package(cards, Path(anki).stem, int(datetime.now(UTC).timestamp()))
    return anki_package(cards, path.stem, int(path.stat().st_mtime))


def import_table(ctx: CommandContext, file: str) -> int:
    """Write the deck that a table has."""
    cards = deck_exchange.read_table(file, document_inputs.read_document(ctx, file).text)
    _write_cards(ctx, file, deck_text(cards), ctx.flags.output, len(cards))
    ctx.console.write_note(f"{len(cards)} cards")
    return 0


def _write_cards(ctx: CommandContext, source: str, content: str | bytes, output: str | None, count: int) -> None:
    """Write cards to a file or to standard output; ``--json`` says which file has how many."""
    write_output(ctx, source, content, output)
    if ctx.console.as_json and output not in {None, STDIN}:
        ctx.console.write_record({"path": output, "cards": count})


def write_output(ctx: CommandContext, source: str, content: str | bytes, output: str | None) -> None:
    """Write a text or a package to a file, complete or not at all, or a text to standard output."""
    from llmcli.files.atomic_file import atomic_write

    if isinstance(content, str) and (output is None or output == STDIN):
        ctx.console.write_stdout(content)
        return
    assert output is not None  # a package is made for a file
    inputs.check_distinct([("the input", source)], [("the output", output)])
    with atomic_write(output, interrupt=ctx.runtime.interrupt) as file:
        file.write(content.encode("utf-8", "surrogateescape") if isinstance(content, str) else content)
