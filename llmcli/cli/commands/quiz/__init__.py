"""``llm quiz``."""

from __future__ import annotations

from typing import Annotated

from llmcli.cli.command_context import CommandContext
from llmcli.cli.flags import Writes
from llmcli.cli.groups import CommandGroup
from llmcli.cli.options import GENERAL_OPTIONS, YesOption, command
from llmcli.cli.parsing.parameters import Argument, Option
from llmcli.machine_needs import READING
from llmcli.tasks.quiz.card import CardKind, Level

DeckArgument = Annotated[str, Argument(metavar="DECK", help="A deck of llm quiz make.")]
StateOption = Annotated[
    str | None,
    Option("--state", metavar="FILE", help="The learner's answers (default: DECK.reviews.jsonl beside the deck)."),
]
LevelOption = Annotated[Level | None, Option("--level", help="Only cards of this level.")]
KindOption = Annotated[
    list[CardKind] | None, Option("--kind", help="How cards ask; repeatable (default: cloze).", metavar="KIND")
]


@command(
    without=("seed",),
    needs=READING,
    writes=Writes.SCORES,
    examples="""
      llm quiz make garden.md -o garden.jsonl
      llm quiz make garden.md docs --kind cloze --kind choice -o both.jsonl
      llm quiz make garden.md --level medium | jq -r .question
    """,
)
def make(
    ctx: CommandContext,
    files: Annotated[list[str] | None, Argument(metavar="[FILE]...", help="Documents; - or none: stdin.")] = None,
    *,
    count: Annotated[
        int | None, Option("-n", "--count", min=1, max=10_000, metavar="N", help="Cards (default: up to 20).")
    ] = None,
    kind: KindOption = None,
    level: LevelOption = None,
) -> int:
    """Make a deck of questions whose answers stand in documents.

    A deck is JSON Lines, a card each, with the quote that has the answer. KIND is cloze (a gap to fill), choice (the
    same with wrong words of the document), order (the steps of a numbered list), or short (what
    or who the subject of an English sentence is). No text is generated. A question with a second right answer, by the
    model's scores, is dropped.
    """
    from llmcli.cli.commands.quiz.deck_files import run_make

    return run_make(ctx, files or [], count=count, kinds=kind or [CardKind.CLOZE], level=level)


@command(
    without=("seed", "output", "provenance"),
    needs=READING,
    writes=Writes.SCORES,
    examples="""
      llm quiz run garden.jsonl
      llm quiz run garden.jsonl -n 10 --new 5
      llm quiz run --answers answers.txt --json deck.jsonl
    """,
)
def run(
    ctx: CommandContext,
    deck: DeckArgument,
    *,
    count: Annotated[int | None, Option("-n", "--count", min=1, metavar="N", help="Cards at most.")] = None,
    new: Annotated[int, Option("--new", min=0, metavar="N", help="New cards of a session on a terminal.")] = 20,
    kind: KindOption = None,
    level: LevelOption = None,
    answers: Annotated[
        str | None, Option("--answers", metavar="FILE", help="Score these answers, one a line, or JSON Lines.")
    ] = None,
    state: StateOption = None,
) -> int:
    """Ask the cards that are due, or score answers from a file or a pipe.

    On a terminal, each answer is on the disk before the next question, and the dates are those of FSRS: a card comes
    again when you are about to forget it. Off a terminal, all cards are asked in the order of the deck; the exit code
    is 3 if answers are missing.
    """
    from llmcli.cli.commands.quiz.deck_files import read_cards
    from llmcli.cli.commands.quiz.quiz_session import QuizSession
    from llmcli.cli.commands.quiz.scored_answers import score_answers
    from llmcli.cli.console import confirm

    cards = read_cards(ctx, deck, kind, level)
    if answers is not None or not confirm.can_ask(ctx.console):
        return score_answers(ctx, deck, cards[:count], answers, state)
    return QuizSession(ctx, deck, cards, state, count=count, new=new).run()


@command(*GENERAL_OPTIONS, examples="llm quiz list\nllm quiz list --json | jq -r 'select(.due > 0).deck'")
def show_list(ctx: CommandContext) -> int:
    """List the decks of this directory with the number of their cards that are new, learned, known and due.

    A deck is a file NAME.jsonl that begins with a card, or has answers beside it. In a pipe, tab-separated: deck,
    cards, new, learning, known, due. A deck that cannot be read has only a name; standard error says why, and the exit
    code is that of the first error.
    """
    from llmcli.cli.commands.quiz.deck_overview import list_decks

    return list_decks(ctx)


@command(*GENERAL_OPTIONS, examples="llm quiz show deck.jsonl\nllm quiz show deck.jsonl --json | jq .due")
def show(ctx: CommandContext, deck: DeckArgument, state: StateOption = None) -> int:
    """Show how many cards of a deck are new, learned, known and due."""
    from llmcli.cli.commands.quiz.deck_overview import show_deck

    return show_deck(ctx, deck, state)


@command(*GENERAL_OPTIONS, examples="llm quiz rm --yes deck.jsonl")
def rm(
    ctx: CommandContext,
    decks: Annotated[list[str], Argument(metavar="DECK...", help="Decks that have answers; they stay.")],
    state: StateOption = None,
    yes: YesOption = False,
) -> int:
    """Remove your answers to decks; asks first, unless --yes."""
    from llmcli.cli.commands.quiz.deck_files import remove_states

    return remove_states(ctx, decks, state, yes=yes)


@command(
    *GENERAL_OPTIONS,
    "output",
    examples="llm quiz export deck.jsonl -o deck.apkg\nllm quiz export deck.jsonl -o deck.md",
)
def export(ctx: CommandContext, deck: DeckArgument) -> int:
    """Write a deck as Markdown to read and print, or for Anki.

    The name of the output decides: FILE.apkg is a package for Anki, FILE.txt a text file that Anki imports, any other
    name and standard output are Markdown.
    """
    from llmcli.cli.commands.quiz.deck_files import export_deck

    return export_deck(ctx, deck)


@command(*GENERAL_OPTIONS, "output", examples="llm quiz import words.csv -o words.jsonl")
def import_(
    ctx: CommandContext, file: Annotated[str, Argument(metavar="FILE", help="A table: CSV, TSV; - for stdin.")]
) -> int:
    """Make a deck from a table with the columns question and answer.

    More columns: kind, level, topic, and choices, separated by |. The answer of an order card has its items, separated
    by |.
    """
    from llmcli.cli.commands.quiz.deck_files import import_table

    return import_table(ctx, file)


quiz = CommandGroup(
    "Make questions about your own documents, and learn by them.",
    {
        "make": make,
        "run": run,
        "list": show_list,
        "show": show,
        "export": export,
        "import": import_,
        "rm": rm,
    },
)
