"""Prompt contracts: the variables that each command passes to its prompt file.

A prompt may use these variables and the ones that it declares itself. ``llm prompts check`` holds a user's replacement
for a built-in prompt to the same contract. A new command registers the contracts of its prompts with
``register_contract``; nothing else here names a command.
"""

from __future__ import annotations

from collections.abc import Mapping

from llmcli.fast_dataclass import field, frozen
from llmcli.prompts.prompt_file import ROW_VARIABLE


@frozen
class Contract:
    """``variables`` maps the name of each variable that the command always passes to a description of it.

    ``required``: variables that a prompt must use, since otherwise the input would not reach the model. ``public``:
    variables whose values are names from a list, never the user's text. With ``is_prefix`` the contract applies to all
    prompts in the directory of its name, and the user sets the variables that they declare.
    """

    variables: Mapping[str, str] = field(default_factory=dict)
    required: tuple[str, ...] = ()
    public: frozenset[str] = frozenset()
    is_prefix: bool = False


_ROW = {ROW_VARIABLE: "the columns of the record: row.NAME; empty if the input is no table"}
_SUMMARY_WISHES = {
    "words": "the wanted length in words; empty if the user gave none",
    "style": "paragraph, bullets, headline, abstract, outline or minutes; facts for a part that is merged later",
    "focus": "what the summary is to be about; empty for the whole text",
    "audience": "for whom it is; empty if the user did not say",
    "language": "the English name of the language to write in; empty for that of the text",
}

