"""``llm models quantize``: a model in another type as a file of the user's, and how far it diverges from the model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from llmcli.errors import CannotCreate, OutOfMemory, Unsupported, UsageError
from llmcli.fast_dataclass import frozen
from llmcli.models.files import names
from llmcli.types import Phase, Progress

if TYPE_CHECKING:
    from llmcli.models.files.model_file import ModelFile
    from llmcli.runtime.run_config import RunConfig

_EXACT_TYPES = frozenset({"F32", "F16", "BF16"})


@frozen
class QuantizedModel:
    """A quantized file of ``size`` bytes, made from ``source``, which is of the type ``source_type``.

    ``divergence``: mean Kullback-Leibler divergence of its next-token probabilities from those of the source, in nats a
    token; None if it could not be measured, and ``unmeasured`` says why.
    """

    path: Path
    quantization: str
    size: int
    source: Path
    source_type: str | None
    source_size: int
    divergence: float | None
    unmeasured: str = ""


def is_quantized(model: ModelFile) -> bool:
    """Return whether matrices of a model are stored with less than 16 bits. Raises as ``read_header``."""
    from llmcli.models.gguf.header_parser import read_header

    headers = map(read_header, model.parts or (model.path,))
    return any(
        len(tensor.shape) > 1 and tensor.type not in _EXACT_TYPES for header in headers for tensor in header.tensors
    )


def default_output(model: ModelFile, quantization: str) -> Path:
    """Return the file NAME-TYPE.gguf in the current directory."""
    name = model.name if names.is_valid_name(model.name) else names.model_stem(model.path.name)
    return Path(f"{name}-{quantization.upper()}.gguf")


def quantize_model(
    config: RunConfig, model: ModelFile, quantization: str, output: str | None, *, force: bool
) -> QuantizedModel:
    """Write a verified model in a type of ``QUANTIZATIONS`` to ``output``, and measure the divergence.

    ``output`` None: ``default_output``, which is overwritten with ``force`` only. The size is computed and compared
    with the free disk space first. Raises ``UsageError``, ``CannotCreate``, ``OutputError``, as ``estimate_bytes`` and
    ``write_quantized``, and what ``interrupt.check`` raises, at once; an earlier file at ``output`` then stays.
    """
    from llmcli.engine.derivation import estimate_bytes, write_quantized
    from llmcli.files.atomic_file import atomic_write
    from llmcli.models.files.file_bytes import check_disk_space
    from llmcli.models.gguf.header_parser import load_checked_header

    target = Path(output) if output is not None else default_output(model, quantization)
    header = load_checked_header(model.path)
    _check_target(model, target, force=force or output is not None)
    label = f"{model.name} as {quantization}"
    with config.observer.waiting(Phase.DERIVING, label):
        expected = estimate_bytes(model.path, header, quantization, config.interrupt)
        check_disk_space(Path(target).absolute().parent, expected)
        replaces = force or output is not None
        with atomic_write(str(target), force=replaces, interrupt=config.interrupt) as file:
            report = _reporter(config, label, file.fd, expected)
            write_quantized(model.path, file.fd, quantization, expected, report)
    divergence, unmeasured = _measure(config, model, target)
    return QuantizedModel(
        target.absolute(),
        quantization,
        target.stat().st_size,
        model.path,
        header.quantization,
        model.size,
        divergence,
        unmeasured,
    )


def _check_target(model: ModelFile, target: Path, *, force: bool) -> None:
    """Refuse a target that is a part of the model, no regular file, in no directory, or exists without ``force``."""
    if not target.absolute().parent.is_dir():
        raise CannotCreate(str(target), detail="No such directory")
    if target.is_dir() or (target.exists() and not target.is_file()):
        raise CannotCreate(str(target), detail="it is not a regular file")
    if target.exists() and any(part.exists() and target.samefile(part) for part in model.parts):
        raise UsageError(f"{target} is the model itself", detail="Name another file with -o.")
    if target.exists() and not force:
        raise CannotCreate(str(target), exists=True)


def _reporter(config: RunConfig, label: str, descriptor: int, expected: int) -> Callable[[], None]:
    """Return a function that reports how much of a file is written, and raises as ``interrupt.check``."""
    import os

    def report() -> None:
        config.interrupt.check()
        done = min(100, 100 * os.fstat(descriptor).st_size // expected)
        config.observer.report_progress(Progress(done, 100, "percent", label, Phase.DERIVING))

    return report


def _measure(config: RunConfig, model: ModelFile, target: Path) -> tuple[float | None, str]:
    """Return the divergence of ``target`` from the model, or None and the reason."""
    from llmcli.engine.llama.compute_thread import run_in_thread
    from llmcli.engine.tuning.divergence import NotFinite

    try:
        with config.observer.waiting(Phase.CHECKING, f"the divergence of {target.name}"):
            return run_in_thread(lambda: _measure_divergence(config, model.path, target)), ""
    except NotFinite:
        return None, "an evaluation overflows"
    except (OutOfMemory, MemoryError):  # numpy raises the second
        return None, "too little memory is free"
    except Unsupported as error:
        return None, error.detail


def _measure_divergence(config: RunConfig, source: Path, target: Path) -> float:
    from llmcli.engine.llama import hardware
    from llmcli.engine.llama.model import Model
    from llmcli.engine.tuning.divergence import DivergenceMeter

    interrupt = config.interrupt
    wanted = config.settings["threads"]
    threads = hardware.detect_cores().max_threads if wanted == "auto" else wanted

    def load(path: Path) -> Model:
        interrupt.check()
        model = Model(path, gpu_layers=0, keep_going=lambda: interrupt.error is None)
        if model.embeds_only:
            model.close()
            raise Unsupported(str(path), detail="an embedding model predicts no tokens")
        return model

    model = load(source)
    try:
        meter = DivergenceMeter(model, threads, interrupt)
    finally:
        model.close()
    model = load(target)
    try:
        return meter.measure(model)
    finally:
        model.close()
