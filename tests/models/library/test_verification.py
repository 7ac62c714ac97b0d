"""Hashing again: changed bytes are detected whatever the file's time, and count until they are repaired."""

from __future__ import annotations

import mmap
import os
from pathlib import Path

import pytest
import split_models
from fake_hub import REPO, pull
from tiny_adapters import write_adapter

from llmcli.errors import BadModelFile, DamagedModel, MissingError
from llmcli.models.library.adapter_files import find_adapters
from llmcli.models.library.model_library import ModelFile
from llmcli.types import Progress


@pytest.fixture
def pulled(hub, library, interrupt, content):
    """Return a model that was pulled."""
    hub.repos[REPO] = {"tiny.Q8_0.gguf": content}
    return pull(library, REPO, interrupt)


def verify(library, name, interrupt) -> ModelFile:
    *events, model = library.verify(library.find(name), interrupt)
    assert events and all(isinstance(event, Progress) for event in events)
    return model


def rot(path: Path) -> None:
    """Flip a bit and keep size and time."""
    status = path.stat()
    with path.open("r+b") as file:
        file.seek(status.st_size // 2)
        byte = file.read(1)[0]
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte ^ 1]))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def test_a_good_model(pulled, make_library, interrupt):
    """All bytes are read, and the model stays the same."""
    *events, model = make_library().verify(pulled, interrupt)
    assert events[-1] == Progress(pulled.size, pulled.size, "bytes", pulled.name)
    assert (model.path, model.verified, model.sha256) == (pulled.path, True, pulled.sha256)


def test_a_flipped_bit(pulled, make_library, interrupt):
    """Size and time did not change; hashing again detects it (76), and the model no longer runs."""
    rot(pulled.path.resolve())
    assert make_library().ensure_verified(REPO, interrupt).verified
    with pytest.raises(DamagedModel) as caught:
        verify(make_library(), REPO, interrupt)
    assert (caught.value.exit_code, caught.value.subject, caught.value.repair) == (76, f"{REPO}:Q8_0", "")
    assert make_library().find(REPO).damaged
    with pytest.raises(DamagedModel):
        make_library().ensure_verified(REPO, interrupt)


def test_pull_repairs_a_damaged_model(pulled, make_library, interrupt, content):
    """Fetched again, it is verified and runs again."""
    rot(pulled.path.resolve())
    with pytest.raises(DamagedModel):
        verify(make_library(), REPO, interrupt)
    assert pull(make_library(), REPO, interrupt).verified
    assert make_library().ensure_verified(REPO, interrupt).path.read_bytes() == content
    assert verify(make_library(), REPO, interrupt).verified


def test_repairing_disturbs_no_reader(pulled, make_library, interrupt, content):
    """A process that has mapped the damaged file keeps its bytes: files are only replaced by renaming."""
    blob = pulled.path.resolve()
    rot(blob)
    damaged = blob.read_bytes()
    with blob.open("rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as mapped:
        with pytest.raises(DamagedModel):
            verify(make_library(), REPO, interrupt)
        pull(make_library(), REPO, interrupt)
        assert mapped[:] == damaged and os.fstat(file.fileno()).st_nlink == 0
    assert blob.read_bytes() == content


def test_restored_bytes_are_good_again(pulled, make_library, interrupt, content):
    """A file that is restored, with its old time, is good again."""
    blob = pulled.path.resolve()
    status = blob.stat()
    rot(blob)
    with pytest.raises(DamagedModel):
        verify(make_library(), REPO, interrupt)
    blob.write_bytes(content)
    os.utime(blob, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert make_library().ensure_verified(REPO, interrupt).verified


def test_every_part_is_hashed(hub, library, make_library, interrupt, content):
    """A flipped bit in the second part of a split model is found, too."""
    hub.repos[REPO] = split_models.split(content, "t-Q8_0")
    model = pull(library, REPO, interrupt)
    assert verify(make_library(), REPO, interrupt).verified
    rot(model.parts[1].resolve())
    with pytest.raises(DamagedModel):
        verify(make_library(), REPO, interrupt)


@pytest.mark.parametrize("later", [False, True])
def test_a_file_without_an_announced_hash(library, make_library, interrupt, local, later):
    """It must be as it was when it was pulled, whatever its time; pulling it again accepts it as it is."""
    pull(library, str(local), interrupt)
    assert verify(make_library(), "mine", interrupt).verified
    rot(local)
    if later:
        os.utime(local, (1, 1))
    with pytest.raises(DamagedModel) as caught:
        verify(make_library(), "mine", interrupt)
    assert caught.value.repair == f"llm models pull {local}"
    for name in ("mine", str(local)):
        with pytest.raises(DamagedModel):
            make_library().ensure_verified(name, interrupt)
    assert [model.damaged for model in make_library().list()] == [True]
    assert pull(make_library(), str(local), interrupt).name == "mine"
    assert (
        make_library().ensure_verified("mine", interrupt).verified
        and verify(make_library(), "mine", interrupt).verified
    )


def test_a_file_that_was_replaced(library, make_library, interrupt, local, tiny):
    """Another model at the same path is another model under all its names; old records are not used."""
    pull(library, str(local), interrupt)
    make_library().ensure_verified("mine", interrupt)
    local.write_bytes(tiny("chatml").read_bytes())
    os.utime(local, (1, 1))
    fresh = make_library().ensure_verified(str(local), interrupt)
    assert make_library().ensure_verified("mine", interrupt).sha256 == fresh.sha256


def test_a_file_that_is_new(library, make_library, interrupt, local):
    """A new file has nothing to be compared with, but is compared from then on."""
    assert verify(library, str(local), interrupt).verified
    rot(local)
    with pytest.raises(DamagedModel):
        verify(make_library(), str(local), interrupt)


def test_a_file_of_the_cache_by_its_path(pulled, make_library, interrupt):
    """Its name in the cache announces its hash; by its path it is bad input, since pulling a path fetches nothing."""
    rot(pulled.path.resolve())
    with pytest.raises(BadModelFile, match="damaged"):
        verify(make_library(), str(pulled.path), interrupt)


def test_a_missing_file(library, make_library, interrupt, local):
    """A missing imported file is 66."""
    pull(library, str(local), interrupt)
    local.unlink()
    (model,) = make_library().list()
    with pytest.raises(MissingError):
        list(make_library().verify(model, interrupt))


# ---- LoRA adapters ---------------------------------------------------------------------------------------------------


@pytest.fixture
def adapter(tmp_path, tiny):
    """Return an adapter that a run has hashed."""
    return write_adapter(tmp_path / "style.gguf", tiny("llama"))


def test_an_adapter_is_verified_as_one(library, adapter, interrupt):
    """It is hashed and compared, and does not become a model."""
    (known,) = find_adapters([str(adapter)], library.registry, interrupt)
    assert verify(library, str(adapter), interrupt).sha256 == known.sha256
    assert str(adapter) not in library.registry.sections["names"]
    with pytest.raises(BadModelFile, match="LoRA adapter"):
        library.ensure_verified(str(adapter), interrupt)


def test_a_changed_adapter_is_reported_once(library, adapter, interrupt):
    """Then it is what it is now: runs use its new bytes."""
    (before,) = find_adapters([str(adapter)], library.registry, interrupt)
    rot(adapter)
    with pytest.raises(DamagedModel, match="expected was") as caught:
        verify(library, str(adapter), interrupt)
    assert caught.value.repair == f"llm models verify {adapter}"
    (after,) = find_adapters([str(adapter)], library.registry, interrupt)
    assert after.sha256 == verify(library, str(adapter), interrupt).sha256 != before.sha256
