"""Figures on standard output, or as JSON, and drawn to a file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llmcli.cli.classification.calibration_plot import draw_plot
from llmcli.cli.classification.figures_view import format_figures
from llmcli.cli.classification.scoring_flags import ScoringFlags
from llmcli.cli.classification.summary_view import write_report_file
from llmcli.cli.command_context import CommandContext

if TYPE_CHECKING:
    from llmcli.tasks.calibration.calibration_figures import CalibrationFigures
    from llmcli.tasks.calibration.calibration_store import StoredCalibration
    from llmcli.tasks.calibration.learning_curve import LearningCurve


def write_calibration(ctx: CommandContext, name: str | None, stored: StoredCalibration, origin: str) -> None:
    """Write the figures of a calibration, saved under ``name`` (None: not saved), and draw them if --plot is given."""
    figures, curve = stored.figures, stored.calibration.curve
    _draw(ctx, name or stored.model, figures, curve)
    if ctx.console.as_json:
        ctx.console.write_record({"calibration": name, **stored.to_json()})
        return
    features = ", ".join(_BLOCK_NAMES.get(each, each) for each in stored.calibration.blocks)
    lines = [f"model              {stored.model}", f"features           {features}"]
    lines += format_figures(figures, curve, origin)
    ctx.console.write_stdout("\n".join(lines) + "\n")


_BLOCK_NAMES = {"scores": "label scores", "mean": "mean hidden state", "last": "last hidden state"}


def write_evaluation(ctx: CommandContext, model: str, figures: CalibrationFigures, origin: str) -> None:
    """Write the figures of labels compared with those of people, and draw them if --plot is given."""
    _draw(ctx, model, figures, None)
    if ctx.console.as_json:
        ctx.console.write_record({"model": model, "figures": figures.to_json()})
    else:
        lines = [f"model              {model}", *format_figures(figures, None, origin)]
        ctx.console.write_stdout("\n".join(lines) + "\n")


def _draw(ctx: CommandContext, title: str, figures: CalibrationFigures, curve: LearningCurve | None) -> None:
    flags = ctx.flags
    if isinstance(flags, ScoringFlags) and flags.plot is not None:
        write_report_file(ctx, flags.plot, draw_plot(flags.plot, title, figures, curve))
