"""Scores of the words of a sentence that may be asked for: the good ones are found without generating anything.

A word is worth asking for if the text before it does not give it away: its surprisal is high. It has one right answer
if the whole sentence does: log P(word, rest of the sentence | text before) then exceeds that of the other words that
fit the question by a margin. The others of a number or a name are those of the document. Of a word that may have
synonyms, they are the likeliest next words by the model, and words of the document, with its first letter, which the
question shows.
"""

from __future__ import annotations

import math
import re

from llmcli.fast_dataclass import frozen
from llmcli.tasks.claim_verification.claim_terms import find_terms
from llmcli.tasks.proofread import score_words
from llmcli.tasks.quiz.source_sentences import Blank, SourceSentence, SourceText
from llmcli.tasks.runner.task_requests import GenerationOptions
from llmcli.tasks.runner.task_run import TaskRun
from llmcli.types import Priority, Request, Sampling

MIN_BITS = 5.0
"""Surprisal of a word that is asked for: below, the words before it say it."""
MIN_MARGIN = 1.5
"""In nats, over every other word that fits the question."""
MIN_LEAD = -4.0
"""In nats, over the likeliest next words, whatever their first letter: below, the sentence does not lead to the
answer."""
MIN_WRONG_MARGIN = 2.0
"""In nats, over a word of the document that is shown as a wrong choice."""
MAX_BLANKS = 2
"""Words of a sentence that are tried, those that are most of the subject."""
WRONG_CHOICES = 3
_PROPOSALS = 20
_MAX_RIVALS = 5
_MAX_AFTER_CHARS = 48
_WORD = re.compile(r"[^\W\d_]{2,}")
_FIRST_CONTEXT = "\n"


@frozen
class ScoredBlank:
    """A blank: the surprisal of its answer in bits, by how many nats it leads, and wrong choices.

    ``margin``: over the words that fit the question; ``lead``: over the likeliest next words.
    """

    blank: Blank
    bits: float
    margin: float
    lead: float
    wrong: tuple[str, ...] = ()

    @property
    def is_surprising(self) -> bool:
        """Whether the answer is worth asking for."""
        return self.bits >= MIN_BITS

    @property
    def is_clear(self) -> bool:
        """Whether the answer is worth asking for, and no other word fits as well."""
        return self.is_surprising and self.margin >= MIN_MARGIN and self.lead >= MIN_LEAD


class BlankScorer:
    """Scores the blanks of the sentences of one document."""

    def __init__(self, run: TaskRun, source: SourceText, options: GenerationOptions, prefix: str) -> None:
        self._run, self._source, self._options, self._prefix = run, source, options, prefix

    async def find_best(self, sentence: SourceSentence, *, has_choices: bool) -> ScoredBlank | None:
        """Return the first clear blank of a sentence, words of the subject first; else one that is not clear.

        None if the sentence has no word that can be asked for. With ``has_choices``, wrong choices are scored too.
        """
        best = None
        blanks = sorted(self._source.find_blanks(sentence), key=lambda each: -self._source.keyness(each.answer))
        for blank in blanks[:MAX_BLANKS]:
            best = await self._score(blank, has_choices=has_choices)
            if best.is_clear:
                break
        return best

    async def _score(self, blank: Blank, *, has_choices: bool) -> ScoredBlank:
        name = f"{blank.sentence.number}.{blank.start}"
        rivals = self._source.rivals(blank, _MAX_RIVALS) if blank.is_exact or has_choices else []
        proposed = [] if blank.is_exact else await self._propose(name, blank)
        alike = [] if blank.is_exact else self._source.same_letter(blank, _MAX_RIVALS)
        texts = {word: _cut(blank.fill(word)) for word in [blank.answer, *proposed, *alike, *rivals]}
        request = self._request(f"{name}.fill", _join(blank), candidates=(*dict.fromkeys(texts.values()),), logprobs=0)
        scores = {score.candidate: score for score in (await self._run.ask(request)).scores}
        own = scores[texts[blank.answer]]
        start = blank.start - len(blank.before)
        (word,) = score_words(0, own, [(start, start + len(blank.answer))])
        margins = {other: own.logprob - scores[text].logprob for other, text in texts.items() if other != blank.answer}
        fitting = rivals if blank.is_exact else [*proposed, *alike]
        initial = blank.answer[0].lower()
        counted = [margins[other] for other in fitting if blank.is_exact or other[0].lower() == initial]
        wrong = sorted((margins[other], other) for other in rivals if margins[other] >= MIN_WRONG_MARGIN)
        return ScoredBlank(
            blank,
            word.bits,
            min(counted, default=math.inf),
            min((margins[other] for other in proposed), default=math.inf),
            tuple(other for _, other in wrong[:WRONG_CHOICES]),
        )

    async def _propose(self, name: str, blank: Blank) -> list[str]:
        """Return the likeliest next words of the model at the gap, without other forms of the answer."""
        request = self._request(f"{name}.next", _join(blank), max_tokens=1, logprobs=_PROPOSALS, ignore_eos=True)
        answer = await self._run.ask(request)
        own = set(find_terms(blank.answer))
        likely = [piece.decode("utf-8", "ignore").strip() for piece, _ in answer.tokens[0].top] if answer.tokens else []
        words = [word for word in likely if _WORD.fullmatch(word) and not own.intersection(find_terms(word))]
        initial = blank.answer[0].lower()
        return [*words[:_MAX_RIVALS], *(word for word in words[_MAX_RIVALS:] if word[0].lower() == initial)]

    def _request(self, name: str, prompt: str, **more: object) -> Request:
        return scoring_request(f"{self._prefix}.{name}", prompt, self._options, **more)


def scoring_request(name: str, prompt: str, options: GenerationOptions, **more: object) -> Request:
    """Return a request about how a text goes on after ``prompt``."""
    fields = {"priority": options.priority or Priority.BULK, "deadline": options.deadline, **more}
    return Request(name, (), prompt=prompt, sampling=Sampling(temperature=0), **fields)  # type: ignore[arg-type]  # the fields have several types


def context_of(sentence: SourceSentence) -> str:
    """Return the text before a sentence, as a prompt."""
    return f"{sentence.context} " if sentence.context else _FIRST_CONTEXT


def _join(blank: Blank) -> str:
    return context_of(blank.sentence) + blank.before


def _cut(text: str) -> str:
    """Return the text up to a word that ends within the limit."""
    return text if len(text) <= _MAX_AFTER_CHARS else text[:_MAX_AFTER_CHARS].rpartition(" ")[0]
