"""Importing: our own copies of files from elsewhere, by link or by copy, complete, checked, under one name."""

from __future__ import annotations

import errno
import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
import split_models

from llmcli.errors import BadModelFile, DamagedModel, MissingError, OutputError, UsageError
from llmcli.models.hub import partial_file
from llmcli.models.library.model_library import ModelFile
from llmcli.models.library.resolver import STARTER_MODEL
from llmcli.types import Progress


@pytest.fixture
def file(tmp_path, content):
    path = tmp_path / "elsewhere" / "mine.gguf"
    path.parent.mkdir()
    path.write_bytes(content)
    return path


class Desk:
    """One data directory; each access is that of a new process."""

    def __init__(self, make_library, interrupt, own) -> None:
        self.make = make_library
        self.interrupt = interrupt
        self.own = own

    @property
    def library(self):
        return self.make()

    def take(self, path, name="") -> ModelFile:
        *events, model = self.library.import_file(Path(path), self.interrupt, name=name)
        assert all(isinstance(event, Progress) for event in events)
        return model

    def ready(self, name="mine") -> ModelFile:
        return self.library.ensure_verified(name, self.interrupt)

    def files(self) -> list[str]:
        """Return the names in our own directory, which need not exist."""
        return sorted(path.name for path in self.own.iterdir()) if self.own.exists() else []


@pytest.fixture
def desk(make_library, interrupt, tmp_path):
    return Desk(make_library, interrupt, tmp_path / "home" / "data" / "models")


@pytest.fixture
def no_links(monkeypatch):
    """Make hard links fail, as between file systems."""

    def refuse(*_):
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    monkeypatch.setattr(Path, "hardlink_to", refuse)


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


# ---- taking ----------------------------------------------------------------------------------------------------------


def test_by_link(desk, file, content):
    """On one file system nothing is copied: the import is another name of the same bytes, hashed and checked."""
    model = desk.take(file)
    assert (model.name, model.path) == ("mine", desk.own / "mine.gguf")
    assert (model.sha256, model.verified, model.announced, model.repo) == (sha256(content), True, False, None)
    assert file.stat().st_ino == model.path.stat().st_ino
    assert desk.files() == ["mine.gguf"]
    assert [found.name for found in desk.library.list()] == ["mine"]
    assert desk.library.find("mine").path == model.path and "mine" in desk.library.known_names()
    assert desk.library.import_origin(model) == str(file)


def test_by_copy(desk, file, content, no_links):
    """Without links the bytes are copied and hashed on the way, and nothing else is left."""
    model = desk.take(file, "other")
    assert model.path.read_bytes() == content and file.stat().st_ino != model.path.stat().st_ino
    assert model.sha256 == sha256(content) and desk.files() == ["other.gguf"]


@pytest.mark.parametrize("links", [True, False])
def test_hashed_once(desk, file, request, monkeypatch, links):
    """The bytes are read once; afterwards their hash is known, also in another process."""
    if not links:
        request.getfixturevalue("no_links")
    events = [event for event in desk.library.import_file(file, desk.interrupt) if isinstance(event, Progress)]
    assert events[-1].done == events[-1].total == file.stat().st_size
    monkeypatch.setattr("llmcli.models.files.file_bytes.hash_steps", lambda *_: pytest.fail("hashed again"))
    assert desk.ready().verified


def test_of_a_link(desk, file, tmp_path):
    """The target of a symbolic link is imported, not the link."""
    link = tmp_path / "link.gguf"
    link.symlink_to(file)
    model = desk.take(link)
    assert model.name == "link" and not model.path.is_symlink()
    assert model.path.stat().st_ino == file.stat().st_ino


@pytest.fixture
def split(tmp_path, content):
    """Return a directory with a model in two parts."""
    for name, data in split_models.split(content, "big-Q8_0").items():
        (tmp_path / name).write_bytes(data)
    return tmp_path


@pytest.mark.parametrize("links", [True, False])
@pytest.mark.parametrize("part", [1, 2])
def test_of_a_split_model(desk, split, request, links, part):
    """Whichever part is named, all are imported, and the first is loaded."""
    if not links:
        request.getfixturevalue("no_links")
    model = desk.take(split / f"big-Q8_0-0000{part}-of-00002.gguf", "big")
    assert desk.files() == ["big-00001-of-00002.gguf", "big-00002-of-00002.gguf"]
    assert model.path == desk.own / "big-00001-of-00002.gguf" and len(model.parts) == 2
    assert model.size == sum(path.stat().st_size for path in desk.own.iterdir())
    assert [(found.name, found.verified) for found in desk.library.list()] == [("big", True)]


def test_of_half_a_split_model(desk, split):
    """The error names the missing part, and nothing is imported."""
    missing = split / "big-Q8_0-00002-of-00002.gguf"
    missing.unlink()
    with pytest.raises(MissingError) as caught:
        desk.take(split / "big-Q8_0-00001-of-00002.gguf")
    assert caught.value.subject == str(missing) and desk.files() == []


