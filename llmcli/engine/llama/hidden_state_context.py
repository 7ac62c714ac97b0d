"""A context that gives the hidden state of every token it evaluates, without multiplying the output matrix for each.

With ``embeddings`` set, llama.cpp returns the states of all tokens of a batch in order (``llama_get_embeddings``), but
it also computes logits for all of them: a quarter of a prompt's time with 49,000 tokens in the vocabulary and 30 layers
of 576 numbers, more than all the rest with 262,000 tokens. Where no logits are needed, the evaluation therefore ends
after the tensor of the states (``ggml_backend_sched`` stops when the evaluation callback returns false). Everything that
later tokens need is in memory by then.

llama.cpp nevertheless allocates and clears room for the logits of each token of a batch, and copies the logits that were
not computed into it. So a batch of many tokens takes memory where the vocabulary is large, and one of few tokens takes
time, since all weights are read from memory for each batch: with gemma-3-270m in BF16 and two threads, a prompt of 512
tokens takes 1.67 times as long as without states in batches of 64 tokens, 1.21 with 128, and 1.17 with 256.

States depend on the batch by no more than rounding. They are identical as long as llama.cpp picks the same kernels (64
tokens or more with flash attention); another kernel changes the mean state by 1% and a token's state by 5% in the
quantized gemma-3-270m, whose activations are rounded to 8 bits, and by 0.1% and 0.5% with its weights in BF16.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llmcli.engine.llama import bindings
from llmcli.engine.llama.context import Context, ContextConfig
from llmcli.engine.llama.model import Model

POOLING_NONE = 0
"""``LLAMA_POOLING_TYPE_NONE``: one state for each token."""
_STATE_TENSORS = (b"result_norm", b"result_embd_pooled")
"""The names of the tensor of states; llama.cpp gives it the second one if it does not pool."""
_NO_LOGITS_ARCHITECTURES = frozenset({"lfm2", "lfm2moe"})
"""Architectures whose graph has no output matrix if ``embeddings`` is set."""


class HiddenStateContext(Context):
    """Evaluates all tokens of a batch to their states, and to logits as well if ``needs_logits``."""

    def __init__(self, model: Model, config: ContextConfig, should_abort: Callable[[], bool]) -> None:
        """Raises as ``Context``."""
        self.needs_logits = False
        self._callback = bindings.lib().ggml_backend_sched_eval_callback(self._visit_tensor)
        super().__init__(model, config, should_abort, self._callback)
        self.width = int(self._lib.llama_model_n_embd(model.handle))

    @staticmethod
    def _count_outputs(config: ContextConfig) -> int:
        return max(config.sequences, config.batch)

    def _make_params(self) -> Any:
        params = super()._make_params()
        params.embeddings = True
        params.pooling_type = POOLING_NONE
        return params

    @property
    def _is_prefill(self) -> bool:
        return not self.needs_logits

    def _visit_tensor(self, tensor: int, ask: bool, _data: object) -> bool:
        """Let everything be computed (``ask`` true: whether to pause after a tensor), or end after the states."""
        if self.needs_logits or bindings.tensor_name(tensor) not in _STATE_TENSORS:
            return not ask
        return ask

    def read_states(self) -> Any:
        """Return the states of the evaluated batch, (tokens, width) float32: a view until the next evaluation."""
        return bindings.float_array(self._lib.llama_get_embeddings(self.handle), (self.batch.size, self.width))


def computes_logits_too(model: Model) -> bool:
    """Return whether one evaluation can give states and logits."""
    return model.header.architecture not in _NO_LOGITS_ARCHITECTURES
