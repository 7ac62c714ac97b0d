"""check: how well each sentence of a text is supported by documents, by scoring and without generating."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from llmcli.backends.base import Backend
from llmcli.documents.reading.document import Document
from llmcli.documents.sentences import find_sentences
from llmcli.errors import BadDocument, EmptyInput
from llmcli.fast_dataclass import frozen
from llmcli.prompts.prompt_library import PromptLibrary
from llmcli.tasks.claim_verification.claim_checks import (
    PASSAGES_PER_CLAIM,
    Evidence,
    check_claims,
    check_requests,
    find_evidence,
)
from llmcli.tasks.claim_verification.support_scorer import (
    PROMPT,
    SUPPORTED_FROM,
    Claim,
    PassageSupport,
    SupportScorer,
    support_level,
)
from llmcli.tasks.quotes.quotable_text import QuotableDocument, Quote
from llmcli.tasks.runner.task_requests import GenerationOptions
from llmcli.tasks.runner.task_run import TaskRun, run_inputs
from llmcli.tasks.runner.work_estimate import WorkEstimate, count_requests
from llmcli.tasks.summarize.summary_options import count_words
from llmcli.types import PROBABILITY_DIGITS, ItemFailed, Notice, Result, TaskEvent

DEFAULT_THRESHOLD = SUPPORTED_FROM
_MIN_WORDS = 3
"""A sentence of less words, such as "In short:", states nothing that could be checked."""
_NOT_PROSE = re.compile(
    r"^(?P<fence>```|~~~)[^\n]*\n.*?(?:^(?P=fence)[^\n]*$|\Z)|^#{1,6}[ \t][^\n]*$|^[^\n]+\n[=-]{3,}[ \t]*$|<!--.*?-->",
    re.MULTILINE | re.DOTALL,
)
_LINK = re.compile(r"!?\[([^\]]*)\]\([^)\s]*(?:\s\"[^\"]*\")?\)")
_CITATION = re.compile(r"\s*\[\^?\d+\](?!\()")
_COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
_EMPHASIS = re.compile(r"[*`]+|(?<!\w)_+|_+(?!\w)")
_QUESTION_MARKS = ("?", "\uff1f", "\u061f")
"""In Latin, Chinese and Japanese, and Arabic script."""
_CLOSING_MARKS = "\"'*_) \u201d\u2019\u300d\u300f\uff09"


@frozen
class CheckedSentence:
    """A sentence of the text, ``text[start:end]``, its lines, and the strongest support.

    ``support`` is None if no passage has its words.
    """

    text: str
    start: int
    end: int
    first_line: int
    last_line: int
    support: PassageSupport | None

    @property
    def probability(self) -> float:
        """That a passage supports the sentence, with as many digits as are shown."""
        return 0.0 if self.support is None else round(self.support.probability, PROBABILITY_DIGITS)

    @property
    def quote(self) -> Quote | None:
        """The sentence of the documents that is nearest."""
        return None if self.support is None else self.support.sentence

    def to_json(self) -> dict[str, Any]:
        """Return the fields as an object."""
        return {
            "text": self.text,
            "start": self.start,
            "end": self.end,
            "first_line": self.first_line,
            "last_line": self.last_line,
            "support": str(support_level(self.probability)),
            "probability": self.probability,
            "quote": None if self.quote is None else self.quote.to_json(),
        }


def find_claims(text: str) -> list[tuple[int, int]]:
    """Return the offsets of the sentences that state something: no headings, code, questions or one or two words."""
    prose = _NOT_PROSE.sub(lambda match: re.sub(r"[^\n]", " ", match[0]), text)
    return [(start, end) for start, end in find_sentences(prose) if _is_checkable(text[start:end])]


def _is_checkable(sentence: str) -> bool:
    words = max(len(sentence.split()), count_words(sentence))  # Chinese, Japanese and Thai have no blanks between them
    return words >= _MIN_WORDS and not sentence.rstrip(_CLOSING_MARKS).endswith(_QUESTION_MARKS)


def plain_claim(sentence: str) -> Claim:
    """Return the claim of a sentence without its Markdown and the numbers of its sources."""
    without_links = _LINK.sub(r"\1", _COMMENT.sub(" ", sentence))
    return Claim(" ".join(_EMPHASIS.sub("", _CITATION.sub("", without_links)).split()))


@frozen
class _Claims:
    """What is checked: the sentences of ``document`` at ``spans``, as ``claims``, against ``evidence``."""

    document: QuotableDocument
    spans: Sequence[tuple[int, int]]
    claims: Sequence[Claim]
    evidence: Evidence


def _find_claims_and_evidence(answer: Document, sources: Sequence[Document | ItemFailed], passages: int) -> _Claims:
    """Raises ``EmptyInput`` for a blank text, ``BadDocument`` for one without sentences, and the error of a source."""
    if not answer.text.strip():
        raise EmptyInput(answer.name)
    spans = find_claims(answer.text)
    if not spans:
        raise BadDocument(
            answer.name, detail="it has no sentence to check, only headings, code, questions or one or two words"
        )
    claims = [plain_claim(answer.text[start:end]) for start, end in spans]
    evidence = find_evidence(sources, claims, passages)
    return _Claims(QuotableDocument.from_document(answer), spans, claims, evidence)


def check(
    backend: Backend,
    prompts: PromptLibrary,
    answer: Document,
    sources: Sequence[Document | ItemFailed],
    options: GenerationOptions,
    *,
    threshold: float = DEFAULT_THRESHOLD,
    passages: int = PASSAGES_PER_CLAIM,
) -> Iterator[TaskEvent]:
    """Check each sentence of ``answer`` against ``sources``: a Result, or ItemFailed.

    Each sentence is scored against the ``passages`` that rank highest for it, and the strongest support counts. Fields
    of the Result: ``passed`` (no probability is below ``threshold``), ``threshold``, ``lowest`` (the lowest
    probability) and ``sentences``, each with ``text``, ``start``, ``end``, lines, ``support``, ``probability`` and
    ``quote`` (None if no passage has a word of it). ``scoring`` as in ``LabelTask``. A blank text fails with
    ``EmptyInput``, one without sentences with ``BadDocument``. The sources are gone through one at a time; the error of
    one that could not be read is that of the check.
    """
    scorer = SupportScorer(backend, prompts, options)

    async def task(run: TaskRun, document: Document) -> Result:
        found = _find_claims_and_evidence(document, sources, passages)
        if not scorer.can_score:
            run.report(Notice("the backend cannot score: sentences are compared by rule only", run.item))
        checked = await check_claims(run, scorer, found.claims, found.evidence, str(run.item))
        sentences = [
            _checked_sentence(found.document, span, supports)
            for span, supports in zip(found.spans, checked.supports, strict=True)
        ]
        lowest = min(sentence.probability for sentence in sentences)
        fields: dict[str, Any] = {
            "passed": lowest >= threshold,
            "threshold": threshold,
            "lowest": lowest,
            "sentences": [sentence.to_json() for sentence in sentences],
        }
        if checked.method:
            fields["scoring"] = checked.method
        return run.result(None, fields, prompt=PROMPT)

    yield from run_inputs(backend, [answer], task, "requests")


def _checked_sentence(
    document: QuotableDocument, span: tuple[int, int], supports: Sequence[PassageSupport]
) -> CheckedSentence:
    place = document.quote(*span)
    return CheckedSentence(place.text, *span, place.first_line, place.last_line, next(iter(supports), None))


def estimate_check(
    backend: Backend,
    prompts: PromptLibrary,
    answer: Document,
    sources: Sequence[Document | ItemFailed],
    options: GenerationOptions,
    *,
    passages: int,
) -> WorkEstimate:
    """Return the work of a check; the backend only counts tokens. Raises as the check fails."""
    found = _find_claims_and_evidence(answer, sources, passages)
    requests = check_requests(SupportScorer(backend, prompts, options), found.claims, found.evidence, "0")
    calls, tokens = count_requests(backend, (request for each in requests.values() for request in each))
    return WorkEstimate(answer.name, "scores", found.evidence.total, calls, tokens)
