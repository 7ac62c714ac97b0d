"""``llm tm``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from llmcli.cli import asking, json_text, suggestion
from llmcli.cli.context import Context
from llmcli.cli.groups import group
from llmcli.cli.options import GENERAL, Yes, command
from llmcli.settings import DATA_DIR

if TYPE_CHECKING:
    from llmcli.store.memory import Entry

FileOption = Annotated[
    str | None, typer.Option("--tm", metavar="FILE", help="Another translation memory than your own.")
]


@command(*GENERAL, examples="llm tm show\nllm tm show --json | jq .translations")
def show(cli: Context, memory: FileOption = None) -> int:
    """Say what is remembered: how many translations of each pair of languages, and how many are people's.

    In a pipe, tab-separated: source language, target language, translations, people's.
    """
    from llmcli.cli.translation.remembering import open_memory

    with open_memory(cli, memory, looks=True) as opened:
        rows = [
            {"from": source or "(unknown)", "to": target, "translations": count, "people": people}
            for source, target, count, people in opened.counts()
        ]
        if not rows and cli.world.terminal(cli.world.stdout) and not cli.flags.json:
            cli.write("Nothing is remembered.\n")
        cli.table(rows)
    return 0


@command(*GENERAL, "output", examples="llm tm export -o memory.tmx\nllm tm export | xmllint --format - | less")
def export(cli: Context, memory: FileOption = None) -> int:
    """Write all translations as TMX, the format in which translation tools exchange them; with --json an object each."""
    from llmcli.cli.translation.distinct import check_distinct
    from llmcli.cli.translation.remembering import memory_path, open_memory
    from llmcli.documents.writing import atomic_write
    from llmcli.store import tmx

    if cli.flags.output is not None:
        check_distinct([("the translation memory", str(memory_path(cli, memory)))], [("the output", cli.flags.output)])
    with open_memory(cli, memory, looks=True) as opened:
        pieces = map(_as_line, opened.entries()) if cli.flags.json else tmx.export(opened.entries())
        if cli.flags.output is None:
            with cli.stdout() as sink:
                for piece in pieces:
                    sink.write(piece.encode())
        else:
            with atomic_write(cli.flags.output, interrupt=cli.interrupt) as file:
                for piece in pieces:
                    cli.interrupt.check()
                    file.write(piece.encode())
    return 0


@command(*GENERAL, examples="llm tm import memory.tmx\nllm tm import --tm project.sqlite old/*.tmx")
def import_(
    cli: Context,
    files: Annotated[list[str], typer.Argument(metavar="FILE...", help="TMX files.")],
    memory: FileOption = None,
) -> int:
    """Remember the translations of TMX files; they go before those of a model. Where one file is broken, none is taken.

    Translations whose language has no code are left out.
    """
    from llmcli.cli.translation.remembering import open_memory
    from llmcli.documents.reading import open_stream
    from llmcli.store import tmx

    entries: list[Entry] = []
    odd: list[str] = []
    for name in files:
        with open_stream(name, cli.interrupt) as stream:
            entries += tmx.read(stream, name, odd)
    with open_memory(cli, memory) as opened:
        count = opened.add(_unless_stopped(cli, entries))
    if odd:
        cli.warn(f"{len(odd)} translations were left out: {', '.join(dict.fromkeys(odd))} is no language code")
    cli.explain(f"{count} translations")
    if cli.flags.json:
        cli.facts({"translations": count})
    return 0


@command(*GENERAL, examples="llm tm clear\nllm tm clear --yes")
def clear(cli: Context, memory: FileOption = None, yes: Yes = False) -> int:
    """Forget all translations; asks first, unless --yes."""
    from llmcli import private_files
    from llmcli.cli.translation.remembering import memory_path, open_memory

    with open_memory(cli, memory, looks=True) as opened:
        count = sum(row[2] for row in opened.counts())
    again = ("tm", "clear", *suggestion.option("--tm", memory), "--yes")
    if count and not yes and not asking.confirmed(cli, f"forget {count} translations", again, [DATA_DIR]):
        return 1
    if private_files.exists(memory_path(cli, memory)):
        with open_memory(cli, memory) as opened:
            opened.clear()
    return 0


def _unless_stopped(cli: Context, entries: list[Entry]) -> Iterator[Entry]:
    """Yield the entries; a signal in the middle has none of them remembered."""
    for entry in entries:
        cli.interrupt.check()
        yield entry


def _as_line(entry: Entry) -> str:
    fields = {
        "from": entry.source_language or None,
        "to": entry.target_language,
        "source": entry.source,
        "translation": entry.translation,
        "model": entry.model or None,
        "changed": entry.changed,
    }
    return json_text.dumps(fields) + "\n"


tm = group(
    "Look at what translations are remembered; exchange them with other tools.",
    {"show": show, "export": export, "import": import_, "clear": clear},
)
