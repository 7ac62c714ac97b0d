"""What each command passes to its prompt file: a prompt may use these names plus the variables it declares itself.

A prompt that a user writes in place of a built-in one is held to the same contract by ``llm prompts check``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field

from llmcli.frozen_dataclass import frozen


@frozen
class Contract:
    """``variables`` maps the name of each variable the command always passes to what it holds.

    ``required`` are those that a prompt must use, since without them the input would not reach the model.
    """

    variables: Mapping[str, str] = field(default_factory=dict)
    required: tuple[str, ...] = ()


_STYLE_DESCRIPTION = "paragraph, bullets or headline"

CONTRACTS: Mapping[str, Contract] = {
    "ask": Contract({"question": "what the user asks"}, required=("question",)),
    "ask.documents": Contract(
        {
            "question": "what the user asks; empty when the documents say it",
            "documents": "a list of documents, each with .name and .text",
        },
        required=("question", "documents"),
    ),
    "chat": Contract(
        {"message": "what the user says in this turn", "system": "instructions of the user's own; may be empty"},
        required=("message",),
    ),
    "translate": Contract(
        {
            "text": "the text to translate",
            "source_language": "the English name of its language; empty when it is not known",
            "target_language": "the English name of the language to translate into",
            "context": "what the user says about the text; empty when nothing",
            "formality": "formal, informal or auto",
            "place": "the headings or keys that the text stands under; may be empty",
            "before": "the text before it in the document; may be empty",
            "note": "what the document says to translators; may be empty",
            "terms": "a line for each term of the glossary in the text, with its translation; may be empty",
            "marks": "a mark as it stands in the text for what must not change; empty when there is none",
            "problems": "what was wrong with an earlier translation; empty at the first try",
        },
        required=("text", "target_language"),
    ),
    "translate.review": Contract(
        {
            "text": "the text that was translated",
            "translation": "the translation that is to be corrected",
            "source_language": "the English name of the text's language; empty when it is not known",
            "target_language": "the English name of the language of the translation",
            "terms": "a line for each term of the glossary in the text, with its translation; may be empty",
            "marks": "a mark as it stands in the text for what must not change; empty when there is none",
            "problems": "what is wrong with the translation; may be empty",
        },
        required=("text", "translation", "target_language"),
    ),
    "summarize": Contract(
        {
            "text": "the text to summarize, or one part of it",
            "words": "the wanted length in words; empty when the user gave none",
            "style": _STYLE_DESCRIPTION,
            "part": "the number of this part, from 1",
            "parts": "the number of parts that the whole text was cut into; 1 when it is whole",
        },
        required=("text",),
    ),
    "summarize.merge": Contract(
        {
            "text": "the summaries of consecutive parts, joined by blank lines",
            "words": "the wanted length in words; empty when the user gave none",
            "style": _STYLE_DESCRIPTION,
        },
        required=("text",),
    ),
    "sentiment": Contract({"text": "the record"}, required=("text",)),
}

GENERATE_PREFIX = "generate/"
"""Prefix of the prompts of ``llm generate``: any name; they use what they declare. The text of stdin goes into the
variable ``text`` where a prompt declares one."""


def contract_of(name: str) -> Contract | None:
    """Return the contract of the prompt called ``name``, None when no command uses such a prompt."""
    if name.startswith(GENERATE_PREFIX):
        return Contract()
    return CONTRACTS.get(name)
