"""``llm models``: aliases and defaults, hashing again, pruning, importing."""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import time
from pathlib import Path

import pytest
from fake_hub import REPO, Fault
from split_models import split
from tiny_adapters import write_adapter
from waiting import wait_until


def rows(run):
    return [json.loads(line) for line in run.out.splitlines()]


def cells(run):
    return [line.split("\t") for line in run.out.splitlines()]


def rot(path: Path) -> None:
    """Flip a bit and keep size and time."""
    status, content = path.stat(), bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    with path.open("r+b") as file:
        file.write(content)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def cached(models, name) -> Path:
    return Path(json.loads(models("show", name, "--json").out)["path"]).resolve()


# ---- alias -----------------------------------------------------------------------------------------------------------


def test_an_alias_is_a_name_that_m_takes(llm, models, here):
    """Set, printed, listed, used."""
    run = models("alias", "small", here)
    assert (run.code, run.out, run.err) == (0, "", "")
    assert models("alias", "small").out == f"{here}\n"
    assert cells(models("alias")) == [["small", here, "llm models alias"]]
    assert rows(models("alias", "small", "--json")) == [{"alias": "small", "model": here, "origin": "llm models alias"}]
    run = llm("ask", "x", "-m", "small", "--json")
    assert run.code == 0 and rows(run)[0]["model"] == here
    assert json.loads(models("show", "small", "--json").out)["aliases"] == ["small"]


def test_the_list_of_aliases_says_where_each_was_set(models, here):
    """Aliases of the settings are listed too, and override stored ones."""
    models("alias", "b", here)
    run = models("alias", "--json", env={"LLMCLI_ALIASES": "a=smollm2-135m"})
    assert [(row["alias"], row["origin"]) for row in rows(run)] == [("a", "LLMCLI_ALIASES"), ("b", "llm models alias")]
    run = models("alias", "a", here, env={"LLMCLI_ALIASES": "a=smollm2-135m"})
    assert run.code == 78 and "LLMCLI_ALIASES" in run.err


def test_a_removed_alias_is_unknown(models, here):
    """Its model stays."""
    models("alias", "small", here)
    assert models("alias", "--remove", "small").code == 0
    run = models("alias", "small")
    assert run.code == 66 and run.out == "" and models("show", here).code == 0


@pytest.mark.parametrize(
    ("argv", "code"),
    [
        (["small", "no-such"], 66),
        (["small", "../../x"], 66),
        (["a/b", REPO], 2),
        (["smollm2-135m", REPO], 2),
        (["--remove"], 2),
        (["--remove", "a", "b"], 2),
        (["--remove", "unknown"], 66),
        (["unknown"], 66),
    ],
)
def test_what_cannot_be_an_alias_has_its_code(models, argv, code):
    """One line, a next step, and nothing is stored."""
    run = models("alias", *argv)
    assert (run.code, run.out) == (code, "") and run.err.startswith("llm: ") and len(run.err.splitlines()) == 2
    assert models("alias").out == ""


def test_rm_forgets_the_aliases_of_a_model(models, here):
    """And the defaults that mean it."""
    models("alias", "small", here)
    models("default", "--for", "ask", "small")
    assert models("rm", "small", "--yes").code == 0
    assert models("alias").out == "" and models("default", "--for", "ask").out == "smollm2-135m\n"


# ---- default ---------------------------------------------------------------------------------------------------------


def test_the_default_is_the_starter_until_another_is_set(models):
    """Only the name is printed; with -v its origin, on stderr."""
    run = models("default", "-v")
    assert run.out == "smollm2-135m\n" and "built in" in run.err


def test_default_remembers_a_name(models, here):
    """The next command uses the new default."""
    assert models("default", here).out == ""
    assert json.loads(models("default", "--json").out) == {"name": here, "origin": "llm models default"}
    assert json.loads(models("show", "--json").out)["name"] == here


def test_default_refuses_an_unknown_name(models):
    """A misspelt name does not become the default."""
    assert models("default", "no-such").code == 66 and models("default").out == "smollm2-135m\n"


def test_default_is_refused_if_a_setting_overrides_it(models, here):
    """A default without effect is 78 with the setting that overrides it, and is not stored."""
    run = models("default", here, env={"LLMCLI_MODEL": "qwen3-4b"})
    assert run.code == 78 and "LLMCLI_MODEL" in run.err and "qwen3-4b" in run.err
    assert models("default").out == "smollm2-135m\n"


