"""Judges a learner's answer: by its normal form first, then by the scores of a model.

The model only says how probable it is that an answer means the same: such an answer is close, never right, and the
learner decides.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from enum import StrEnum

from llmcli.backends.base import Backend
from llmcli.documents.sentences import find_sentences
from llmcli.fast_dataclass import frozen
from llmcli.prompts.prompt_library import PromptLibrary
from llmcli.store.word_ranking import STOP_WORDS
from llmcli.tasks.claim_verification.claim_terms import find_terms
from llmcli.tasks.labels.label_scorer import LabelScorer, ScorerOptions
from llmcli.tasks.quiz.card import GAP, Card, CardKind
from llmcli.tasks.quiz.source_sentences import is_nearly_spelled
from llmcli.tasks.runner.task_requests import GenerationOptions, make_request, max_answer_tokens
from llmcli.tasks.runner.task_run import ask_all

PROMPT, EXPLAIN_PROMPT = "quiz.judge", "quiz.explain"
CLOSE_FROM = 0.6
"""The probability from which an answer that is not the right one by its form is close to it."""
_EDGES = " \t.,;:!?\"'`*_()[]{}\u201c\u201d\u2018\u2019\u00ab\u00bb"
_ARTICLE = re.compile(r"\A(?:the|an?)\s+")
_NUMBERS = re.compile(r"\d+")
Judge = Callable[[Card, str], float]
"""Returns the probability that an answer to a card means the same as the right one."""


class Verdict(StrEnum):
    """What an answer is; ``NONE``: there is no answer."""

    RIGHT = "right"
    CLOSE = "close"
    WRONG = "wrong"
    NONE = "none"


@frozen
class CheckedAnswer:
    """The verdict on an answer, and the probability of the model; None if the model was not asked."""

    verdict: Verdict
    probability: float | None = None


def normalize(text: str) -> str:
    """Return a text without case, typographic forms, outer marks, articles and repeated blanks."""
    plain = unicodedata.normalize("NFKC", text).casefold().replace("\u2019", "'")
    return _ARTICLE.sub("", " ".join(plain.split()).strip(_EDGES))


def check_answer(card: Card, answer: str, judge: Judge | None) -> CheckedAnswer:
    """Return the verdict on an answer; without ``judge``, by the form alone. Raises what ``judge`` raises."""
    if not answer.strip():
        return CheckedAnswer(Verdict.NONE)
    if is_right(card, answer):
        return CheckedAnswer(Verdict.RIGHT)
    if card.kind in {CardKind.CHOICE, CardKind.ORDER}:
        return CheckedAnswer(Verdict.WRONG)
    if is_nearly_spelled(normalize(answer), normalize(card.answer)) or find_terms(answer) == find_terms(card.answer):
        return CheckedAnswer(Verdict.CLOSE)
    if judge is None:
        return CheckedAnswer(Verdict.WRONG)
    probability = judge(card, answer)
    return CheckedAnswer(Verdict.CLOSE if probability >= CLOSE_FROM else Verdict.WRONG, probability)


def is_right(card: Card, answer: str) -> bool:
    """Whether an answer is the right one by its form; of choices and items, their numbers are answers too."""
    given, right = normalize(answer), normalize(card.answer)
    match card.kind:
        case CardKind.ORDER:
            numbers = _NUMBERS.findall(answer)
            if len(numbers) == 1 and len(card.items) > 1:
                numbers = [*numbers[0]]
            return numbers == card.answer.split()
        case CardKind.CHOICE if answer.strip().isdecimal() and normalize(answer) not in map(normalize, card.choices):
            return given in {str(number) for number, choice in enumerate(card.choices, 1) if choice == card.answer}
        case CardKind.CLOZE:
            return given in {right, right.removeprefix(_cue(card).casefold())}
        case _:
            return given == right


def _cue(card: Card) -> str:
    """Return the first letter that stands before the gap, "" without one."""
    before = card.question.partition(GAP)[0]
    return before[-1:] if before[-1:].isalpha() and len(card.answer) > 1 else ""


def make_judge(backend: Backend, prompts: PromptLibrary, generation: GenerationOptions) -> Judge:
    """Return a judge that scores yes and no. Raises ``Unsupported`` if the backend cannot score."""
    prompt = prompts.get(PROMPT)
    yes, _ = prompt.labels
    number = 0

    def judge(card: Card, answer: str) -> float:
        nonlocal number
        number += 1
        variables = {"question": card.question, "answer": card.answer, "source": card.quoted}
        scorer = LabelScorer(backend, prompt, prompt.labels, generation, ScorerOptions(variables))
        (scored,) = ask_all(backend, [scorer.make_request(f"judge.{number}", answer, {})])
        return scorer.read_scores(scored).probabilities[yes]

    return judge


def explain(backend: Backend, prompts: PromptLibrary, card: Card, generation: GenerationOptions) -> str:
    """Return what a model says about the answer of a card, from its quote; "" if it says nothing that stands there.

    Sentences most of whose telling words are neither in the quote nor in the card are left out: small models praise the
    answer instead. Raises the failure of the request.
    """
    prompt = prompts.get(EXPLAIN_PROMPT)
    messages = prompt.render({"question": card.question, "answer": card.solution, "source": card.quoted})
    request = make_request(
        f"explain.{card.id}", messages, prompt, generation, max_tokens=max_answer_tokens(prompt, generation, 160)
    )
    (answer,) = ask_all(backend, [request])
    told = frozenset(find_terms(f"{card.question} {card.solution} {card.quoted}"))
    sentences = [answer.text[start:end].strip() for start, end in find_sentences(answer.text)]
    return " ".join(each for each in sentences if _is_in_source(each, told))


def _is_in_source(sentence: str, told: frozenset[str]) -> bool:
    """Whether at least half of the telling words of a sentence are ``told``."""
    terms = set(find_terms(sentence)) - STOP_WORDS
    return bool(terms) and 2 * len(terms & told) >= len(terms)