def test_of_a_part_without_its_name(desk, split):
    """A part of a model with the name of a complete one would not load."""
    whole = (split / "big-Q8_0-00001-of-00002.gguf").rename(split / "whole.gguf")
    with pytest.raises(BadModelFile, match="in 2 files"):
        desk.take(whole)
    assert desk.files() == []


def test_of_complete_models_named_like_parts(desk, tmp_path, content):
    """Neither would files that belong to nothing."""
    for number in (1, 2):
        (tmp_path / f"odd-0000{number}-of-00002.gguf").write_bytes(content)
    with pytest.raises(BadModelFile, match="its header says 1"):
        desk.take(tmp_path / "odd-00001-of-00002.gguf")
    assert desk.files() == []


def test_of_an_invalid_model(desk, tmp_path):
    """The header is checked first; 65, and nothing is imported."""
    (tmp_path / "x.gguf").write_bytes(b"nonsense")
    with pytest.raises(BadModelFile):
        desk.take(tmp_path / "x.gguf")
    assert desk.files() == []


@pytest.mark.parametrize(("name", "error"), [("none.gguf", MissingError), ("", BadModelFile)])
def test_of_a_missing_file(desk, tmp_path, name, error):
    """A missing file is 66, a directory 65."""
    with pytest.raises(error):
        desk.take(tmp_path / name)


def test_without_space(desk, file, no_links, monkeypatch):
    """A copy without enough space is refused before it begins (74)."""
    real = os.statvfs

    def full(path):
        status = real(path)
        return os.statvfs_result((*status[:4], 0, *status[5:]))

    monkeypatch.setattr(os, "statvfs", full)
    with pytest.raises(OutputError, match="needed"):
        desk.take(file)
    assert desk.files() == []