_CONTRACTS: dict[str, Contract] = {
    "ask": Contract({"question": "the user's question", **_ROW}, required=("question",)),
    "ask.documents": Contract(
        {
            "question": "the user's question; empty when the documents contain it",
            "documents": "a list of documents, each with .name and .text",
            **_ROW,
        },
        required=("question", "documents"),
    ),
    "ask.passages": Contract(
        {
            "question": "the user's question",
            "passages": "a list of passages, each with .number, .name and .text",
        },
        required=("question", "passages"),
    ),
    "ask.relevance": Contract(
        {"question": "the user's question", "text": "a passage that may answer it"}, required=("question", "text")
    ),
    "ask.excerpt": Contract(
        {"question": "the user's question", "text": "a passage that may answer it"}, required=("question", "text")
    ),
    "ask.sql": Contract(
        {
            "question": "the user's question",
            "schema": "a CREATE TABLE statement for each table",
            "sample": "the first rows of each table",
            "values": "the texts in columns that have few; empty unless an attempt found nothing",
            "query": "the statement of the last attempt; empty at the first one",
            "problem": "what was wrong with it; empty at the first attempt",
        },
        required=("question", "schema"),
    ),
    "chat": Contract(
        {"message": "the user's message in this turn", "system": "the user's own instructions; may be empty"},
        required=("message",),
    ),
    "chat.summary": Contract(
        {
            "text": "the messages to summarize, each after the name of its author",
            "summary": "the summary of the messages before them; may be empty",
            "words": "the most words of the summary",
        },
        required=("text", "summary"),
    ),
    "translate": Contract(
        {
            "text": "the text to translate",
            "source_language": "the English name of its language; empty when unknown",
            "target_language": "the English name of the language to translate into",
            "context": "the user's note about the text; empty without one",
            "formality": "formal, informal or auto",
            "guide": "the user's style guide; empty without one",
            "glossary": "a line for each term of a short glossary, with its translation; empty for a long one, and on servers",
            "title": "the title of the document; empty without one",
            "place": "the headings or keys above the text; may be empty",
            "before": "the end of the text before it in the document; may be empty",
            "after": "the beginning of the text after it; may be empty",
            "note": "the document's notes for translators; may be empty",
            "terms": "a line for each glossary term in the text, with its translation; empty if they are in ``glossary``",
            "marks": "an example of the marks in the text that must not change; empty when there are none",
            "problems": "the problems of an earlier translation; empty at the first attempt",
            **_ROW,
        },
        required=("text", "target_language"),
        public=frozenset({"target_language"}),
    ),
    "translate.review": Contract(
        {
            "text": "the text that was translated",
            "translation": "the translation to correct",
            "source_language": "the English name of the text's language; empty when unknown",
            "target_language": "the English name of the language of the translation",
            "terms": "a line for each glossary term in the text, with its translation; may be empty",
            "marks": "an example of the marks in the text that must not change; empty when there are none",
            "problems": "the problems of the translation; may be empty",
        },
        required=("text", "translation", "target_language"),
        public=frozenset({"target_language"}),
    ),
    "ask.quote": Contract(
        {
            "number": "the number of a passage that the answer cites",
            "statement": "what the answer says with it",
            "none": "whether the answer may be NONE",
        },
        required=("number", "statement"),
    ),
    "summarize": Contract(
        {
            "text": "the text to summarize, or one part of it",
            **_SUMMARY_WISHES,
            "part": "the number of this part, from 1",
            "parts": "the number of parts of the whole text; 1 when it was not cut",
            **_ROW,
        },
        required=("text",),
    ),
    "summarize.update": Contract(
        {
            "summary": "the earlier summary",
            "text": "what is new since then, or the summaries of its parts",
            **_SUMMARY_WISHES,
        },
        required=("summary", "text"),
    ),
    "summarize.length": Contract(
        {
            "words": "the wanted length in words; empty if the summary has it, or if the user gave none",
            "length": "the words of the summary before",
            "longer": "whether the wanted length is the larger one",
            "style": "paragraph, bullets, headline, abstract, outline or minutes",
            "problem": 'what is wrong with the form of the summary, after "the summary"; empty if nothing is',
        },
        required=("words",),
    ),
    "summarize.merge": Contract(
        {
            "text": "the summaries of consecutive parts, joined by blank lines",
            **_SUMMARY_WISHES,
        },
        required=("text",),
    ),
    "sentiment": Contract({"text": "the record", **_ROW}, required=("text",)),
    "sentiment.aspects": Contract({"text": "the record", **_ROW}, required=("text",)),
    "classify": Contract(
        {"text": "the record", "labels": "a list of labels, each with .name and .description", **_ROW},
        required=("text", "labels"),
    ),
    "classify.multi": Contract(
        {"text": "the record", "labels": "a list of labels, each with .name and .description", **_ROW},
        required=("text",),
    ),
    "filter": Contract(
        {"text": "the record", "statements": "the statements, each of which may hold for it", **_ROW},
        required=("text",),
    ),
    "command": Contract(
        {
            "task": "what the command should do",
            "shell": "the name of the user's shell",
            "system": "the name of the operating system",
        },
        required=("task",),
        public=frozenset({"shell", "system"}),
    ),
    "check": Contract(
        {"text": "a passage of the sources", "statement": "a sentence that it may support"},
        required=("text", "statement"),
    ),
    "check.restate": Contract({"text": "a passage of the sources"}, required=("text",)),
    "quote": Contract(
        {
            "text": "the passage to quote from",
            "statement": "what the quote shall support",
            "none": "whether the answer may be NONE",
        },
        required=("text", "statement"),
    ),
    "quiz.judge": Contract(
        {
            "text": "the learner's answer",
            "question": "the question",
            "answer": "the right answer",
            "source": "the quote that has the answer; may be empty",
        },
        required=("text", "answer"),
    ),
    "quiz.explain": Contract(
        {"question": "the question", "answer": "the right answer", "source": "the quote that has the answer"},
        required=("answer", "source"),
    ),
    "extract": Contract(
        {
            "text": "the passage to take values from",
            "form": "the names of the values with their types, in the form of JSON",
            "fields": "a list of the values, each with .name and .description, which may be empty",
            "many": "whether the answer is a list of objects",
        },
        required=("text", "form"),
    ),
    "redact.names": Contract({"text": "a part of a text"}, required=("text",)),
    "generate": Contract(_ROW, is_prefix=True),
    "generate.outline": Contract(
        {
            "kind": "report, article, book or slides",
            "topic": "what the text is about: its title",
            "chapters": "the number of chapters; 0 for a text without",
            "sections": "the number of sections, in a book of each chapter",
            "points": "the number of points of a section",
            "language": "the English name of the language to write in; may be empty",
            "facts": "a list of sentences of the sources; may be empty",
        },
        required=("topic",),
    ),
    "generate.section": Contract(
        {
            "kind": "report, article, book or slides",
            "title": "the title of the text",
            "sections": "the outline: a list of sections, each with .title and .points",
            "names": "a list of names as they are to be spelled; may be empty",
            "language": "the English name of the language to write in; may be empty",
            "number": "the number of the section, from 1",
            "section": "the title of the section",
            "facts": "a list of sentences of the sources about it, which have numbers from 1; may be empty",
            "words": "the length of the paragraph in words",
            "point": "what the paragraph is about",
            "bullets": "the number of bullets of a slide; 0 for prose",
        },
        required=("section", "point"),
    ),
    "generate.next": Contract(
        {
            "point": "what the paragraph is about; empty when the section has no further point",
            "words": "the length of the paragraph in words",
            "bullets": "whether the text is a slide",
        },
        required=("words",),
    ),
    "generate.revise": Contract(
        {
            "kind": "report, article, book or slides",
            "title": "the title of the text",
            "sections": "the titles of its sections",
            "section": "the title of the section",
            "text": "the section as it is",
            "change": "what the user wants to be changed",
            "words": "its new length in words; empty if the user gave none",
            "language": "the English name of the language to write in; may be empty",
            "facts": "a list of sentences of the sources, which have numbers from 1; may be empty",
            "bullets": "whether the text is a slide",
        },
        required=("text", "change"),
    ),
}
_BUILT_IN = frozenset(_CONTRACTS)
_OWN_CONTRACT = Contract(_ROW)
IMPLICIT_VARIABLES = {
    "text": "the text of standard input or of the files",
    "question": "the words of the command line",
}
"""The variables that a prompt of the user's own may use without declaring them; they have no default."""

