"""Callables for ``ray.data.Dataset.map_batches``: labels, answers and vectors become columns of a batch.

    from llmcli.ray import Classify

    dataset.map_batches(Classify, fn_constructor_kwargs={"labels": ["bug", "praise"]}, num_cpus=0)

An actor of Ray runs the tasks of the verbs on the worker of its node. The first batch builds the runtime, so an
instance that has seen none can be pickled. This module imports NumPy and not Ray: the extra ``ray`` is for you, who
starts the job.
"""

from __future__ import annotations

import logging
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

from llmcli.cli.console import error_messages
from llmcli.documents.records.formats.record_format import ERROR_COLUMN
from llmcli.documents.records.record import ColumnType, Record, RecordSchema
from llmcli.documents.records.record_source import TextChoice
from llmcli.errors import InternalError, LlmError, UsageError
from llmcli.interrupt import Interrupt
from llmcli.machine_needs import LABELS, QUESTION, READING, MachineNeeds
from llmcli.runtime.model_weights import CALIBRATION_ORIGIN
from llmcli.runtime.runtime import Runtime
from llmcli.settings import find_setting
from llmcli.tasks.classify import MULTI_PROMPT as MULTI_LABEL_PROMPT
from llmcli.tasks.classify import PROMPT, ClassifySpec, MultiLabelSpec
from llmcli.tasks.labels.label_scorer import add_scoring_notices
from llmcli.tasks.labels.label_set import parse_label_tree
from llmcli.tasks.labels.label_spec import LabelOptions
from llmcli.tasks.runner.record_runner import RecordProcessor, run_records
from llmcli.tasks.runner.task_requests import GenerationOptions
from llmcli.types import ItemFailed, Notice, Result

if TYPE_CHECKING:
    import numpy as np

    from llmcli.config.backend_config import ServerConfig
    from llmcli.engine_library import EngineLibrary
    from llmcli.errors import ModelNotDownloaded
    from llmcli.models.library.model_library import ModelFile, ModelLibrary
    from llmcli.models.memory_estimate import FitPolicy
    from llmcli.runtime.run_config import ModelEvent
    from llmcli.tasks.labels.label_scorer import LabelCalibrator
    from llmcli.types import Phase, Progress

_logger = logging.getLogger(__name__)


class CommonOptions(TypedDict, total=False):
    """The options of every callable.

    ``column``: the column with the text, or several; by default the only one, or ``text``. ``model`` is as after
    ``-m``.
    ``settings``: settings of llm by their names in ``config.yaml``; the others are those of the node, from its
    environment and its file. ``rename`` gives added columns other names, since a batch may have theirs.
    """

    column: str | Sequence[str] | None
    model: str | None
    settings: Mapping[str, Any]
    rename: Mapping[str, str]


