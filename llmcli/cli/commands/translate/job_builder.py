"""Builds translation jobs from the options: each document with a translator for its language."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast

from llmcli.cli.command_context import CommandContext
from llmcli.cli.commands.translate.plan import PlannedTranslation
from llmcli.cli.input import inputs
from llmcli.errors import UsageError
from llmcli.interrupt import run_interruptible
from llmcli.types import ItemFailed

if TYPE_CHECKING:
    from llmcli.tasks.translation.languages import Language
    from llmcli.tasks.translation.per_file.target_file import TranslationJob
    from llmcli.tasks.translation.translator import Brief, Formality, Translator


@dataclass
class JobBuilder:
    """Builds jobs from the options; ``validate`` rejects invalid ones before anything is loaded."""

    ctx: CommandContext
    source: str | None
    format_name: str | None
    formality: str
    context: str | None
    glossary: str | None
    review: bool
    layout: str
    pseudo: str | None

    def validate(self) -> None:
        """Raise ``UsageError`` and ``BadDocument`` for what cannot be used, and what reading files raises."""
        from llmcli.documents.formats import find_format
        from llmcli.tasks.translation.languages import parse_language

        if self.format_name is not None:
            find_format("", "", self.format_name)
        if self.source is not None:
            parse_language(self.source)
        _ = self._brief

    def build_jobs(self, pairs: Sequence[PlannedTranslation]) -> list[TranslationJob | ItemFailed]:
        """Return a job for each document that could be read; all have one backend, built when it is needed."""
        from llmcli.tasks.translation.languages import parse_language
        from llmcli.tasks.translation.per_file.bilingual import OutputLayout
        from llmcli.tasks.translation.per_file.target_file import TranslationJob

        source = None if self.source is None else parse_language(self.source)
        translators = {pair.target: self._build_translator(pair.target) for pair in pairs}
        return [
            pair.document
            if isinstance(pair.document, ItemFailed)
            else TranslationJob(
                pair.document,
                translators[pair.target],
                source,
                self.format_name,
                OutputLayout(self.layout),
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
        if self.glossary is not None:
            file = inputs.read_document(self.ctx, self.glossary)
            glossary = run_interruptible(Glossary.parse, file.text, file.name)
            if not glossary.terms:
                self.ctx.console.warn(f"the glossary {file.name} holds no terms")
        if self.context is not None:
            if self.context == "@":
                raise UsageError("--context @ names no file", detail="Try: --context @FILE")
            at_file = self.context.startswith("@")
            context = (
                inputs.read_document(self.ctx, self.context[1:]).text
                if at_file
                else inputs.decode_argument(self.context)
            )
        return Brief(cast("Formality", self.formality), context.strip(), glossary)

    def _build_translator(self, target: Language) -> Translator:
        from llmcli.tasks.translate import PROMPT, REVIEW_PROMPT
        from llmcli.tasks.translation import pseudo_localization
        from llmcli.tasks.translation.translator import Translator

        instead = {"accents": pseudo_localization.add_accents, "identity": pseudo_localization.keep_text}.get(
            self.pseudo or ""
        )
        prompts = self.ctx.runtime.prompts
        return Translator(
            self._backend,
            prompts.get(PROMPT),
            self.ctx.generation_options(),
            target,
            self._brief,
            prompts.get(REVIEW_PROMPT) if self.review else None,
            instead,
            "" if instead else self._model_id,
        )

    @cached_property
    def _backend(self) -> Any:
        from llmcli.backends.lazy_backend import LazyBackend

        return LazyBackend(self.ctx.runtime.backend)

    @cached_property
    def _model_id(self) -> str:
        """What translations of the model are remembered under: its hash; of a server's its address and name."""
        from llmcli.runtime import consent

        if self.ctx.runtime.is_remote:
            server, _ = consent.chosen_server(self.ctx.runtime.settings)
            if server is not None:
                return f"{server.base_url} {self.ctx.runtime.model_name or server.model or ''}"
        model = self.ctx.runtime.resolve_model()
        return model.sha256 or str(model.path)
