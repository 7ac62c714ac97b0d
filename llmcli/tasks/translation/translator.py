"""What holds for all segments of a run, and the requests that are made of it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

from llmcli.backends.base import Backend
from llmcli.tasks.base import WARMER, Options, make_request
from llmcli.tasks.fitting import Room
from llmcli.tasks.languages import Language
from llmcli.tasks.translation.glossary import Glossary, Term
from llmcli.tasks.translation.pseudo import identity
from llmcli.templates import Prompt
from llmcli.types import Request

Formality = Literal["auto", "formal", "informal"]


def longest(text: str) -> int:
    """Return the characters that a translation of ``text`` may have: scripts differ by a factor of 4 at most."""
    return 4 * len(text) + 200


def tokens_for(tokens: int) -> int:
    """Return room for the translation of so many tokens: other languages may need 3 times as many."""
    return 3 * tokens + 64


@dataclass(frozen=True)
class Wording:
    """What the user says about how to translate; all of it is part of what a translation is remembered under."""

    formality: Formality = "auto"
    context: str = ""
    glossary: Glossary = Glossary()  # noqa: RUF009 (it never changes)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a text stands in, for the model only."""

    place: str = ""
    before: str = ""
    note: str = ""


@dataclass(frozen=True)
class Translator:
    """``prompt`` and ``review`` (None: no second pass) are prompt files.

    ``instead`` translates in place of a model: a text without marks in it becomes another. ``model_id`` identifies the
    model whose translations these are.
    """

    backend: Backend
    prompt: Prompt
    options: Options
    target: Language
    wording: Wording = Wording()
    review: Prompt | None = None
    instead: Callable[[str], str] | None = None
    model_id: str = ""

    @property
    def changes_nothing(self) -> bool:
        """Whether documents come out as they are: splitter and joiner are tried alone."""
        return self.instead is identity

    def request(
        self,
        request_id: str,
        text: str,
        limit: int,
        *,
        source: Language | None = None,
        around: Surroundings = Surroundings(),
        terms: Sequence[Term] = (),
        marks: str = "",
        problems: Sequence[str] = (),
        attempt: int = 1,
    ) -> Request:
        """Return the request for a text of which ``marks`` is an example of a mark; later attempts may be longer."""
        values = {
            "text": text,
            "source_language": source.name if source else "",
            "target_language": self.target.name,
            "context": self.wording.context,
            "formality": self.wording.formality,
            "place": around.place,
            "before": around.before,
            "note": around.note,
            "terms": _lines(terms),
            "marks": marks,
            "problems": "; ".join(problems),
        }
        request = make_request(
            request_id,
            self.prompt.render(values),
            self.prompt,
            self.options,
            max_tokens=self.options.max_tokens or limit * attempt,
        )
        temperature = request.sampling.temperature + WARMER * (attempt - 1)
        return replace(request, sampling=replace(request.sampling, temperature=temperature))

    def correction(
        self,
        request_id: str,
        text: str,
        translation: str,
        limit: int,
        *,
        source: Language | None,
        terms: Sequence[Term],
        marks: str,
        problems: Sequence[str],
    ) -> Request:
        """Return the request that has a translation corrected; there has to be a prompt for ``review``."""
        assert self.review is not None
        values = {
            "text": text,
            "translation": translation,
            "source_language": source.name if source else "",
            "target_language": self.target.name,
            "terms": _lines(terms),
            "marks": marks,
            "problems": "; ".join(problems),
        }
        messages = self.review.render(values)
        return make_request(
            request_id, messages, self.review, self.options, max_tokens=self.options.max_tokens or limit
        )

    def room(self, subject: str) -> Room:
        """Return how much text fits one request; ``subject`` names the document in errors."""
        around = Surroundings(place="x " * 20, before="x " * 40, note="x " * 20)
        terms = self.wording.glossary.terms[:10]
        return Room(
            self.backend,
            lambda text: self.request("count", text, 1, around=around, terms=terms, marks="[#1]"),
            tokens_for,
            subject=subject,
        )

    @cached_property
    def variant(self) -> str:
        """What translations are remembered under beside their texts and languages: whatever may change them.

        Without a second pass it is what it was before that counted, so that older entries serve those who want none.
        """
        wording = self.wording
        said = [wording.formality, wording.context, wording.glossary.fingerprint, self.prompt.fingerprint]
        sampled = [str(self.options.temperature), str(self.options.seed)]
        reviewed = [self.review.fingerprint] if self.review else []
        return hashlib.sha256("\0".join(said + sampled + reviewed).encode()).hexdigest()[:32]


def _lines(terms: Sequence[Term]) -> str:
    return "\n".join(f"{term.term} = {term.translation}{f' ({term.note})' if term.note else ''}" for term in terms)
