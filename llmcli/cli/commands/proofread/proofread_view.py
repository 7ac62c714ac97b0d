"""The output of proofread: a line for each word, or a SARIF log."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from llmcli import __version__
from llmcli.cli.input.standard_input import format_source_name
from llmcli.documents.reading.document import STDIN
from llmcli.types import Result

SARIF_VERSION = "2.1.0"
SARIF_SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
RULE_ID = "suspicious-word"
_MAX_RANK = 100.0
"""SARIF ranks results from 0 to 100."""


def format_lines(result: Result) -> str:
    """Return a line for each word: ``FILE:LINE:COLUMN: WORD SCORE``."""
    name = format_source_name(result.name)
    return "".join(
        f"{name}:{each['line']}:{each['column']}: {each['word']} {each['score']:.1f}\n"
        for each in result.fields["words"]
    )


def sarif_log(results: Sequence[Result]) -> dict[str, Any]:
    """Return the words of documents as a log of the Static Analysis Results Interchange Format.

    Source: OASIS Standard, SARIF Version 2.1.0 plus errata 01 (2023). The score is in the property ``bits``.
    """
    rule = {
        "id": RULE_ID,
        "name": "SuspiciousWord",
        "shortDescription": {"text": "A word that surprises a language model."},
        "fullDescription": {"text": "-log2 of the word's probability, given the text before it, is high."},
        "defaultConfiguration": {"level": "note"},
    }
    return {
        "$schema": SARIF_SCHEMA,
        "version": SARIF_VERSION,
        "runs": [
            {
                "tool": {"driver": {"name": "llm proofread", "version": __version__, "rules": [rule]}},
                "columnKind": "unicodeCodePoints",
                "results": [_sarif_result(result.name, word) for result in results for word in result.fields["words"]],
            }
        ],
    }


def _sarif_result(name: str, word: dict[str, Any]) -> dict[str, Any]:
    page = {} if word["page"] is None else {"page": word["page"]}
    region = {
        "startLine": word["line"],
        "startColumn": word["column"],
        "endColumn": word["column"] + len(word["word"]),
        "snippet": {"text": word["word"]},
    }
    return {
        "ruleId": RULE_ID,
        "ruleIndex": 0,
        "level": "note",
        "message": {"text": f"\u201c{word['word']}\u201d surprises the model ({word['score']:.1f} bits)."},
        "rank": min(_MAX_RANK, word["score"]),
        "locations": [{"physicalLocation": {"artifactLocation": {"uri": _uri(name)}, "region": region}}],
        "properties": {"bits": word["score"], **page},
    }


def _uri(name: str) -> str:
    """Return the URI of a file as it was named: relative names stay relative."""
    if name == STDIN:
        return format_source_name(name)
    return Path(name).as_uri() if Path(name).is_absolute() else quote(name.encode("utf-8", "surrogateescape"))
