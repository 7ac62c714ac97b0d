"""``llm redact``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated

from llmcli.cli.command_context import CommandContext
from llmcli.cli.console import json_text
from llmcli.cli.console.file_names import show_name
from llmcli.cli.input.source_inputs import read_text_documents
from llmcli.cli.options import GENERAL_OPTIONS, FilesArgument, command
from llmcli.cli.parsing.parameters import Option
from llmcli.errors import PartialError
from llmcli.types import ItemFailed

if TYPE_CHECKING:
    from llmcli.redaction.redactor import Redactor
    from llmcli.tasks.redact import RedactedDocument

_OPTIONS = ("model", "output", "pull", "offline", "no_stdin", "timeout")


@command(
    *_OPTIONS,
    *GENERAL_OPTIONS,
    examples="""
      llm redact letter.txt
      llm redact --json letter.txt | jq -r .kind | sort | uniq -c
      git diff | llm redact
      llm redact --names -m qwen3-4b letter.txt
    """,
    listed=False,
)
def redact(
    ctx: CommandContext,
    files: FilesArgument = None,
    names: Annotated[bool, Option("--names", help="Find names of people too, with a model on this machine.")] = False,
    show_values: Annotated[bool, Option("--show-values", help="With --json, print the private values too.")] = False,
) -> int:
    """Show what would be replaced before text is sent to a server.

    Finds mail addresses, phone and card numbers, IBANs, keys, tokens, and your own patterns and words. Nothing is sent.
    --json prints one object per value: kind, start and end (characters, from 0), line and column (from 1), placeholder.
    """
    from llmcli.documents.reading.document import Document
    from llmcli.tasks.redact import redact_documents

    found = read_text_documents(ctx, files or [])
    documents = [document for document in found if isinstance(document, Document)]
    for note in (note for document in documents for note in document.notes):
        ctx.console.warn(note)
    redacted = redact_documents(_build_redactor(ctx, names=names), documents)
    if ctx.console.as_json:
        _write(ctx, _format_json(redacted, named=len(found) > 1, show_values=show_values))
    else:
        _write(ctx, _format_text(redacted, named=len(found) > 1))
    return _report_unread(ctx, [failed for failed in found if isinstance(failed, ItemFailed)])


def _report_unread(ctx: CommandContext, failed: Sequence[ItemFailed]) -> int:
    """Report the inputs that could not be read, and return the exit code."""
    for each in failed:
        ctx.console.write_error(each.error, name=each.name)
    return PartialError.exit_code if failed else 0


def _build_redactor(ctx: CommandContext, *, names: bool) -> Redactor:
    from llmcli.runtime import redaction_policy
    from llmcli.runtime.redaction_policy import LocalNameFinder

    runtime = ctx.runtime
    if not names:
        return redaction_policy.build_redactor(runtime.settings)
    backend = runtime.build_name_backend(runtime.model_name)
    ctx.on_exit(backend.close)
    return redaction_policy.build_redactor(runtime.settings, LocalNameFinder(backend, runtime.prompts))


def _format_json(documents: Iterator[RedactedDocument], *, named: bool, show_values: bool) -> Iterator[str]:
    for document in documents:
        for value in document.found:
            yield (
                json_text.dumps(
                    {
                        **({"name": document.name} if named else {}),
                        "kind": value.kind,
                        "start": value.start,
                        "end": value.end,
                        "line": value.line,
                        "column": value.column,
                        "placeholder": value.placeholder,
                        **({"value": value.value} if show_values else {}),
                    }
                )
                + "\n"
            )


def _format_text(documents: Iterator[RedactedDocument], *, named: bool) -> Iterator[str]:
    for number, document in enumerate(documents):
        yield (("\n" if number else "") + f"==> {show_name(document.name)} <==\n" if named else "") + document.text


def _write(ctx: CommandContext, pieces: Iterator[str]) -> None:
    """Write to standard output, or to the file of -o."""
    from llmcli.files.atomic_file import atomic_write

    if ctx.flags.output is None:
        piece = "\n"
        for piece in pieces:
            ctx.console.write_stdout(piece)
        if ctx.console.stdout_is_terminal and not piece.endswith("\n"):
            ctx.console.write_stdout("\n")
        return
    with atomic_write(ctx.flags.output, interrupt=ctx.runtime.interrupt) as file:
        for piece in pieces:
            file.write(piece.encode("utf-8", "replace"))