def test_a_command_has_its_own_default(llm, models, here, tiny):
    """Only that command uses it; -v shows its origin, and -m overrides it."""
    models("default", str(tiny("chatml")))
    assert models("default", "--for", "translate", here).out == ""
    none = {"LLMCLI_MODEL": None}
    assert rows(llm("translate", "--to", "fr", "--json", stdin=b"Hello.", env=none))[0]["model"] == here
    assert rows(llm("ask", "x", "--json", env=none))[0]["model"] == str(tiny("chatml"))
    assert "(llm models default --for translate)" in llm("translate", "--to", "fr", "-v", stdin=b"Hello.", env=none).err
    assert "(llm models default)" in llm("ask", "x", "-v", env=none).err
    assert "(--model)" in llm("translate", "--to", "fr", "-v", "-m", here, stdin=b"Hello.", env=none).err
    assert models("default", "--for", "translate").out == f"{here}\n"
    assert json.loads(models("show", here, "--json").out)["default_for"] == ["translate"]


def test_v_shows_the_name_a_model_was_called_by(llm, models, here):
    """A default that is another name of the model is shown, too."""
    models("default", REPO)
    assert f"model {here}, called {REPO} (llm models default)" in llm("ask", "x", "-v", env={"LLMCLI_MODEL": None}).err


def test_a_default_is_removed(models, here):
    """Then the default for all commands applies again, and in the end the built-in one."""
    models("default", "qwen3-1.7b")
    models("default", "--for", "ask", here)
    assert models("default", "--for", "ask", "--unset").out == ""
    assert models("default", "--for", "ask").out == "qwen3-1.7b\n"
    assert models("default", "--unset").code == 0 and models("default").out == "smollm2-135m\n"


def test_the_defaults_of_all_commands_are_listed(models, here):
    """Each command that runs a model, with the origin of its default."""
    models("default", "--for", "translate", here)
    found = {command: rest for command, *rest in cells(models("default", "--list"))}
    assert found["translate"] == [here, "llm models default --for translate"]
    assert found["all"] == found["ask"] == ["smollm2-135m", "built in"]
    assert [row["command"] for row in rows(models("default", "--list", "--json"))] == list(found)


@pytest.mark.parametrize(
    "argv",
    [
        ["--for", "models", "qwen3-4b"],
        ["--for", "nonsense"],
        ["--unset", "qwen3-4b"],
        ["--list", "--for", "ask"],
        ["--list", "--unset"],
    ],
)
def test_impossible_defaults_are_usage(models, argv):
    """Only commands that run a model have a default."""
    run = models("default", *argv)
    assert (run.code, run.out) == (2, "") and models("default").out == "smollm2-135m\n"


# ---- verify ----------------------------------------------------------------------------------------------------------


def test_verify_reports_success(models, here, mine):
    """A line for each model, without a name for all of them; nothing on stderr."""
    models("pull", str(mine))
    run = models("verify")
    sha256 = hashlib.sha256(mine.read_bytes()).hexdigest()
    assert (run.code, run.err) == (0, "")
    assert [row[:2] for row in cells(run)] == [[here, "verified"], ["mine", "not announced"]]
    assert cells(run)[1][2:] == [sha256, str(mine), ""]
    (row,) = rows(models("verify", "mine", "--json"))
    assert row == {
        "name": "mine",
        "verification": "not announced",
        "sha256": sha256,
        "path": str(mine),
        "repair": None,
        "ok": True,
    }


def test_verify_accepts_an_adapter(models, tiny, tmp_path):
    """An intact LoRA adapter is not a damaged model."""
    adapter = write_adapter(tmp_path / "style.gguf", tiny("llama"))
    run = models("verify", str(adapter), "--json")
    assert run.code == 0
    (row,) = rows(run)
    assert row["ok"] and row["verification"] == "not announced" and row["sha256"]


def test_verify_finds_a_flipped_bit(llm, models, here):
    """76, the command that repairs it, and no command runs the model until then."""
    rot(cached(models, here))
    assert llm("ask", "x", "-m", here).code == 0  # size and time did not change
    run = models("verify", here)
    assert run.code == 76 and cells(run)[0][:2] == [here, "damaged"]
    assert "is damaged" in run.err and run.err.splitlines()[1] == f"Try: llm models pull {here}"
    assert llm("ask", "x", "-m", here).code == 76
    assert {row["name"]: row for row in rows(models("list", "--json"))}[here]["verification"] == "damaged"
    assert models("pull", here).code == 0 and models("verify", here).code == 0
    assert llm("ask", "x", "-m", here).code == 0


