"""The model folders of Ollama and LM Studio: their models are found, and unexpected contents break nothing."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from llmcli.errors import MissingError
from llmcli.models.library import foreign_stores
from llmcli.models.library.foreign_stores import ForeignModel, find_foreign_models, get_foreign_model

LAYER = "application/vnd.ollama.image."


@pytest.fixture(autouse=True)
def _no_service(monkeypatch):
    """Exclude the folder of an Ollama service on this machine."""
    places, look = foreign_stores.FOREIGN_PROGRAMS["ollama"]
    monkeypatch.setitem(foreign_stores.FOREIGN_PROGRAMS, "ollama", (lambda environ: places(environ)[:1], look))


@pytest.fixture
def home(tmp_path):
    return {"HOME": str(tmp_path)}


def ollama(folder: Path, name: str, content: bytes = b"GGUF", *more: str, layers=None) -> Path:
    """Put a model into Ollama's folder; ``more`` are the kinds of its other layers. Returns its blob."""
    digest = hashlib.sha256(content).hexdigest()
    blob = folder / "blobs" / f"sha256-{digest}"
    blob.parent.mkdir(parents=True, exist_ok=True)
    blob.write_bytes(content)
    if layers is None:
        layers = [{"mediaType": LAYER + "model", "digest": f"sha256:{digest}", "size": len(content)}]
        layers += [{"mediaType": LAYER + kind, "digest": "sha256:" + "0" * 64, "size": 1} for kind in more]
    manifest = folder / "manifests" / name
    manifest.parent.mkdir(parents=True, exist_ok=True)
    manifest.write_text(json.dumps({"schemaVersion": 2, "layers": layers}))
    return blob


@pytest.mark.parametrize(
    ("path", "name", "short"),
    [
        ("registry.ollama.ai/library/llama3.2/1b", "llama3.2:1b", "llama3.2-1b"),
        ("registry.ollama.ai/library/llama3.2/latest", "llama3.2:latest", "llama3.2"),
        ("registry.ollama.ai/someone/model/q4", "someone/model:q4", "someone-model-q4"),
        ("hf.co/owner/repo-GGUF/Q4_K_M", "hf.co/owner/repo-GGUF:Q4_K_M", "hf.co-owner-repo-GGUF-Q4_K_M"),
    ],
)
def test_ollama_names(home, tmp_path, path, name, short):
    """A model has Ollama's name; its import's name omits invalid characters."""
    blob = ollama(tmp_path / ".ollama" / "models", path)
    assert find_foreign_models("ollama", home) == [ForeignModel(name, 4, blob, short)]


def test_ollama_elsewhere(tmp_path):
    """OLLAMA_MODELS sets the folder, and no other is searched."""
    ollama(tmp_path / ".ollama" / "models", "registry.ollama.ai/library/a/latest")
    ollama(tmp_path / "there", "registry.ollama.ai/library/b/latest")
    found = find_foreign_models("ollama", {"HOME": str(tmp_path), "OLLAMA_MODELS": str(tmp_path / "there")})
    assert [model.name for model in found] == ["b:latest"]


def test_ollama_reports_skipped_layers(home, tmp_path):
    """A projector or an adapter is not part of the weights."""
    ollama(tmp_path / ".ollama" / "models", "registry.ollama.ai/library/a/b", b"x", "template", "projector", "adapter")
    (model,) = find_foreign_models("ollama", home)
    assert model.extra_layers == ("adapter", "projector")


@pytest.mark.parametrize(
    "layers",
    [
        [],
        None,
        3,
        [3],
        [{}],
        [{"mediaType": 1, "digest": 1}],
        [{"mediaType": LAYER + "model", "digest": "sha256:../../../etc/passwd"}],
        [{"mediaType": LAYER + "model", "digest": 7}],
        [{"mediaType": LAYER + "model", "digest": "sha256:" + "1" * 64}],  # no such blob
        [{"mediaType": LAYER + "model", "digest": "sha256:" + "1" * 64}] * 2,
        [{"mediaType": LAYER + "tensor", "digest": "sha256:" + "1" * 64}],
    ],
)
def test_an_invalid_manifest_is_skipped(home, tmp_path, layers):
    """Invalid manifests are skipped, the others found."""
    folder = tmp_path / ".ollama" / "models"
    ollama(folder, "registry.ollama.ai/library/good/latest")
    ollama(folder, "registry.ollama.ai/library/odd/latest", layers=layers or [])
    if layers is None:
        (folder / "manifests/registry.ollama.ai/library/odd/latest").write_bytes(b"\xff{")
    assert [model.name for model in find_foreign_models("ollama", home) if model.missing_file is None] == [
        "good:latest"
    ]


