"""The options of ``llm translate``, besides the recurring ones."""

from __future__ import annotations

from collections.abc import Sequence

from llmcli.frozen_dataclass import frozen

TRANSLATION_ONLY = "translation"
"""The layout of an output that does not show the source."""


@frozen
class TranslateOptions:
    """The options by their meaning; None if not given."""

    files: Sequence[str]
    target_languages: Sequence[str]
    source_language: str | None
    format_name: str | None
    formality: str
    context: str | None
    glossary_file: str | None
    update_target: str | None
    force: bool
    memory_file: str | None
    uses_memory: bool
    review: bool
    layout: str
    dry_run: bool
    report_file: str | None
    pseudo: str | None
    reference_file: str | None
    estimates_quality: bool = False
