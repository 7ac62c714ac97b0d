"""The library: resolving names, loading only checked files, and pulling into the cache."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys

import pytest
from fake_hub import REPO, Fault, pull

from llmcli.errors import (
    AccessDenied,
    BadModelFile,
    DamagedModel,
    MissingError,
    ModelNotDownloaded,
    Offline,
    OutputError,
    RemoteError,
)
from llmcli.models.library.model_library import ModelFile
from llmcli.models.library.resolver import STARTER_MODEL
from llmcli.types import Notice, Progress

ENTRY = """
known:
  about: for tests
  repo: maker/tiny-GGUF
  quantizations: [Q8_0, Q4_0]
  licence: mit
  languages: none
  tasks: [chat]
  memory: 1
"""


@pytest.fixture
def stocked(hub, content, tiny):
    """Return a Hub with two quantizations and a projector."""
    hub.repos[REPO] = {
        "tiny.Q8_0.gguf": content,
        "tiny.Q4_0.gguf": tiny("chatml").read_bytes(),
        "mmproj-f16.gguf": b"x",
    }
    return hub


# ---- pulling ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        REPO,
        REPO + ":q4_0",
        REPO + "/tiny.Q4_0.gguf",
        f"hf.co/{REPO}:Q4_0",
        f"https://huggingface.co/{REPO}",
        f"https://huggingface.co/{REPO}/tree/main",
        f"https://huggingface.co/{REPO}/blob/main/tiny.Q4_0.gguf",
    ],
)
def test_pull(stocked, library, interrupt, name):
    """All forms of a Hub name pull the file they mean, checked and named."""
    model = pull(library, name, interrupt)
    assert (model.name, model.quantization, model.revision) == (f"{REPO}:Q4_0", "Q4_0", "c" * 40)
    assert (model.announced, model.verified, model.architecture, model.context) == (True, True, "llama", 8192)
    assert model.path.read_bytes() == stocked.repos[REPO]["tiny.Q4_0.gguf"]
    assert library.find(name).path == model.path


def test_pull_again(stocked, library, interrupt):
    """A present model is not requested again."""
    pull(library, REPO, interrupt)
    stocked.asked.clear()
    assert [type(event) for event in library.pull(REPO, interrupt)] == [ModelFile]
    assert stocked.asked == []


def test_pull_catalogue(stocked, library, interrupt, catalogue):
    """A catalogue name pulls its first preferred quantization and is the model's name."""
    catalogue(ENTRY)
    model = pull(library, "known", interrupt)
    assert (model.name, model.catalogue, model.quantization) == ("known", "known", "Q8_0")
    assert [found.name for found in library.list()] == ["known"]


def test_pull_catalogue_without_choice(stocked, library, interrupt, catalogue):
    """A repository without any preferred quantization is a missing file, with the available ones."""
    catalogue(ENTRY.replace("Q8_0, Q4_0", "Q6_K"))
    with pytest.raises(MissingError) as caught:
        pull(library, "known", interrupt)
    assert (caught.value.kind, caught.value.suggestions) == ("file", ("Q4_0", "Q8_0"))


def test_pull_unknown_label(stocked, library, interrupt):
    """A missing quantization is a missing file, with the available ones."""
    with pytest.raises(MissingError) as caught:
        pull(library, REPO + ":Q2_K", interrupt)
    assert (caught.value.exit_code, caught.value.suggestions) == (66, ("Q4_0", "Q8_0"))


def test_pull_split(hub, library, interrupt, content, tiny):
    """A split model is pulled completely, loaded by its first part and listed once."""
    parts = {"t-Q8_0-00001-of-00002.gguf": content, "t-Q8_0-00002-of-00002.gguf": tiny("chatml").read_bytes()}
    hub.repos[REPO] = parts
    model = pull(library, REPO, interrupt)
    assert model.path.name == "t-Q8_0-00001-of-00002.gguf"
    assert [part.read_bytes() for part in model.parts] == list(parts.values())
    assert model.size == sum(map(len, parts.values()))
    assert [found.name for found in library.list()] == [f"{REPO}:Q8_0"]


def test_pull_incomplete_split(hub, library, interrupt, content):
    """A split model whose repository lacks a part is 76."""
    hub.repos[REPO] = {"t-Q8_0-00001-of-00002.gguf": content}
    with pytest.raises(RemoteError):
        pull(library, REPO, interrupt)


def test_pull_no_model(hub, library, interrupt):
    """A file that only begins like a GGUF file is refused after the download."""
    hub.repos[REPO] = {"t-Q8_0.gguf": b"GGUF nonsense"}
    with pytest.raises(BadModelFile):
        pull(library, REPO, interrupt)


