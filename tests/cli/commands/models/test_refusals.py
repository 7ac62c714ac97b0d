"""``llm models`` with wrong arguments: empty names, pipes and devices, unreadable and unwritable files."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import time
from pathlib import Path

import pytest
from fake_hub import REPO, Fault
from split_models import split
from tiny_adapters import write_adapter

from llmcli.cli.console import error_messages
from llmcli.cli.console.descriptor_writer import CLOSED_DETAIL
from llmcli.errors import OutputError
from llmcli.files import private_files


def rows(run):
    return [json.loads(line) for line in run.out.splitlines()]


# ---- empty names -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "argv",
    [
        ["rm", "", "-y"],
        ["show", ""],
        ["pull", ""],
        ["verify", ""],
        ["verify", "smollm2-135m", ""],
        ["tune", ""],
        ["alias", ""],
        ["alias", "", REPO],
        ["alias", "small", ""],
        ["alias", "--remove", ""],
        ["default", ""],
        ["default", "--for", "", REPO],
        ["import", ""],
        ["import", "MINE", "--name", ""],
        ["import", "--from", "ollama", ""],
        ["search", ""],
        ["recommend", "--language", ""],
    ],
)
def test_an_empty_name_is_no_default(models, here, mine, argv):
    """An unset variable must not mean the default model, least of all for a removal."""
    models("default", here)
    before = models("list").out
    run = models(*(str(mine) if word == "MINE" else word for word in argv))
    assert (run.code, run.out, len(run.err.splitlines())) == (2, "", 2)
    assert models("list").out == before and models("default").out == f"{here}\n"


# ---- what is no file -------------------------------------------------------------------------------------------------


@pytest.fixture(params=["pipe", "device", "link"])
def odd(request, tmp_path):
    """Return the path of a file that is not regular: a pipe without a writer, an endless device."""
    file = tmp_path / "odd.gguf"
    if request.param == "device":
        return Path("/dev/zero")
    target = file if request.param == "pipe" else tmp_path / "pipe"
    os.mkfifo(target)
    if request.param == "link":
        file.symlink_to(target)
    return file


@pytest.mark.parametrize(
    "argv",
    [
        ["ask", "x", "-m"],
        ["models", "pull"],
        ["models", "verify"],
        ["models", "show"],
        ["models", "tune"],
        ["models", "import"],
        ["models", "default"],
        ["models", "alias", "small"],
    ],
)
def test_a_pipe_or_a_device_is_no_model(llm, odd, argv):
    """65 at once: opening or reading one could wait for ever."""
    run = llm(*argv, str(odd), env={"LLMCLI_MODEL": None})
    assert (run.code, run.out) == (65, "") and "not a regular file" in run.err


def test_a_split_model_with_a_pipe_is_no_model(models, tmp_path, mine):
    """In any part."""
    mine.rename(tmp_path / "x-00001-of-00002.gguf")
    os.mkfifo(tmp_path / "x-00002-of-00002.gguf")
    run = models("pull", str(tmp_path / "x-00001-of-00002.gguf"))
    assert run.code == 65 and "x-00002-of-00002.gguf" in run.err and "not a regular file" in run.err


def test_a_file_that_becomes_a_pipe_is_not_waited_for(monkeypatch, mine, models):
    """The file is checked again once it is open."""
    monkeypatch.setattr("llmcli.models.library.inventory.check_regular_file", lambda *_: None)
    mine.unlink()
    os.mkfifo(mine)
    run = models("pull", str(mine))
    assert run.code == 65 and "not a regular file" in run.err


# ---- what llm remembers ----------------------------------------------------------------------------------------------


@pytest.fixture
def record():
    """Return the file of the registry."""
    return Path(os.environ["LLMCLI_DATA_DIR"]) / "models.json"


@pytest.mark.parametrize(
    "argv",
    [
        ["models", "list"],
        ["models", "default"],
        ["models", "default", "smollm2-135m"],
        ["models", "alias", "other", "smollm2-135m"],
        ["models", "rm", "small", "-y"],
        ["models", "prune", "-y"],
        ["ask", "x"],
    ],
)
def test_a_record_that_cannot_be_read_is_not_overwritten(llm, models, here, record, argv):
    """77 with the next step: it contains the user's choices, which come back once it can be read."""
    models("alias", "small", here)
    models("default", "small")
    read = Path.read_bytes

    def refuse(path):
        if path == record:
            raise PermissionError(13, "Permission denied", str(path))
        return read(path)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "read_bytes", refuse)
        run = llm(*argv, env={"LLMCLI_MODEL": None})
    assert (run.code, run.out) == (77, "")
    assert run.err == f"llm: cannot read {record}: Permission denied\nCheck its permissions: ls -ld {record}\n"
    assert models("alias", "small").out == models("default").out == f"{here}\n"


