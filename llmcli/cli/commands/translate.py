"""``llm translate``."""

from __future__ import annotations

from typing import Annotated

import typer

from llmcli.cli import inputs
from llmcli.cli.completers import languages
from llmcli.cli.context import Context
from llmcli.cli.options import Files, command
from llmcli.cli.output import How
from llmcli.cli.text import Ending
from llmcli.errors import UsageError


@command(
    examples="""
      llm translate --to fr notes.txt > notes.fr.txt
      cat letter.txt | llm translate --from German --to English -o letter.en.txt
    """
)
def translate(
    cli: Context,
    files: Files = None,
    to: Annotated[
        str, typer.Option("--to", metavar="LANG", help="Code or name: fr, pt-BR, French.", autocompletion=languages)
    ] = "",
    source: Annotated[
        str | None, typer.Option("--from", metavar="LANG", help="The language it is in.", autocompletion=languages)
    ] = None,
) -> int:
    """Translate documents into another language."""
    from llmcli.tasks.languages import parse_language
    from llmcli.tasks.translate import translate as task

    if not to:
        raise UsageError("into which language?", detail="Try: llm translate --to fr FILE")
    if len(files or ()) > 1:
        raise UsageError("one document at a time", detail='Try: for f in *.txt; do llm translate --to fr "$f"; done')
    target = parse_language(to)
    origin = parse_language(source) if source else None
    documents = inputs.documents(cli, files or [])
    options = cli.options()
    return cli.show(
        lambda backend: task(backend, cli.prompts, documents, options, to=target, source=origin),
        How(ending=Ending.DOCUMENT, markdown=False),
    )
