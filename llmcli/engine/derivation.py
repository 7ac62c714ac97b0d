"""Makes a copy of a model in another type, in a child process that can be killed at any moment.

A copy is llm's own or a file of the user's. The types, and how many bytes they take, are listed here.
"""

from __future__ import annotations

import errno
import math
import os
import signal
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO

from llmcli import child_processes
from llmcli.engine import quantize_child
from llmcli.engine.llama import hardware, weights_file
from llmcli.engine.quantize_child import EXIT_QUANTIZE_FAILED, NEEDS_MATRIX, QuantizerMode
from llmcli.errors import InternalError, LlmError, OutOfMemory, OutputError, TemporaryFailure, Unsupported, UsageError
from llmcli.errors.model_errors import DerivationRefused, DerivedWeightsMissing
from llmcli.fast_dataclass import frozen
from llmcli.interrupt import Interrupt
from llmcli.models.files.file_bytes import file_size
from llmcli.models.files.names import part_names
from llmcli.models.gguf.header import Header, TensorInfo
from llmcli.models.gguf.header_parser import load_checked_header
from llmcli.models.gguf.tensor_types import TENSOR_TYPES
from llmcli.models.library.derived_weights import DerivedCopy, DerivedKey, DerivedWeightsStore
from llmcli.settings import ORIGINAL_WEIGHTS

_CHILD_MODULE = "llmcli.engine.quantize_child"
_POLL_S = 0.05
"""Seconds between checks of the interrupt and reports of progress."""
_SMALL_REST_BYTES = 1 << 20
"""A disk with less free space than this counts as full."""
_MAX_MESSAGE_BYTES = 4000
_STREAM_FAILURE = "iostream error"
"""What llama.cpp reports when a write fails, for example beyond RLIMIT_FSIZE: libstdc++'s text, without the cause."""


@frozen
class DerivationSource:
    """The verified file of a model, called ``name``, with its SHA-256.

    A split model is read from its first part, and the hash is that of all parts (``ModelFile.weights_sha256``).
    """

    path: Path
    name: str
    sha256: str

    def key(self, weights: str) -> DerivedKey:
        """Return the key of the copy in a type on this machine."""
        return weights_file.derived_key(self.sha256, weights)

    def fingerprint(self) -> tuple[int, ...]:
        """Return what changes when a file is replaced or written. Raises ``OSError``."""
        parts = [self.path.with_name(name).stat() for name in part_names(self.path.name)]
        return tuple(value for part in parts for value in (part.st_dev, part.st_ino, part.st_size, part.st_mtime_ns))


