"""The names of inputs in front of findings: FILE:LINE, as grep prints them."""

from __future__ import annotations

from llmcli.cli.console import sanitize
from llmcli.documents.reading.document import STDIN


def format_source_name(name: str) -> str:
    """Return the name of an input on one line, without line breaks and control characters; "stdin" for ``-``."""
    return "stdin" if name == STDIN else sanitize.single_line(name)
