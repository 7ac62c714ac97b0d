"""A context of an embedding model, whose output is one vector for a whole text."""

from __future__ import annotations

from typing import Any

from llmcli.engine.llama import bindings
from llmcli.engine.llama.context import Context, ContextConfig
from llmcli.errors import Unsupported

POOLING_RANK = 4
"""``LLAMA_POOLING_TYPE_RANK``: of a model that ranks texts."""
_POOLING_UNSPECIFIED = -1  # as in the file
_FLASH_ATTENTION_AUTO = -1


class EmbeddingContext(Context):
    """Evaluates sequence 0 only, a whole text in one batch; llama.cpp pools as the model's file says."""

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
        params.pooling_type = _POOLING_UNSPECIFIED
        return params

    def read_states(self) -> Any:
        """Return the pooled vector of the evaluated text, (1, width) float32: a view until the next evaluation."""
        row = self._lib.llama_get_embeddings_seq(self.handle, 0)
        if not row:
            raise Unsupported("embeddings", detail="the model gives none for a whole text")
        return bindings.float_array(row, (1, int(self._lib.llama_model_n_embd(self.model.handle))))
