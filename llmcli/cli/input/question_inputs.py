"""A question, from the command line or a pipe, and the documents that it is about."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from llmcli.cli.command_context import CommandContext
from llmcli.cli.input.inputs import STDIN, check_output, decode_argument, reads_stdin
from llmcli.errors import EmptyInput, UsageError
from llmcli.types import ItemFailed

if TYPE_CHECKING:
    from llmcli.cli.input.document_inputs import ReloadableInputs
    from llmcli.documents.reading.document import Document
    from llmcli.documents.reading.streamed_file import StreamedFile


def read_question(
    ctx: CommandContext, prompt: str | None, files: Sequence[str]
) -> tuple[str, list[Document], list[ItemFailed]]:
    """Return the question, its documents, and the files that cannot be read.

    Without an argument, standard input is the question, unless a file is ``-``. Raises ``EmptyInput`` and
    ``UsageError``, and the error of the first file if none can be read.
    """
    found, failed = _read_question_files(ctx, files) if files else ([], [])
    question, piped = _read_piped_question(ctx, prompt, files)
    return question, found if piped is None else [*found, piped], failed


def read_streamed_question(
    ctx: CommandContext, prompt: str | None, files: Sequence[str], indexed: Sequence[str], *, keeps_all: bool
) -> tuple[str, ReloadableInputs[Document], list[StreamedFile], list[ItemFailed]]:
    """Return what ``read_question`` does, and the texts that are too large to be kept.

    Directories ``indexed`` are not read. Unless ``keeps_all``, of many documents few are kept.
    """
    from llmcli.cli.input.document_inputs import ReloadableInputs
    from llmcli.cli.input.source_inputs import add_files, open_large, read_source_document

    found = ReloadableInputs(ctx, read_source_document, keeps_all=keeps_all)
    large: list[StreamedFile] = []

    def add(name: str) -> None:
        check_output(ctx, [name])
        text = open_large(ctx, name)
        if text is None or text.table:
            found.add(name)
        else:
            large.append(text)

    failed = add_files(ctx, [name for name in files if name not in indexed], add)
    if failed and not (found or large or indexed):
        raise failed[0].error
    question, piped = _read_piped_question(ctx, prompt, files)
    if piped is not None:
        found.append(piped)
    return question, found, large, failed


def _read_piped_question(ctx: CommandContext, prompt: str | None, files: Sequence[str]) -> tuple[str, Document | None]:
    """Return the question, and the document in a pipe if there is one."""
    asks = prompt is None and STDIN not in files
    piped = None
    if reads_stdin(ctx, () if asks else files) or prompt == STDIN:
        piped, prompt = _read_pipe(ctx, prompt), None if prompt == STDIN else prompt
    if prompt is not None:
        if not prompt.strip():
            raise EmptyInput("the question")
        question = decode_argument(prompt)
        if ctx.runtime.input_characters is not None:
            ctx.runtime.input_characters += len(question)
        return question, None if piped is None else _nonblank(ctx, piped)
    if piped is None or (files and not piped.text.strip()):
        raise UsageError("no question: give one as an argument, or pipe one in")
    if not piped.text.strip():
        raise EmptyInput("standard input")
    return piped.text, None


def _read_pipe(ctx: CommandContext, prompt: str | None) -> Document:
    """Return standard input: a text if it is the question (no ``prompt``, or ``-``), else a document in any format."""
    if prompt in {None, STDIN}:
        from llmcli.cli.input.document_inputs import read_stdin_document

        return read_stdin_document(ctx)
    from llmcli.cli.input.source_inputs import read_source_document

    return read_source_document(ctx, STDIN)


def read_texts(
    ctx: CommandContext, files: Sequence[str], *, reads_stdin: bool, requires_named: bool = True
) -> tuple[list[Document], list[ItemFailed]]:
    """Return the documents ``files`` and the text of a pipe, and the files that cannot be read.

    ``reads_stdin`` False: a pipe is not read, unless a file is ``-``. A blank pipe is no document. Raises the error of
    the first file if none can be read, and with ``requires_named`` what a file that is named itself raises.
    """
    from llmcli.cli.input.source_inputs import read_source_document

    found, failed = _read_question_files(ctx, files, requires_named=requires_named)
    piped = ctx.runtime.settings["stdin"] == "on" and ctx.console.has_piped_input
    if reads_stdin and piped and STDIN not in files:
        document = _nonblank(ctx, read_source_document(ctx, STDIN))
        found += [] if document is None else [document]
    return found, failed


def _nonblank(ctx: CommandContext, piped: Document) -> Document | None:
    """Return the document; None if it is blank, with a warning about a pipe, since what fills it may have failed."""
    if piped.text.strip():
        return piped
    environment = ctx.console.environment
    if environment.is_pipe(environment.stdin):
        ctx.runtime.observer.warn("standard input is empty")
    return None


def _read_question_files(
    ctx: CommandContext, files: Sequence[str], *, requires_named: bool = False
) -> tuple[list[Document], list[ItemFailed]]:
    from llmcli.cli.input.source_inputs import add_files, read_source_document

    found: list[Document] = []

    def add(name: str) -> None:
        found.append(read_source_document(ctx, name))

    failed = add_files(ctx, files, add, requires_named=requires_named)
    if failed and not found:
        raise failed[0].error
    return found, failed
