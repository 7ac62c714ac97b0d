"""The work of ``llm index``: updating, searching and removing the indexes in the cache."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from llmcli.cli.command_context import CommandContext
from llmcli.cli.commands.ask.indexed_sources import open_embedder, warn_of_outdated_vectors
from llmcli.cli.console import confirm
from llmcli.cli.console.messages.message_text import format_bytes
from llmcli.errors import EmptyInput, LlmError, MissingError, OutputError, PartialError
from llmcli.fast_dataclass import asdict, slotted
from llmcli.files import private_files
from llmcli.settings import CACHE_DIR_VARIABLE
from llmcli.store.passage_index import IndexedPassage, IndexFiles, IndexSummary, PassageIndex, real_path
from llmcli.tasks.retrieval.index_update import IndexUpdater, embed_passages
from llmcli.tasks.retrieval.passage_embedder import PassageEmbedder
from llmcli.tasks.retrieval.passage_pool import search_index
from llmcli.types import ItemFailed, Notice, Progress, TaskEvent

_KIND = "index"


def add_directories(ctx: CommandContext, directories: Sequence[str], *, embed: bool) -> int:
    """Index directories; return the exit code: 3 if some of their files cannot be read."""
    files = IndexFiles(ctx.runtime.paths.indexes)
    outcome = IndexOutcome()
    for directory, name in {real_path(each): each for each in directories}.items():
        if not private_files.exists(Path(directory)):
            outcome.fail(ctx, MissingError(name, kind="input"), "")
            continue
        opened, was_damaged = files.open_intact(directory)
        if was_damaged:
            ctx.console.write_note(f"the index of {directory} was damaged and is built again")
        with opened as index:
            updater = IndexUpdater(index, directory, ctx.runtime.interrupt)
            outcome.read(ctx, updater.update())
            if embed:
                with open_embedder(ctx) as embedder:
                    outcome.read(ctx, embed_passages(index, embedder, ctx.runtime.interrupt))
            summary = index.summary()
        outcome.delivered = outcome.delivered or summary.files > 0
        counts = asdict(updater.changes)
        ctx.console.status_line.hide()
        said = ", ".join(f"{number} {what}" for what, number in counts.items() if number)
        ctx.console.write_note(f"{directory}: {summary.passages} passages of {summary.files} files ({said})")
        if ctx.console.as_json:
            vectors = sum(summary.vectors.values())
            ctx.console.write_record(
                {"directory": directory, "files": summary.files, "passages": summary.passages, "vectors": vectors}
                | counts
            )
    return outcome.exit_code


@slotted
class IndexOutcome:
    """``failure`` is the first failed file or index; ``delivered``: another one was indexed, listed or searched."""

    failure: LlmError | None = None
    delivered: bool = False

    def read(self, ctx: CommandContext, events: Iterator[TaskEvent]) -> None:
        """Show the events of an update."""
        for event in events:
            if isinstance(event, Progress):
                ctx.console.status_line.show(event)
            elif isinstance(event, Notice):
                ctx.console.write_note(event.text)
            elif isinstance(event, ItemFailed) and isinstance(event.error, LlmError):
                self.fail(ctx, event.error, event.name)

    def fail(self, ctx: CommandContext, error: LlmError, name: str) -> None:
        """Report a failure."""
        self.failure = self.failure or error
        ctx.console.status_line.hide()
        ctx.console.write_error(error, name=name)

    @property
    def exit_code(self) -> int:
        """As with several inputs: 3 if anything was delivered, else the code of the first failure."""
        if self.failure is None:
            return 0
        return PartialError.exit_code if self.delivered else self.failure.exit_code


def search_indexes(
    ctx: CommandContext, query: str, directories: Sequence[str] | None, limit: int, *, embed: bool
) -> tuple[list[IndexedPassage], int]:
    """Return the passages of indexes (None: of all) that match a query best, and the exit code.

    Of all indexes, those that cannot be read are reported. Raises ``EmptyInput``, ``MissingError`` for a directory
    without an index and if nothing was found, and the error of an index that cannot be read if no other one matches.
    """
    if not query.strip():
        raise EmptyInput("the query")
    files = IndexFiles(ctx.runtime.paths.indexes)
    unreadable: list[LlmError] = []
    if directories is None:
        directories = [each.directory for each in files.summaries(unreadable.append)]
    for directory in directories:
        if not files.exists(directory):
            raise MissingError(directory, kind=_KIND)
    found: list[list[IndexedPassage]] = []
    with _embedder_if(ctx, wanted=embed) as embedder:
        for directory in directories:
            with files.open_read_only(directory) as index:
                if embedder is not None:
                    warn_of_outdated_vectors(ctx, index, embedder)
                found.append(_search_one(index, query, limit, embedder))
    ranked = [each for same_rank in _zip_ranks(found) for each in same_rank]
    if not ranked:
        raise unreadable[0] if unreadable else MissingError(query, kind="passage")
    outcome = IndexOutcome(delivered=True)
    for error in unreadable:
        outcome.fail(ctx, error, "")
    return ranked[:limit], outcome.exit_code


def _search_one(index: PassageIndex, query: str, limit: int, embedder: PassageEmbedder | None) -> list[IndexedPassage]:
    asked = None if embedder is None else embedder.embed_question(query)
    ids = search_index(index, query, limit, asked)
    return list(index.passages(ids).values())


def _zip_ranks(found: Sequence[list[IndexedPassage]]) -> Iterator[list[IndexedPassage]]:
    """Yield the best passages of all indexes, then the second best ones, ...: scores of indexes do not compare."""
    for rank in range(max(map(len, found), default=0)):
        yield [each[rank] for each in found if rank < len(each)]


@contextmanager
def _embedder_if(ctx: CommandContext, *, wanted: bool) -> Iterator[PassageEmbedder | None]:
    if not wanted:
        yield None
        return
    with open_embedder(ctx) as embedder:
        yield embedder


def remove_indexes(ctx: CommandContext, directories: Sequence[str], *, yes: bool) -> int:
    """Remove indexes, all or none of them; return the exit code. Raises ``MissingError`` and ``OutputError``."""
    files = IndexFiles(ctx.runtime.paths.indexes)
    paths = list(dict.fromkeys(map(real_path, directories)))
    for path in paths:
        if not files.exists(path):
            raise MissingError(path, kind=_KIND)
    what = f"Remove the index of {paths[0]}" if len(paths) == 1 else f"Remove the indexes of {len(paths)} directories"
    again = ("index", "rm", "--yes", *directories)
    if not yes and not confirm.require_confirmation(ctx.console, what, again, [CACHE_DIR_VARIABLE]):
        return 1
    for path in paths:
        try:
            files.remove(path)
        except OSError as error:
            raise OutputError(str(files.path_of(path)), detail=error.strerror or "") from error
    if ctx.console.as_json:
        ctx.console.write_record({"removed": paths})
    return 0


def summary_rows(summaries: Iterable[IndexSummary], *, people: bool) -> list[dict[str, Any]]:
    """Return a row for each index, by directory; ``people``: sizes and dates are in a form for people."""
    rows = []
    for each in sorted(summaries, key=lambda summary: summary.directory):
        changed = time.strftime("%Y-%m-%d %H:%M", time.localtime(each.changed))
        rows.append(
            {
                "directory": each.directory,
                "files": each.files,
                "passages": each.passages,
                "vectors": sum(each.vectors.values()),
                "size": format_bytes(each.size) if people else each.size,
                "changed": changed,
            }
        )
    return rows


def passage_rows(passages: Iterable[IndexedPassage], *, as_json: bool) -> list[dict[str, Any]]:
    """Return a row for each passage; as JSON with its place in numbers."""
    if as_json:
        return [
            {
                "file": each.path,
                "page": each.page,
                "first_line": each.first_line,
                "last_line": each.last_line,
                "start": each.start,
                "end": each.start + len(each.text),
                "headings": list(each.headings),
                "text": each.text,
            }
            for each in passages
        ]
    return [{"file": each.source, "place": describe_place(each), "text": each.text} for each in passages]


def describe_place(passage: IndexedPassage) -> str:
    """Return "page 3", or the lines "12-30"."""
    if passage.page is not None:
        return f"page {passage.page}"
    first, last = passage.first_line, passage.last_line
    return str(first) if first == last else f"{first}-{last}"
