"""``llm tm``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

from llmcli.cli.command_context import CommandContext
from llmcli.cli.console import confirm, json_text, suggestion
from llmcli.cli.groups import CommandGroup
from llmcli.cli.options import GENERAL_OPTIONS, YesOption, command
from llmcli.cli.parsing.parameters import Argument, Option
from llmcli.errors import LlmError, UsageError
from llmcli.settings import DATA_DIR_VARIABLE

if TYPE_CHECKING:
    from llmcli.store.translation_memory import TranslationUnit

MemoryFileOption = Annotated[
    str | None, Option("--tm", metavar="FILE", help="Use this translation memory instead of yours.")
]


UNKNOWN = "(unknown)"
"""Stands for a source language that was not detected."""
LanguageArgument = Annotated[
    str | None,
    Argument(metavar="[FROM]", help="The language of the texts, or unknown.", autocompletion="languages"),
]
TargetArgument = Annotated[
    str | None, Argument(metavar="[TO]", help="The language of their translations.", autocompletion="languages")
]


@command(*GENERAL_OPTIONS, examples="llm tm list\nllm tm list --json | jq .translations")
def show_list(ctx: CommandContext, memory: MemoryFileOption = None) -> int:
    """List the pairs of languages with the number of their translations, and how many of them people made.

    In a pipe, tab-separated: source language, target language, translations, made by people.
    """
    rows = _pair_rows(ctx, memory)
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


@command(*GENERAL_OPTIONS, examples="llm tm rm en de\nllm tm rm --all\nllm tm rm --all --yes")
def rm(
    ctx: CommandContext,
    source: LanguageArgument = None,
    target: TargetArgument = None,
    every: Annotated[bool, Option("--all", help="All of them.")] = False,
    memory: MemoryFileOption = None,
    yes: YesOption = False,
) -> int:
    """Remove the translations of a pair of languages, or all; asks first, unless --yes.

    The record of what was written to files in TO is removed too: llm translate --update then refuses these files.
    """
    if every == (source is not None) or (source is None) != (target is None):
        raise UsageError("remove which translations?", detail="Try: llm tm rm FROM TO, or: llm tm rm --all")
    rows = _pair_rows(ctx, memory)
    chosen = rows if source is None or target is None else [_find_pair(rows, source, target)]
    count = sum(row["translations"] for row in chosen)
    words = ["--all"] if every else [str(source), str(target)]
    again = ("tm", "rm", "--yes", *words, *suggestion.format_option("--tm", memory))
    what = f"Remove {count} translation{'' if count == 1 else 's'}"
    if count and not yes and not confirm.require_confirmation(ctx.console, what, again, [DATA_DIR_VARIABLE]):
        return 1
    _remove(ctx, memory, None if every else chosen[0])
    if ctx.console.as_json:
        ctx.console.write_record({"removed": chosen})
    return 0


def _pair_rows(ctx: CommandContext, memory: str | None) -> list[dict[str, Any]]:
    """Return a row for each pair of languages."""
    from llmcli.cli.commands.translate.memory_file import open_memory

    with open_memory(ctx, memory, read_only=True) as opened:
        return [
            {"from": source or UNKNOWN, "to": target, "translations": count, "people": people}
            for source, target, count, people in opened.count_by_languages()
        ]


def _find_pair(rows: Sequence[dict[str, Any]], source: str, target: str) -> dict[str, Any]:
    """Return the row of two languages, which may be names or codes. Raises ``MissingError``."""
    from llmcli.errors import MissingError

    pair = (_language_code(source), _language_code(target))
    row = next((row for row in rows if (row["from"], row["to"]) == pair), None)
    if row is None:
        raise MissingError(f"{source} to {target}", kind="translation")
    return row


def _language_code(word: str) -> str:
    """Return the code of a language, ``UNKNOWN`` also without its parentheses, and another word as it is."""
    from llmcli.tasks.languages import parse_language

    if word == UNKNOWN.strip("()"):
        return UNKNOWN
    try:
        return parse_language(word).code
    except LlmError:
        return word


def _remove(ctx: CommandContext, memory: str | None, pair: Mapping[str, Any] | None) -> None:
    """Remove the translations of a pair of languages, None: of all. A memory that does not exist is not created."""
    from llmcli.cli.commands.translate.memory_file import memory_path, open_memory
    from llmcli.files import private_files

    if not private_files.exists(memory_path(ctx, memory)):
        return
    with open_memory(ctx, memory) as opened:
        if pair is None:
            opened.remove_all()
        else:
            opened.remove_languages(pair["from"].replace(UNKNOWN, ""), pair["to"])


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
    "List, export, import and remove translations: the translation memory.",
    {"list": show_list, "export": export, "import": import_, "rm": rm},
    listed=False,
)