def test_verify_continues_after_a_damaged_model(models, here, mine):
    """Each model gets its object, with its state and the repair command."""
    models("import", str(mine), "--name", "zebra")
    models("import", str(mine), "--name", "ape")
    mine.unlink()
    mine.write_bytes(cached(models, "ape").read_bytes())  # no link to them any more
    rot(cached(models, "ape"))  # both are links to one file
    run = models("verify", "--json")
    found = {row["name"]: row for row in rows(run)}
    assert run.code == 76 and [name for name, row in found.items() if row["ok"]] == [here]
    assert found["ape"]["repair"] == f"llm models import {mine} --name ape"
    assert [json.loads(line)["error"]["code"] for line in run.err.splitlines()] == [76, 76]


def repaired(models, command) -> int:
    """Run the command that verify suggested."""
    words = shlex.split(command)
    assert words[:2] == ["llm", "models"]
    return models(*words[2:], *(["-y"] if words[2] == "rm" else [])).code


@pytest.mark.parametrize("original", ["linked", "gone", "damaged too", "copied", "split"])
def test_the_repair_of_an_import_works(models, mine, tmp_path, original):
    """The original if it is good; if it is the same file or missing, the copy is removed, to be imported again."""
    files = {"mine.gguf": mine.read_bytes()} if original != "split" else split(mine.read_bytes(), "mine")
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    source = tmp_path / min(files)
    assert models("import", str(source), "--name", "own").code == 0
    own = cached(models, "own")
    broken = own if original != "split" else own.with_name("own-00002-of-00002.gguf")
    if original != "linked":
        for name, content in files.items():
            (tmp_path / name).unlink()  # else it is the same file
            (tmp_path / name).write_bytes(content)
    if original == "gone":
        source.unlink()
    if original == "damaged too":
        rot(source)
    rot(broken)
    run = models("verify", "own", "--json")
    (row,) = rows(run)
    good = original in {"copied", "split"}
    assert run.code == 76 and row["repair"] == (
        f"llm models import {source} --name own" if good else "llm models rm own"
    )
    assert (
        rows(models("verify", "own", "--json"))[0]["sha256"]
        == row["sha256"]
        == hashlib.sha256(files[min(files)]).hexdigest()
    )
    assert repaired(models, row["repair"]) == 0
    if not good:
        good_copy = tmp_path / "good" / "copy.gguf"
        good_copy.parent.mkdir()
        good_copy.write_bytes(files["mine.gguf"])
        assert models("import", str(good_copy), "--name", "own").code == 0
    assert models("verify", "own").code == 0


def test_pull_of_a_path_accepts_the_present_file(models, mine):
    """It repairs nothing: the file is used as it is now, and the message says so."""
    assert models("pull", str(mine)).code == 0
    rot(mine)
    for _ in range(2):
        run = models("verify", "mine")
        assert run.code == 76 and cells(run)[0][2]
        assert f"Try: llm models pull {mine} (it accepts the file as it is now)" in run.err
    run = models("pull", str(mine), "-v")
    assert run.code == 0 and "has changed" in run.err and models("verify").code == 0


def test_verify_shows_people_a_line_for_each(models, here, terminal, mine, at_once):
    """And a progress bar meanwhile, which is erased."""
    screen = terminal()
    assert models("verify", out=screen.slave, err=screen.slave).code == 0
    left = screen.close()
    assert left == f"{here}: verified" and b"kB" in bytes(screen.raw)
    screen = terminal(columns=300)
    for _ in range(2):
        assert models("verify", str(mine), out=screen.slave).code == 0
    assert screen.close().splitlines() == [f"{mine}: not announced", f"{mine}: unchanged, not announced"]


def test_verify_of_a_missing_file_is_66(models, mine):
    """An imported file that was deleted is listed, and reported as missing."""
    models("pull", str(mine))
    mine.unlink()
    run = models("verify")
    assert run.code == 66 and cells(run)[0][:2] == ["mine", "missing"]


@pytest.mark.parametrize(("name", "code"), [("no-such", 66), (REPO, 69), ("smollm2-135m", 69)])
def test_verify_of_what_is_not_here_has_its_code(models, name, code):
    """Nothing is hashed then."""
    run = models("verify", name)
    assert (run.code, run.out) == (code, "")


# ---- prune -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def waste(models, here):
    """Leave an unreferenced file in the cache; return it."""
    blob = cached(models, here).with_name("0" * 64)
    blob.write_bytes(b"12345")
    for path in blob.parent.iterdir():
        os.utime(path, (time.time() - 10_000,) * 2)
    return blob


