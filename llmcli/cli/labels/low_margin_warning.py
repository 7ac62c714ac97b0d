"""The warning below the labels of a small model that nothing corrects: how many of them it was unsure of."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llmcli.models.size_classes import is_toy_size
from llmcli.tasks.labels.label_summary import LOW_MARGIN

if TYPE_CHECKING:
    from llmcli.cli.command_context import CommandContext
    from llmcli.tasks.labels.label_scorer import LabelScorer
    from llmcli.tasks.labels.label_summary import LabelSummary


def warn_about_low_margins(ctx: CommandContext, scorer: LabelScorer, summary: LabelSummary) -> None:
    """Warn on stderr, in pipes too, if a small model gave labels without the shipped classifier and without examples.

    ``scorer`` gave them. With ``--summary`` the file has the sentence as ``warning``.
    """
    if not summary.scored or scorer.has_examples or scorer.calibrator is not None:
        return
    runtime = ctx.runtime
    info = runtime.backend().info()
    if not is_toy_size(info.parameters):
        return
    model = f"{info.model} on {runtime.responder_name}" if runtime.is_remote else runtime.responder_name
    text = (
        f"{summary.unsure} of {summary.scored} margins were below {LOW_MARGIN:g}, and labels of a model as small as "
        f"{model} are often wrong; to measure them: --eval LABELLED_FILE"
    )
    summary.details["warning"] = text
    ctx.console.warn(text)