def test_pull_repairs(stocked, library, interrupt, make_library):
    """Pulling a damaged model replaces it, and reports why."""
    model = pull(library, REPO, interrupt)
    damage(model.path.resolve())
    *events, repaired = make_library().pull(REPO, interrupt)
    assert [type(event) for event in events if not isinstance(event, Progress)] == [Notice]
    assert repaired.path.read_bytes() == stocked.repos[REPO]["tiny.Q4_0.gguf"]


def damage(path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(1, path.stat().st_mtime_ns + 10))


@pytest.mark.parametrize("variable", ["HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "LLMCLI_OFFLINE"])
def test_offline(stocked, make_library, interrupt, monkeypatch, variable):
    """If the network is forbidden, a pull fails at once with 69 and sends no request."""
    monkeypatch.setenv(variable, "1")
    with pytest.raises(Offline) as caught:
        pull(make_library(), REPO, interrupt)
    assert (caught.value.exit_code, stocked.asked) == (69, [])


def test_offline_and_here(stocked, library, make_library, interrupt):
    """A present model is available without the network."""
    pull(library, REPO, interrupt)
    assert pull(make_library(offline=True), REPO, interrupt).verified


def test_one_bit(stocked, library, interrupt):
    """A download with a wrong bit leaves no model behind."""
    stocked.storage_faults = [Fault(flip=True)]
    with pytest.raises(RemoteError):
        pull(library, REPO, interrupt)
    assert library.list() == []


# ---- checking --------------------------------------------------------------------------------------------------------


def test_other_tools_files_are_checked(stocked, library, interrupt, content):
    """A file that another tool left in the cache is hashed before its first use; a bad one is refused with 76."""
    digest = hashlib.sha256(content).hexdigest()
    directory = library.cache.repository_directory(REPO)
    (directory / "blobs").mkdir(parents=True)
    (directory / "blobs" / digest).write_bytes(content[:-1] + b"?")
    path = library.cache.link_blob(REPO, "e" * 40, "tiny.Q8_0.gguf", digest)
    assert not library.find(REPO).verified
    with pytest.raises(RemoteError):
        library.ensure_verified(REPO, interrupt)
    path.resolve().write_bytes(content)
    assert library.ensure_verified(REPO, interrupt).verified


def test_hashed_once(stocked, library, make_library, interrupt, monkeypatch):
    """A checked file is not hashed again, also in another process, until size or time change."""
    model = pull(library, REPO, interrupt)
    monkeypatch.setattr("llmcli.models.files.file_bytes.hash_file", lambda *_: pytest.fail("hashed again"))
    assert make_library().ensure_verified(REPO, interrupt) == model


def test_changed_file_is_checked_again(stocked, library, make_library, interrupt):
    """A file whose bytes and time have changed is detected."""
    damage(pull(library, REPO, interrupt).path.resolve())
    with pytest.raises(RemoteError):
        make_library().ensure_verified(REPO, interrupt)


def test_damage_is_remembered(stocked, library, make_library, interrupt):
    """A damaged file is listed as such afterwards; before, it is not verified."""
    damage(pull(library, REPO, interrupt).path.resolve())
    assert [(model.verified, model.damaged) for model in make_library().list()] == [(False, False)]
    with pytest.raises(DamagedModel) as caught:
        make_library().ensure_verified(REPO, interrupt)
    assert (caught.value.exit_code, caught.value.subject) == (76, f"{REPO}:Q4_0")
    assert [(model.verified, model.damaged) for model in make_library().list()] == [(False, True)]
    with pytest.raises(DamagedModel):
        make_library().ensure_verified(REPO, interrupt)


def test_damaged_file_by_its_path(stocked, library, make_library, interrupt):
    """A damaged file of the cache that is named by its path is bad input: pulling a path fetches nothing."""
    path = pull(library, REPO, interrupt).path
    damage(path.resolve())
    with pytest.raises(BadModelFile):
        make_library().ensure_verified(str(path), interrupt)


def test_another_cache(stocked, make_library, interrupt, monkeypatch, tmp_path):
    """A model in the cache of another HF_HOME is not here, and is fetched again."""
    pull(make_library(), REPO, interrupt)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "elsewhere"))
    with pytest.raises(ModelNotDownloaded):
        make_library().find(REPO)
    assert pull(make_library(), REPO, interrupt).path.is_relative_to(tmp_path / "elsewhere")


def test_local_file(library, interrupt, local, content):
    """A local file is loaded in place; its hash is not announced."""
    model = library.ensure_verified(str(local), interrupt)
    assert (model.path, model.sha256) == (local, hashlib.sha256(content).hexdigest())
    assert (model.announced, model.verified, model.quantization) == (False, True, "Q8_0")


def test_broken_local_file(library, interrupt, tmp_path):
    """A local file that is no model is 65."""
    (tmp_path / "x.gguf").write_bytes(b"nonsense")
    with pytest.raises(BadModelFile):
        library.ensure_verified(str(tmp_path / "x.gguf"), interrupt)


