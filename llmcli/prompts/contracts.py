"""What each command passes to its prompt file: a prompt may use these names plus the variables it declares itself.

A prompt that a user writes in place of a built-in one is held to the same contract by ``llm prompts check``. A new
command registers the contracts of its prompts with ``register_contract``; nothing else here names a command.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field

from llmcli.frozen_dataclass import frozen


@frozen
class Contract:
    """``variables`` maps the name of each variable the command always passes to what it holds.

    ``required`` are those that a prompt must use, since without them the input would not reach the model; ``public``
    those whose values are names from a list, never the user's text. With ``is_prefix`` the contract is that of all
    prompts in the directory of its name, and the user sets the variables that they declare.
    """

    variables: Mapping[str, str] = field(default_factory=dict)
    required: tuple[str, ...] = ()
    public: frozenset[str] = frozenset()
    is_prefix: bool = False


_STYLE_DESCRIPTION = "paragraph, bullets or headline"

_CONTRACTS: dict[str, Contract] = {
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
        public=frozenset({"target_language"}),
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
        public=frozenset({"target_language"}),
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
    "redact.names": Contract({"text": "a part of a text"}, required=("text",)),
    "generate": Contract(is_prefix=True),
}

GENERATE_PREFIX = "generate/"
"""Prefix of the prompts of ``llm generate``. The text of stdin goes into the variable ``text`` where one declares it."""


def register_contract(name: str, contract: Contract) -> None:
    """Set the contract of the prompt called ``name``. Raises ``ValueError`` if it has one."""
    if name in _CONTRACTS:
        raise ValueError(f"the prompt {name} has a contract already")
    _CONTRACTS[name] = contract


def unregister_contract(name: str) -> None:
    """Forget the contract of a prompt."""
    del _CONTRACTS[name]


def contract_of(name: str) -> Contract | None:
    """Return the contract of the prompt called ``name``, None when no command uses such a prompt."""
    prefix = prefix_of(name)
    if prefix:
        return _CONTRACTS[prefix.removesuffix("/")]
    contract = _CONTRACTS.get(name)
    return None if contract is None or contract.is_prefix else contract


def prefix_of(name: str) -> str:
    """Return what the name of a prompt begins with where one contract holds for all such names, else ""."""
    return next((prefix for prefix in prompt_prefixes() if name.startswith(prefix)), "")


def prompt_prefixes() -> list[str]:
    """Return the prefixes under which prompts may have any name."""
    return [f"{name}/" for name, contract in _CONTRACTS.items() if contract.is_prefix]


def single_prompt_names() -> list[str]:
    """Return the names of the prompts that have a contract of their own."""
    return [name for name, contract in _CONTRACTS.items() if not contract.is_prefix]
