"""The opinions in a text: aspect, opinion and polarity, the first two in the text's own words."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from llmcli.documents.records.record import Record, Row
from llmcli.documents.sentences import UNSPACED_CHARACTERS
from llmcli.fast_dataclass import asdict, frozen, replace
from llmcli.prompts.prompt_file import Prompt
from llmcli.prompts.prompt_library import PromptLibrary
from llmcli.tasks.noun_phrases import PhrasePatterns, phrase_patterns
from llmcli.tasks.quotes.quotable_text import PassageSpan, QuotableDocument
from llmcli.tasks.quotes.quote_grammar import chunks_terminal
from llmcli.tasks.runner.answers import is_truncated
from llmcli.tasks.runner.constrained_answers import ask_constrained
from llmcli.tasks.runner.task_requests import make_request, max_answer_tokens
from llmcli.tasks.runner.task_run import TaskRun
from llmcli.tasks.sentiment import SentimentSpec, SentimentTask
from llmcli.types import Request, Result

if TYPE_CHECKING:
    from llmcli.tasks.labels.label_scorer import LabelScorer

ASPECTS_PROMPT = "sentiment.aspects"
DEFAULT_ANSWER_TOKENS = 200
SEPARATOR = " | "
POLARITIES = ("positive", "neutral", "negative")
_NO_ASPECTS = "NONE"
"""The answer about a text without an opinion."""
_MAX_ASPECTS = 8
MAX_ASPECT_WORDS, MAX_OPINION_WORDS = 5, 6
"""A longer span is no phrase. Two Chinese or Japanese characters count as one word, and so do six of Thai and its
like."""
_CJK_CHARACTERS = (
    "\u3005-\u3007\u3041-\u30ff\u3400-\u9fff\uf900-\ufaff\uff10-\uff19\uff21-\uff3a\uff41-\uff5a\uff66-\uffdc"
)
_UNSPACED_ALPHABETS = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff"
_CHUNK = re.compile(
    rf"[{UNSPACED_CHARACTERS}]|[^\W{UNSPACED_CHARACTERS}]+(?:[.'\u2019-][^\W{UNSPACED_CHARACTERS}]+)*|\s|[^\w\s]+"
)
"""What a span does not cut: a word, a number, a character of a script without spaces, marks."""
_MAX_WORD_CHARACTERS = 40
_SENTENCE_MARKS = ".!?;:\u2026"
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
    """Return the aspects of an answer, each once, in its first polarity.

    A line of another form, or that a limit cut, is left out, and so is one whose opinion is the aspect itself.
    """
    found: dict[tuple[str, str], Aspect] = {}
    for line in answer.splitlines():
        parts = [part.strip(_EDGE_MARKS) for part in _LIST_MARK.sub("", line).split(SEPARATOR.strip())]
        if len(parts) == 3 and all(any(map(str.isalnum, part)) for part in parts) and parts[2].lower() in POLARITIES:  # noqa: PLR2004 (the parts of an aspect)
            aspect, opinion = parts[0].lower(), parts[1].lower()
            if aspect not in opinion and opinion not in aspect:
                found.setdefault((aspect, opinion), Aspect(parts[0], parts[1], parts[2].lower()))
    return list(found.values())


def is_aspect(words: str, patterns: PhrasePatterns) -> bool:
    """Return whether a text may be a noun phrase: it is short, and has no word of a clause."""
    return _is_phrase(words, MAX_ASPECT_WORDS, patterns.no_noun_phrase)


def is_opinion(words: str, patterns: PhrasePatterns) -> bool:
    """Return whether a text may be an opinion: it is short, no clause, and says something."""
    return _is_phrase(words, MAX_OPINION_WORDS, patterns.no_opinion)


def _is_phrase(words: str, most: int, no_phrase: str) -> bool:
    return re.fullmatch(_phrase_pattern(most), words) is not None and re.fullmatch(no_phrase, words) is None


def _phrase_pattern(most: int) -> str:
    """Return a regular expression of up to ``most`` words without a mark that ends sentences, other than in "3.5"."""
    part = rf"[^\s{re.escape(SEPARATOR.strip())}{_SENTENCE_MARKS}{UNSPACED_CHARACTERS}]{{1,{_MAX_WORD_CHARACTERS}}}"
    word = rf"{part}(?:[.:]{part}){{0,3}}"
    unspaced = f"(?:[{_CJK_CHARACTERS}]{{1,2}}|[{_UNSPACED_ALPHABETS}]{{1,6}})"
    return rf"(?:{word}|{unspaced})(?:[ \t]{{1,3}}{word}|[ \t]{{0,3}}{unspaced}){{0,{most - 1}}}"


def locate_aspect(found: Aspect, passage: PassageSpan) -> Aspect | None:
    """Return an aspect in the words of the passage, which may differ in case and marks.

    It is None if it does not stand there.
    """
    aspect, opinion = _locate_words(found.aspect, passage), _locate_words(found.opinion, passage)
    return None if aspect is None or opinion is None else Aspect(aspect, opinion, found.polarity)


def _locate_words(words: str, passage: PassageSpan) -> str | None:
    quote = passage.locate(words, min_similarity=_SAME_WORDS)
    if quote is None:
        return None
    return words if quote.exact else quote.line.strip(_EDGE_MARKS) or quote.line


@frozen
class AspectSentimentSpec(SentimentSpec):
    """The sentiment of records, and with ``aspects_prompt`` what their texts have opinions about."""

    aspects_prompt: Prompt

    @property
    def prompts(self) -> tuple[Prompt, ...]:
        """The prompts of the labels and of the aspects."""
        return self.prompt, self.aspects_prompt

    @property
    def suits_small_models(self) -> bool | None:
        """Never: the aspects are generated."""
        return False

    def manifest(self) -> dict[str, Any]:
        """Return the options of the command."""
        return {"--by": self.unit, "--scale": self.scale, "--aspects": True}

    def make_task(self, scorer: LabelScorer, thresholds: Mapping[str, float] | None = None) -> SentimentTask:
        """Return the task. Raises the failure of a request."""
        return AspectSentimentTask(scorer, self, thresholds)


def add_aspects(spec: SentimentSpec, prompts: PromptLibrary) -> AspectSentimentSpec:
    """Return what lists the aspects of records too."""
    shared = (spec.prompt, spec.options, spec.unit, spec.scale, spec.shipped_probe)
    return AspectSentimentSpec(*shared, prompts.get(ASPECTS_PROMPT))


class AspectSentimentTask(SentimentTask):
    """A ``SentimentTask`` whose results also have ``aspects``: a list of objects with the fields of ``Aspect``.

    They come from a second request, whose answer a grammar holds to short spans of the text; without grammars, those
    aspects count that stand in the text. Other aspects than ``is_aspect`` and ``is_opinion`` admit are dropped.
    In a table, the column ``aspects`` is that list as JSON; in a line, it follows the probabilities.
    """

    def __init__(
        self, scorer: LabelScorer, spec: AspectSentimentSpec, thresholds: Mapping[str, float] | None = None
    ) -> None:
        super().__init__(scorer, spec, thresholds)
        self._aspects_prompt = spec.aspects_prompt
        self._generation = scorer.generation
        self.columns = {**self.columns, "aspects": str}

    @property
    def calls_per_request(self) -> int:
        """The aspects are asked for again by a backend without grammars."""
        return max(super().calls_per_request, 2)

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
            return replace(request, grammar=aspect_grammar(text))

        answer, constraint = await ask_constrained(run.ask, request, [constrain])
        listed = parse_aspects(answer.text)
        patterns = phrase_patterns(text)
        aspects = [each for each in listed if is_aspect(each.aspect, patterns) and is_opinion(each.opinion, patterns)]
        if len(aspects) < len(listed):
            run.warnings.append(f"aspects that are no phrases: {len(listed) - len(aspects)}")
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


def aspect_grammar(text: str) -> str:
    """Return a grammar of lines "ASPECT | OPINION | POLARITY", or "NONE".

    Aspect and opinion are phrases (``is_aspect``, ``is_opinion``) that stand in one line of ``text`` from word to word.
    The separator belongs to their terminals: else the lexer would take its blank for that before another word of the
    phrase. Source of the format: llguidance, "Grammar syntax" (docs/syntax.md).
    """
    patterns = phrase_patterns(text)
    polarity = " | ".join(json.dumps(each) for each in POLARITIES)
    between = json.dumps(SEPARATOR)
    return (
        f'start: "{_NO_ASPECTS}" | line ("\\n" line){{0,{_MAX_ASPECTS - 1}}}\n'
        f"line: ASPECT OPINION polarity\n"
        f"polarity: {polarity}\n"
        f"ASPECT: (WORDS & /{_phrase_pattern(MAX_ASPECT_WORDS)}/ & ~/{patterns.no_noun_phrase}/) {between}\n"
        f"OPINION: (WORDS & /{_phrase_pattern(MAX_OPINION_WORDS)}/ & ~/{patterns.no_opinion}/) {between}\n"
        f"{chunks_terminal('WORDS', _CHUNK.findall(text))}"
    )