def test_when_the_disk_fills_up(desk, file, no_links, monkeypatch):
    """A copy that cannot be written is 74 and leaves nothing behind."""

    def refuse(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(OutputError, match="No space left"):
        desk.take(file)
    assert desk.files() == [] and desk.library.list() == []


def test_closed_in_the_middle(desk, file, no_links):
    """An abandoned import leaves nothing behind."""
    events = desk.library.import_file(file, desk.interrupt)
    assert isinstance(next(events), Progress)
    events.close()
    assert desk.files() == []


def test_after_a_killed_import(desk, file):
    """Its leftovers are removed with the next import; files of a living process stay."""
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    host = partial_file.temp_name("import").split(".")[1]
    for process in (child.pid, os.getppid()):
        (desk.own / f"import.{host}.{process}.incomplete").mkdir(parents=True)
    desk.take(file)
    assert desk.files() == [f"import.{host}.{os.getppid()}.incomplete", "mine.gguf"]


# ---- names -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a/b", "..", "x.gguf", STARTER_MODEL, "a b"])
def test_an_invalid_name(desk, file, name):
    """The rules for aliases apply to imports."""
    with pytest.raises(UsageError):
        desk.take(file, name)
    assert desk.files() == []


@pytest.mark.parametrize(
    ("stem", "name"), [("My model (1)", "My-model-1"), ("x..y", "x-y"), ("größe", "gr-e"), ("_x_", "x")]
)
def test_an_invalid_file_name(desk, tmp_path, content, stem, name):
    """Without a name, an import is named as closely as possible after its file."""
    path = tmp_path / f"{stem}.gguf"
    path.write_bytes(content)
    assert desk.take(path).name == name


def test_the_name_of_an_alias(desk, file):
    """An alias would hide the import."""
    desk.library.set_alias("mine", "owner/repo")
    with pytest.raises(UsageError, match="an alias of owner/repo"):
        desk.take(file)
    with pytest.raises(UsageError, match="an alias of owner/repo"):
        list(desk.make(aliases={"given": "owner/repo"}).import_file(file, desk.interrupt, name="given"))


def test_an_alias_with_the_name_of_an_import(desk, file):
    """And an import would hide the alias."""
    desk.take(file)
    with pytest.raises(UsageError, match="imported"):
        desk.library.set_alias("mine", "owner/repo")


@pytest.mark.parametrize("change", [lambda data: data + b"?", lambda data: data[:-1] + b"?"])
def test_the_name_of_another_import(desk, file, tmp_path, content, change):
    """An existing model keeps its name, whether the other has another size or only other bytes."""
    desk.take(file)
    path = tmp_path / "mine.gguf"
    path.write_bytes(change(content))
    with pytest.raises(UsageError, match="another model") as caught:
        desk.take(path)
    assert "llm models rm mine" in caught.value.detail
    assert desk.ready().sha256 == sha256(content)
    assert desk.files() == ["mine.gguf"]


def test_again(desk, file, no_links):
    """The same model under the same name is no conflict."""
    desk.take(file)
    assert desk.take(file).verified
    assert desk.take(desk.own / "mine.gguf").verified
    assert desk.library.import_origin(desk.library.find("mine")) == str(file)
    assert desk.files() == ["mine.gguf"]


@pytest.mark.parametrize("same", [True, False])
def test_while_another_process_takes_the_name(desk, file, no_links, content, same):
    """A copy that is unknown to this process is compared by its bytes."""
    events = desk.library.import_file(file, desk.interrupt)
    next(events)
    (desk.own / "mine.gguf").write_bytes(content if same else content[:-1] + b"?")
    if same:
        assert list(events)[-1].verified
    else:
        with pytest.raises(UsageError, match="another model"):
            list(events)
    assert desk.files() == ["mine.gguf"]


def test_again_by_link(desk, file):
    """Renaming a link over another one of the same file does nothing; no second name remains."""
    desk.take(file)
    desk.take(file)
    assert desk.files() == ["mine.gguf"]


def test_of_a_file_that_was_registered_in_place(desk, file):
    """A file that was pulled by its path can be imported under the same name."""
    list(desk.library.pull(str(file), desk.interrupt))
    assert desk.take(file).path == desk.own / "mine.gguf"
    assert [model.path for model in desk.library.list()] == [desk.own / "mine.gguf"]


# ---- what was announced ----------------------------------------------------------------------------------------------


def blob(tmp_path, content, digest=None) -> Path:
    path = tmp_path / "ollama" / "blobs" / f"sha256-{digest or sha256(content)}"
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    return path


def test_ollama_blob(desk, tmp_path, content):
    """The name of an Ollama blob is its hash, so the import counts as announced."""
    model = desk.take(blob(tmp_path, content), "mine")
    assert (model.announced, model.verified, model.sha256) == (True, True, sha256(content))
    (found,) = desk.library.list()
    assert (found.announced, found.verified) == (True, True)
    assert desk.ready().announced


def test_damaged_ollama_blob(desk, tmp_path, content):
    """Bytes that do not match that name are not imported."""
    with pytest.raises(BadModelFile, match="damaged"):
        desk.take(blob(tmp_path, content, "0" * 64), "mine")
    assert desk.files() == [] and desk.library.list() == []


def test_ollama_blob_by_its_path(desk, tmp_path, content):
    """It can be registered in place, too."""
    model = desk.ready(str(blob(tmp_path, content)))
    assert model.announced and model.verified and model.quantization == "Q8_0"


# ---- keeping ---------------------------------------------------------------------------------------------------------


def test_a_copy_does_not_change(desk, file, content, no_links):
    """A copy with other bytes is damaged (76), and importing the original again repairs it."""
    model = desk.take(file)
    model.path.write_bytes(content[:-1] + b"?")
    os.utime(model.path, (1, 1))
    with pytest.raises(DamagedModel) as caught:
        desk.ready()
    assert caught.value.repair == f"llm models import {file} --name mine"
    assert desk.library.find("mine").damaged
    with pytest.raises(DamagedModel):
        list(desk.library.pull("mine", desk.interrupt))
    assert desk.take(file).verified
    assert desk.ready().path.read_bytes() == content


def test_a_damaged_original_repairs_nothing(desk, file, content):
    """A hard link shares its bytes with the original, so damage of both does not count as correct."""
    desk.take(file)
    with file.open("r+b") as stream:
        stream.seek(-1, os.SEEK_END)
        stream.write(b"?")
    os.utime(file, (1, 1))
    with pytest.raises(DamagedModel):
        desk.ready()
    with pytest.raises(UsageError, match="other bytes"):
        desk.take(file)


def test_remove(desk, file):
    """Our name of it is removed, the original stays."""
    desk.take(file)
    desk.library.set_default("mine", "translate")
    assert desk.library.remover.remove("mine") == [desk.own / "mine.gguf"]
    assert file.exists() and desk.library.list() == [] and desk.files() == []
    assert desk.library.defaults.defaults_by_verb() == {} and desk.library.registry.sections["origins"] == {}


def test_remove_a_split_copy_with_a_part_missing(desk, split):
    """The rest of an incomplete model is listed as missing, and removed by its name."""
    desk.take(split / "big-Q8_0-00001-of-00002.gguf", "big")
    (desk.own / "big-00002-of-00002.gguf").unlink()
    assert [(model.name, model.missing) for model in desk.library.list()] == [("big", True)]
    assert desk.library.remover.remove("big") == [desk.own / "big-00001-of-00002.gguf"]
    assert desk.library.list() == []


def test_a_lost_registry_loses_no_copy(desk, file, tmp_path):
    """The directory shows which copies there are; only their hashes are computed again."""
    desk.take(file)
    (tmp_path / "home" / "data" / "models.json").unlink()
    assert [(model.name, model.verified) for model in desk.library.list()] == [("mine", False)]
    assert desk.ready().verified