@pytest.mark.parametrize("argv", [["models", "default"], ["models", "alias"], ["ask", "x", "-m", "HERE"]])
def test_a_damaged_record_is_reported_once(llm, models, here, record, argv):
    """The warning names the file and its new name, also if everything else succeeded; not with -q."""
    record.write_text("{")
    argv = [here if word == "HERE" else word for word in argv]
    quiet = llm(*argv, "-q", env={"LLMCLI_MODEL": None})
    record.write_text("{")
    run = llm(*argv, env={"LLMCLI_MODEL": None})
    assert (quiet.code, quiet.err, run.code) == (0, "", 0)
    (line,) = run.err.splitlines()
    assert line.startswith("llm: warning: ") and str(record) in line and f"{record}.broken" in line


def test_a_damaged_record_is_an_object_with_json(models, record):
    """With --json, standard error contains only objects."""
    record.parent.mkdir(parents=True)
    record.write_text("[]")
    assert str(record) in json.loads(models("default", "--json").err)["warning"]


def test_a_full_disk_leaves_no_part_of_the_record(models, here, record):
    """The partial file is removed; the old content stays."""
    before = record.read_bytes()

    def full(path, content):
        path.write_bytes(content[:10])
        raise OSError(28, "No space left on device", str(path))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(private_files, "write_file", full)
        run = models("alias", "small", here)
    assert run.code == 74 and "No space left" in run.err
    assert [path.name for path in record.parent.iterdir() if path.name.startswith(".")] == []
    assert record.read_bytes() == before


def test_prune_finds_old_parts_of_the_record(models, here, record):
    """The hour-old leftover of a killed process is removed; a file being written stays."""
    old, new = (record.with_name(f".models.json.{number}") for number in (1, 2))
    for path in (old, new):
        path.write_text("{")
    os.utime(old, (time.time() - 4000,) * 2)
    run = models("prune", "--yes")
    assert run.out == f"{old}\t1\tunfinished record\n" and not old.exists() and new.exists()


# ---- a removal that fails --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("what", ["cached", "cached link", "import"])
def test_a_removal_that_fails_changes_nothing(models, here, mine, what):
    """Aliases, defaults, verified hashes and the model stay as before."""
    name = "own" if what == "import" else here
    models("import", str(mine), "--name", "own")
    models("alias", "small", name)
    models("default", "small")
    before = models("list", "--json").out
    unlink = Path.unlink

    def refuse(path, **how):
        if path.suffix == ".gguf" if what != "cached" else len(path.name) == 64:
            raise PermissionError(1, "Operation not permitted", str(path))
        unlink(path, **how)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "unlink", refuse)
        run = models("rm", "small", "-y")
    assert run.code == 74 and "Operation not permitted" in run.err
    assert models("list", "--json").out == before
    assert models("alias", "small").out == models("default").out == f"{name}\n"
    assert models("rm", "small", "-y").code == 0 and models("alias").out == ""


def test_an_unwritable_directory_is_detected_before(models, here, monkeypatch):
    """Nothing is removed if a later step would fail."""
    monkeypatch.setattr(os, "access", lambda *_: False)
    run = models("rm", here, "-y")
    assert run.code == 74 and "Permission denied" in run.err and models("verify", here).code == 0


