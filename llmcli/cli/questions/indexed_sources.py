"""Directories that ``llm ask -f`` names and that have an index: it is brought up to date, and searched if they are large."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp

from llmcli.backends.base import Backend
from llmcli.cli.command_context import CommandContext
from llmcli.cli.input import source_inputs
from llmcli.documents.reading.document import STDIN, Document
from llmcli.documents.reading.large_text import LargeText
from llmcli.store.retrieval.index_files import IndexFiles, real_path
from llmcli.store.retrieval.passage_index import FileState, PassageIndex
from llmcli.tasks.questions.document_question import IndexedSource
from llmcli.tasks.retrieval.index_update import IndexUpdater
from llmcli.tasks.retrieval.passage_cutter import cut_large_text
from llmcli.tasks.retrieval.passage_embedder import PassageEmbedder
from llmcli.tasks.retrieval.passage_pool import IndexPassages, PassageCollection
from llmcli.types import ItemFailed, Phase, Progress


def find_indexed(ctx: CommandContext, names: Sequence[str]) -> list[str]:
    """Return the directories among the inputs that have an index."""
    files = IndexFiles(ctx.runtime.paths.indexes)
    return [name for name in names if name != STDIN and _is_directory(name) and files.exists(name)]


def _is_directory(name: str) -> bool:
    try:
        return Path(name).is_dir()
    except OSError:  # a name that is too long; reading it is refused with an error of its own
        return False


def open_indexed(ctx: CommandContext, name: str, failed: list[ItemFailed]) -> IndexedSource:
    """Bring the index of a directory up to date and return it; its unreadable files are added to ``failed``.

    The index is closed at the end of the command. Raises what ``PassageIndex`` and ``IndexUpdater`` raise.
    """
    index = IndexFiles(ctx.runtime.paths.indexes).open(name)
    ctx.on_exit(index.close)
    for event in IndexUpdater(index, real_path(name), ctx.runtime.interrupt).update():
        if isinstance(event, Progress):
            ctx.console.status_line.show(event)
        elif isinstance(event, ItemFailed):
            failed.append(ItemFailed(len(failed), event.name, event.error))

    def read() -> list[Document]:
        _, documents = source_inputs.read_sources(ctx, [name])
        return [each for each in documents if isinstance(each, Document)]

    def rename(path: str) -> str:
        return name.rstrip("/") + path.removeprefix(real_path(name))

    def collection(backend: Backend, question: str, longest: int) -> PassageCollection:
        del longest  # the passages exist
        return _make_collection(ctx, index, backend, question, rename)

    return IndexedSource(index.summary().characters, read, collection)


def index_large_text(ctx: CommandContext, large: LargeText) -> IndexedSource:
    """Return a text that is too large to be kept; it is searched in an index of its own, which the command removes."""

    def collection(backend: Backend, question: str, longest: int) -> PassageCollection:
        del backend, question
        directory = mkdtemp(prefix="llm-index-")
        ctx.on_exit(lambda: rmtree(directory, ignore_errors=True))
        index = PassageIndex(Path(directory, "passages.sqlite"))
        ctx.on_exit(index.close)
        state = FileState(large.name, 0, 0, large.sha256, 0, large.characters)
        with ctx.console.status_line.waiting(Phase.WORKING, ""):
            index.replace_large(state, cut_large_text(large, longest))
        return IndexPassages(index)

    return IndexedSource(large.characters, lambda: [large.read_whole()], collection, large.name)


def _make_collection(
    ctx: CommandContext, index: PassageIndex, backend: Backend, question: str, rename: Callable[[str], str]
) -> PassageCollection:
    """Return the passages of an index, with the vector of the question if the index has vectors of the same model."""
    models = index.summary().vectors
    if models:
        with open_embedder(ctx, backend) as embedder:
            if embedder.model in models:
                return IndexPassages(index, embedder.embed_question(question), embedder.model, rename=rename)
    return IndexPassages(index, rename=rename)


@contextmanager
def open_embedder(ctx: CommandContext, backend: Backend | None = None) -> Iterator[PassageEmbedder]:
    """Yield what computes vectors: the setting ``embedding_model``, else ``backend`` (None: the model that answers)."""
    name = ctx.runtime.settings["embedding_model"]
    if name is None:
        yield PassageEmbedder(backend or ctx.runtime.backend())
        return
    own = ctx.runtime.build_embedding_backend(name)
    try:
        yield PassageEmbedder(own)
    finally:
        own.close()