def test_read_only_registry(library, interrupt, local, tmp_path):
    """A registry that cannot be written loses the record of the check, but the command works."""
    (tmp_path / "home").mkdir(exist_ok=True)
    (tmp_path / "home" / "data").write_text("a file")
    assert library.ensure_verified(str(local), interrupt).verified


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "[" * 100_000,
        '{"files": []}',
        '{"names": {"x": 1}, "defaults": {"": 1}}',
        '{"imports": {"x": 1}}',
    ],
)
def test_broken_registry(make_library, interrupt, local, tmp_path, text):
    """A damaged registry stops nothing; the next change moves it aside."""
    file = tmp_path / "home" / "data" / "models.json"
    file.parent.mkdir(parents=True)
    file.write_text(text)
    assert make_library().default_model() == (STARTER_MODEL, "built in")
    assert make_library().list() == []
    assert make_library().registry.damaged_file() == file
    assert pull(make_library(), str(local), interrupt).name == "mine"
    assert make_library().registry.damaged_file().read_text() == text
    assert make_library().find("mine").verified


@pytest.mark.parametrize("strange", [{"strange": 1}, {"sha256": 1}, {"name": [], "quantization": {}}, {"context": "x"}])
def test_foreign_registry(make_library, interrupt, local, tmp_path, strange):
    """Entries of another version, or damaged ones, are ignored."""
    library = make_library()
    library.ensure_verified(str(local), interrupt)
    file = tmp_path / "home" / "data" / "models.json"
    data = json.loads(file.read_text())
    for section in ("files", "names"):
        data[section] = {key: fields | strange for key, fields in data[section].items()}
    file.write_text(json.dumps(data))
    model = make_library().find(str(local))
    assert (model.path, model.verified) == (local, False)