# ---- split models of which a part is gone ----------------------------------------------------------------------------


@pytest.fixture
def parts(hub, tiny):
    """Put a model in three parts on the Hub; return the parts' names and bytes."""
    files = split(tiny("llama").read_bytes(), "big-Q4_0", 3)
    hub.repos["maker/big-GGUF"] = files
    return files


def stored() -> list[Path]:
    cache = Path(os.environ["HF_HOME"]) / "hub" / "models--maker--big-GGUF"
    return sorted(path for part in ("blobs", "snapshots") for path in (cache / part).rglob("*") if not path.is_dir())


@pytest.mark.parametrize("lost", [0, 1])
@pytest.mark.parametrize(
    "name", ["maker/big-GGUF:Q4_0", "maker/big-GGUF", "maker/big-GGUF/big-Q4_0-00001-of-00003.gguf"]
)
def test_rm_removes_an_incomplete_split_model(models, parts, lost, name):
    """It is listed as incomplete, verify suggests the repair, and rm removes the other parts."""
    assert models("pull", "maker/big-GGUF").code == 0
    link = next(path for path in stored() if path.name == sorted(parts)[lost])
    link.resolve().unlink()
    link.unlink()
    row = next(row for row in rows(models("list", "--json")) if row["name"] == "maker/big-GGUF:Q4_0")
    assert (row["verification"], row["here"]) == ("incomplete", False)
    run = models("verify", "--json")
    assert run.code == 66 and rows(run)[0]["repair"] == "llm models pull maker/big-GGUF:Q4_0"
    assert models("rm", name, "-y").code == 0 and stored() == []


def test_pull_completes_a_split_model(models, parts, hub):
    """Only the missing part is fetched."""
    assert models("pull", "maker/big-GGUF").code == 0
    link = next(path for path in stored() if path.name == sorted(parts)[1])
    link.resolve().unlink()
    link.unlink()
    hub.asked.clear()
    assert models("pull", "maker/big-GGUF:Q4_0").code == 0 and models("verify").code == 0
    assert {
        asked.path.strip("/") for asked in hub.asked if asked.server == "storage" and "range" not in asked.headers
    } == {hashlib.sha256(parts[sorted(parts)[1]]).hexdigest()}


def test_rm_frees_a_split_model_that_stopped_coming(models, parts, hub):
    """The finished part and the partial next one."""
    hub.storage_faults = [Fault(), Fault(drop=100), *(Fault(status=403) for _ in range(9))]
    assert models("pull", "maker/big-GGUF").code == 77
    assert len(stored()) == 3  # a blob, its name, a partial file
    assert models("rm", "maker/big-GGUF:Q4_0", "-y").code == 0 and stored() == []


def test_rm_removes_an_incomplete_import(models, parts, tmp_path):
    """Also if the first part is missing."""
    for name, content in parts.items():
        (tmp_path / name).write_bytes(content)
    assert models("import", str(tmp_path / min(parts)), "--name", "big").code == 0
    first = Path(rows(models("show", "big", "--json"))[0]["path"])
    own = first.parent
    first.unlink()
    assert {row["name"]: row["verification"] for row in rows(models("list", "--json"))}["big"] == "incomplete"
    assert models("rm", "big", "-y").code == 0 and list(own.iterdir()) == []


# ---- a cache that may not be looked into -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "argv",
    [
        ["models", "list"],
        ["models", "show", REPO],
        ["models", "pull", REPO],
        ["models", "pull"],
        ["models", "verify"],
        ["models", "verify", REPO],
        ["models", "rm", REPO, "-y"],
        ["ask", "x", "-m", REPO],
        ["ask", "x"],
    ],
)
def test_an_unreadable_cache_is_reported(llm, hub, monkeypatch, argv):
    """77, one line and a next step, not a message that there is nothing."""
    cache = Path(os.environ["HF_HOME"]) / "hub"
    look = Path.iterdir

    def refuse(path):
        if path.is_relative_to(cache):
            raise PermissionError(13, "Permission denied", str(path))
        return look(path)

    monkeypatch.setattr(Path, "iterdir", refuse)
    run = llm(*argv, env={"LLMCLI_MODEL": None})
    assert (run.code, run.out, len(run.err.splitlines())) == (77, "", 2)
    assert run.err.startswith(f"llm: cannot read {cache}") and "Permission denied\n" in run.err


