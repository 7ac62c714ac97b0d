"""Rows about models, for ``llm models list`` and ``show``."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from llmcli.cli.console.messages import message_text
from llmcli.cli.render import base_model_notice
from llmcli.errors import BadModelFile, MissingError, UsageError
from llmcli.models.catalogue import CatalogueEntry, load_catalogue
from llmcli.models.gguf.header_parser import check_is_model, read_header
from llmcli.models.library.model_library import ModelFile, ModelLibrary
from llmcli.models.size_classes import is_toy_size


def verification_state(model: ModelFile) -> str:
    """Return how far the bytes of a model on this machine are verified."""
    if model.missing:
        return "incomplete" if model.incomplete else "missing"
    if model.damaged:
        return "damaged"
    if not model.announced:
        return "not announced"
    return "verified" if model.verified else "not checked"


def model_source(models: ModelLibrary, model: ModelFile) -> str:
    """Return where a model came from: the repository and commit, or a path."""
    return f"{model.repo}@{model.revision}" if model.repo else models.import_origin(model) or str(model.path)


def last_used_at(models: ModelLibrary, model: ModelFile) -> str | None:
    """Return when a command last used a model, as ISO 8601 in UTC; None: never."""
    time = models.last_used_at(model)
    return None if time is None else datetime.fromtimestamp(time, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def model_licence(model: ModelFile) -> str | None:
    """Return the licence that the catalogue or the file names; None also for a broken or missing file."""
    if model.catalogue is not None:
        return load_catalogue()[model.catalogue].licence
    try:
        return read_header(model.path).licence
    except (BadModelFile, MissingError):
        return None


def local_model_row(models: ModelLibrary, model: ModelFile) -> dict[str, Any]:
    """Return the row of a model on this machine; sizes in bytes, the context in tokens."""
    return {
        "name": model.name,
        "size": model.size,
        "quantization": model.quantization,
        "context": model.context,
        "licence": model_licence(model),
        "last_used": last_used_at(models, model),
        "verification": verification_state(model),
        "source": model_source(models, model),
        "here": not model.missing,
        "default": models.refers_to(models.default_model()[0], model),
        "path": str(model.path),
        "derived": derived_sizes(models, model),
    }


def derived_sizes(models: ModelLibrary, model: ModelFile) -> dict[str, int]:
    """Return the bytes of a model's copies in other types, by type."""
    copies = models.derived_weights.list_copies() if model.weights_sha256 else []
    return {copy.key.weights: copy.size for copy in copies if copy.key.source == model.weights_sha256}


