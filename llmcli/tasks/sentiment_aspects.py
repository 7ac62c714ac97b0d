"""What a text has opinions about: aspect, opinion and polarity, the first two in the text's own words."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from llmcli.backends.base import Backend
from llmcli.documents.records.record import Record, Row
from llmcli.frozen_dataclass import frozen, replace
from llmcli.prompts import PromptLibrary
from llmcli.tasks.classify import ClassifyOptions
from llmcli.tasks.execution.document_jobs import DocumentJob, JobStep
from llmcli.tasks.execution.multi_request_job import MultiRequestJob
from llmcli.tasks.runner.answers import ResponseBuffer, UsageTally, is_truncated
from llmcli.tasks.runner.task_requests import GenerationOptions, make_request, max_answer_tokens
from llmcli.tasks.sentiment import SentimentVerb
from llmcli.types import Event, Finished, Request, Result

ASPECTS_PROMPT = "sentiment.aspects"
DEFAULT_ANSWER_TOKENS = 200
SEPARATOR = " | "
_NO_ASPECT = "NONE"
"""The answer about a text without an opinion."""
_MAX_ASPECTS = 8
_MAX_SPAN_CHARACTERS = 80


@frozen
class Aspect:
    """``aspect`` and ``opinion`` are spans of the text; ``polarity`` is positive, neutral or negative."""

    aspect: str
    opinion: str
    polarity: str


def parse_aspects(answer: str) -> list[Aspect]:
    """Return the aspects of an answer of ``_aspect_grammar``, each once; a line that a limit cut is left out."""
    found = []
    for line in answer.splitlines():
        parts = line.strip().split(SEPARATOR)
        if len(parts) == 3 and all(parts) and parts[2] in POLARITIES:  # noqa: PLR2004 (the parts of an aspect)
            found.append(Aspect(*parts))
    return list(dict.fromkeys(found))


POLARITIES = ("positive", "neutral", "negative")


class AspectSentimentVerb(SentimentVerb):
    """A ``SentimentVerb`` whose results also have ``aspects``: a list of objects with the fields of ``Aspect``.

    They come from a second request, whose answer a grammar holds to spans of the text. In a table, the column
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
        self.single_request = False
        self.columns = {**self.columns, "aspects": str}

    def make_job(self, record: Record) -> DocumentJob:
        """Return the job that scores the labels and lists the aspects."""
        return _AspectJob(record, super().make_job(record), self._aspect_request(record), self._generation)

    def _aspect_request(self, record: Record) -> Request:
        prompt = self._aspects_prompt
        messages = prompt.render({"text": record.text, "row": Row(record.fields)})
        limit = max_answer_tokens(prompt, self._generation, DEFAULT_ANSWER_TOKENS)
        request = make_request(f"{record.index}.aspects", messages, prompt, self._generation, max_tokens=limit)
        return replace(request, grammar=_aspect_grammar(record.text, POLARITIES, SEPARATOR))

    def row(self, result: Result) -> Mapping[str, Any]:
        """Return the values of ``SentimentVerb.row``, and the aspects as JSON."""
        row = {**super().row(result)}
        if row:
            row["aspects"] = json.dumps(result.fields["aspects"], ensure_ascii=False)
        return row

    def line(self, result: Result) -> str:
        """Return the line of ``SentimentVerb`` followed by ``ASPECT: OPINION (POLARITY)``, joined by "; "."""
        line = super().line(result)
        if not line:
            return line
        found = "; ".join(
            f"{each['aspect']}: {each['opinion']} ({each['polarity']})" for each in result.fields["aspects"]
        )
        return f"{line}\t{found}"


class _AspectJob:
    """The scoring job of a record with a second request beside it; both results become one."""

    step = ""

    def __init__(self, record: Record, scoring: DocumentJob, request: Request, generation: GenerationOptions) -> None:
        self.item = record.index
        self.name = record.name
        self._scoring = scoring
        self._listing = MultiRequestJob(record, [request], self._list_aspects)
        self._listing_id = request.id
        self._generation = generation
        self._is_cut = False
        self._labelled: Result | None = None
        self._listed: Result | None = None

    def start(self) -> Iterator[JobStep]:
        """Yield the first request of both."""
        yield from self._scoring.start()
        yield from self._listing.start()

    def handle_event(self, event: Event) -> Iterator[JobStep]:
        """Yield what the jobs yield, and one result after both."""
        listing = event.id == self._listing_id
        if listing and isinstance(event, Finished):
            self._is_cut = is_truncated(event, self._generation)
        for step in (self._listing if listing else self._scoring).handle_event(event):
            if not isinstance(step, Result):
                yield step
            elif listing:
                self._listed = step
            else:
                self._labelled = step
        if isinstance(event, Finished) and self._labelled is not None and self._listed is not None:
            yield self._joined(self._labelled, self._listed)

    def _joined(self, labelled: Result, listed: Result) -> Result:
        total = max(labelled.timings.total_s, listed.timings.total_s)
        return replace(
            labelled,
            fields={**labelled.fields, **listed.fields},
            usage=labelled.usage + listed.usage,
            timings=replace(labelled.timings, total_s=total),
            cut=self._is_cut,
        )

    @staticmethod
    def _list_aspects(record: Record, answers: Mapping[str, ResponseBuffer], tally: UsageTally) -> Result:
        (answer,) = answers.values()
        fields = {
            "aspects": [
                {"aspect": each.aspect, "opinion": each.opinion, "polarity": each.polarity}
                for each in parse_aspects(answer.text)
            ]
        }
        return Result(record.index, record.name, None, fields, usage=tally.usage, timings=tally.timings)


def _aspect_grammar(text: str, polarities: Sequence[str], separator: str) -> str:
    """Return a grammar of lines "ASPECT | OPINION | POLARITY", with ``separator`` between the parts, or "NONE".

    Aspect and opinion stand in one line of ``text`` from word to word, without the separator. Source of the
    format: llguidance, "Grammar syntax" (docs/syntax.md).
    """
    mark = re.escape(separator.strip())
    polarity = " | ".join(json.dumps(each) for each in polarities)
    between = json.dumps(separator)
    return (
        f'start: "{_NO_ASPECT}" | line ("\\n" line){{0,{_MAX_ASPECTS - 1}}}\n'
        f"line: SPAN {between} SPAN {between} polarity\n"
        f"polarity: {polarity}\n"
        f"SPAN: WORDS & /[^\\s{mark}]([^\\n{mark}]{{0,{_MAX_SPAN_CHARACTERS - 2}}}[^\\s{mark}])?/\n"
        f"WORDS: %regex {json.dumps({'substring_words': text}, ensure_ascii=False)}\n"
    )