def test_prune_reports_what_it_frees(models, here, waste):
    """With --yes there is no question; the model stays."""
    run = models("prune", "--yes", "-v")
    assert cells(run) == [[str(waste), "5", "unreferenced file"]]
    assert "Freed 5 bytes in 1 file" in run.err and not waste.exists()
    assert models("verify", here).code == 0
    assert models("prune", "--yes").out == ""


def test_prune_can_be_tried(models, waste):
    """--dry-run removes nothing and asks nothing."""
    run = models("prune", "--dry-run", "--json", "-v")
    assert rows(run) == [{"path": str(waste), "size": 5, "what": "unreferenced file"}]
    assert "Would free 5 bytes" in run.err and waste.exists()


def test_prune_without_a_terminal_needs_yes(models, waste):
    """Nothing is removed without a terminal to ask on; with nothing to remove, no terminal is needed."""
    run = models("prune")
    assert run.code == 2 and "llm models prune --yes" in run.err and waste.exists()
    waste.unlink()
    run = models("prune")
    assert (run.code, run.out, run.err) == (0, "", "")


@pytest.mark.parametrize(("typed", "code"), [(b"y\n", 0), (b"\n", 1)])
def test_prune_asks_on_a_terminal(process, terminal, waste, typed, code):
    """The files are listed first; only a yes removes them."""
    screen = terminal(columns=200)
    running = process("models", "prune", stdin=screen.slave, stdout=screen.slave, stderr=screen.slave)
    wait_until(lambda: b"[y/N]" in screen.raw)
    os.write(screen.master, typed)
    assert running.wait(20) == code
    left = screen.close()
    assert "unreferenced file" in left and "Remove 1 file (5 bytes)?" in left
    assert waste.exists() == bool(code) and ("Freed 5 bytes in 1 file." in left) == (not code)


def test_prune_keeps_a_running_download(models, process, hub):
    """The file of a living process stays, even without progress; once the process is killed, it is removed."""
    hub.storage_faults.append(Fault(stall=1000))
    pulling = process("models", "pull", REPO)
    blobs = Path(os.environ["HF_HOME"]) / "hub" / f"models--{REPO.replace('/', '--')}" / "blobs"
    wait_until(lambda: any(path.stat().st_size for path in blobs.glob("*.incomplete")))
    (writing,) = blobs.iterdir()
    assert models("prune", "--yes").out == "" and writing.exists()
    pulling.kill()
    pulling.wait()
    assert cells(models("prune", "--yes")) == [[str(writing), "1000", "unfinished download"]]
    assert not writing.exists()


# ---- import ----------------------------------------------------------------------------------------------------------


def test_import_takes_a_file(llm, models, mine):
    """Silent in a pipe; usable by its name, also without the original; rm deletes llm's files."""
    run = models("import", str(mine))
    assert (run.code, run.out, run.err) == (0, "", "")
    row = next(row for row in rows(models("list", "--json")) if row["here"])
    assert (row["name"], row["source"], row["verification"]) == ("mine", str(mine), "not announced")
    mine.rename(mine.with_name("moved.gguf"))
    assert rows(llm("ask", "x", "-m", "mine", "--json"))[0]["model"] == "mine"
    assert rows(models("rm", "mine", "--yes", "--json"))[0]["removed"] == [row["path"]]
    assert mine.with_name("moved.gguf").exists() and not Path(row["path"]).exists()


def test_import_in_json_gives_the_row_of_the_model(models, mine):
    """The same as list."""
    (row,) = rows(models("import", str(mine), "--name", "other", "--json"))
    assert row["name"] == "other" and row in rows(models("list", "--json"))


def test_import_by_a_relative_path(models, mine, monkeypatch):
    """From the current directory; a name without a special beginning is a path, too."""
    monkeypatch.chdir(mine.parent)
    assert models("import", "mine.gguf").code == 0 and models("show", "mine").code == 0


