"""Directories of ``llm ask -f`` and ``--index`` with an index: it is updated, and searched if they are large."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp

from llmcli.backends.base import Backend
from llmcli.cli.command_context import CommandContext
from llmcli.cli.input import source_inputs
from llmcli.cli.input.inputs import note_input
from llmcli.documents.reading.document import STDIN, Document
from llmcli.documents.reading.streamed_file import StreamedFile
from llmcli.errors import MissingError, UsageError
from llmcli.store.passage_index import FileState, IndexFiles, PassageIndex, real_path
from llmcli.tasks.ask.question_sources import IndexedSource
from llmcli.tasks.retrieval.index_update import IndexUpdater
from llmcli.tasks.retrieval.passage_cutter import cut_document, cut_streamed_file
from llmcli.tasks.retrieval.passage_embedder import PassageEmbedder
from llmcli.tasks.retrieval.passage_pool import IndexPassages, PassageCollection
from llmcli.types import ItemFailed, Phase, Progress


def find_indexed(ctx: CommandContext, names: Sequence[str]) -> list[str]:
    """Return the directories among the inputs that have an index."""
    files = IndexFiles(ctx.runtime.paths.indexes)
    return [name for name in names if name != STDIN and _is_directory(name) and files.exists(name)]


def find_index_directory(ctx: CommandContext, name: str) -> str:
    """Return the directory whose index is called ``name``: its path, or the last part of it if no other one has that.

    Raises ``MissingError``, and ``UsageError`` for a name that several have.
    """
    files = IndexFiles(ctx.runtime.paths.indexes)
    if files.exists(name):
        return name
    known = [each.directory for each in files.summaries()]
    called = [each for each in known if Path(each).name == name]
    if len(called) > 1:
        raise UsageError(f"several indexes are called {name}", detail=f"Name one by its path: {', '.join(called)}")
    if not called:
        near = get_close_matches(name, [Path(each).name for each in known])
        raise MissingError(name, kind="index", suggestions=near)
    return called[0]


def _is_directory(name: str) -> bool:
    try:
        return Path(name).is_dir()
    except OSError:  # a name that is too long; reading it is refused with an error of its own
        return False


def open_indexed(ctx: CommandContext, name: str, failed: list[ItemFailed], *, dry_run: bool = False) -> IndexedSource:
    """Bring the index of a directory up to date and return it; its unreadable files are added to ``failed``.

    The index is closed at the end of the command. For a ``dry_run`` it is searched by words alone. Raises what
    ``PassageIndex`` and ``IndexUpdater`` raise.
    """
    note_input(ctx, name)
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
        if dry_run:  # the vector of the question would run a model
            return IndexPassages(index, rename=rename)
        return _make_collection(ctx, index, backend, question, rename)

    summary = index.summary()
    return IndexedSource(summary.characters, read, collection, has_vectors=bool(summary.vectors))


def index_texts(
    ctx: CommandContext, texts: Sequence[Document | StreamedFile | ItemFailed], characters: int, name: str
) -> IndexedSource:
    """Return texts that are too large to be kept, of so many ``characters``; ``name``: that of the only one.

    They are searched in a temporary index, for which they are read one at a time. A text that cannot be read any more
    raises its error then.
    """

    def collection(backend: Backend, question: str, longest: int) -> PassageCollection:
        del backend, question
        directory = mkdtemp(prefix="llm-index-")
        ctx.on_exit(lambda: rmtree(directory, ignore_errors=True))
        index = PassageIndex(Path(directory, "passages.sqlite"))
        ctx.on_exit(index.close)
        names: dict[str, str] = {}
        with ctx.console.status_line.waiting(Phase.WORKING, ""):
            for number in range(len(texts)):
                ctx.runtime.interrupt.check()
                key = f"{number:08}"  # an index has its files in the order of their paths
                names[key] = _add_text(index, key, texts[number], longest)
        return IndexPassages(index, rename=lambda path: names.get(path, path))

    def read() -> list[Document]:
        found = map(_require_text, texts)
        return [each if isinstance(each, Document) else each.read_whole() for each in found]

    return IndexedSource(characters, read, collection, name)


def index_streamed_files(ctx: CommandContext, texts: Sequence[StreamedFile]) -> list[IndexedSource]:
    """Return all texts as one source, as ``index_texts`` does: an index of its own for each would take memory."""
    name = texts[0].name if len(texts) == 1 else ""
    return [index_texts(ctx, texts, sum(each.characters for each in texts), name)] if texts else []


def _add_text(index: PassageIndex, key: str, text: Document | StreamedFile | ItemFailed, longest: int) -> str:
    """Add the passages of a text to an index as those of the file ``key``; return the name of the text."""
    text = _require_text(text)
    if isinstance(text, Document):
        index.replace([(FileState(key, 0, 0, "", 0, len(text.text)), cut_document(text, longest))])
    else:
        index.replace_large(FileState(key, 0, 0, text.sha256, 0, text.characters), cut_streamed_file(text, longest))
    return text.name


def _require_text(text: Document | StreamedFile | ItemFailed) -> Document | StreamedFile:
    if isinstance(text, ItemFailed):
        raise text.error
    return text


def _make_collection(
    ctx: CommandContext, index: PassageIndex, backend: Backend, question: str, rename: Callable[[str], str]
) -> PassageCollection:
    """Return the passages of an index, with the vector of the question if the index has vectors of the same model."""
    models = index.summary().vectors
    if models:
        with open_embedder(ctx, backend) as embedder:
            if embedder.model in models:
                return IndexPassages(index, embedder.embed_question(question), rename=rename)
            warn_of_outdated_vectors(ctx, index, embedder)
    return IndexPassages(index, rename=rename)


def warn_of_outdated_vectors(ctx: CommandContext, index: PassageIndex, embedder: PassageEmbedder) -> None:
    """Warn that an index has vectors only of another layer of the model, which an earlier version read."""
    found = index.summary()
    if embedder.model not in found.vectors and embedder.outdated(found.vectors):
        ctx.console.warn(
            f"the vectors of {found.directory} come from another layer of the model and are not used; "
            "compute them again with: llm index add --embed"
        )


@contextmanager
def open_embedder(ctx: CommandContext, backend: Backend | None = None) -> Iterator[PassageEmbedder]:
    """Yield what computes vectors: the setting ``embedding_model``, else ``backend`` (None: the model that answers)."""
    name = ctx.runtime.settings["embedding_model"]
    if name is None:
        yield PassageEmbedder(backend or ctx.runtime.backend())
        return
    own = ctx.runtime.build_model_backend(name)
    try:
        yield PassageEmbedder(own, dedicated=True)
    finally:
        own.close()
