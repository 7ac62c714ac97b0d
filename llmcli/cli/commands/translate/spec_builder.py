"""Builds the specifications of translations from the options: each document with a translator for its language."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast

from llmcli.cli.command_context import CommandContext
from llmcli.cli.commands.translate.plan import PlannedTranslation
from llmcli.cli.commands.translate.translate_options import TranslateOptions
from llmcli.cli.input import inputs
from llmcli.errors import UsageError
from llmcli.interrupt import run_interruptible
from llmcli.types import ItemFailed

if TYPE_CHECKING:
    from llmcli.tasks.translation.languages import Language
    from llmcli.tasks.translation.per_file.target_file import TranslationSpec
    from llmcli.tasks.translation.translator import Brief, Formality, Translator


class SpecBuilder:
    """Builds them from the options; ``validate`` refuses invalid ones before anything is loaded."""

    def __init__(self, ctx: CommandContext, options: TranslateOptions) -> None:
        self._ctx = ctx
        self._options = options

    def validate(self) -> None:
        """Raise ``UsageError`` and ``BadDocument`` for invalid options and files, and what reading files raises."""
        from llmcli.documents.format_registry import require_name
        from llmcli.tasks.translation.languages import parse_language

        if self._options.format_name is not None:
            require_name(self._options.format_name)
        if self._options.source_language is not None:
            parse_language(self._options.source_language)
        _ = self._brief

    def build_specs(self, pairs: Sequence[PlannedTranslation]) -> list[TranslationSpec | ItemFailed]:
        """Return what is to be translated, for each document that could be read; all have one backend, built when it is needed."""
        from llmcli.tasks.translation.languages import parse_language
        from llmcli.tasks.translation.per_file.bilingual import OutputLayout
        from llmcli.tasks.translation.per_file.target_file import TranslationSpec

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
                OutputLayout(self._options.layout),
                pair.existing,
                pair.path,
                pair.keeps_existing,
            )
            for pair in pairs
        ]

    @cached_property
    def _brief(self) -> Brief:
        from llmcli.tasks.translation.glossary import Glossary
        from llmcli.tasks.translation.translator import Brief

        glossary, context = Glossary(), ""
        if self._options.glossary_file is not None:
            file = inputs.read_document(self._ctx, self._options.glossary_file)
            glossary = run_interruptible(Glossary.parse, file.text, file.name)
            if not glossary.terms:
                self._ctx.console.warn(f"the glossary {file.name} contains no terms")
        if self._options.context is not None:
            if self._options.context == "@":
                raise UsageError("--context @ names no file", detail="Try: --context @FILE")
            at_file = self._options.context.startswith("@")
            context = (
                inputs.read_document(self._ctx, self._options.context[1:]).text
                if at_file
                else inputs.decode_argument(self._options.context)
            )
        return Brief(cast("Formality", self._options.formality), context.strip(), glossary)

    def build_translator(self, target: Language) -> Translator:
        """Return the translator into a language; the backend is built when it is needed."""
        from llmcli.tasks.translate import PROMPT, REVIEW_PROMPT
        from llmcli.tasks.translation import pseudo_localization
        from llmcli.tasks.translation.translator import Translator

        instead = {"accents": pseudo_localization.add_accents, "identity": pseudo_localization.keep_text}.get(
            self._options.pseudo or ""
        )
        prompts = self._ctx.runtime.prompts
        return Translator(
            self._backend,
            prompts.get(PROMPT),
            self._ctx.generation_options(),
            target,
            self._brief,
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
        """The id of the model in the translation memory: its hash, or a server's address and the model's name."""
        from llmcli.runtime import consent

        if self._ctx.runtime.is_remote:
            server, _ = consent.chosen_server(self._ctx.runtime.settings)
            if server is not None:
                return f"{server.base_url} {self._ctx.runtime.model_name or server.model or ''}"
        return self._ctx.runtime.resolve_model().adapted_id