class _BatchCallable(ABC):
    """Adds columns to a batch: those of a task over records, and ``error``."""

    _verb: str
    _needs: MachineNeeds

    def __init__(
        self,
        *,
        column: str | Sequence[str] | None = None,
        model: str | None = None,
        settings: Mapping[str, Any] | None = None,
        rename: Mapping[str, str] | None = None,
        needs_text: bool = True,
    ) -> None:
        columns = (column,) if isinstance(column, str) else tuple(column or ())
        self._choice = TextChoice(columns, required=needs_text)
        self._given = {name: (f"--{name}", value) for name, value in {**(settings or {}), "model": model}.items()}
        self._rename = dict(rename or {})
        self._runtime: Runtime | None = None
        self._task: RecordProcessor | None = None
        self._noted: set[str] = set()
        with _plain_errors():
            for name in self._given:
                find_setting(name)

    def __call__(self, batch: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Return the batch with the added columns, its rows in their order.

        In a row that failed, the added columns are empty, and ``error`` says why. An answer that a limit has cut has an
        ``error`` too. Raises ``RuntimeError`` for what concerns all rows, such as a model that is not on this node.
        """
        with _plain_errors():
            task = self._task = self._task or self._start()
            names = self._name_columns(task, batch)
            added = self._run(task, batch)
        return {**batch, **{names[name]: column for name, column in added.items()}}

    def close(self) -> None:
        """Close the connection to the worker. The end of the process does so too."""
        if self._runtime is not None:
            self._runtime.close()
        self._runtime = self._task = None

    @abstractmethod
    def _make_task(self, runtime: Runtime) -> RecordProcessor:
        """Return the task of the verb."""

    def _start(self) -> RecordProcessor:
        self._runtime = runtime = self._build_runtime(self._given)
        return self._make_task(runtime)

    def _build_runtime(self, given: Mapping[str, tuple[str, Any]]) -> Runtime:
        interrupt = Interrupt()
        # Ray sets this one, and a worker with other variables than those of the shell would be another one
        environ = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
        runtime = Runtime(given, environ, interrupt, _LoggingObserver(), verb=self._verb, needs=self._needs)
        runtime.input_characters = None  # a batch is a part of the input
        interrupt.deadline = None  # the setting ``timeout`` is for one command
        return runtime

    def _name_columns(self, task: RecordProcessor, batch: Mapping[str, np.ndarray]) -> dict[str, str]:
        """Return the names of the added columns, by those that the task gives them.

        Raises ``UsageError`` for a clash.
        """
        added = (*task.columns, ERROR_COLUMN)
        unknown = [name for name in self._rename if name not in added]
        if unknown:
            raise UsageError(f"rename: there is no column {', '.join(unknown)}", detail=f"Added are {', '.join(added)}")
        names = {name: self._rename.get(name, name) for name in added}
        clashes = [name for name, new in names.items() if new in batch]
        if clashes:
            advice = f"Give the added ones other names: rename={ {name: f'{self._verb}_{name}' for name in clashes} }"
            raise UsageError(f"the batch already has the columns {', '.join(clashes)}", detail=advice)
        return names

    def _run(self, task: RecordProcessor, batch: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        assert self._runtime is not None
        kinds = {**task.columns, ERROR_COLUMN: str}
        columns: dict[str, list[Any]] = {name: [] for name in kinds}
        choice = self._choice.resolve(RecordSchema("batch", tuple(batch)))
        events = run_records(self._runtime.backend(), _read_records(batch, choice), task)
        for event in add_scoring_notices(events, labels=self._needs.labels):
            if isinstance(event, Notice):
                self._note(event.text)
            if not isinstance(event, Result | ItemFailed):
                continue
            row = _make_row(task, event)
            for name, values in columns.items():
                values.append(row.get(name))
        return {name: self._make_column(values, kinds[name]) for name, values in columns.items()}

    def _make_column(self, values: Sequence[Any], kind: ColumnType) -> np.ndarray:
        """Return an array.

        A missing text is empty and a missing number NaN, so that all batches have the same types.
        """
        import numpy as np

        if kind is float:
            return np.array([np.nan if value is None else value for value in values], dtype=np.float64)
        column = np.empty(len(values), dtype=object)
        column[:] = ["" if value is None and kind is str else value for value in values]
        return column

    def _note(self, text: str) -> None:
        """Log what every batch would say, once."""
        if text not in self._noted:
            self._noted.add(text)
            _logger.warning(text)


class Classify(_BatchCallable):
    """Gives each row one of several labels: ``label``, ``p_LABEL`` for each, and ``margin``, as ``llm classify`` does.

    ``labels``: names, or a mapping from names to descriptions, or to mappings with ``description`` and ``examples``.
    ``multi``: all labels that apply. ``threshold`` is the least probability of a label; without ``multi``, it adds
    ``abstain``. ``calibration`` names one that the node has.
    """

    _verb, _needs = "classify", LABELS

    def __init__(
        self,
        labels: Sequence[str] | Mapping[str, Any],
        *,
        multi: bool = False,
        threshold: float | None = None,
        calibration: str | None = None,
        **common: Unpack[CommonOptions],
    ) -> None:
        super().__init__(**common)
        if multi and calibration is not None:
            raise ValueError("calibration is for labels that exclude each other; leave out multi")
        with _plain_errors():
            self._labels = parse_label_tree(dict(labels) if isinstance(labels, Mapping) else [*labels], "labels")
        self._multi = multi
        self._options = LabelOptions(threshold)
        self._calibration = calibration

    def _make_task(self, runtime: Runtime) -> RecordProcessor:
        make_spec, prompt = (MultiLabelSpec, MULTI_LABEL_PROMPT) if self._multi else (ClassifySpec, PROMPT)
        spec = make_spec(runtime.prompts.get(prompt), self._labels, self._options)
        calibrator = None if self._calibration is None else self._open_calibration(runtime, spec, self._calibration)
        return spec.make_task(
            spec.make_scorer(runtime.backend(), GenerationOptions(), runtime.prior_directory, calibrator)
        )

    def _open_calibration(self, runtime: Runtime, spec: ClassifySpec, name: str) -> LabelCalibrator | None:
        """Return the calibrator of a saved calibration, with whose weights the model answers; None if it gains nothing.

        Raises ``ConfigError`` for a calibration that was made with other settings.
        """
        from llmcli.tasks.calibration.calibration_store import CalibrationStore
        from llmcli.tasks.calibration.label_calibration import CalibratedScores

        stored = CalibrationStore(runtime.paths.calibrations).load(name)
        if stored.weights is not None:
            runtime.pin_weights(stored.weights, f"{CALIBRATION_ORIGIN}{name}")
        identity = spec.identity(runtime.backend().info().model_id, runtime.weights)
        stored.require_identity(name, identity, is_remote=runtime.is_remote)
        answering = [*stored.answering().values()]
        if not answering:
            self._note(f"the calibration {name} gains nothing, so the model answers without it")
            return None
        return CalibratedScores(answering[0].calibration)


class Ask(_BatchCallable):
    """Answers a question about each row in ``answer``, or each row that is a question, as ``llm ask --column`` does.

    ``prompt`` names a prompt of your own on the node, with the values of its ``variables``; its column is
    ``generated``. ``system`` holds instructions. ``temperature`` and ``seed`` are as the options of ``llm ask``.
    """

    _verb, _needs = "ask", QUESTION

    def __init__(
        self,
        question: str | None = None,
        *,
        prompt: str | None = None,
        variables: Mapping[str, str] | None = None,
        system: str = "",
        temperature: float | None = None,
        seed: int | None = None,
        **common: Unpack[CommonOptions],
    ) -> None:
        super().__init__(**common, needs_text=prompt is None)
        if variables and prompt is None:
            raise ValueError("variables need a prompt")
        self._question = question
        self._prompt = prompt
        self._variables = dict(variables or {})
        self._generation = GenerationOptions(system=system, temperature=temperature, seed=seed)

    def _make_task(self, runtime: Runtime) -> RecordProcessor:
        from llmcli.fast_dataclass import replace
        from llmcli.tasks.ask import AskTask, ask_prompt

        settings, backend = runtime.settings, runtime.backend()
        limit = settings["max_tokens"]
        options = replace(
            self._generation,
            max_tokens=None if limit == "auto" else limit,
            stop_repetition=settings["stop_repetition"],
        )
        if self._prompt is None:
            return AskTask(backend, ask_prompt(runtime.prompts, self._question), self._question, options)
        from llmcli.prompts.prompt_library import find_own_prompt
        from llmcli.tasks.ask.prompted_question import fill_record_variables
        from llmcli.tasks.generate import GenerateTask

        prompt = find_own_prompt(runtime.prompts, self._prompt)
        values = fill_record_variables(prompt, self._variables, self._question)
        return GenerateTask(backend, prompt, values, options, has_text=bool(self._choice.columns))


class Embed(_BatchCallable):
    """Computes the vector of each row in ``embedding``, as ``llm embed`` does: 32-bit floats, NaN for a blank row.

    ``pooling`` is ``mean`` or ``last``. ``normalizes``: vectors have length 1. The setting ``embedding_model`` names
    the model, unless ``model`` does.
    """

    _verb, _needs = "embed", READING

    def __init__(self, *, pooling: str = "mean", normalizes: bool = True, **common: Unpack[CommonOptions]) -> None:
        from llmcli.tasks.embed import Pooling

        super().__init__(**common)
        self._pooling = Pooling(pooling)
        self._normalizes = normalizes
        self._width = 0

    def _build_runtime(self, given: Mapping[str, tuple[str, Any]]) -> Runtime:
        runtime = super()._build_runtime(given)
        name = runtime.settings["embedding_model"]
        if name is None or runtime.model_name is not None or runtime.is_remote:
            return runtime
        return super()._build_runtime({**given, "model": ("embedding_model", name)})

    def _make_task(self, runtime: Runtime) -> RecordProcessor:
        from llmcli.tasks.embed import EmbedTask

        options = GenerationOptions()
        return EmbedTask(runtime.backend(), options, pooling=self._pooling, normalizes=self._normalizes)

    def _make_column(self, values: Sequence[Any], kind: ColumnType) -> np.ndarray:
        """Return vectors as a matrix: Ray pickles a column of lists that has None, too."""
        if kind is not list:
            return super()._make_column(values, kind)
        import numpy as np

        found = [value for value in values if value is not None]
        self._width = len(found[0]) if found else self._width or self._measure_width()
        matrix = np.full((len(values), self._width), np.nan, dtype=np.float32)
        for row, value in zip(matrix, values, strict=True):
            if value is not None:
                row[:] = value
        return matrix

    def _measure_width(self) -> int:
        """Return the width of the model's vectors, for a batch without any. Raises the failure of the request."""
        from llmcli.tasks.embed import EMBEDDING_COLUMN

        assert self._runtime is not None
        assert self._task is not None
        for event in run_records(self._runtime.backend(), [Record(0, "width", 1)], self._task):
            if isinstance(event, ItemFailed):
                raise event.error
            if isinstance(event, Result):
                return len(event.fields[EMBEDDING_COLUMN])
        raise InternalError(detail="no vector")


# ---- batches ------------------------------------------------------------------------------------------------------


def _read_records(batch: Mapping[str, np.ndarray], choice: TextChoice) -> list[Record]:
    """Return a record for each row of a batch."""
    columns = [[_python_value(value) for value in column.tolist()] for column in batch.values()]
    records = []
    for index, values in enumerate(zip(*columns, strict=True)):
        record = Record(index, "", index + 1, fields=dict(zip(batch, values, strict=True)))
        choice.apply(record)
        records.append(record)
    return records


def _python_value(value: Any) -> Any:
    """Return an element of an array as Python has it; Ray writes a missing number as NaN."""
    import numpy as np

    if isinstance(value, np.ndarray):
        return value.tolist()
    return None if isinstance(value, float) and value != value else value  # noqa: PLR0124 (only NaN differs from itself)


def _make_row(task: RecordProcessor, outcome: Result | ItemFailed) -> dict[str, Any]:
    if isinstance(outcome, ItemFailed):
        return {ERROR_COLUMN: error_messages.describe(outcome.error)[0]}
    incomplete = "" if outcome.incomplete is None else error_messages.describe(outcome.incomplete)[0]
    return {**task.row(outcome), ERROR_COLUMN: incomplete}


# ---- errors and reports -------------------------------------------------------------------------------------------


@contextmanager
def _plain_errors() -> Iterator[None]:
    """Raise an ``LlmError`` as a ``RuntimeError`` with its message: Ray pickles errors, and shows what they say."""
    try:
        yield
    except LlmError as error:
        raise RuntimeError(". ".join(filter(None, error_messages.describe(error)))) from error


class _LoggingObserver:
    """Logs the reports of a run, which Ray shows the user, and answers no to its questions."""

    wants_progress = is_watched = shows_variants = False

    def explain(self, text: str) -> None:
        """Log what explains a choice."""
        _logger.info(text)

    def warn(self, text: str) -> None:
        """Log a warning."""
        _logger.warning(text)

    def report_progress(self, progress: Progress) -> None:
        """Ignore it: Ray shows its own."""

    def waiting(self, phase: Phase, label: str) -> AbstractContextManager[None]:
        """Return a context manager that does nothing."""
        del phase, label
        return nullcontext()

    def server_used(self, server: ServerConfig) -> None:
        """Log which server gets text."""
        _logger.info("text is sent to %s", server.label)

    def worker_unavailable(self, error: LlmError) -> None:
        """Log why each actor loads the model itself."""
        _logger.warning("no worker, so the model runs in this process: %s", error_messages.describe(error)[0])

    def engine_used(self, library: EngineLibrary) -> None:
        """Ignore it."""

    def model_used(self, model: ModelFile, models: ModelLibrary) -> None:
        """Log which model answers."""
        del models
        _logger.info("model %s, file %s", model.name, model.path)

    def show_model_events(self, events: Iterable[ModelEvent]) -> ModelFile:
        """Consume the events and return the model."""
        *_, model = events
        return model  # type: ignore[return-value]  # the last event

    def confirm_download(self, missing: ModelNotDownloaded) -> bool:
        """Refuse; the setting ``pull`` allows it."""
        del missing
        return False

    def confirm_engine(self, what: str) -> bool:
        """Refuse."""
        del what
        return False

    def show_installation(self, events: Generator[Progress, None, EngineLibrary]) -> EngineLibrary:
        """Consume the progress and return the library."""
        while True:
            try:
                next(events)
            except StopIteration as end:
                library: EngineLibrary = end.value
                return library

    def choose_first_model(self, models: ModelLibrary, policy: Callable[[], FitPolicy], verb: str) -> str | None:
        """Choose none: the default one is meant."""
        del models, policy, verb
        return None

    def confirm_consent(self, hosts: Sequence[str]) -> bool:
        """Refuse; ``consent`` in the configuration of a server allows it."""
        del hosts
        return False
