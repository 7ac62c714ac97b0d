"""The files of LoRA adapters: found and hashed for every run, checked against the model before it is loaded."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from llmcli.config.engine_options import LoraAdapter, split_scale
from llmcli.errors import MissingError
from llmcli.interrupt import Interrupt
from llmcli.models.files.file_bytes import hash_file
from llmcli.models.files.model_file import ModelFile
from llmcli.models.library.registry import FileRecord, ModelRegistry


def find_adapters(texts: Sequence[str], registry: ModelRegistry, interrupt: Interrupt) -> tuple[LoraAdapter, ...]:
    """Return the adapters that the texts ``FILE[:SCALE]`` name.

    A file is hashed once, and again when its size or time has changed; ``registry`` keeps the hash. Before that, its
    header is read. Raises as ``read_adapter_header``, and what ``interrupt.check`` raises.
    """
    return tuple(_find_adapter(*split_scale(text), registry, interrupt) for text in texts)


def _find_adapter(name: str, scale: float, registry: ModelRegistry, interrupt: Interrupt) -> LoraAdapter:
    path = Path(os.path.abspath(Path(name).expanduser()))  # noqa: PTH100 (keeps links)
    known = registry.current_record(path)
    if known is None or known.damaged:
        known = _hash_adapter(path, registry, interrupt)
    return LoraAdapter(str(path), scale, known.sha256, known.size)


def _hash_adapter(path: Path, registry: ModelRegistry, interrupt: Interrupt) -> FileRecord:
    from llmcli.models.gguf.adapter_header import read_adapter_header

    header = read_adapter_header(path)  # so that no large file of another kind is hashed
    try:
        status = path.stat()  # from before the hashing: a change meanwhile invalidates the record
        sha256 = hash_file(path, interrupt)
    except OSError as error:
        raise MissingError(str(path), kind="adapter", detail=error.strerror or str(error)) from error
    record = FileRecord(status.st_size, status.st_mtime_ns, sha256, architecture=header.architecture)
    last = registry.last_record(path)
    if last is None or not (last.announced or last.damaged):  # which say what a model's file must be
        registry.save_records({path: record})
    return record


def check_adapters(model: ModelFile) -> tuple[str, ...]:
    """Check the adapters of a model against its file; return a sentence on each that llama.cpp applies only in part.

    Raises as ``read_adapter_header`` and ``check_adapter``, and as ``read_header`` for the model.
    """
    if not model.adapters:
        return ()
    from llmcli.models.gguf.adapter_header import check_adapter, read_adapter_header
    from llmcli.models.gguf.header import show_name
    from llmcli.models.gguf.header_parser import read_header

    headers = [read_header(part) for part in model.parts or (model.path,)]
    tensors = [tensor for header in headers for tensor in header.tensors]
    notices = []
    for adapter in model.adapters:
        ignored = check_adapter(read_adapter_header(Path(adapter.path)), headers[0], tensors, adapter.path)
        if ignored:
            notices.append(
                f"{adapter.path} also changes {len(ignored)} norms, which llama.cpp ignores: {show_name(ignored[0])}, ..."
            )
    return tuple(notices)
