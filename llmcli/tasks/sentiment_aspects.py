"""The opinions in a text: aspect, opinion and polarity, the first two in the text's own words."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from llmcli.backends.base import Backend
from llmcli.documents.records.record import Record, Row
from llmcli.frozen_dataclass import asdict, frozen, replace
from llmcli.prompts import PromptLibrary
from llmcli.tasks.classify import ClassifyOptions
from llmcli.tasks.quotes.quotable_text import PassageSpan, QuotableDocument
from llmcli.tasks.runner.answers import is_truncated
from llmcli.tasks.runner.constrained_answers import ask_constrained, unconstrained
from llmcli.tasks.runner.task_requests import GenerationOptions, make_request, max_answer_tokens
from llmcli.tasks.runner.task_run import TaskRun
from llmcli.tasks.sentiment import SentimentTask
from llmcli.types import Request, Result

ASPECTS_PROMPT = "sentiment.aspects"
DEFAULT_ANSWER_TOKENS = 200
SEPARATOR = " | "
POLARITIES = ("positive", "neutral", "negative")
_NO_ASPECT = "NONE"
"""The answer about a text without an opinion."""
_MAX_ASPECTS = 8
_MAX_SPAN_CHARACTERS = 80
_LIST_MARK = re.compile(r"^\s*(?:[-*\u2022]\s+)?")
_EDGE_MARKS = " .,;:!?"
_SAME_WORDS = 0.99
"""The similarity of words that only differ in case and typographic marks."""


@frozen
class Aspect:
    """``aspect`` and ``opinion`` are spans of the text; ``polarity`` is positive, neutral or negative."""

    aspect: str
    opinion: str
    polarity: str


def parse_aspects(answer: str) -> list[Aspect]:
    """Return the aspects of an answer, each once; a line of another form, or that a limit cut, is left out."""
    found = []
    for line in answer.splitlines():
        parts = [part.strip() for part in _LIST_MARK.sub("", line).split(SEPARATOR.strip())]
        if len(parts) == 3 and all(parts) and parts[2].lower() in POLARITIES:  # noqa: PLR2004 (the parts of an aspect)
            found.append(Aspect(parts[0], parts[1], parts[2].lower()))
    return list(dict.fromkeys(found))


def locate_aspect(found: Aspect, passage: PassageSpan) -> Aspect | None:
    """Return an aspect in the words of the passage, which may differ in case and marks; None if it does not stand there."""
    aspect, opinion = _locate_words(found.aspect, passage), _locate_words(found.opinion, passage)
    return None if aspect is None or opinion is None else Aspect(aspect, opinion, found.polarity)


def _locate_words(words: str, passage: PassageSpan) -> str | None:
    quote = passage.locate(words, min_similarity=_SAME_WORDS)
    if quote is None:
        return None
    return words if quote.exact else quote.line.strip(_EDGE_MARKS) or quote.line


class AspectSentimentTask(SentimentTask):
    """A ``SentimentTask`` whose results also have ``aspects``: a list of objects with the fields of ``Aspect``.

    They come from a second request, whose answer a grammar holds to spans of the text; without grammars, those aspects
    count that stand in the text. In a table, the column
    ``aspects`` is that list as JSON; in a line, it follows the probabilities.
    """

    def __init__(
        self,
        backend: Backend,
        prompts: PromptLibrary,
        generation: GenerationOptions,
        options: ClassifyOptions | None = None,
        *,
        scale: int | None = None,
    ) -> None:
        super().__init__(backend, prompts, generation, options, scale=scale)
        self._aspects_prompt = prompts.get(ASPECTS_PROMPT)
        self._generation = generation
        self.columns = {**self.columns, "aspects": str}

    async def process(self, run: TaskRun, record: Record) -> Result:
        """Return the label and the aspects, which are requested at the same time. Raises the failure of a request."""
        labelled, listed = await run.gather([super().process(run, record), self._list_aspects(run, record)])
        fields = {**labelled.fields, **listed.fields}
        return run.result(None, fields, prompt=labelled.prompt, cut=listed.cut)

    async def _list_aspects(self, run: TaskRun, record: Record) -> Result:
        prompt, text = self._aspects_prompt, record.text
        messages = prompt.render({"text": text, "row": Row(record.fields)})
        limit = max_answer_tokens(prompt, self._generation, DEFAULT_ANSWER_TOKENS)
        request = make_request(f"{record.index}.aspects", messages, prompt, self._generation, max_tokens=limit)

        def constrain(request: Request) -> Request:
            return replace(request, grammar=_aspect_grammar(text))

        answer, constraint = await ask_constrained(run, request, [constrain, unconstrained])
        aspects = parse_aspects(answer.text)
        if constraint > 0:
            passage = QuotableDocument(record.name, text).whole()
            found = [locate_aspect(each, passage) for each in aspects]
            if None in found:  # of many records: only in the result
                run.warnings.append(f"aspects that do not stand in the text: {found.count(None)}")
            aspects = list(dict.fromkeys(each for each in found if each is not None))
        return run.result(
            None, {"aspects": [asdict(each) for each in aspects]}, cut=is_truncated(answer.finished, self._generation)
        )

    def row(self, result: Result) -> Mapping[str, Any]:
        """Return the values of ``SentimentTask.row``, and the aspects as JSON."""
        row = {**super().row(result)}
        if row:
            row["aspects"] = json.dumps(result.fields["aspects"], ensure_ascii=False)
        return row

    def line(self, result: Result) -> str:
        """Return the line of ``SentimentTask`` followed by ``ASPECT: OPINION (POLARITY)``, joined by "; "."""
        line = super().line(result)
        if not line:
            return line
        found = "; ".join(
            f"{each['aspect']}: {each['opinion']} ({each['polarity']})" for each in result.fields["aspects"]
        )
        return f"{line}\t{found}"


def _aspect_grammar(text: str) -> str:
    """Return a grammar of lines "ASPECT | OPINION | POLARITY", or "NONE".

    Aspect and opinion stand in one line of ``text`` from word to word, without the separator. Source of the
    format: llguidance, "Grammar syntax" (docs/syntax.md).
    """
    mark = re.escape(SEPARATOR.strip())
    polarity = " | ".join(json.dumps(each) for each in POLARITIES)
    between = json.dumps(SEPARATOR)
    return (
        f'start: "{_NO_ASPECT}" | line ("\\n" line){{0,{_MAX_ASPECTS - 1}}}\n'
        f"line: SPAN {between} SPAN {between} polarity\n"
        f"polarity: {polarity}\n"
        f"SPAN: WORDS & /[^\\s{mark}]([^\\n{mark}]{{0,{_MAX_SPAN_CHARACTERS - 2}}}[^\\s{mark}])?/\n"
        f"WORDS: %regex {json.dumps({'substring_words': text}, ensure_ascii=False)}\n"
    )
