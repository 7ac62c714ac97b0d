"""The model folders of other programs on this machine: Ollama's and LM Studio's. Only read, never changed.

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
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from llmcli.errors import MissingError
from llmcli.models.names import is_model_file, parts, plain, stem

_DIGEST = re.compile(r"sha256:([0-9a-f]{64})")
_LAYER = "application/vnd.ollama.image."
_HOST, _NAMESPACE, _TAG = "registry.ollama.ai", "library", "latest"
_LONGEST = 1 << 20  # bytes of a manifest
_NO_MANIFEST = (OSError, ValueError, RecursionError, TypeError, KeyError, AttributeError)


@dataclass(frozen=True, slots=True)
class Foreign:
    """A model of another program: its ``name`` there, the bytes of all its files, the first of them.

    ``short`` is what an import of it is called; ``left_out`` what belongs to it beside the weights ("adapter", ...);
    ``lost`` the first file that is named and not there.
    """

    name: str
    size: int
    path: Path
    short: str
    left_out: tuple[str, ...] = ()
    lost: Path | None = None


def find_foreign(program: str, environ: Mapping[str, str]) -> list[Foreign]:
    """Return the models of ``program`` ("ollama" or "lmstudio"), sorted by name.

    Raises ``MissingError`` (kind "model folder"), naming the usual one, where none is there.
    """
    places, look = PROGRAMS[program]
    folders = places(environ)
    there = [folder for folder in folders if _is_folder(folder)]
    if not there:
        raise MissingError(str(folders[0]), kind="model folder")
    found = {model.name: model for folder in reversed(there) for model in look(folder)}
    return [found[name] for name in sorted(found)]


def named(name: str, models: list[Foreign], program: str) -> Foreign:
    """Return the model of that name. Raises ``MissingError`` (kind "model of PROGRAM") with close names.

    And for one that is not whole.
    """
    kind = f"model of {program}"
    for model in models:
        if name in {model.name, model.name.removesuffix(f":{_TAG}"), model.path.name}:
            if model.lost is not None:
                raise MissingError(model.name, kind=f"whole {kind}", detail=f"{model.lost} is missing")
            return model
    raise MissingError(name, kind=kind, suggestions=difflib.get_close_matches(name, [each.name for each in models]))


def _of_files(model: Foreign, files: list[Path]) -> Foreign:
    """Return ``model`` with the size of its files, or with the one that is not there."""
    size = 0
    for file in files:
        try:
            size += file.stat().st_size
        except OSError:
            return replace(model, lost=file)
    return replace(model, size=size)


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:  # below a folder that this user may not enter
        return False


def _home(environ: Mapping[str, str]) -> Path:
    return Path(environ.get("HOME") or "~").expanduser()


# ---- Ollama -----------------------------------------------------------------------------------------------------------


def _ollama_places(environ: Mapping[str, str]) -> list[Path]:
    if environ.get("OLLAMA_MODELS"):
        return [Path(environ["OLLAMA_MODELS"]).expanduser()]
    return [_home(environ) / ".ollama" / "models", Path("/usr/share/ollama/.ollama/models")]


def _ollama(folder: Path) -> Iterator[Foreign]:
    manifests = folder / "manifests"
    for manifest in sorted(manifests.glob("*/*/*/*")):
        with suppress(*_NO_MANIFEST):
            layers = _layers(manifest)
            weights = [layer for layer in layers if layer["mediaType"] == _LAYER + "model"]
            match = _DIGEST.fullmatch(weights[0]["digest"]) if len(weights) == 1 else None
            if match is None:
                continue
            blob = folder / "blobs" / f"sha256-{match.group(1)}"
            kinds = {layer["mediaType"].removeprefix(_LAYER) for layer in layers}
            name = _ollama_name(*manifest.relative_to(manifests).parts)
            short = plain(name.removesuffix(f":{_TAG}"))
            left_out = tuple(sorted(kinds & {"adapter", "projector"}))
            yield _of_files(Foreign(name, 0, blob, short, left_out), [blob])


def _layers(manifest: Path) -> list[dict[str, Any]]:
    if manifest.stat().st_size > _LONGEST:
        raise ValueError("no manifest is so long")
    layers: list[dict[str, Any]] = json.loads(manifest.read_bytes())["layers"]
    return layers


def _ollama_name(host: str, namespace: str, model: str, tag: str) -> str:
    """Return a model's name as Ollama shows it, without what is usual."""
    parts_of_it = [host, namespace, model] if host != _HOST else [namespace, model]
    if parts_of_it[0] == _NAMESPACE:
        parts_of_it = [model]
    return f"{'/'.join(parts_of_it)}:{tag}"


# ---- LM Studio --------------------------------------------------------------------------------------------------------


def _lmstudio_places(environ: Mapping[str, str]) -> list[Path]:
    home = _home(environ)
    pointed: list[Path] = []
    with suppress(OSError, UnicodeDecodeError):
        text = (home / ".lmstudio-home-pointer").read_text(encoding="utf-8").strip()
        pointed = [Path(text) / "models"] if text else []
    return [*pointed, home / ".lmstudio" / "models", home / ".cache" / "lm-studio" / "models"]


def _lmstudio(folder: Path) -> Iterator[Foreign]:
    for file in sorted(folder.glob("*/*/*.gguf")):
        name = file.relative_to(folder).as_posix()
        if is_model_file(name) and parts(name)[0] == name:
            files = [file.with_name(part) for part in parts(file.name)]
            yield _of_files(Foreign(name, 0, file, plain(stem(file.name))), files)


PROGRAMS: dict[str, tuple[Callable[[Mapping[str, str]], list[Path]], Callable[[Path], Iterator[Foreign]]]] = {
    "ollama": (_ollama_places, _ollama),
    "lmstudio": (_lmstudio_places, _lmstudio),
}
