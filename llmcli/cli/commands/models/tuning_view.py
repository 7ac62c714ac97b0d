"""The work and the output of ``llm models tune``."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from llmcli.cli.command_context import CommandContext
from llmcli.cli.console import suggestion
from llmcli.cli.console.messages.message_text import format_bytes
from llmcli.cli.console.progress_text import format_estimate
from llmcli.cli.render import svg_chart
from llmcli.cli.render.report_file import write_report_file
from llmcli.cli.reporter import Reporter
from llmcli.errors import UsageError
from llmcli.runtime import engine_install, tune
from llmcli.state_layers import find_known_layers
from llmcli.types import Phase, Progress

if TYPE_CHECKING:
    from llmcli.engine.tuning.tuning_plan import TuningPlan
    from llmcli.models.files.model_file import ModelFile
    from llmcli.types import StateLayers


_ANNOUNCED_S = 10.0
"""Seconds from which on a measurement is announced."""
_PLOT_NOTE = "Measured on this machine; the longer, the faster. The original is the file as it was downloaded."


class _TimeLimit:
    """Says what a measurement takes, and chooses what is measured of the ``model`` within ``max_seconds``."""

    def __init__(self, ctx: CommandContext, model: ModelFile, max_seconds: float) -> None:
        self._ctx, self._model, self._max_seconds = ctx, model, max_seconds
        self._started = time.monotonic()
        self._layers_s, self._layers_fit = 0.0, True
        self._left_out: list[str] = []

    def accept(self, plan: TuningPlan) -> None:
        """Take what will be measured, and announce it. Raises ``UsageError`` if that takes too long."""
        from llmcli.tasks.layer_choice import estimate_seconds

        if plan.seconds > self._max_seconds:
            raise UsageError(
                f"measuring {self._model.name} takes about {format_estimate(plan.seconds)}",
                detail=f"Try: {self._longer_command()}",
            )
        self._layers_s = 0.0 if find_known_layers(self._model.model_id) else estimate_seconds(plan.parameters)
        self._layers_fit = plan.seconds + self._layers_s <= self._max_seconds
        total = plan.seconds + (self._layers_s if self._layers_fit else 0)
        self._left_out = list(plan.postponed)
        if total >= _ANNOUNCED_S:
            self._ctx.console.write_note(
                f"this takes about {format_estimate(total)}, up to {format_bytes(plan.disk)} of disk "
                f"and {format_bytes(plan.memory)} of memory; Ctrl-C ends it"
            )

    def allows_layers(self) -> bool:
        """Return whether the layers whose states are read can be found in the rest of the time."""
        if self._layers_fit and time.monotonic() - self._started + self._layers_s <= self._max_seconds:
            return True
        self._left_out.append("the layers of hidden states")
        return False

    def report(self) -> None:
        """Say what was left out, in one line."""
        if self._left_out:
            self._ctx.console.write_outcome(
                f"not measured, to end within {format_estimate(self._max_seconds)}: {', '.join(self._left_out)}; "
                f"to measure everything: {self._longer_command()}"
            )

    def _longer_command(self) -> str:
        return suggestion.format_command("models", "tune", "--all", self._model.name)


def tune_model(ctx: CommandContext, name: str | None, plot: str | None, *, everything: bool = False) -> int:
    """Measure a model, with a progress bar on a terminal, show the result, and draw it into the file ``plot``.

    ``everything``: also what does not fit the time. Raises ``UsageError`` if too little fits it, and as
    ``runtime.tune.tune_model`` and ``check_plot_path``.
    """
    if plot is not None:
        svg_chart.check_plot_path(plot)
    runtime, console = ctx.runtime, ctx.console
    shown = name or runtime.models.default_model()[0]
    with runtime.observer.waiting(Phase.CHECKING, shown):
        model = runtime.models.ensure_verified(name, runtime.interrupt)
    limit = _TimeLimit(ctx, model, math.inf if everything else tune.MAX_SECONDS)
    reporter = Reporter(console)

    def show_progress(done: int, total: int, unit: str = "measurements") -> None:
        reporter.show_progress(Progress(done, total, unit, model.name))

    try:
        result = tune.tune_model(
            model,
            runtime.settings,
            runtime.paths.cache,
            runtime.models.derived_weights,
            interrupt=runtime.interrupt,
            max_seconds=math.inf if everything else tune.MAX_SECONDS,
            on_plan=limit.accept,
            on_progress=show_progress,
        )
        layers = _measure_layers(ctx, model, limit, lambda done, total: show_progress(done, total, "texts"))
    finally:
        reporter.close()
    row = _row_for_terminal if console.writes_for_people else _row
    console.write_table([row(each) for each in result.weights])
    if plot is not None:
        write_report_file(ctx, plot, draw_rates(plot, PurePath(model.name).name, result.weights))
    _write_notes(ctx, result, layers)
    limit.report()
    faster = engine_install.find_faster(runtime.config)
    if faster is not None:
        console.write_note(faster.advice)
    return 0


def _write_notes(ctx: CommandContext, result: tune.TuningResult, layers: StateLayers | None) -> None:
    """Write what was chosen and left out, beside the table."""
    console = ctx.console
    if result.disturbed:
        console.write_note(
            "other processes used the processor; for exact times, measure again when the machine is idle"
        )
    if result.label_change:
        console.write_note(result.label_change)
    for weights, reason in result.skipped.items():
        console.write_note(f"{weights} was not measured: {reason}")
    if layers is not None:
        labels = " or ".join(map(str, layers.labels))
        console.explain(
            f"hidden states are read after layer {labels} for labels, after layer {layers.vector} for vectors"
        )
    for task, settings in result.settings.items():
        console.explain(f"KV cache for {task}: {settings}")


def _measure_layers(
    ctx: CommandContext, model: ModelFile, limit: _TimeLimit, on_progress: Callable[[int, int], None]
) -> StateLayers | None:
    """Measure and keep after which layers the model's states are read, unless llm knows them or too little time is left.

    Return None if nothing is kept.
    """
    from llmcli.prompts.prompt_library import PromptLibrary
    from llmcli.runtime import backend_factory, run_config
    from llmcli.state_layers import save_layers
    from llmcli.tasks import layer_choice

    runtime = ctx.runtime
    if find_known_layers(model.model_id) is not None or not limit.allows_layers():
        return None
    backend = backend_factory.open_local_backend(
        model.path,
        name=model.name,
        model_id=model.model_id,
        options=run_config.engine_options(runtime.settings, runtime.paths.cache, model),
        interrupt=runtime.interrupt,
    )
    try:
        layers = layer_choice.measure_layers(backend, PromptLibrary(runtime.prompts.builtin), on_progress)
    finally:
        backend.close()
    if layers is not None:
        save_layers(runtime.paths.cache, model.model_id, layers)
    return layers


def draw_rates(path: str, model: str, measured: Sequence[tune.MeasuredWeights]) -> bytes:
    """Return the content of the file ``path``: how fast each type of weights reads a prompt and writes answers."""
    kinds = {
        "Reading a prompt": [1 / each.measurement.times.prompt for each in measured],
        "Writing one answer": [1 / each.measurement.times.single for each in measured],
        "Writing 16 answers at once": [1 / each.measurement.times.batch for each in measured],
    }
    charts: list[svg_chart.Chart] = []
    for heading, rates in kinds.items():
        note = "" if charts else _PLOT_NOTE
        chart = svg_chart.Chart(heading, svg_chart.make_axis("tokens per second", 0, max(rates)), None, note)
        for each, rate in zip(measured, rates, strict=True):
            chart.bar(each.name, rate, f"{rate:,.0f}")
        charts.append(chart)
    return svg_chart.encode_figure(path, svg_chart.draw_figure(f"{model}: speed by the type of its weights", charts))


def _row(each: tune.MeasuredWeights) -> dict[str, Any]:
    """Return the columns for programs: bytes, tokens a second, nats a token."""
    times = each.measurement.times
    return {
        "weights": each.name,
        "size": each.measurement.size,
        "prompt": round(1 / times.prompt, 1),
        "decode": round(1 / times.single, 1),
        "at_once_16": round(1 / times.batch, 1),
        "at_once_32": round(1 / times.wide, 1),
        "divergence": each.measurement.divergence,
        "faithful": each.faithful,
        "chosen_for": list(each.chosen_for),
    }


def _row_for_terminal(each: tune.MeasuredWeights) -> dict[str, Any]:
    times, divergence = each.measurement.times, each.measurement.divergence
    chosen = ", ".join(each.chosen_for) or ("-" if each.faithful else "too far from the original")
    return {
        "weights": each.name,
        "size": format_bytes(each.measurement.size),
        "prompt": f"{1 / times.prompt:.0f}/s",
        "decode": f"{1 / times.single:.0f}/s",
        "16 at once": f"{1 / times.batch:.0f}/s",
        "divergence": "-" if divergence is None else f"{divergence:.4f}",
        "chosen for": chosen,
    }
