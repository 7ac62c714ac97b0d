"""Measures a model in a separate process of the lowest priority, before its first job or once one shows that it pays.

``python -m llmcli.engine.tuning.background_tuning TASK``: ``start_if_unmeasured`` and ``BackgroundTuning`` start that,
and later processes read the profile that it writes. The process may be killed at any moment. It ends by itself

- if another process measures the model, or has measured it;
- if the machine was not idle for a minute altogether, since measurements beside other work mislead;
- within ``_ORPHAN_S`` seconds after its parent has ended, unless the machine is idle then;
- if the cache directory is gone.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from llmcli import child_processes
from llmcli.app_paths import DERIVED_DIRECTORY, tuning_file
from llmcli.config.engine_options import EngineOptions
from llmcli.engine.derivation import DerivationSource
from llmcli.engine.llama import hardware
from llmcli.engine.llama.threads import LOAD_INTERVAL_S, LoadSource, SystemLoad
from llmcli.engine.tuning.cost_profile import load_profile, save_profile
from llmcli.engine.tuning.model_tuning import tuner_class
from llmcli.engine.tuning.tuning_plan import TuningPlan, make_plan
from llmcli.errors import LlmError, TemporaryFailure
from llmcli.fast_dataclass import asdict, frozen
from llmcli.files import file_lock, private_files
from llmcli.interrupt import Interrupt
from llmcli.models.library.derived_weights import DerivedWeightsStore
from llmcli.settings import ORIGINAL_WEIGHTS

_SHA256 = re.compile("[0-9a-f]{64}")
_PATIENCE_S = 60.0
"""Seconds that the process waits altogether for an idle machine."""
_ORPHAN_S = 3.0
"""Seconds that the process waits for an idle machine after its parent has ended."""
_CHECK_S = 2 * LOAD_INTERVAL_S
_QUIET_CORES = 0.3
"""Cores that other processes may keep busy during a measurement."""
_COPYING_CORES = 1.0
"""Cores that the child which makes a copy keeps busy."""
_SECONDS_PER_TOKEN_AND_PARAMETER = 3e-11
"""Seconds of a token of a job for each parameter of the model, roughly, with two cores."""
_WEIGHTS_SAVING, _SETTINGS_SAVING = 0.4, 0.2
"""The fraction of a job's time that other weights and settings save, or other settings alone."""
_MIN_TOKENS = 1000
"""Tokens of work below which nothing is considered."""
_REPEATED_JOBS = 3
"""The cost must be won back within the job that was observed and two more of its size."""


@frozen
class TuningTask:
    """What a process measures: a model's file, name and SHA-256; where copies and results go, and with what limits.

    ``threads`` as in ``EngineOptions``; ``parent``: the id of the process that starts it.
    """

    path: str
    name: str
    sha256: str
    cache: str
    copies: str
    limit_bytes: int
    threads: int | None
    parent: int

    @property
    def result_path(self) -> Path:
        """The file of the profile."""
        return tuning_file(Path(self.cache), self.sha256, self.threads)

    @property
    def num_threads(self) -> int:
        """The threads to measure with."""
        return self.threads or hardware.detect_cores().max_threads

    def is_done(self) -> bool:
        """Whether everything that the limits allow was measured on this machine."""
        profile = load_profile(self.result_path, self.num_threads)
        return profile is not None and (profile.complete or not self.limit_bytes)

    def make_plan(self) -> TuningPlan:
        """Return what can be measured. Raises ``BadModelFile`` and ``MissingError``."""
        return make_plan(Path(self.path), DerivedWeightsStore(Path(self.copies), self.limit_bytes))


def make_task(path: Path, name: str, model_id: str, options: EngineOptions) -> TuningTask | None:
    """Return what a process measures of a model that runs with ``options``, on the processor.

    None if that is off, if other weights than the file's own are wanted, or if the results could not be stored.
    """
    if not options.tune or options.deterministic or options.weights != ORIGINAL_WEIGHTS:
        return None
    if options.cache is None or not _SHA256.fullmatch(model_id):
        return None
    cache = options.cache.absolute()
    return TuningTask(
        path=str(path.absolute()),
        name=name,
        sha256=model_id,
        cache=str(cache),
        copies=str(cache / DERIVED_DIRECTORY),
        limit_bytes=options.derived_bytes,
        threads=options.threads,
        parent=os.getpid(),
    )


def start_if_unmeasured(task: TuningTask) -> TuningPlan | None:
    """Start the process before a model's first job; return its plan, or None if there is nothing to measure.

    Raises ``BadModelFile``, ``MissingError``, and ``OSError`` if there can be no cache directory.
    """
    plan = task.make_plan()
    if plan.is_empty or task.is_done():
        return None
    private_files.make_directory(Path(task.cache))  # without it, the process would end
    start_process(task)
    return plan


