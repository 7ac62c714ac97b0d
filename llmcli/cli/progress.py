"""Progress bars: on a terminal's stderr only, wiped away before anything else is written."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

from llmcli.cli import sanitize
from llmcli.cli.world import World
from llmcli.types import Progress

if TYPE_CHECKING:
    from rich.progress import Progress as Bars

_INTERVAL_S = 0.1  # often enough to look alive, too seldom to cost anything


class ProgressBar:
    """The bar of one job: what is done, of how much, and the time that remains."""

    def __init__(self, world: World, *, wanted: bool) -> None:
        self._world = world
        self._wanted = wanted and world.terminal(world.stderr) and world.environ.get("TERM") != "dumb"
        self._bars: Bars | None = None
        self._tasks: dict[tuple[str, str], Any] = {}
        self._painted = 0.0

    def update(self, progress: Progress) -> None:
        """Show where a job is."""
        if not self._wanted:
            return
        key = (progress.label, progress.unit)
        bars = self._open(progress.unit)
        label = sanitize.line(progress.label) or progress.unit
        if key not in self._tasks:
            self._tasks[key] = bars.add_task(label, total=progress.total)
        bars.update(self._tasks[key], completed=progress.done, total=progress.total)
        now = time.monotonic()
        if now - self._painted >= _INTERVAL_S or progress.done == progress.total:
            self._painted = now
            bars.refresh()

    def _open(self, unit: str) -> Bars:
        if self._bars is None:
            from rich.console import Console
            from rich.progress import (
                BarColumn,
                DownloadColumn,
                MofNCompleteColumn,
                ProgressColumn,
                TextColumn,
                TimeRemainingColumn,
                TransferSpeedColumn,
            )
            from rich.progress import Progress as Bars

            columns: list[ProgressColumn] = [TextColumn("{task.description}", markup=False), BarColumn(bar_width=None)]
            columns += [DownloadColumn(), TransferSpeedColumn()] if unit == "bytes" else [MofNCompleteColumn()]
            columns.append(TimeRemainingColumn())
            stream = os.fdopen(os.dup(self._world.stderr), "w", encoding="utf-8", errors="replace")
            console = Console(
                file=stream,
                force_terminal=True,
                width=self._world.columns(self._world.stderr),
                _environ=dict(self._world.environ),
            )
            self._bars = Bars(*columns, console=console, transient=True, auto_refresh=False, expand=True)
            self._bars.start()
        return self._bars

    def close(self) -> None:
        """Wipe the bar away; a later update opens it again."""
        if self._bars is not None:
            self._bars.stop()
            self._bars.console.file.close()
            self._bars = None
            self._tasks.clear()
