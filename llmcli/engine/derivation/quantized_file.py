"""Writing a quantized model file of the user's own, in llama.cpp's usual mixture of types."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from llmcli.engine.derivation.derivation import quantizer_error, run_quantizer
from llmcli.engine.derivation.quantize_child import EXIT_QUANTIZE_FAILED, NEEDS_MATRIX, QuantizerMode
from llmcli.errors import Unsupported, UsageError
from llmcli.interrupt import Interrupt
from llmcli.models.gguf.header import Header

_OTHER_TYPES = "Try: --type iq3_s, or for the smallest file: --type q2_k"
_MIB = 1 << 20
_ROUNDING_BYTES = _MIB // 100
"""llama.cpp prints a size in MiB with two decimals."""
_HEADER_GROWTH_BYTES = 1024
_MAX_PADDING_BYTES = 32
"""After each tensor (``GGUF_DEFAULT_ALIGNMENT``)."""


def estimate_bytes(source: Path, header: Header, quantization: str, interrupt: Interrupt) -> int:
    """Return the bytes that ``source``, which has this header, takes at most in a type; llama.cpp computes it.

    Raises ``UsageError`` if the type needs an importance matrix, ``Unsupported`` if the model cannot be stored in it,
    as ``quantizer_error`` says, and as ``interrupt.check``.
    """
    code, answer = run_quantizer(source, "", quantization, QuantizerMode.ESTIMATE, on_poll=interrupt.check)
    if code == EXIT_QUANTIZE_FAILED:
        raise Unsupported(f"{quantization} for {source}", detail=answer)
    if code:
        raise quantizer_error(code, answer, f"quantizing {source}", source.parent, 0)
    size, _, matrix = answer.partition(" ")
    if matrix == NEEDS_MATRIX:
        raise UsageError(f"{quantization} needs an importance matrix, which llm cannot read", detail=_OTHER_TYPES)
    padding = _MAX_PADDING_BYTES * len(header.tensors)
    return int(float(size) * _MIB) + _ROUNDING_BYTES + header.data_offset + _HEADER_GROWTH_BYTES + padding


def write_quantized(
    source: Path, descriptor: int, quantization: str, expected: int, on_poll: Callable[[], None]
) -> None:
    """Write ``source`` in a type to the open file ``descriptor``, with all cores; ``expected`` bytes.

    ``on_poll`` is called some times a second; what it raises ends the writing at once. Raises as ``quantizer_error`` says.
    """
    target = f"/dev/fd/{descriptor}"
    mode = QuantizerMode.MIXTURE
    code, reason = run_quantizer(source, target, quantization, mode, on_poll=on_poll, pass_fds=(descriptor,))
    if code:
        raise quantizer_error(code, reason, f"quantizing {source}", Path(target).resolve().parent, expected)