GENERATE_PREFIX = "generate/"
"""Name prefix of the prompts of ``llm generate``. Text from stdin goes into a declared variable ``text``."""


def is_own_name(name: str) -> bool:
    """Whether a prompt of this name is one of the user's own, for ``llm ask -p`` and ``llm generate``.

    Names of commands' prompts are not, and neither are ``ask.steps`` or ``ask/steps``.
    """
    first = name.partition("/")[0].partition(".")[0]
    return all(each.partition(".")[0] != first for each in _CONTRACTS)


def register_contract(name: str, contract: Contract) -> None:
    """Set the contract of the prompt called ``name``. Raises ``ValueError`` if it has one."""
    if name in _CONTRACTS:
        raise ValueError(f"the prompt {name} already has a contract")
    _CONTRACTS[name] = contract


def is_built_in(name: str) -> bool:
    """Whether the contract of the prompt called ``name`` is one of llm's own, which no package can replace."""
    return (prefix_of(name).removesuffix("/") or name) in _BUILT_IN


def contract_of(name: str) -> Contract | None:
    """Return the contract of the prompt called ``name``, None if no command uses it."""
    prefix = prefix_of(name)
    if prefix:
        return _CONTRACTS[prefix.removesuffix("/")]
    if is_own_name(name):
        return _OWN_CONTRACT
    contract = _CONTRACTS.get(name)
    return None if contract is None or contract.is_prefix else contract


def prefix_of(name: str) -> str:
    """Return the prefix of a prompt's name if one contract applies to all names with that prefix, else ""."""
    prefixes = (f"{each}/" for each, contract in _CONTRACTS.items() if contract.is_prefix)
    return next((prefix for prefix in prefixes if name.startswith(prefix)), "")