def test_a_huge_manifest_is_not_read(home, tmp_path):
    """A file that is too long for a manifest is not read."""
    folder = tmp_path / ".ollama" / "models"
    ollama(folder, "registry.ollama.ai/library/odd/latest")
    with (folder / "manifests/registry.ollama.ai/library/odd/latest").open("r+b") as file:
        file.seek(1 << 30)
        file.write(b" ")
    assert find_foreign_models("ollama", home) == []


def lmstudio(folder: Path, name: str, content: bytes = b"GGUF") -> Path:
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    return file


def test_lmstudio(home, tmp_path):
    """Publisher, repository, file: a split model once, with its missing part; no projectors."""
    folder = tmp_path / ".lmstudio" / "models"
    whole = lmstudio(folder, "maker/one-GGUF/one-Q4_0.gguf")
    first = lmstudio(folder, "maker/two-GGUF/two-00001-of-00002.gguf", b"123")
    lmstudio(folder, "maker/two-GGUF/two-00002-of-00002.gguf", b"45")
    torn = lmstudio(folder, "maker/three-GGUF/three-00001-of-00002.gguf")
    lmstudio(folder, "maker/one-GGUF/mmproj-one-f16.gguf")
    lmstudio(folder, "loose.gguf")
    assert find_foreign_models("lmstudio", home) == [
        ForeignModel("maker/one-GGUF/one-Q4_0.gguf", 4, whole, "one-Q4_0"),
        ForeignModel(
            "maker/three-GGUF/three-00001-of-00002.gguf",
            0,
            torn,
            "three",
            missing_file=torn.with_name("three-00002-of-00002.gguf"),
        ),
        ForeignModel("maker/two-GGUF/two-00001-of-00002.gguf", 5, first, "two"),
    ]


def test_lmstudio_places(home, tmp_path):
    """The old folder, the new one, and the one that its pointer file names, which takes precedence."""
    (tmp_path / ".lmstudio-home-pointer").write_text(f"{tmp_path}/moved\n")
    lmstudio(tmp_path / ".cache" / "lm-studio" / "models", "a/old/x.gguf")
    lmstudio(tmp_path / ".lmstudio" / "models", "a/b/x.gguf")
    file = lmstudio(tmp_path / "moved" / "models", "a/b/x.gguf")
    found = find_foreign_models("lmstudio", home)
    assert [model.name for model in found] == ["a/b/x.gguf", "a/old/x.gguf"] and found[0].path == file


@pytest.mark.parametrize("program", ["ollama", "lmstudio"])
def test_no_folder(home, program):
    """If a program was never used, the error names its usual folder."""
    with pytest.raises(MissingError) as caught:
        find_foreign_models(program, home)
    assert caught.value.kind == "model folder" and caught.value.subject.startswith(home["HOME"])


@pytest.mark.parametrize("name", ["llama3.2:latest", "llama3.2"])
def test_named(name):
    """Ollama's default tag may be omitted."""
    models = [ForeignModel("llama3.2:1b", 1, Path("x"), "a"), ForeignModel("llama3.2:latest", 1, Path("y"), "b")]
    assert get_foreign_model(name, models, "ollama") is models[1]


def test_a_misspelt_name():
    """A misspelt name has suggestions."""
    with pytest.raises(MissingError) as caught:
        get_foreign_model("lama3.2:1b", [ForeignModel("llama3.2:1b", 1, Path("x"), "a")], "ollama")
    assert (caught.value.kind, caught.value.suggestions) == ("model of ollama", ("llama3.2:1b",))
