"""``llm tm``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

from llmcli.cli.command_context import CommandContext
from llmcli.cli.console import confirm, json_text, suggestion
from llmcli.cli.groups import CommandGroup
from llmcli.cli.options import GENERAL_OPTIONS, YesOption, command
from llmcli.cli.parsing.parameters import Argument, Option
from llmcli.settings import DATA_DIR_VARIABLE

if TYPE_CHECKING:
    from llmcli.store.translation_memory import TranslationUnit

MemoryFileOption = Annotated[
    str | None, Option("--tm", metavar="FILE", help="Use this translation memory instead of yours.")
]


@command(*GENERAL_OPTIONS, examples="llm tm show\nllm tm show --json | jq .translations")
def show(ctx: CommandContext, memory: MemoryFileOption = None) -> int:
    """Show the number of translations for each pair of languages, and how many of them people made.

    In a pipe, tab-separated: source language, target language, translations, made by people.
    """
    from llmcli.cli.commands.translate.memory_file import open_memory

    with open_memory(ctx, memory, read_only=True) as opened:
        rows = [
            {"from": source or "(unknown)", "to": target, "translations": count, "people": people}
            for source, target, count, people in opened.count_by_languages()
        ]
        if not rows and ctx.console.writes_for_people:
            ctx.console.write_stdout("The translation memory is empty.\n")
        ctx.console.write_table(rows)
    return 0


@command(*GENERAL_OPTIONS, "output", examples="llm tm export -o memory.tmx\nllm tm export | xmllint --format - | less")
def export(ctx: CommandContext, memory: MemoryFileOption = None) -> int:
    """Write all translations as TMX, the exchange format of translation tools; with --json one object each."""
    from llmcli.cli.commands.translate.memory_file import memory_path, open_memory
    from llmcli.cli.input.inputs import check_distinct
    from llmcli.store import tmx

    if ctx.flags.output is not None:
        check_distinct([("the translation memory", str(memory_path(ctx, memory)))], [("the output", ctx.flags.output)])
    with open_memory(ctx, memory, read_only=True) as opened:
        pieces = (
            map(_entry_as_json, opened.iter_units()) if ctx.console.as_json else tmx.export_tmx(opened.iter_units())
        )
        with ctx.console.open_output(ctx.flags.output) as sink:
            for piece in pieces:
                ctx.runtime.interrupt.check()
                sink.write(piece.encode())
    return 0


@command(*GENERAL_OPTIONS, examples="llm tm import memory.tmx\nllm tm import --tm project.sqlite old/*.tmx")
def import_(
    ctx: CommandContext,
    files: Annotated[list[str], Argument(metavar="FILE...", help="TMX files.")],
    memory: MemoryFileOption = None,
) -> int:
    """Import the translations of TMX files; they override those of models. If one file is broken, none is imported.

    Translations without a valid language code are skipped.
    """
    from llmcli.cli.commands.translate.memory_file import open_memory
    from llmcli.documents.reading.file_reader import open_stream
    from llmcli.store import tmx

    entries: list[TranslationUnit] = []
    odd: list[str] = []
    for name in files:
        with open_stream(name, ctx.runtime.interrupt) as stream:
            entries += tmx.read_tmx(stream, name, odd)
    with open_memory(ctx, memory) as opened:
        count = opened.add_units(_check_interrupts(ctx, entries))
    if odd:
        ctx.console.warn(
            f"{len(odd)} translations were skipped: {', '.join(dict.fromkeys(odd))} is not a language code"
        )
    ctx.console.explain(f"{count} translations")
    if ctx.console.as_json:
        ctx.console.write_record({"translations": count})
    return 0


@command(*GENERAL_OPTIONS, examples="llm tm clear\nllm tm clear --yes")
def clear(ctx: CommandContext, memory: MemoryFileOption = None, yes: YesOption = False) -> int:
    """Delete all translations; asks first, unless --yes."""
    from llmcli.cli.commands.translate.memory_file import memory_path, open_memory
    from llmcli.files import private_files

    with open_memory(ctx, memory, read_only=True) as opened:
        count = sum(row[2] for row in opened.count_by_languages())
    again = ("tm", "clear", *suggestion.format_option("--tm", memory), "--yes")
    if (
        count
        and not yes
        and not confirm.require_confirmation(ctx.console, f"delete {count} translations", again, [DATA_DIR_VARIABLE])
    ):
        return 1
    if private_files.exists(memory_path(ctx, memory)):
        with open_memory(ctx, memory) as opened:
            opened.clear()
    if ctx.console.as_json:
        ctx.console.write_record({"removed": count})
    return 0


def _check_interrupts(ctx: CommandContext, entries: list[TranslationUnit]) -> Iterator[TranslationUnit]:
    """Yield the entries; a signal in the middle imports none of them."""
    for entry in entries:
        ctx.runtime.interrupt.check()
        yield entry


def _entry_as_json(entry: TranslationUnit) -> str:
    fields = {
        "from": entry.source_language or None,
        "to": entry.target_language,
        "source": entry.source,
        "translation": entry.translation,
        "model": entry.model or None,
        "changed": entry.changed,
    }
    return json_text.dumps(fields) + "\n"


tm = CommandGroup(
    "Show, export, import and clear the translation memory.",
    {"show": show, "export": export, "import": import_, "clear": clear},
    listed=False,
)
