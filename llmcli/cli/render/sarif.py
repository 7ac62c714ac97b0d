"""Logs of the Static Analysis Results Interchange Format, for code review tools.

Source: OASIS Standard, SARIF Version 2.1.0 plus errata 01 (2023).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from llmcli import __version__
from llmcli.cli.input.inputs import format_source_name
from llmcli.documents.reading.document import STDIN

SARIF_VERSION = "2.1.0"
SARIF_SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"


def make_log(tool: str, rules: Sequence[dict[str, Any]], results: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the log of one run of ``tool``; results name their rules by ``ruleId`` and ``ruleIndex``."""
    return {
        "$schema": SARIF_SCHEMA,
        "version": SARIF_VERSION,
        "runs": [
            {
                "tool": {"driver": {"name": tool, "version": __version__, "rules": [*rules]}},
                "columnKind": "unicodeCodePoints",
                "results": [*results],
            }
        ],
    }


def file_uri(name: str) -> str:
    """Return the URI of a file as it was named: relative names stay relative."""
    if name == STDIN:
        return format_source_name(name)
    return Path(name).as_uri() if Path(name).is_absolute() else quote(name.encode("utf-8", "surrogateescape"))
