"""The output of check: a line for each sentence in a pipe, the text with its weak sentences marked on a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llmcli.cli.input.standard_input import format_source_name
from llmcli.documents.reading.document import Document
from llmcli.types import Result

_MAX_QUOTE_CHARACTERS = 160


def format_lines(name: str, result: Result) -> str:
    """Return a line for each sentence: ``NAME:LINE: SUPPORT PROBABILITY: SENTENCE``, then the quote after a tab."""
    shown = format_source_name(name)
    return "\n".join(
        f"{shown}:{sentence['first_line']}: {_verdict(sentence)}: {_one_line(sentence['text'])}\t{_evidence(sentence)}"
        for sentence in result.fields["sentences"]
    )


def annotate_text(document: Document, result: Result) -> str:
    """Return the text with a mark before each sentence below the threshold, and a list of these with their quotes."""
    threshold = result.fields["threshold"]
    weak = [sentence for sentence in result.fields["sentences"] if sentence["probability"] < threshold]
    parts, at = [], 0
    for number, sentence in enumerate(weak, 1):
        parts += [document.text[at : sentence["start"]], f"**[?{number}]** "]
        at = sentence["start"]
    total = len(result.fields["sentences"])
    head = f"Supported: {total - len(weak)} of {total} sentences (threshold {threshold:g})."
    notes = [f"- **?{number}** {_verdict(sentence)}. {_evidence(sentence)}" for number, sentence in enumerate(weak, 1)]
    return "\n\n".join(["".join([*parts, document.text[at:]]).rstrip(), "---", head, "\n".join(notes)]).rstrip()


def _verdict(sentence: Mapping[str, Any]) -> str:
    return f"{sentence['support']} {sentence['probability']:.2f}"


def _evidence(sentence: Mapping[str, Any]) -> str:
    quote = sentence["quote"]
    if quote is None:
        return "no passage has its words"
    text = _one_line(quote["text"])
    if len(text) > _MAX_QUOTE_CHARACTERS:
        text = text[:_MAX_QUOTE_CHARACTERS].rpartition(" ")[0] + " ..."
    page, first, last = quote["page"], quote["first_line"], quote["last_line"]
    lines = f"line {first}" if first == last else f"lines {first}-{last}"
    return f'{format_source_name(quote["source"])}, {lines if page is None else f"p. {page}"}: "{text}"'


def _one_line(text: str) -> str:
    return " ".join(text.split())
