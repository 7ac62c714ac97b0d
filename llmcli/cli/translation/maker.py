"""Jobs of the task, made of what the user said: each document with a translator for its language."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast

from llmcli.cli import inputs, wiring
from llmcli.cli.context import Context
from llmcli.cli.translation.pairs import Pair
from llmcli.errors import UsageError
from llmcli.interrupt import run_interruptible
from llmcli.types import ItemFailed

if TYPE_CHECKING:
    from llmcli.tasks.languages import Language
    from llmcli.tasks.translate import Job
    from llmcli.tasks.translation.translator import Formality, Translator, Wording


@dataclass
class Maker:
    """Makes jobs by what the user said; ``check`` refuses what is wrong in it before anything is loaded."""

    cli: Context
    source: str | None
    format_name: str | None
    formality: str
    context: str | None
    glossary: str | None
    review: bool
    layout: str
    pseudo: str | None

    def check(self) -> None:
        """Raise ``UsageError`` and ``BadDocument`` for what cannot be used, and what reading files raises."""
        from llmcli.documents.formats import find_format
        from llmcli.tasks.languages import parse_language

        if self.format_name is not None:
            find_format("", "", self.format_name)
        if self.source is not None:
            parse_language(self.source)
        _ = self._wording

    def jobs(self, pairs: Sequence[Pair]) -> list[Job | ItemFailed]:
        """Return a job for each document that could be read; all have one backend, built when it is needed."""
        from llmcli.tasks.languages import parse_language
        from llmcli.tasks.translate import Job
        from llmcli.tasks.translation.layout import Layout

        source = None if self.source is None else parse_language(self.source)
        translators = {pair.target: self._translator(pair.target) for pair in pairs}
        return [
            pair.document
            if isinstance(pair.document, ItemFailed)
            else Job(
                pair.document,
                translators[pair.target],
                source,
                self.format_name,
                Layout(self.layout),
                pair.earlier,
                pair.path,
                pair.keep,
            )
            for pair in pairs
        ]

    @cached_property
    def _wording(self) -> Wording:
        from llmcli.tasks.translation.glossary import Glossary
        from llmcli.tasks.translation.translator import Wording

        glossary, context = Glossary(), ""
        if self.glossary is not None:
            file = inputs.document(self.cli, self.glossary)
            glossary = run_interruptible(Glossary.parse, file.text, file.name)
            if not glossary.terms:
                self.cli.warn(f"the glossary {file.name} holds no terms")
        if self.context is not None:
            if self.context == "@":
                raise UsageError("--context @ names no file", detail="Try: --context @FILE")
            at_file = self.context.startswith("@")
            context = inputs.document(self.cli, self.context[1:]).text if at_file else inputs.argument(self.context)
        return Wording(cast("Formality", self.formality), context.strip(), glossary)

    def _translator(self, target: Language) -> Translator:
        from llmcli.tasks.translate import PROMPT, REVIEW
        from llmcli.tasks.translation import pseudo
        from llmcli.tasks.translation.translator import Translator

        instead = {"accents": pseudo.accents, "identity": pseudo.identity}.get(self.pseudo or "")
        prompts = self.cli.prompts
        return Translator(
            self._backend,
            prompts.get(PROMPT),
            self.cli.options(),
            target,
            self._wording,
            prompts.get(REVIEW) if self.review else None,
            instead,
            "" if instead else self._model_id,
        )

    @cached_property
    def _backend(self) -> Any:
        from llmcli.backends.deferred import Deferred

        return Deferred(self.cli.backend)

    @cached_property
    def _model_id(self) -> str:
        """What translations of the model are remembered under: its hash; of a server's its address and name."""
        from llmcli.cli import remote

        if wiring.elsewhere(self.cli):
            server, _ = remote.server(self.cli)
            if server is not None:
                return f"{server.base_url} {self.cli.flags.model or server.model or ''}"
        model = self.cli.model()
        return model.sha256 or str(model.path)
