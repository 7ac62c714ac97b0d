"""The options of ``llm generate`` for texts that are written section by section."""

from __future__ import annotations

from llmcli.fast_dataclass import frozen


@frozen
class LongTextOptions:
    """The options of texts that are written section by section."""

    topic: list[str]
    outline: str | None
    outline_only: bool
    edit: bool
    sources: list[str]
    words: int | None
    language: str
    revise: str | None
    dry_run: bool

    @property
    def option_names(self) -> list[str]:
        """The options that were given; "TOPIC" for words after the kind."""
        return [
            name
            for name, value in (
                ("TOPIC", self.topic),
                ("--outline", self.outline),
                ("--outline-only", self.outline_only),
                ("--edit", self.edit),
                ("--from", self.sources),
                ("--words", self.words),
                ("--language", self.language),
                ("--revise", self.revise),
                ("--dry-run", self.dry_run),
            )
            if value
        ]
