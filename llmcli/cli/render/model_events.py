"""The display while a model is downloaded, checked or imported."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from llmcli.cli.console.console import Console
from llmcli.cli.render import variant_table
from llmcli.cli.reporter import Reporter
from llmcli.models.library.model_library import ModelFile
from llmcli.types import Notice, Progress

if TYPE_CHECKING:
    from llmcli.runtime.run_config import ModelEvent


def show_model_events(console: Console, events: Iterator[ModelEvent]) -> ModelFile:
    """Show the events of a model, with a progress bar on a terminal, and return the model: the last item."""
    reporter = Reporter(console)
    try:
        reporter.begin()
        for event in events:
            if isinstance(event, Progress):
                reporter.show_progress(event)
            elif isinstance(event, Notice):
                reporter.warn(event.text)
            elif isinstance(event, ModelFile):
                model = event
            else:
                variant_table.show_variants(console, event)
    finally:
        reporter.close()
    return model