def derive_copy(
    source: DerivationSource,
    weights: str,
    store: DerivedWeightsStore,
    interrupt: Interrupt,
    *,
    background: bool = False,
    on_progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> DerivedCopy:
    """Return the copy of a model in a type, made first unless ``store`` has it; one process at a time makes it.

    ``interrupt``: its request ends the child at once.
    ``background``: the child has the lowest priority.
    ``on_progress``: gets the bytes written and expected.

    Raises ``DerivationRefused``, ``NoRoomForWeights``, ``OutputError`` (a full disk too), ``TemporaryFailure``,
    ``DerivedWeightsMissing``, ``Unsupported``, ``OutOfMemory``, ``InternalError`` with llama.cpp's reason,
    ``BadModelFile``, ``MissingError``, and as ``interrupt.check``. No half copy stays behind.
    """
    key = source.key(weights)
    found = store.find(key, interrupt)
    if found is not None:
        return found
    header = _checked_source(source, weights)
    expected = derived_bytes(header, weights)
    with store.claim(key, interrupt.check) as temporary:
        if temporary is None:  # another process made it meanwhile
            found = store.find(key, interrupt)
            if found is None:
                raise DerivedWeightsMissing(source.name, weights=weights)
            return found
        store.make_room(_describe_copy(source, weights), expected)
        before = source.fingerprint()

        def report() -> None:
            interrupt.check()
            on_progress(min(file_size(temporary), expected), expected)

        code, reason = _run_child(source, temporary, weights, background=background, on_poll=report)
        if code:
            raise _quantizer_error(code, reason, f"copying {source.name}", temporary.parent, expected)
        try:
            unchanged = source.fingerprint() == before
        except OSError:
            unchanged = False
        if not unchanged:
            raise TemporaryFailure(
                source.name,
                message="the file of {subject} changed while it was being copied",
                advice="Try again.",
                type_name="SourceChanged",
            )
        return store.add(key, source.name, temporary, interrupt)


def _describe_copy(source: DerivationSource, weights: str) -> str:
    return f"{source.name} in {weights}"


def _checked_source(source: DerivationSource, weights: str) -> Header:
    header = load_checked_header(source.path)
    reason = refusal_reason(header, weights)
    if reason:
        raise DerivationRefused(_describe_copy(source, weights), detail=reason)
    return header


def _run_child(
    source: DerivationSource, temporary: Path, weights: str, *, background: bool, on_poll: Callable[[], None]
) -> tuple[int, str]:
    """Write the copy as ``run_quantizer`` does, in one type: mixtures are meant for small files."""
    target, mode = str(temporary.absolute()), QuantizerMode.PURE
    return run_quantizer(source.path, target, weights, mode, background=background, on_poll=on_poll)


def run_quantizer(
    source: Path,
    target: str,
    weights: str,
    mode: QuantizerMode,
    *,
    on_poll: Callable[[], None],
    background: bool = False,
    pass_fds: Sequence[int] = (),
    removed_layers: Sequence[int] = (),
) -> tuple[int, str]:
    """Write the model ``source`` in a type of ``QUANTIZATIONS`` to the path ``target``, in a child process.

    ``mode``, ``removed_layers``: as for ``quantize_child.quantize``.
    ``on_poll``: called some times a second; what it raises ends the child at once.
    ``background``: the child has the lowest priority.
    ``pass_fds``: descriptors that the child inherits.

    Return its exit code, as in ``Popen.returncode``, and its last message.
    """
    threads = 1 if background else hardware.detect_cores().max_threads
    priority = "background" if background else "normal"
    arguments = (str(source.absolute()), target, weights, str(threads), priority, mode, *map(str, removed_layers))
    with tempfile.TemporaryFile() as messages:
        child = subprocess.Popen(  # noqa: S603 (our own module)
            child_processes.module_command(_CHILD_MODULE, *arguments),
            stdin=subprocess.PIPE,  # its end tells the child that this process has ended
            stdout=subprocess.DEVNULL,
            stderr=messages,
            cwd="/",
            env=child_processes.child_env(os.environ),
            pass_fds=pass_fds,
            start_new_session=True,
        )
        with child:
            try:
                code = None
                while code is None:
                    on_poll()
                    with suppress(subprocess.TimeoutExpired):
                        code = child.wait(_POLL_S)
            finally:
                child.kill()
        return code, _last_line(messages)


def write_slice(
    source: DerivationSource,
    target: Path,
    weights: str,
    layers: int,
    *,
    on_poll: Callable[[], None],
    background: bool = False,
) -> None:
    """Write the first ``layers`` layers of a model to ``target``, in a type or "original".

    ``on_poll``, ``background``: as for ``run_quantizer``.

    Raises as ``_quantizer_error`` says, ``BadModelFile``, ``MissingError``, and what ``on_poll`` raises.
    """
    header = load_checked_header(source.path)
    mode = QuantizerMode.COPY if weights == ORIGINAL_WEIGHTS else QuantizerMode.PURE
    removed = range(layers, header.block_count or 0)
    code, reason = run_quantizer(
        source.path,
        str(target.absolute()),
        weights,
        mode,
        on_poll=on_poll,
        background=background,
        removed_layers=removed,
    )
    if code:
        size = header.size if weights == ORIGINAL_WEIGHTS else derived_bytes(header, weights)
        raise _quantizer_error(code, reason, f"copying {source.name}", target.parent, size)


def _last_line(messages: IO[bytes]) -> str:
    size = messages.seek(0, os.SEEK_END)
    messages.seek(max(0, size - _MAX_MESSAGE_BYTES))
    lines = [line.strip() for line in messages.read().decode("utf-8", "replace").splitlines() if line.strip()]
    return lines[-1] if lines else ""


def _quantizer_error(code: int, reason: str, subject: str, directory: Path, expected: int) -> LlmError:
    """Return the error of a child that ended with ``code``; it wrote ``expected`` bytes into ``directory``."""
    if code == -signal.SIGKILL:
        return OutOfMemory(subject, needed=expected, detail="the system killed the process that made the copy")
    if code == -signal.SIGILL:
        return Unsupported("llama.cpp", detail="llama-cpp-python was built for another processor")
    if code == quantize_child.EXIT_UNSUPPORTED:
        return Unsupported("llama.cpp", detail=reason)
    if code == quantize_child.EXIT_QUANTIZE_FAILED and _is_full(directory):
        return OutputError(str(directory), detail=os.strerror(errno.ENOSPC))
    if code == quantize_child.EXIT_QUANTIZE_FAILED and _STREAM_FAILURE in reason:
        return OutputError(
            str(directory), detail=f"the system refuses a file of {expected} bytes (ulimit -f, a quota?)"
        )
    if code < 0:
        reason = reason or signal.strsignal(-code) or f"signal {-code}"
    return InternalError(subject, detail=reason or f"it exited with code {code}")


def _is_full(directory: Path) -> bool:
    """Return whether the disk of a directory has no space left; llama.cpp does not say so."""
    try:
        status = os.statvfs(directory)
    except OSError:
        return False
    return status.f_bavail * status.f_frsize < _SMALL_REST_BYTES


_OTHER_TYPES = "Try: --type iq3_s, or for the smallest file: --type q2_k"
_MIB = 1 << 20
_ROUNDING_BYTES = _MIB // 100
"""llama.cpp prints a size in MiB with two decimals."""
_HEADER_GROWTH_BYTES = 1024
"""More than the keys that the quantizer adds to the header."""
_ALIGNMENT = 32
"""Bytes: the quantizer aligns tensors so (``GGUF_DEFAULT_ALIGNMENT``)."""


def estimate_bytes(source: Path, header: Header, quantization: str, interrupt: Interrupt) -> int:
    """Return the bytes that ``source``, which has this header, takes at most in a type; llama.cpp computes it.

    Raises ``UsageError`` if the type needs an importance matrix, ``Unsupported`` if the model cannot be stored in it,
    as ``_quantizer_error`` says, and as ``interrupt.check``.
    """
    code, answer = run_quantizer(source, "", quantization, QuantizerMode.ESTIMATE, on_poll=interrupt.check)
    if code == EXIT_QUANTIZE_FAILED:
        raise Unsupported(f"{quantization} for {source}", detail=answer)
    if code:
        raise _quantizer_error(code, answer, f"quantizing {source}", source.parent, 0)
    size, _, matrix = answer.partition(" ")
    if matrix == NEEDS_MATRIX:
        raise UsageError(f"{quantization} needs an importance matrix, which llm cannot read", detail=_OTHER_TYPES)
    padding = _ALIGNMENT * len(header.tensors)
    return int(float(size) * _MIB) + _ROUNDING_BYTES + header.data_offset + _HEADER_GROWTH_BYTES + padding


def write_quantized(
    source: Path, descriptor: int, quantization: str, expected: int, on_poll: Callable[[], None]
) -> None:
    """Write ``source`` in a type to the open file ``descriptor``, with all cores; ``expected`` bytes.

    ``on_poll`` is called some times a second; what it raises ends the writing at once. Raises as ``_quantizer_error``
    says.
    """
    target = f"/dev/fd/{descriptor}"
    mode = QuantizerMode.MIXTURE
    code, reason = run_quantizer(source, target, quantization, mode, on_poll=on_poll, pass_fds=(descriptor,))
    if code:
        raise _quantizer_error(code, reason, f"quantizing {source}", Path(target).resolve().parent, expected)


_KEPT_NAMES = (
    "_norm.weight",
    "ffn_gate_inp.weight",
    "altup",
    "laurel",
    "per_layer_model_proj",
    "position_embd.weight",
    "token_types.weight",
    "ssm_conv1d",
    "shortconv.conv.weight",
    "time_mix_",
    "attn_rel_b.weight",
)
"""Parts of the names of matrices that the quantizer leaves as they are."""


def refusal_reason(header: Header, weights: str) -> str:
    """Return why a model with this header cannot be stored in a type, "" if it can."""
    if is_stored_as(header, weights):
        return f"its weights are {weights} already"
    return ""


def is_stored_as(header: Header, weights: str) -> bool:
    """Return whether all tensors that the quantizer would convert are of this type already."""
    return all(tensor.type == weights.upper() for tensor in header.tensors if _is_converted(tensor))


def derived_bytes(header: Header, weights: str) -> int:
    """Return the bytes of a copy of the model in a type; for rare architectures it is an estimate."""
    return (
        _HEADER_GROWTH_BYTES
        + header.data_offset
        + sum(-(-_tensor_bytes(tensor, weights) // _ALIGNMENT) * _ALIGNMENT for tensor in header.tensors)
    )


def _tensor_bytes(tensor: TensorInfo, weights: str) -> int:
    if not _is_converted(tensor):
        return tensor.nbytes
    block, block_bytes = next(sizes for name, *sizes in TENSOR_TYPES.values() if name == weights.upper())
    if tensor.shape[0] % block:  # the quantizer then falls back to F16
        block, block_bytes = 1, 2
    return math.prod(tensor.shape) // block * block_bytes


def _is_converted(tensor: TensorInfo) -> bool:
    """Return whether the quantizer converts a tensor: a matrix of weights that is none of the small exceptions.

    As in ``tensor_allows_quantization`` of llama-quant.cpp, without the exceptions of rare architectures.
    """
    is_matrix = any(length > 1 for length in tensor.shape[1:])
    return is_matrix and tensor.name.endswith("weight") and not any(mark in tensor.name for mark in _KEPT_NAMES)