# ---- models that do not generate -------------------------------------------------------------------------------------


@pytest.mark.parametrize("argv", [[], ["--for", "translate"]])
def test_an_embedding_model_cannot_be_the_default(models, tiny, argv):
    """With the message of the commands that could not run it; nothing is stored."""
    file = str(tiny("bert"))
    run = models("default", *argv, file)
    said = f"llm: {file} is not a valid model file: an embedding model, which cannot generate text"
    assert (run.code, run.err) == (65, f"{said}\nTry: llm models list\n")
    assert models("default", *argv).out == "smollm2-135m\n"


@pytest.mark.parametrize("command", ["pull", "import"])
def test_an_embedding_model_is_imported_with_a_warning(models, tiny, terminal, command):
    """It may be useful to other programs."""
    screen = terminal(columns=300)
    assert models(command, str(tiny("bert")), err=screen.slave).code == 0
    assert "warning" in (left := screen.close()) and "an embedding model, which cannot generate text" in left
    assert any(row["here"] for row in rows(models("list", "--json")))


def test_an_embedding_model_of_the_cache_cannot_be_the_default(models, hub, tiny):
    """Another program may have stored it there."""
    hub.repos["maker/bert-GGUF"] = {"bert.Q8_0.gguf": tiny("bert").read_bytes()}
    assert models("pull", "maker/bert-GGUF", "--force").code == 0
    run = models("default", "maker/bert-GGUF")
    assert run.code == 65 and "cannot generate text" in run.err and models("default").out == "smollm2-135m\n"


# ---- what is said ----------------------------------------------------------------------------------------------------


def test_a_file_missing_from_the_storage_is_no_missing_repository(models, hub):
    """The repository exists."""
    hub.storage_faults = [Fault(status=404)]
    run = models("pull", f"{REPO}:Q4_0")
    assert run.code == 66 and f"no file called {REPO}/tiny.Q4_0.gguf" in run.err
    assert "repository called" not in run.err and len(run.err.splitlines()) == 2


def test_a_file_with_a_refused_name_is_reported(models, hub, tiny):
    """It is a GGUF file, but llm does not accept its name."""
    hub.repos[REPO] = {"modèle.gguf": tiny("llama").read_bytes()}
    run = models("pull", REPO)
    assert run.code == 66 and "modèle.gguf" in run.err and "does not accept the file name" in run.err
    run = models("pull", f"{REPO}/modèle.gguf")
    assert run.code == 66 and "does not accept this file name" in run.err


@pytest.mark.parametrize(
    ("number", "advice"),
    [
        (errno.ENOSPC, "Free some space, or write elsewhere."),
        (errno.EACCES, "Check its permissions: ls -ld "),
        (errno.EROFS, "Write elsewhere."),
    ],
)
def test_what_cannot_be_written_has_a_fitting_next_step(models, monkeypatch, record, number, advice):
    """Only a full disk needs more space."""

    def refuse(path, *_, **__):
        raise OSError(number, os.strerror(number), str(path))

    monkeypatch.setattr(private_files, "write_file", refuse)
    run = models("default", "qwen3-4b")
    said, following = run.err.splitlines()
    assert run.code == 74 and os.strerror(number) in said and following.startswith(advice)
    assert number != errno.EACCES or following.endswith(str(record.parent))


def test_a_closed_standard_output_has_no_next_step():
    """Whoever closed it knows."""
    assert error_messages.describe(OutputError("standard output", detail=CLOSED_DETAIL))[1] == ""


