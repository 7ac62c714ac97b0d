"""The settings for all segments of a run, the requests made with them, and what takes the place of a model.

Pseudo-localization makes readable text that shows what a translation would break. Letters get accents, so that
untranslated text stands out and encodings are tested. Texts grow by 30%, as in German, so that narrow layouts show.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Literal

from llmcli.backends.base import Backend
from llmcli.fast_dataclass import frozen, replace
from llmcli.prompts.prompt_file import Prompt
from llmcli.tasks.languages import Language
from llmcli.tasks.runner.context_budget import ContextBudget
from llmcli.tasks.runner.task_requests import RETRY_TEMPERATURE_STEP, GenerationOptions, make_request
from llmcli.tasks.translate.glossary import Glossary, Term
from llmcli.text_stream import repeats_itself
from llmcli.types import RepetitionPolicy, Request

Formality = Literal["auto", "formal", "informal"]
PARAGRAPH_END = "\n\n"
_MAX_SHARED_TERMS = 20
"""A glossary with at most so many terms stands in the part that all prompts share, if the engine evaluates that
once."""
_PLAIN = "aceghijklnorstuwyzACDEGHIJKLNORSTUWYZ"
_ACCENTED = "\u00e4\u00e7\u00e9\u011f\u0125\u00ef\u0135\u0137\u013c\u00f1\u00f6\u0159\u0161\u0163\u00fc\u0175\u00fd\u017e\u00c4\u00c7\u010e\u00c9\u011e\u0124\u00cf\u0134\u0136\u013b\u00d1\u00d6\u0158\u0160\u0162\u00dc\u0174\u00dd\u017d"
_TABLE = str.maketrans(_PLAIN, _ACCENTED)
_VOWELS = frozenset("\u00e4\u00e9\u00ef\u00f6\u00fc")
_GROWTH_SHARE = 0.3
_MAX_GROWTH, _MAX_GROWTH_OF_IDEOGRAPHS = 2, 5
"""How many times longer a translation may be, in characters; a short text may be longer by a phrase."""
_IDEOGRAPH = re.compile("[\u3041-\u30ff\u3400-\u9fff\uac00-\ud7af]")
"""Characters that stand for a syllable or a word: Japanese, Chinese, Korean."""
_CHUNK_CHARS = 1 << 16
"""Number of characters that are changed in one native call: megabytes at once would delay signals."""


def max_translation_chars(text: str) -> int:
    """Return the most characters of a translation of ``text``: several for an ideograph, two for a letter."""
    return 120 + len(text) * (_MAX_GROWTH_OF_IDEOGRAPHS if _IDEOGRAPH.search(text) else _MAX_GROWTH)


def max_translation_tokens(tokens: int) -> int:
    """Return the token limit for a translation of that many tokens: other languages may need 3 times as many."""
    return 3 * tokens + 64


@frozen
class Brief:
    """The user's instructions for a translation; all of them are part of the key in the translation memory.

    ``guide``: a style guide.
    """

    formality: Formality = "auto"
    context: str = ""
    glossary: Glossary = Glossary()
    guide: str = ""


@frozen
class SegmentContext:
    """The context of a text, for the model only; ``title``: that of its document."""

    path: str = ""
    preceding_text: str = ""
    following_text: str = ""
    note: str = ""
    title: str = ""


@frozen
class Translator:
    """``prompt`` and ``review_prompt`` (None: no review) are prompt files.

    ``stub_translate`` translates unmasked text in place of a model. ``model_id`` identifies the model of the
    translations.
    """

    backend: Backend
    prompt: Prompt
    options: GenerationOptions
    target: Language
    brief: Brief = Brief()
    review_prompt: Prompt | None = None
    stub_translate: Callable[[str], str] | None = None
    model_id: str = ""
    row: object = None
    """The columns of the record that holds the text, if the prompt uses them."""

    @property
    def is_identity(self) -> bool:
        """Whether documents are copied unchanged, to test only splitting and joining."""
        return self.stub_translate is keep_text

    def make_translation_request(
        self,
        request_id: str,
        text: str,
        limit: int,
        *,
        source: Language | None = None,
        around: SegmentContext = SegmentContext(),  # noqa: B008 (immutable)
        terms: Sequence[Term] = (),
        marks: str = "",
        problems: Sequence[str] = (),
        attempt: int = 1,
        one_paragraph: bool = False,
    ) -> Request:
        """Return the request for a text; ``marks`` is an example of its marks; later attempts allow longer answers.

        ``one_paragraph``: where that can be known afterwards, the answer ends at its first empty line.
        What is the same for all texts of a document comes first in the prompt, so that the engine evaluates it once.
        """
        values = {
            "text": text,
            "source_language": source.name if source else "",
            "target_language": self.target.name,
            "context": self.brief.context,
            "formality": self.brief.formality,
            "guide": self.brief.guide,
            "glossary": _format_terms(self._shared_terms),
            "title": around.title,
            "place": around.path,
            "before": around.preceding_text,
            "after": around.following_text,
            "note": around.note,
            "terms": "" if self._shared_terms else _format_terms(terms),
            "marks": marks,
            "problems": "; ".join(problems),
            **({} if self.row is None else {"row": self.row}),
        }
        request = make_request(
            request_id,
            self.prompt.render(values),
            self.prompt,
            self.options,
            max_tokens=self.options.max_tokens or limit * attempt,
            repetition=RepetitionPolicy.OFF if repeats_itself(text) else RepetitionPolicy.ANSWER,
        )
        temperature = request.sampling.temperature + RETRY_TEMPERATURE_STEP * (attempt - 1)
        sampling = replace(request.sampling, temperature=temperature)
        stop = (*request.stop, PARAGRAPH_END) if one_paragraph and self.backend.info().is_engine else request.stop
        return replace(request, sampling=sampling, stop=stop, carries=text, max_chars=max_translation_chars(text))

    @cached_property
    def _shared_terms(self) -> tuple[Term, ...]:
        """The terms with a translation, if all prompts can begin with them at no cost."""
        terms = tuple(term for term in self.brief.glossary.terms if not term.is_untranslated)
        return terms if len(terms) <= _MAX_SHARED_TERMS and self.backend.info().is_engine else ()

    def make_review_request(
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
        """Return the request to correct a translation; needs ``review_prompt``."""
        assert self.review_prompt is not None
        values = {
            "text": text,
            "translation": translation,
            "source_language": source.name if source else "",
            "target_language": self.target.name,
            "terms": _format_terms(terms),
            "marks": marks,
            "problems": "; ".join(problems),
        }
        messages = self.review_prompt.render(values)
        longest = self.options.max_tokens or limit
        request = make_request(request_id, messages, self.review_prompt, self.options, max_tokens=longest)
        return replace(request, carries=text, max_chars=max_translation_chars(text))

    def context_budget(self, subject: str) -> ContextBudget:
        """Return how much text fits one request; ``subject`` names the document in errors."""
        around = SegmentContext("x " * 20, "x " * 40, "x " * 20, note="x " * 20, title="x " * 10)
        terms = self.brief.glossary.terms[:10]
        return ContextBudget(
            self.backend,
            lambda text: self.make_translation_request("count", text, 1, around=around, terms=terms, marks="[#1]"),
            max_translation_tokens,
            subject=subject,
        )

    def count_instruction_tokens(self) -> int:
        """Return the tokens of a prompt without a text: the instructions, the style guide, a short glossary."""
        (tokens,), _ = self.backend.count([self.make_translation_request("count", "", 1)])
        return tokens

    @cached_property
    def cache_key(self) -> str:
        """The key of translations in the memory, beside text and languages: everything that may change them.

        Without a review or a guide it is the same as in older versions, so that their entries still apply.
        """
        wording = self.brief
        said = [wording.formality, wording.context, wording.glossary.fingerprint, self.prompt.fingerprint]
        sampled = [str(self.options.temperature), str(self.options.seed)]
        reviewed = [self.review_prompt.fingerprint] if self.review_prompt else []
        guided = [f"guide {wording.guide}"] if wording.guide else []
        columns = [] if self.row is None else [str(self.row)]
        return hashlib.sha256("\0".join(said + sampled + reviewed + guided + columns).encode()).hexdigest()[:32]


def _format_terms(terms: Sequence[Term]) -> str:
    return "\n".join(f"{term.term} = {term.translation}{f' ({term.note})' if term.note else ''}" for term in terms)


# ---- without a model -------------------------------------------------------------------------------------------------


def add_accents(text: str) -> str:
    """Return ``text`` with accents on its letters, and vowels repeated until it is 30% longer."""
    changed = "".join(text[at : at + _CHUNK_CHARS].translate(_TABLE) for at in range(0, len(text), _CHUNK_CHARS))
    places = [i for i, c in enumerate(changed) if c in _VOWELS] or [i for i, c in enumerate(changed) if c.isalpha()]
    if not places:
        return changed
    each, more = divmod(round(_GROWTH_SHARE * len(text.strip())), len(places))
    times = {place: 1 + each + (index < more) for index, place in enumerate(places)}
    return "".join(character * times.get(index, 1) for index, character in enumerate(changed))


def keep_text(text: str) -> str:
    """Return ``text`` unchanged."""
    return text
