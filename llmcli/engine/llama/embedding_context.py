"""A context whose outputs are hidden states instead of logits, for one sequence."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llmcli.engine.llama.context import Context, ContextConfig
from llmcli.engine.llama.model import Model
from llmcli.errors import Unsupported

POOLING_NONE, POOLING_RANK = 0, 4
"""Numbers of ``enum llama_pooling_type``."""
_POOLING_UNSPECIFIED = -1  # as in the file
_FLASH_ATTENTION_AUTO = -1


class EmbeddingContext(Context):
    """Evaluates sequence 0 only; every token has an output. ``uses_pooling``: llama.cpp returns one vector a text."""

    def __init__(
        self, model: Model, config: ContextConfig, should_abort: Callable[[], bool], *, uses_pooling: bool
    ) -> None:
        """Raises ``OutOfMemory`` or ``Unsupported``."""
        self._uses_pooling = uses_pooling
        super().__init__(model, config, should_abort)

    @property
    def _purpose(self) -> str:
        return "embeddings"

    @staticmethod
    def _count_outputs(config: ContextConfig) -> int:
        return config.batch

    def _make_params(self) -> Any:
        params = self._make_basic_params()
        params.n_outputs_max_per_seq = self.max_outputs
        params.flash_attn_type = _FLASH_ATTENTION_AUTO
        params.embeddings = True
        params.pooling_type = _POOLING_UNSPECIFIED if self._uses_pooling else POOLING_NONE
        return params

    def clear(self) -> None:
        """Clear its memory; an encoder has none."""
        if self.memory:
            self._lib.llama_memory_clear(self.memory, False)

    def read_state(self) -> list[float]:
        """Return the pooled vector of the evaluated text, else the sum of the last batch's states."""
        return self._read_pooled() if self._uses_pooling else self._sum_states()

    @property
    def _dimension(self) -> int:
        return int(self._lib.llama_model_n_embd(self.model.handle))

    def _read_pooled(self) -> list[float]:
        row = self._lib.llama_get_embeddings_seq(self.handle, 0)
        if not row:
            raise Unsupported("embeddings", detail="the model gives none for a whole text")
        return list(row[: self._dimension])

    def _sum_states(self) -> list[float]:
        import numpy as np

        shape = (self._dimension,)
        rows = [
            np.ctypeslib.as_array(self._lib.llama_get_embeddings_ith(self.handle, i), shape)
            for i in range(self.batch.size)
        ]
        total: Any = np.stack(rows).sum(axis=0, dtype=np.float64)
        return [float(number) for number in total]
