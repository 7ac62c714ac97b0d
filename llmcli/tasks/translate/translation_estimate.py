"""The estimate of ``translate --dry-run``: the segments of a document, those without a translation, and their tokens."""

from __future__ import annotations

from collections.abc import Sequence

from llmcli.documents.segments import Segment
from llmcli.errors import CannotCreate
from llmcli.fast_dataclass import frozen
from llmcli.interrupt import check_interrupt, run_interruptible
from llmcli.store.translation_memory import TranslationMemory
from llmcli.tasks.languages import detect_language
from llmcli.tasks.tokens import TokenCounter
from llmcli.tasks.translate.masking import mask_spans
from llmcli.tasks.translate.memory_cache import TranslationMemoryCache
from llmcli.tasks.translate.target_file import TargetFile, TranslationSpec

_TOKEN_GROWTH = 1.3
"""Tokens of a translation per token of its source: languages other than English need more."""


@frozen
class TranslationEstimate:
    """One document: its segments, those that the model would translate, and the tokens of prompts and answers.

    The instructions, which all prompts share, are counted once. ``calls``: about how many requests there are; a text
    that is too long for one has several.
    """

    name: str
    target: str
    format: str
    source: str
    segments: int
    segments_to_translate: int
    calls: int
    prompt_tokens: int
    answer_tokens: int


def estimate_translation(spec: TranslationSpec, memory: TranslationMemory | None) -> TranslationEstimate:
    """Return the estimate of a translation; the backend only counts tokens.

    Raises ``BadDocument``, and ``CannotCreate`` for a file that would not be replaced.
    """
    translator, remembered = spec.translator, TranslationMemoryCache(memory)
    document_format = spec.find_format()
    is_finished = TargetFile(spec, remembered).is_finished(spec.document.text, document_format)
    if spec.keep_existing and not is_finished:
        raise CannotCreate(str(spec.output), exists=True)
    has_work = translator.stub_translate is None and not (spec.keep_existing and is_finished)
    segments = run_interruptible(document_format.split, spec.document.text, translator.target.code)
    source = spec.source or run_interruptible(detect_language, "\n".join(segment.text for segment in segments))
    unknown: list[Segment] = []
    for segment in segments if has_work else ():
        check_interrupt()
        if (
            segment.existing_translation is None
            and not segment.damage
            and remembered.find(segment, source, translator) is None
        ):
            unknown.append(segment)
    new = run_interruptible(_masked_texts, unknown)
    tokens, _ = TokenCounter(translator.backend).count([" ".join(new.values())])  # a prompt each would take minutes
    shared = translator.count_instruction_tokens() if new else 0
    longest = translator.context_budget(spec.name).longest_text() if new else 0
    return TranslationEstimate(
        spec.name,
        translator.target.code,
        document_format.name,
        source.code if source else "",
        len(segments),
        len(new),
        max(len(new), tokens // max(longest, 1)),
        shared + tokens,
        round(tokens * _TOKEN_GROWTH),
    )


def _masked_texts(segments: Sequence[Segment]) -> dict[str, str]:
    """Return the text that the model would see for each text."""
    return {segment.text: mask_spans(segment.text, segment.protected).text for segment in segments}
