"""The estimated cost of a translation, without running it."""

from __future__ import annotations

from collections.abc import Sequence

from llmcli.documents.segments import Segment
from llmcli.frozen_dataclass import frozen
from llmcli.interrupt import check_interrupt, run_interruptible
from llmcli.store.translation_memory import TranslationMemory
from llmcli.tasks.translation.language_detection import detect_language
from llmcli.tasks.translation.per_file.memory_cache import TranslationMemoryCache
from llmcli.tasks.translation.per_file.target_file import TranslationSpec
from llmcli.tasks.translation.per_segment.masking import mask_spans

_TOKEN_GROWTH = 1.3
"""Tokens of a translation per token of its source: languages other than English need more."""


@frozen
class TranslationEstimate:
    """One document: its segments, those that the model would translate, and the tokens of prompts and answers."""

    name: str
    target: str
    format: str
    source: str
    segments: int
    segments_to_translate: int
    prompt_tokens: int
    answer_tokens: int


def estimate_translation(spec: TranslationSpec, memory: TranslationMemory | None) -> TranslationEstimate:
    """Return the estimate of a translation; the backend only counts tokens. Raises ``BadDocument``."""
    translator, remembered = spec.translator, TranslationMemoryCache(memory)
    document_format = spec.find_format()
    segments = run_interruptible(document_format.split, spec.document.text, translator.target.code)
    source = spec.source or run_interruptible(detect_language, "\n".join(segment.text for segment in segments))
    unknown: list[Segment] = []
    for segment in segments if translator.stub_translate is None else ():
        check_interrupt()
        if segment.existing_translation is None and remembered.find(segment, source, translator) is None:
            unknown.append(segment)
    new = run_interruptible(_masked_texts, unknown)
    tokens = sum(translator.context_budget(spec.name).count_tokens(list(new.values()))) if new else 0
    return TranslationEstimate(
        spec.name,
        translator.target.code,
        document_format.name,
        source.code if source else "",
        len(segments),
        len(new),
        tokens,
        round(tokens * _TOKEN_GROWTH),
    )


def _masked_texts(segments: Sequence[Segment]) -> dict[str, str]:
    """Return the text that the model would see for each text."""
    return {segment.text: mask_spans(segment.text, segment.protected).text for segment in segments}