@pytest.mark.parametrize(
    ("argv", "code"),
    [
        (["/no/such.gguf"], 66),
        (["/"], 65),
        ([], 2),
        (["MINE", "--name", "a/b"], 2),
        (["MINE", "--name", "smollm2-135m"], 2),
        (["--from", "ollama"], 66),
        (["--from", "ollama", "x"], 66),
        (["--from", "nonsense"], 2),
        (["--from", "ollama", "--name", "x"], 2),
    ],
)
def test_what_cannot_be_imported_has_its_code(models, mine, argv, code):
    """One line and a next step; nothing is imported."""
    argv = [str(mine) if word == "MINE" else word for word in argv]
    run = models("import", *argv, env={"OLLAMA_MODELS": str(mine.parent / "none")})
    assert (run.code, run.out) == (code, "") and run.err.startswith("llm: ")
    assert not any(row["here"] for row in rows(models("list", "--json")))


@pytest.fixture
def ollama(tmp_path, tiny):
    """Return an environment with one complete model and half of another in Ollama."""
    content = tiny("llama").read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    layers = [{"mediaType": "application/vnd.ollama.image.model", "digest": f"sha256:{digest}", "size": len(content)}]
    layers += [{"mediaType": "application/vnd.ollama.image.projector", "digest": f"sha256:{'0' * 64}", "size": 1}]
    manifest = tmp_path / "ollama" / "manifests" / "registry.ollama.ai" / "library" / "tiny" / "1b"
    blob = tmp_path / "ollama" / "blobs" / f"sha256-{digest}"
    for path, data in ((manifest, json.dumps({"layers": layers}).encode()), (blob, content)):
        path.parent.mkdir(parents=True)
        path.write_bytes(data)
    return {"OLLAMA_MODELS": str(tmp_path / "ollama")}


def test_import_lists_what_ollama_has(models, ollama, terminal):
    """Name, bytes, path; sizes for people on a terminal."""
    (row,) = cells(models("import", "--from", "ollama", env=ollama))
    assert row[0] == "tiny:1b" and row[1].isdecimal() and row[2].startswith(ollama["OLLAMA_MODELS"])
    assert list(rows(models("import", "--from", "ollama", "--json", env=ollama))[0]) == ["name", "size", "path"]
    screen = terminal()
    assert models("import", "--from", "ollama", out=screen.slave, env=ollama).code == 0
    left = screen.close()
    assert left.split()[:3] == ["NAME", "SIZE", "PATH"] and " kB" in left


def test_import_of_an_ollama_model(llm, models, ollama, terminal):
    """By its name there; its name announces the hash, and skipped parts are reported."""
    screen = terminal()
    assert models("import", "--from", "ollama", "tiny:1b", env=ollama, err=screen.slave).code == 0
    assert "without its projector" in screen.close()
    row = next(row for row in rows(models("list", "--json")) if row["here"])
    assert (row["name"], row["verification"]) == ("tiny-1b", "verified")
    assert llm("ask", "x", "-m", "tiny-1b").code == 0
    assert models("verify").code == 0


def test_import_of_an_lm_studio_model(models, mine, tmp_path):
    """By its name there, under a name of the user."""
    file = tmp_path / ".lmstudio" / "models" / "maker" / "tiny-GGUF" / "tiny-Q8_0.gguf"
    file.parent.mkdir(parents=True)
    file.write_bytes(mine.read_bytes())
    env = {"HOME": str(tmp_path)}
    (row,) = rows(models("import", "--from", "lmstudio", "--json", env=env))
    assert row["name"] == "maker/tiny-GGUF/tiny-Q8_0.gguf"
    assert models("import", "--from", "lmstudio", row["name"], "--name", "studio", env=env).code == 0
    assert models("show", "studio").code == 0
    run = models("import", "--from", "lmstudio", "maker/tiny-GGUF/tiny-Q8_O.gguf", env=env)
    assert run.code == 66 and row["name"] in run.err


def test_completion_offers_models_to_import(llm, ollama, monkeypatch, models, here):
    """The models of the other program, the commands that have defaults, and aliases."""
    models("alias", "small", here)
    protocol = {"_LLM_COMPLETE": "complete_fish", "_TYPER_COMPLETE_FISH_ACTION": "get-args", **ollama}
    for name, value in protocol.items():
        monkeypatch.setenv(name, value)

    def offered(line):
        monkeypatch.setenv("_TYPER_COMPLETE_ARGS", line)
        return [word.split("\t")[0] for word in llm(env={"LLMCLI_MODEL": None}).out.splitlines() if word]

    assert offered("llm models import --from ollama t") == ["tiny:1b"]
    assert offered("llm models import --from o") == ["ollama"]
    assert offered("llm models import t") == offered("llm models import --from nonsense t") == []
    assert offered("llm models default --for tr") == ["translate"]
    assert offered("llm models alias s") == ["small"]
    assert offered("llm ask -m sma") == ["small"]