def test_rm_of_a_missing_model_has_a_next_step(models):
    """69."""
    run = models("rm", "qwen3-4b", "-y")
    assert (run.code, run.err.splitlines()[1]) == (69, "Try: llm models list")


def test_an_incomplete_foreign_model_is_reported(models, tmp_path, terminal):
    """The list skips it with a message; by its name it is refused with the missing file."""
    digest = "0" * 64
    layers = [{"mediaType": "application/vnd.ollama.image.model", "digest": f"sha256:{digest}", "size": 1}]
    manifest = tmp_path / "ollama" / "manifests" / "registry.ollama.ai" / "library" / "gone" / "1b"
    manifest.parent.mkdir(parents=True)
    manifest.write_text(json.dumps({"layers": layers}))
    env = {"OLLAMA_MODELS": str(tmp_path / "ollama")}
    run = models("import", "--from", "ollama", "-v", env=env)
    assert (run.code, run.out) == (0, "") and "gone:1b is skipped" in run.err and digest in run.err
    screen = terminal(columns=300)
    models("import", "--from", "ollama", env=env, err=screen.slave)
    assert "gone:1b is skipped" in screen.close()
    run = models("import", "--from", "ollama", "gone:1b", env=env)
    assert run.code == 66 and digest in run.err and "ollama pull" in run.err
    run = models("import", "--from", "ollama", "other", env=env)
    assert run.code == 66 and run.err.splitlines()[1] == "Try: llm models import --from ollama"


@pytest.mark.parametrize(
    ("name", "reason"),
    [(".hid", "Begin and end"), ("-x", "Begin and end"), ("x" * 300, "300 characters"), ("a b", "Use letters")],
)
def test_why_a_name_cannot_be_an_alias(models, name, reason):
    """The error names the violated rule."""
    run = models("alias", "--", name, "smollm2-135m")
    assert run.code == 2 and reason in run.err and "x" * 90 not in run.err


def test_a_file_that_cannot_be_read_is_not_missing(models, here, monkeypatch):
    """Its name is right, and it exists."""
    blob = Path(rows(models("show", here, "--json"))[0]["path"]).resolve()
    opened = os.open

    def refuse(path, *how, **more):
        if Path(path).resolve() == blob:
            raise PermissionError(13, "Permission denied", str(path))
        return opened(path, *how, **more)

    monkeypatch.setattr(os, "open", refuse)
    run = models("verify", here)
    assert run.code == 66 and run.out.split("\t")[1] == "not readable"
    assert "cannot read" in run.err and "Permission denied" in run.err and "no model called" not in run.err


def test_an_unpinned_model_has_an_approximate_size(models, terminal):
    """Computed from its parameters and the bits of its quantization."""
    screen = terminal(columns=200)
    assert models("list", out=screen.slave).code == 0
    line = next(line for line in screen.close().splitlines() if line.startswith("qwen3-4b"))
    assert "about 2" in line and "not pinned" not in line


@pytest.mark.parametrize("argv", [("models", "pull"), ("models", "import"), ("models", "show")])
def test_an_adapter_is_no_model(llm, here, mine, tmp_path, argv):
    """It has a header like a model, and must not be offered as one, even after --lora has used it."""
    adapter = write_adapter(tmp_path / "style.gguf", mine)
    assert llm("ask", "hi", "-m", str(mine), "--lora", str(adapter)).code == 0
    run = llm(*argv, str(adapter))
    assert run.code == 65 and "it is a LoRA adapter" in run.err and "--lora" in run.err
    assert "style" not in llm("models", "list").out


@pytest.mark.parametrize(
    ("given", "named"), [(["a.gguf:nan"], "'a.gguf:nan'"), ([""], "''"), (["none", "a.gguf"], "'none' 'a.gguf'")]
)
def test_a_wrong_adapter_is_named(llm, mine, given, named):
    """The value itself stands in the message, not its Python type."""
    run = llm("ask", "hi", "-m", str(mine), *(word for text in given for word in ("--lora", text)))
    assert run.code == 2 and f", not {named}" in run.err