def test_quick(stocked, library, interrupt, tmp_path):
    """Finding a checked model imports neither the Hub's client nor YAML nor the header reader."""
    pull(library, REPO, interrupt)
    code = (
        "import os, sys\n"
        "from llmcli.interrupt import Interrupt\n"
        "from llmcli.models.library.model_library import ModelLibrary\n"
        "from llmcli.app_paths import find_paths\n"
        "from llmcli.settings import resolve_settings\n"
        "paths = find_paths(os.environ)\n"
        "library = ModelLibrary(resolve_settings({}, os.environ, paths.config_file), paths, os.environ)\n"
        f"assert library.ensure_verified({REPO!r}, Interrupt()).verified and library.known_names()\n"
        "heavy = {'huggingface_hub', 'yaml', 'httpx', 'httpx2', 'llmcli.models.gguf.header', 'hashlib'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


# ---- names -----------------------------------------------------------------------------------------------------------


def test_starter_is_known(library):
    """Without settings and models the starter is meant, and its size is known."""
    with pytest.raises(ModelNotDownloaded) as caught:
        library.find()
    assert (caught.value.subject, caught.value.size, caught.value.exit_code) == (STARTER_MODEL, 98_362_432, 69)
    assert library.default_model() == (STARTER_MODEL, "built in")


def test_unknown_name(library):
    """An unknown name is 66, with similar names."""
    with pytest.raises(MissingError) as caught:
        library.find("smollm2-135")
    assert (caught.value.kind, caught.value.suggestions[0]) == ("model", STARTER_MODEL)


@pytest.mark.parametrize("name", ["owner/repo", "owner/repo:Q4_0", "owner/repo/m.gguf"])
def test_hub_name_not_here(library, name):
    """A well-formed Hub name of a model that is not here is 69."""
    with pytest.raises(ModelNotDownloaded):
        library.find(name)


@pytest.mark.parametrize("name", ["/no/such.gguf", "./no.gguf", "no.gguf", "../../no/such", "a/../b"])
def test_missing_paths(library, name):
    """A missing path, and a name that fails the allow-list, is 66."""
    with pytest.raises(MissingError) as caught:
        library.find(name)
    assert caught.value.exit_code == 66


def test_directory(library, tmp_path):
    """The error names a directory."""
    with pytest.raises(BadModelFile, match="a directory"):
        library.find(str(tmp_path))


def test_path_relative(library, local, monkeypatch):
    """A file name that ends in .gguf and exists is a path."""
    monkeypatch.chdir(local.parent)
    assert library.find("mine.gguf").path == local


def test_alias(stocked, make_library, interrupt):
    """An alias of the settings resolves to its model."""
    library = make_library(aliases={"short": REPO + ":Q8_0"})
    assert pull(library, "short", interrupt).quantization == "Q8_0"
    assert "short" in library.known_names()


def test_default_order(make_library, local):
    """The setting overrides the stored default, which overrides the starter."""
    make_library().set_default(str(local))
    assert make_library().default_model() == (str(local), "llm models default")
    assert make_library(model="owner/repo").default_model() == ("owner/repo", "--model")


def test_the_default_must_be_a_known_name(library):
    """An unknown default is refused and not stored."""
    with pytest.raises(MissingError):
        library.set_default("nonsense")
    assert library.default_model()[0] == STARTER_MODEL


def test_default_may_be_elsewhere(library):
    """A known model that is not here yet may be the default."""
    library.set_default("owner/repo")
    assert library.default_model()[0] == "owner/repo"


def test_import(library, make_library, interrupt, local):
    """A pulled path is registered by reference, under the file's name."""
    assert pull(library, str(local), interrupt).name == "mine"
    assert make_library().ensure_verified("mine", interrupt).path == local
    assert [model.name for model in make_library().list()] == ["mine"]


def test_import_taken_name(library, interrupt, local, tmp_path):
    """A second file of the same name is registered under its path."""
    other = tmp_path / "other" / "mine.gguf"
    other.parent.mkdir()
    shutil.copy(local, other)
    pull(library, str(local), interrupt)
    assert pull(library, str(other), interrupt).name == str(other)


def test_names(stocked, library, interrupt, local):
    """Completion lists the catalogue, imports and the cache."""
    pull(library, REPO, interrupt)
    pull(library, str(local), interrupt)
    assert {STARTER_MODEL, "mine", f"{REPO}:Q4_0"} <= set(library.known_names())


def test_same_label_twice(hub, library, interrupt, content):
    """Two files of one label are listed under their file names."""
    hub.repos[REPO] = {"a-Q8_0.gguf": content, "b-Q8_0.gguf": content}
    pull(library, REPO + "/b-Q8_0.gguf", interrupt)
    pull(library, REPO + "/a-Q8_0.gguf", interrupt)
    assert [model.name for model in library.list()] == [f"{REPO}/b-Q8_0.gguf", f"{REPO}:Q8_0"]


# ---- forgetting ------------------------------------------------------------------------------------------------------


def test_remove(stocked, library, make_library, interrupt):
    """A removed model is gone from the disk and from every list."""
    model = pull(library, REPO, interrupt)
    blob = model.path.resolve()
    assert set(library.remover.remove(REPO)) == {model.path, blob}
    assert make_library().list() == []
    with pytest.raises(ModelNotDownloaded):
        make_library().find(REPO)


def test_remove_import(library, interrupt, local):
    """Removing an imported file forgets it and keeps the file."""
    pull(library, str(local), interrupt)
    assert library.remover.remove("mine") == []
    assert local.exists()
    assert library.list() == []


def test_remove_what_is_not_here(library):
    """A missing model cannot be removed."""
    with pytest.raises(ModelNotDownloaded):
        library.remover.remove("owner/repo")


def test_remove_import_that_is_gone(library, make_library, interrupt, local):
    """An imported file that was deleted is listed as missing, and can be removed."""
    pull(library, str(local), interrupt)
    local.unlink()
    assert [(model.name, model.missing) for model in make_library().list()] == [("mine", True)]
    assert make_library().remover.remove("mine") == []
    assert make_library().list() == []


@pytest.mark.parametrize("name", [REPO, f"{REPO}:Q4_0"])
def test_remove_the_default(stocked, library, make_library, interrupt, name):
    """A removed model is no longer the default, under any name."""
    pull(library, REPO, interrupt)
    library.set_default(name)
    make_library().remover.remove(f"{REPO}/tiny.Q4_0.gguf")
    assert make_library().default_model() == (STARTER_MODEL, "built in")


def test_remove_with_a_registry_that_cannot_be_written(stocked, library, interrupt, monkeypatch):
    """A model that cannot be forgotten is not deleted."""
    model = pull(library, REPO, interrupt)

    def refuse(*_):
        raise OutputError("models.json")

    monkeypatch.setattr(library.registry, "update", refuse)
    with pytest.raises(OutputError):
        library.remover.remove(REPO)
    assert model.path.exists()


def test_remove_an_unfinished_download(stocked, make_library, interrupt):
    """The leftovers of a download are removed by the model's name, unless their owner may still be running."""
    stocked.storage_faults = [Fault(drop=1000), Fault(status=403)]
    with pytest.raises(AccessDenied):
        pull(make_library(), REPO, interrupt)
    (left,) = make_library().remover.orphaned_partials(REPO)
    busy = left.with_name(f"{'0' * 64}.otherhost.1.incomplete")
    busy.write_bytes(b"x")
    assert make_library().remover.remove(REPO) == [left]
    assert (left.exists(), busy.exists()) == (False, True)
    with pytest.raises(ModelNotDownloaded):
        make_library().remover.remove(REPO)
