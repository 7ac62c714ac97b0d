"""The inputs of a run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from llmcli.app_paths import AppPaths
from llmcli.frozen_dataclass import frozen
from llmcli.interrupt import Interrupt
from llmcli.settings import Settings

if TYPE_CHECKING:
    from llmcli.runtime.observer import RunObserver


@frozen
class RunConfig:
    """Settings, directories, environment variables, interrupt and observer of a run."""

    settings: Settings
    paths: AppPaths
    environ: Mapping[str, str]
    interrupt: Interrupt
    observer: RunObserver