class BackgroundTuning:
    """Starts the process for one model, at most once."""

    def __init__(self, task: TuningTask) -> None:
        self._task = task
        self._started = False
        self._next_tokens = _MIN_TOKENS

    def start_if_due(self, evaluated_tokens: int) -> None:
        """Start it if the work so far shows that it would pay, unless the results are there.

        Called twice a second in an idle worker, so nothing is read again before the work has grown.
        """
        if self._started or evaluated_tokens < self._next_tokens:
            return
        self._next_tokens = max(_MIN_TOKENS, evaluated_tokens + evaluated_tokens // 4)
        try:
            plan = self._task.make_plan()
        except LlmError:  # the file was removed meanwhile
            return
        if pays(plan, evaluated_tokens):
            self._started = True
            if not self._task.is_done():
                start_process(self._task)


def pays(plan: TuningPlan, evaluated_tokens: int) -> bool:
    """Return whether measuring wins back its time within ``_REPEATED_JOBS`` jobs of that many tokens."""
    if plan.is_empty:
        return False
    job_s = evaluated_tokens * plan.parameters * _SECONDS_PER_TOKEN_AND_PARAMETER
    saving = _WEIGHTS_SAVING if plan.types else _SETTINGS_SAVING
    return _REPEATED_JOBS * saving * job_s >= plan.seconds


def start_process(task: TuningTask) -> None:
    """Start the process, which keeps none of this one's files open."""
    with contextlib.suppress(OSError):  # a full process table: the next job tries again
        subprocess.Popen(  # noqa: S603 (our own module)
            child_processes.module_command(__spec__.name, json.dumps(asdict(task))),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/" if os.name == "posix" else None,
            env=child_processes.child_env(os.environ),
            start_new_session=True,
        )


# ---- the process -----------------------------------------------------------------------------------------------------


class IdleWatch(Interrupt):
    """Stops the work of the process by the rules of this module; polled within evaluations.

    ``allowed_cores``: cores that may be busy; ``clock``, ``load`` and ``parent_id`` are replaced in tests.
    """

    def __init__(
        self,
        task: TuningTask,
        load: LoadSource | None = None,
        clock: Callable[[], float] = time.monotonic,
        parent_id: Callable[[], int] = os.getppid,
    ) -> None:
        super().__init__()
        self._task, self._load, self._clock, self._parent_id = task, load or SystemLoad(), clock, parent_id
        self.allowed_cores = _QUIET_CORES
        self.is_busy = False
        self._next_check = clock()
        self._orphaned_since: float | None = None
        self._reason: LlmError | None = None

    def should_end(self) -> bool:
        """Whether the process has to end for good."""
        self._sample()
        if not Path(self._task.cache).is_dir():
            return True
        orphaned = self._orphaned_since is not None and self._clock() - self._orphaned_since >= _ORPHAN_S
        return orphaned and self.is_busy

    def _sample(self) -> None:
        if self._orphaned_since is None and self._parent_id() != self._task.parent:
            self._orphaned_since = self._clock()
        cores = self._load.busy_cores()
        if cores is not None:
            self.is_busy = cores > self.allowed_cores

    @property
    def error(self) -> LlmError | None:
        """Why the measurement has to stop now, or None."""
        now = self._clock()
        if self._reason is None and now >= self._next_check:
            self._next_check = now + _CHECK_S
            if self.should_end() or (self.is_busy and self.allowed_cores == _QUIET_CORES):
                self._reason = TemporaryFailure("the measurement", detail="the machine is busy")
        return super().error or self._reason

    def restart(self, allowed_cores: float) -> None:
        """Begin another attempt, or another part of it, with that many cores busy."""
        self.allowed_cores = allowed_cores
        self._reason, self.is_busy = None, False
        self._load.busy_cores()  # what was busy before does not count
        self._next_check = self._clock() + _CHECK_S


def run_task(task: TuningTask, watch: IdleWatch, sleep: Callable[[float], None] = time.sleep) -> None:
    """Measure once the machine is idle, and store the profile; give up by the rules of this module."""
    if watch.should_end():
        return
    lock = task.result_path.with_suffix(".lock")
    private_files.make_directory(lock.parent)
    with file_lock.hold_lock(lock, timeout_s=0, poll_s=_CHECK_S, removable=True) as ours:
        if not ours:
            return
        try:
            _measure_when_idle(task, watch, sleep)
        finally:
            lock.unlink(missing_ok=True)


def _measure_when_idle(task: TuningTask, watch: IdleWatch, sleep: Callable[[float], None]) -> None:
    waited = 0.0
    while waited < _PATIENCE_S and not task.is_done():
        watch.restart(_QUIET_CORES)
        sleep(_CHECK_S)
        waited += _CHECK_S
        if watch.should_end():
            return
        if not watch.is_busy:
            with contextlib.suppress(TemporaryFailure):
                _measure(task, watch)


def _measure(task: TuningTask, watch: IdleWatch) -> None:
    store = DerivedWeightsStore(Path(task.copies), task.limit_bytes)
    plan = task.make_plan()
    tuner = tuner_class(plan)(
        DerivationSource(Path(task.path), task.name, task.sha256),
        plan,
        store,
        task.num_threads,
        watch,
        background=True,
        on_copying=lambda copying: watch.restart(_QUIET_CORES + _COPYING_CORES * copying),
    )
    save_profile(tuner.run(), task.result_path, task.num_threads)


def lower_priority() -> None:
    """Give this process the lowest priority that the system has."""
    if hasattr(os, "nice"):
        os.nice(19)
    if hasattr(os, "sched_setscheduler"):
        with contextlib.suppress(OSError):  # a container may forbid it
            os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))


def _main(argument: str) -> None:
    fields: dict[str, Any] = json.loads(argument)
    lower_priority()
    task = TuningTask(**fields)
    with contextlib.suppress(LlmError, OSError):  # a full disk, a model that was removed: a later job tries again
        run_task(task, IdleWatch(task))


if __name__ == "__main__":
    _main(sys.argv[1])
