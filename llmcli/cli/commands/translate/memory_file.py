"""The translation memory of a command: the user's own, or the file of --tm."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from llmcli.cli.command_context import CommandContext
from llmcli.errors import CannotCreate, LlmError, MissingError, OutputError, TemporaryFailure
from llmcli.files import private_files
from llmcli.store.database import make_parent_directory
from llmcli.store.translation_memory import TranslationMemory

if TYPE_CHECKING:
    from llmcli.tasks.translate.memory_cache import TranslationMemoryCache


def memory_path(ctx: CommandContext, name: str | None) -> Path:
    """Return its path."""
    return ctx.runtime.paths.translation_memory if name is None else Path(name)


def open_memory(ctx: CommandContext, name: str | None, *, read_only: bool = False) -> TranslationMemory:
    """Open it; create it if it is missing, but create a directory only for the user's own.

    A named file keeps its mode: a team may share it. With ``read_only`` nothing is written, and a missing named file
    raises ``MissingError``. Raises what ``TranslationMemory`` raises.
    """
    path = memory_path(ctx, name)
    if read_only and name is not None and not private_files.exists(Path(name)):
        raise MissingError(name, kind="translation memory")
    if not read_only and name is None:
        make_parent_directory(path)
    return TranslationMemory(path, read_only=read_only, private=name is None)


def memory_for_job(ctx: CommandContext, name: str | None, *, read_only: bool) -> TranslationMemory | None:
    """Open it for a translation, which must not fail because of the memory; with ``read_only`` nothing is stored.

    If the user's own memory cannot be written, as on a full disk, the command warns and only reads it, or does without.
    Raises as ``open_memory`` for a named file.
    """
    try:
        return TranslationMemory(memory_path(ctx, name), read_only=True) if read_only else open_memory(ctx, name)
    except (CannotCreate, OutputError, TemporaryFailure) as error:
        if name is not None:
            raise
        from llmcli.cli.console import error_messages

        ctx.console.warn(
            f"nothing is stored in the translation memory, as with --no-tm: {error_messages.describe(error)[0]}"
        )
    try:
        return TranslationMemory(memory_path(ctx, name), read_only=True)
    except LlmError:
        return None


def create_memory_cache(memory: TranslationMemory | None) -> TranslationMemoryCache:
    """Return the memory as the task uses it."""
    from llmcli.tasks.translate.memory_cache import TranslationMemoryCache

    return TranslationMemoryCache(memory, writable=memory is not None and not memory.read_only)


def report_memory_trouble(ctx: CommandContext, remembered: TranslationMemoryCache) -> None:
    """Warn that translations were not stored, or not all of them."""
    if remembered.failure_detail:
        ctx.console.warn(
            f"the translation memory failed; the rest was translated as with --no-tm: {remembered.failure_detail}"
        )
    if remembered.outdated_outputs:
        names = ", ".join(map(str, remembered.outdated_outputs))
        ctx.console.warn(
            f"the translation memory still describes an earlier {names}: translate it again with -o, not with --update"
        )
