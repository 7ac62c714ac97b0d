"""embed: each record becomes a vector, from the hidden states of its text; nothing is generated."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from functools import cached_property
from typing import Any

from llmcli.backends.base import Backend
from llmcli.documents.records.record import ColumnType, Record
from llmcli.errors import Unsupported
from llmcli.state_layers import vector_layers
from llmcli.tasks.runner.record_runner import RecordProcessor
from llmcli.tasks.runner.task_requests import GenerationOptions
from llmcli.tasks.runner.task_run import TaskRun
from llmcli.types import Priority, Request, Result

EMBEDDING_COLUMN, FILE_COLUMN = "embedding", "file"
_DIGITS = 8
"""Decimals of a component: about what 32-bit floats of a vector of length 1 have."""


class Pooling(StrEnum):
    """Which states become the vector: the mean over the tokens, or that of the last one."""

    MEAN = "mean"
    LAST = "last"


class EmbedTask(RecordProcessor):
    """Computes the vector of each record's text; the column is ``embedding``.

    ``normalizes``: vectors have length 1. ``names_files``: a column ``file`` names the input of each record.
    """

    def __init__(
        self,
        backend: Backend,
        options: GenerationOptions,
        *,
        pooling: Pooling = Pooling.MEAN,
        normalizes: bool = True,
        names_files: bool = False,
    ) -> None:
        self.columns: Mapping[str, ColumnType] = {**({FILE_COLUMN: str} if names_files else {}), EMBEDDING_COLUMN: list}
        self._backend = backend
        self._options = options
        self._pooling = pooling
        self._normalizes = normalizes

    @cached_property
    def _layers(self) -> tuple[int, ...]:
        return vector_layers(self._backend.info())

    async def process(self, run: TaskRun, record: Record) -> Result:
        """Return the vector of a record.

        Raises ``Unsupported`` without hidden states, and the failure of the request.
        """
        request = Request(
            str(record.index),
            (),
            prompt=record.text,
            priority=self._options.priority or Priority.BULK,
            deadline=self._options.deadline,
            hidden_states=True,
            state_layers=self._layers,
        )
        states = (await run.ask(request)).states
        if states is None:
            raise Unsupported("hidden states", detail="the server reports none")
        pooled = states.mean if self._pooling is Pooling.MEAN else states.last
        return run.result(None, {EMBEDDING_COLUMN: read_vector(pooled, normalizes=self._normalizes)})

    def blank_result(self, record: Record) -> Result:
        """Return the result of a record without text, which has no vector."""
        model = self._backend.info().model
        return Result(record.index, record.name, None, {EMBEDDING_COLUMN: None}, model=model, blank=True)

    def row(self, result: Result) -> Mapping[str, Any]:
        """Return the vector, and the file."""
        row = {FILE_COLUMN: result.record.file, EMBEDDING_COLUMN: result.fields[EMBEDDING_COLUMN]}
        return {name: row[name] for name in self.columns}

    def line(self, result: Result) -> str:
        """Return the components with blanks between them."""
        return " ".join(map(str, result.fields[EMBEDDING_COLUMN] or ()))


def read_vector(states: bytes, *, normalizes: bool) -> list[float]:
    """Return the components of little-endian 32-bit floats, divided by their Euclidean norm if ``normalizes``."""
    import numpy as np

    vector = np.frombuffer(states, dtype="<f4").astype(np.float64)
    norm = float(np.linalg.norm(vector)) if normalizes else 1.0
    return [round(each, _DIGITS) for each in (vector / (norm or 1.0)).tolist()]