def derived_as_text(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row of a model for a pipe: copies as TYPE:BYTES, with blanks between them."""
    return row | {"derived": " ".join(f"{weights}:{size}" for weights, size in row["derived"].items())}


def catalogue_row(entry: CatalogueEntry, *, default: str) -> dict[str, Any]:
    """Return the row of a model that can be downloaded; values that only the Hub knows are None."""
    return {
        "name": entry.name,
        "size": entry.pin.size if entry.pin else None,
        "quantization": entry.quantizations[0],
        "context": None,
        "licence": entry.licence,
        "last_used": None,
        "verification": "pinned" if entry.pin else "not pinned",
        "source": entry.repo,
        "here": False,
        "default": entry.name == default,
        "path": None,
        "derived": {},
    }


def local_model_for_terminal(row: dict[str, Any], *, with_derived: bool) -> dict[str, Any]:
    """Return the columns of a model on this machine for a terminal; ``with_derived``: with its copies."""
    return {
        "name": row["name"],
        "size": message_text.format_bytes(row["size"]),
        "quant": row["quantization"],
        "context": row["context"],
        "licence": row["licence"],
        "used": (row["last_used"] or "never")[:10],
        "check": row["verification"],
        **({"derived": _format_detail("derived", row["derived"])} if with_derived else {}),
    }


def catalogue_entry_for_terminal(entry: CatalogueEntry) -> dict[str, Any]:
    """Return the columns, for a terminal, of a model that can be downloaded; memory is that of the machine it needs."""
    return {
        "name": entry.name,
        "size": ("" if entry.pin else "about ") + message_text.format_bytes(entry.size or None),
        "memory": f"{entry.memory} GiB",
        "licence": entry.licence,
        "about": entry.about,
    }


def model_details(models: ModelLibrary, model: ModelFile, needs: Mapping[str, int]) -> dict[str, Any]:
    """Return the details from the header and the registry; None if unknown.

    ``heads`` and ``kv_heads`` are lists if they differ between layers; ``window`` in tokens; ``needs``: peak bytes of a
    process, by task; ``cache_bytes_per_token`` is that of an f16 cache, None for a ``recurrent`` model, whose memory
    grows differently; ``parameters`` is None for a split model, whose first part holds only some. Raises
    ``BadModelFile`` and ``MissingError``.
    """
    header = read_header(model.path)
    check_is_model(header, str(model.path))
    return {
        "name": model.name,
        "path": str(model.path),
        "parts": len(model.parts),
        "title": header.name,
        "architecture": header.architecture,
        "parameters": header.n_params if len(model.parts) == 1 else None,
        "toy": len(model.parts) == 1 and is_toy_size(header.n_params),
        "layers": header.block_count,
        "heads": header.arch_integer_per_layer("attention.head_count"),
        "kv_heads": header.kv_heads,
        "experts": header.arch_integer("expert_count"),
        "experts_used": header.arch_integer("expert_used_count"),
        "window": header.arch_integer("attention.sliding_window"),
        "vocabulary": header.vocabulary_size,
        "context": header.context_length,
        "recurrent": header.recurrent,
        "cache_bytes_per_token": header.kv_bytes_per_token(),
        "chat_template": header.chat_template is not None,
        "base_model": base_model_notice.find_base_evidence(model, header) is not None,
        "quantization": model.quantization,
        "size": model.size,
        "needs": dict(needs),
        "derived": derived_sizes(models, model),
        "sha256": model.sha256,
        "verification": verification_state(model),
        "last_used": last_used_at(models, model),
        "aliases": models.aliases_of(model),
        "default_for": models.verbs_with_default(model),
        "source": model.repo or models.import_origin(model),
        "file": model.file,
        "revision": model.revision,
        "licence": model_licence(model),
    }


_MEANINGS = {
    "base_model": base_model_notice.BASE_MODEL_MEANING,
    "toy": "it has less than half a billion parameters and is often wrong; for others: llm models recommend",
}
"""What a detail means that is true."""


def details_for_terminal(facts: dict[str, Any]) -> dict[str, Any]:
    """Return details for display: sizes with units, lists with commas."""
    return {name: _format_detail(name, value) for name, value in facts.items()}


def _format_detail(name: str, value: Any) -> Any:
    if name in _MEANINGS and value:
        return f"yes: {_MEANINGS[name]}"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value)) or None
    if isinstance(value, dict):
        return ", ".join(f"{key} {message_text.format_bytes(size)}" for key, size in value.items())
    if name == "size" and value is not None:
        return message_text.format_bytes(value)
    return f"{value:,}" if isinstance(value, int) else value


def require_unambiguous(models: list[ModelFile], name: str, model: ModelFile) -> None:
    """Raise ``UsageError`` if ``name`` is a repository with several models on this machine."""
    several = [each.name for each in models if each.repo == model.repo and model.repo == name]
    if len(several) > 1:
        raise UsageError(f"{name} is ambiguous: {', '.join(several)}", detail="Name one of them.")


def catalogue_details(entry: CatalogueEntry) -> dict[str, Any]:
    """Return the catalogue's details of a model that is not on this machine."""
    return {
        "name": entry.name,
        "here": False,
        "about": entry.about,
        "source": entry.repo,
        "quantizations": list(entry.quantizations),
        "licence": entry.licence,
        "languages": entry.languages,
        "toy": is_toy_size(round(entry.parameters * 1e9)),
        "tasks": list(entry.tasks),
        "machine_gib": entry.memory,
        "size": entry.pin.size if entry.pin else None,
        "sha256": entry.pin.sha256 if entry.pin else None,
        "verification": "pinned" if entry.pin else "not pinned",
    }
