"""The model folders of other programs on this machine: Ollama's and LM Studio's. They are only read.

Ollama (docs/import.md and the manifests' own documentation in server/internal/manifest): ``manifests/HOST/NAMESPACE/
MODEL/TAG`` is a JSON list of layers; the one with the weights is a GGUF file called ``blobs/sha256-HASH``. LM Studio:
``PUBLISHER/REPOSITORY/FILE.gguf``.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from llmcli.errors import MissingError
from llmcli.fast_dataclass import frozen, replace
from llmcli.models.files.names import is_model_file, model_stem, part_names, sanitize_name

_DIGEST = re.compile(r"sha256:([0-9a-f]{64})")
_LAYER_TYPE_PREFIX = "application/vnd.ollama.image."
_DEFAULT_HOST, _DEFAULT_NAMESPACE, _DEFAULT_TAG = "registry.ollama.ai", "library", "latest"
_MAX_MANIFEST_BYTES = 1 << 20  # bytes of a manifest
_MANIFEST_ERRORS = (OSError, ValueError, RecursionError, TypeError, KeyError, AttributeError)


@frozen
class ForeignModel:
    """A model of another program: its ``name`` there, the bytes of all its files, the first of them.

    ``import_name`` is the name of an import of it; ``extra_layers`` are its parts beside the weights ("adapter", ...);
    ``missing_file`` is the first file that does not exist.
    """

    name: str
    size: int
    path: Path
    import_name: str
    extra_layers: tuple[str, ...] = ()
    missing_file: Path | None = None


def find_foreign_models(program: str, environ: Mapping[str, str]) -> list[ForeignModel]:
    """Return the models of ``program`` ("ollama" or "lmstudio"), sorted by name.

    Raises ``MissingError`` (kind "model folder") with the usual folder if there is none.
    """
    list_folders, iter_models = FOREIGN_PROGRAMS[program]
    folders = list_folders(environ)
    existing = [folder for folder in folders if _is_directory(folder)]
    if not existing:
        raise MissingError(str(folders[0]), kind="model folder")
    found = {model.name: model for folder in reversed(existing) for model in iter_models(folder)}
    return [found[name] for name in sorted(found)]


def get_foreign_model(name: str, models: list[ForeignModel], program: str) -> ForeignModel:
    """Return the model called ``name``.

    Raises ``MissingError`` (kind "model of PROGRAM") with similar names, also for an incomplete model.
    """
    kind = f"model of {program}"
    for model in models:
        if name in {model.name, model.name.removesuffix(f":{_DEFAULT_TAG}"), model.path.name}:
            if model.missing_file is not None:
                raise MissingError(model.name, kind=f"complete {kind}", detail=f"{model.missing_file} is missing")
            return model
    raise MissingError(name, kind=kind, suggestions=difflib.get_close_matches(name, [each.name for each in models]))


def _add_file_sizes(model: ForeignModel, files: list[Path]) -> ForeignModel:
    """Return ``model`` with the size of its files, or with the missing one."""
    size = 0
    for file in files:
        try:
            size += file.stat().st_size
        except OSError:
            return replace(model, missing_file=file)
    return replace(model, size=size)


def _is_directory(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:  # below a folder that this user may not enter
        return False


def _home_directory(environ: Mapping[str, str]) -> Path:
    return Path(environ.get("HOME") or "~").expanduser()


# ---- Ollama ----------------------------------------------------------------------------------------------------------


def _ollama_directories(environ: Mapping[str, str]) -> list[Path]:
    if environ.get("OLLAMA_MODELS"):
        return [Path(environ["OLLAMA_MODELS"]).expanduser()]
    return [_home_directory(environ) / ".ollama" / "models", Path("/usr/share/ollama/.ollama/models")]


def _iter_ollama_models(folder: Path) -> Iterator[ForeignModel]:
    manifests = folder / "manifests"
    for manifest in sorted(manifests.glob("*/*/*/*")):
        with suppress(*_MANIFEST_ERRORS):
            layers = _read_layers(manifest)
            weights = [layer for layer in layers if layer["mediaType"] == _LAYER_TYPE_PREFIX + "model"]
            match = _DIGEST.fullmatch(weights[0]["digest"]) if len(weights) == 1 else None
            if match is None:
                continue
            blob = folder / "blobs" / f"sha256-{match.group(1)}"
            kinds = {layer["mediaType"].removeprefix(_LAYER_TYPE_PREFIX) for layer in layers}
            name = _ollama_display_name(*manifest.relative_to(manifests).parts)
            short = sanitize_name(name.removesuffix(f":{_DEFAULT_TAG}"))
            left_out = tuple(sorted(kinds & {"adapter", "projector"}))
            yield _add_file_sizes(ForeignModel(name, 0, blob, short, left_out), [blob])


def _read_layers(manifest: Path) -> list[dict[str, Any]]:
    if manifest.stat().st_size > _MAX_MANIFEST_BYTES:
        raise ValueError("the file is too long for a manifest")
    layers: list[dict[str, Any]] = json.loads(manifest.read_bytes())["layers"]
    return layers


def _ollama_display_name(host: str, namespace: str, model: str, tag: str) -> str:
    """Return a model's name as Ollama shows it, without the default host and namespace."""
    parts = [host, namespace, model] if host != _DEFAULT_HOST else [namespace, model]
    if parts[0] == _DEFAULT_NAMESPACE:
        parts = [model]
    return f"{'/'.join(parts)}:{tag}"


# ---- LM Studio -------------------------------------------------------------------------------------------------------


def _lmstudio_directories(environ: Mapping[str, str]) -> list[Path]:
    home = _home_directory(environ)
    pointed: list[Path] = []
    with suppress(OSError, UnicodeDecodeError):
        text = (home / ".lmstudio-home-pointer").read_text(encoding="utf-8").strip()
        pointed = [Path(text) / "models"] if text else []
    return [*pointed, home / ".lmstudio" / "models", home / ".cache" / "lm-studio" / "models"]


def _iter_lmstudio_models(folder: Path) -> Iterator[ForeignModel]:
    for file in sorted(folder.glob("*/*/*.gguf")):
        name = file.relative_to(folder).as_posix()
        if is_model_file(name) and part_names(name)[0] == name:
            files = [file.with_name(part) for part in part_names(file.name)]
            yield _add_file_sizes(ForeignModel(name, 0, file, sanitize_name(model_stem(file.name))), files)


FOREIGN_PROGRAMS: dict[
    str, tuple[Callable[[Mapping[str, str]], list[Path]], Callable[[Path], Iterator[ForeignModel]]]
] = {
    "ollama": (_ollama_directories, _iter_ollama_models),
    "lmstudio": (_lmstudio_directories, _iter_lmstudio_models),
}
