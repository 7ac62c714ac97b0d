"""The options of ``llm translate``, and the specifications of translations that they mean."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast

from llmcli.cli.command_context import CommandContext
from llmcli.cli.commands.translate.plan import PlannedTranslation
from llmcli.cli.input import document_inputs
from llmcli.errors import UsageError
from llmcli.fast_dataclass import frozen
from llmcli.interrupt import run_interruptible
from llmcli.types import ItemFailed

if TYPE_CHECKING:
    from llmcli.tasks.languages import Language
    from llmcli.tasks.translate.target_file import TranslationSpec
    from llmcli.tasks.translate.translator import Brief, Formality, Translator


STYLES = ("auto", "formal", "informal")
MAX_GUIDE_CHARS = 20_000
"""Characters of a style guide: about 5,000 tokens, which a context needs beside the text."""


@frozen
class CheckOptions:
    """The options of --check: ``only`` these defects, all if it is empty; ``sarif``: the form of the output."""

    only: Sequence[str]
    sarif: bool


@frozen
class TranslateOptions:
    """The options by their meaning; None if not given."""

    files: Sequence[str]
    target_languages: Sequence[str]
    source_language: str | None
    format_name: str | None
    style: str | None
    context: str | None
    glossary_file: str | None
    update_target: str | None
    force: bool
    memory_file: str | None
    uses_memory: bool
    review: bool
    interleaves: bool
    dry_run: bool
    report_file: str | None
    pseudo: str | None
    reference_file: str | None
    estimates_quality: bool = False
    check: CheckOptions | None = None

    def names_for_documents(self) -> list[str]:
        """Return the given options that need documents, and models that translate them."""
        given = {
            "--bilingual": self.interleaves,
            "--report": self.report_file is not None,
            "--pseudo": self.pseudo is not None,
            "--eval": self.reference_file is not None,
            "--qe": self.estimates_quality,
        }
        return [name for name, is_given in given.items() if is_given]


class SpecBuilder:
    """Builds the specifications of translations; ``validate`` refuses invalid ones before anything is loaded."""

    def __init__(self, ctx: CommandContext, options: TranslateOptions) -> None:
        self._ctx = ctx
        self._options = options

    def validate(self) -> None:
        """Raise ``UsageError`` and ``BadDocument`` for invalid options and files, and what reading files raises."""
        from llmcli.documents.format_registry import require_name
        from llmcli.tasks.languages import parse_language

        if self._options.format_name is not None:
            require_name(self._options.format_name)
        if self._options.source_language is not None:
            parse_language(self._options.source_language)
        _ = self.brief

    def build_specs(self, pairs: Sequence[PlannedTranslation]) -> list[TranslationSpec | ItemFailed]:
        """Return what is to be translated, for each document that could be read.

        All have one backend, built when it is needed.
        """
        from llmcli.tasks.languages import parse_language
        from llmcli.tasks.translate.target_file import TranslationSpec

        source = None if self._options.source_language is None else parse_language(self._options.source_language)
        translators = {pair.target: self.build_translator(pair.target) for pair in pairs}
        return [
            pair.document
            if isinstance(pair.document, ItemFailed)
            else TranslationSpec(
                pair.document,
                translators[pair.target],
                source,
                self._options.format_name,
                self._options.interleaves,
                pair.existing,
                pair.path,
                pair.keeps_existing,
            )
            for pair in pairs
        ]

    @cached_property
    def brief(self) -> Brief:
        """What the user says about the text. Raises ``UsageError``, and what reading its files raises."""
        from llmcli.tasks.translate.glossary import Glossary
        from llmcli.tasks.translate.translator import Brief

        glossary, context, guide, formality = Glossary(), "", "", self._options.style or "auto"
        if self._options.glossary_file is not None:
            file = document_inputs.read_document(self._ctx, self._options.glossary_file)
            glossary = run_interruptible(Glossary.parse, file.text, file.name)
            if not glossary.terms:
                self._ctx.console.warn(f"the glossary {file.name} contains no terms")
        if self._options.context is not None:
            from llmcli.cli.input.text_values import read_option_text

            context = read_option_text(self._ctx, "--context", self._options.context)
        if formality.startswith("@"):
            formality, guide = "auto", self._read_guide(formality)
        elif formality not in STYLES:
            raise UsageError(f"unknown style: {formality}", detail="Try: formal, informal, or @FILE with a style guide")
        return Brief(cast("Formality", formality), context.strip(), glossary, guide)

    def _read_guide(self, style: str) -> str:
        """Return the text of the style guide ``@FILE``.

        Raises as ``read_option_text``, and ``UsageError`` if it is too long for each prompt to begin with it.
        """
        from llmcli.cli.input.text_values import read_option_text

        guide = read_option_text(self._ctx, "--style", style).strip()
        if len(guide) > MAX_GUIDE_CHARS:
            detail = "Leave out what does not matter to a translator."
            raise UsageError(
                f"the style guide {style[1:]} has {len(guide):,} characters; at most {MAX_GUIDE_CHARS:,} fit",
                detail=detail,
            )
        return guide

    def build_translator(self, target: Language) -> Translator:
        """Return the translator into a language; the backend is built when it is needed."""
        from llmcli.tasks.translate import PROMPT, REVIEW_PROMPT
        from llmcli.tasks.translate.translator import Translator, add_accents, keep_text

        instead = {"accents": add_accents, "identity": keep_text}.get(self._options.pseudo or "")
        prompts = self._ctx.runtime.prompts
        return Translator(
            self._backend,
            prompts.get(PROMPT),
            self._ctx.generation_options(),
            target,
            self.brief,
            prompts.get(REVIEW_PROMPT) if self._options.review else None,
            instead,
            "" if instead else self._model_id,
        )

    @cached_property
    def _backend(self) -> Any:
        from llmcli.backends.base import LazyBackend

        return LazyBackend(self._ctx.runtime.backend)

    @cached_property
    def _model_id(self) -> str:
        """The id of the model in the translation memory: its hash, or a server's identity and the model's name."""
        if self._ctx.runtime.is_remote:
            from llmcli.runtime import consent

            server, _ = consent.chosen_server(self._ctx.runtime.settings)
            if server is not None:
                return f"{server.identity} {self._ctx.runtime.model_name or server.model or ''}"
        return self._ctx.runtime.resolve_model().adapted_id
