"""``--set weights`` and derived weights through ``main``: made on demand, named, listed, verified, pruned and removed."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest
from split_models import split

from llmcli.engine import derivation, quantize_child
from llmcli.engine.llama import hardware, memory_budget
from llmcli.errors import OutOfMemory
from llmcli.runtime import model_weights
from llmcli.runtime import model_weights as runtime_weights
from llmcli.settings import resolve_settings


@pytest.fixture
def answer(llm, mine):
    """Run a command on the user's own model."""
    return lambda *argv, **how: llm(*argv, env={"LLMCLI_MODEL": str(mine), **how.pop("env", {})}, **how)


def copies():
    """Return the files of copies in the cache."""
    return sorted((Path(os.environ["LLMCLI_CACHE_DIR"]) / "derived").glob("*.gguf"))


@pytest.fixture
def no_derivation(monkeypatch):
    """Fail if a copy is made."""
    monkeypatch.setattr(derivation, "_run_child", None)


def test_a_type_is_made_and_used(answer, llm):
    """The second command finds the copy; the engine gets the type, and the path of the model itself."""
    run = answer("ask", "hi", "--set", "weights=bf16")
    assert (run.code, llm.options.weights, len(copies())) == (0, "bf16", 1)
    (copy,) = copies()
    before = copy.stat()
    assert answer("ask", "hi", "--set", "weights=bf16").code == 0 and copies() == [copy]
    assert copy.stat().st_mtime_ns == before.st_mtime_ns and stat.S_IMODE(before.st_mode) == 0o600


@pytest.fixture
def parts(tiny, tmp_path):
    """Return the files of a split model."""
    files = [(tmp_path / name, content) for name, content in split(tiny("llama").read_bytes(), "parted", 3).items()]
    for path, content in files:
        path.write_bytes(content)
    return [path for path, _ in files]


def test_the_parts_of_a_split_model_become_one_copy(llm, models, parts, tmp_path):
    """It belongs to all parts: another byte in one of them, and another copy is made; removing the model removes it."""
    env = {"LLMCLI_MODEL": str(parts[0])}
    run = llm("ask", "hi", "--set", "weights=bf16", env=env)
    assert (run.code, llm.options.weights) == (0, "bf16"), run.err
    (first,) = copies()
    whole = tmp_path / "whole.gguf"
    quantize_child.quantize(str(parts[0]), str(whole), "bf16", 1)
    assert first.read_bytes() == whole.read_bytes()
    content = bytearray(parts[2].read_bytes())
    content[-1] ^= 1
    parts[2].write_bytes(content)
    assert llm("ask", "hi", "--set", "weights=bf16", env=env).code == 0
    assert len(copies()) == 2 and first in copies()
    assert "bf16" in models("list", "--json").out or "bf16" in models("show", str(parts[0]), "--json").out
    (pruned,) = [line for line in models("prune", "--yes", "--json").out.splitlines() if first.name in line]
    assert pruned and len(copies()) == 1


@pytest.mark.parametrize(
    ("argv", "env"),
    [
        ((), {}),
        (("--set", "weights=auto"), {}),
        (("--set", "weights=original"), {}),
        (("--set", "weights=q8_0"), {}),  # the type of the model itself
        (("--set", "weights=original"), {"LLMCLI_WEIGHTS": "bf16"}),
        (("--deterministic",), {"LLMCLI_WEIGHTS": "bf16"}),
    ],
)
@pytest.mark.usefixtures("no_derivation")
def test_the_original_answers(answer, llm, argv, env):
    """By default, where it was asked for, and where no tensor would change."""
    assert answer("ask", "hi", *argv, env=env).code == 0
    assert llm.options.weights == "original" and copies() == []


def test_the_environment_and_the_configuration_choose_too(answer, llm):
    """As for any setting."""
    assert answer("ask", "hi", env={"LLMCLI_WEIGHTS": "f16"}).code == 0 and llm.options.weights == "f16"
    config = Path(os.environ["LLMCLI_CONFIG_DIR"]) / "config.yaml"
    config.parent.mkdir(parents=True, exist_ok=True)
    config.write_text("weights: bf16\n")
    assert answer("ask", "hi").code == 0 and llm.options.weights == "bf16"


@pytest.mark.parametrize("given", ["q4_0", "BF16", "", "0"])
def test_another_type_is_a_usage_error(answer, given):
    """The types are named."""
    run = answer("ask", "hi", f"--set=weights={given}")
    assert run.code == 2 and "original, bf16, q8_0, f16" in run.err


@pytest.mark.usefixtures("no_derivation")
def test_deterministic_answers_need_the_original(answer):
    """Both options together are refused."""
    run = answer("ask", "hi", "--deterministic", "--set", "weights=bf16")
    assert run.code == 2 and "--deterministic needs the original weights" in run.err


@pytest.mark.usefixtures("no_derivation")
def test_without_disk_for_copies_a_type_is_refused(answer):
    """The setting is named; from the configuration it is an error of the configuration."""
    run = answer("ask", "hi", "--set", "weights=bf16", env={"LLMCLI_DERIVED_WEIGHTS": "0"})
    assert run.code == 2 and "derived_weights is 0 (LLMCLI_DERIVED_WEIGHTS)" in run.err
    run = answer("ask", "hi", env={"LLMCLI_DERIVED_WEIGHTS": "0", "LLMCLI_WEIGHTS": "bf16"})
    assert run.code == 78 and "derived_weights" in run.err


@pytest.mark.usefixtures("no_derivation")
def test_memory_that_is_too_small_is_found_before(answer, monkeypatch):
    """The figures are those of the copy; the advice is to use the original."""
    monkeypatch.setattr(hardware, "available_memory", lambda: 30_000_000)
    run = answer("ask", "hi", "--set", "weights=bf16")
    assert run.code == 71 and "in bf16" in run.err and "30.0 MB free" in run.err and "--set weights=original" in run.err


@pytest.mark.usefixtures("no_derivation")
def test_a_disk_that_is_too_small_is_73(answer, monkeypatch):
    """Both figures are named."""
    monkeypatch.setattr(model_weights, "_require_limit", lambda *_: None)
    run = answer("ask", "hi", "--set", "weights=bf16", env={"LLMCLI_DERIVED_WEIGHTS": "0"})
    assert run.code == 73 and "needed, 0 bytes left" in run.err and "set derived_weights to 1 " in run.err


def test_a_cache_that_cannot_be_written_is_refused(answer, llm):
    """Only where a type was asked for: otherwise the original answers."""
    Path(os.environ["LLMCLI_CACHE_DIR"]).mkdir(parents=True)
    (Path(os.environ["LLMCLI_CACHE_DIR"]) / "derived").write_bytes(b"")
    run = answer("ask", "hi", "--set", "weights=bf16")
    assert run.code == 73 and "cannot store copies of models" in run.err
    assert "--set weights=original" in run.err and "LLMCLI_CACHE_DIR" in run.err
    assert answer("ask", "hi").code == 0 and llm.options.weights == "original"


def test_offline_makes_copies_too(answer, llm):
    """Nothing is needed from the network."""
    assert answer("ask", "hi", "--set", "weights=bf16", "--offline").code == 0 and llm.options.weights == "bf16"


@pytest.mark.parametrize("damage", [b"", b"GGUF and nothing else"])
def test_a_damaged_copy_is_made_again(answer, llm, damage):
    """Whatever its size."""
    assert answer("ask", "hi", "--set", "weights=bf16").code == 0
    (copy,) = copies()
    intact = copy.read_bytes()
    copy.write_bytes(damage)
    assert answer("ask", "hi", "--set", "weights=bf16").code == 0 and llm.options.weights == "bf16"
    assert copy.read_bytes() == intact


@pytest.mark.parametrize("place", [0.001, 0.5], ids=["header", "tensors"])
def test_a_copy_with_the_size_and_time_of_before_is_made_again(answer, llm, place):
    """A damaged header is found when the copy is loaded, which removes it; damaged tensors are found by verify."""
    assert answer("ask", "hi", "--set", "weights=bf16").code == 0
    (copy,) = copies()
    status, intact = copy.stat(), copy.read_bytes()
    with copy.open("r+b") as file:
        file.seek(40 if place < 0.1 else int(place * len(intact)))
        file.write(b"\xff" * 64)
    os.utime(copy, ns=(status.st_atime_ns, status.st_mtime_ns))
    if place > 0.1:
        assert llm("models", "verify").code == 76 and copies() == []
    run = answer("ask", "hi", "--set", "weights=bf16")
    assert (run.code, run.err, llm.options.weights) == (0, "", "bf16") and copies() == [copy]
    assert copy.read_bytes() == intact


def test_verify_covers_copies_of_models_given_by_their_path(answer, llm):
    """Without a name, also those of models that have no name here; a damaged one is removed, and the exit code is 76."""
    assert answer("ask", "hi", "--set", "weights=bf16").code == 0
    run = llm("models", "verify", "--json")
    rows = [json.loads(line) for line in run.out.splitlines()]
    (copy,) = copies()
    assert (run.code, [(row["path"], row["ok"]) for row in rows]) == (0, [(str(copy), True)])
    assert "(bf16)" in rows[0]["name"]
    status = copy.stat()
    with copy.open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"x")
    os.utime(copy, ns=(status.st_atime_ns, status.st_mtime_ns))
    run = llm("models", "verify")
    assert run.code == 76 and "damaged, removed" in run.out and copies() == []


def test_the_weights_that_answered_are_named(answer):
    """In the results and in the statistics."""
    for weights in ("original", "bf16"):
        run = answer("ask", "hi", "--set", f"weights={weights}", "--json")
        assert json.loads(run.out)["weights"] == weights
    assert "bf16 weights of" in answer("ask", "hi", "--set", "weights=bf16", "-v").err


@pytest.mark.usefixtures("at_once")
def test_progress_is_shown_on_a_terminal(answer, terminal):
    """While the copy is made."""
    screen = terminal()
    assert answer("ask", "hi", "--set", "weights=bf16", err=screen.slave).code == 0
    screen.close()
    assert b"storing" in bytes(screen.raw)


# ---- chosen by llm ---------------------------------------------------------------------------------------------------


@pytest.fixture
def automatic(monkeypatch):
    """Let ``auto`` mean bf16."""
    monkeypatch.setattr(runtime_weights, "choose_weights", lambda *_: "bf16")


@pytest.mark.usefixtures("automatic", "no_derivation")
def test_auto_makes_no_copy(answer, llm):
    """A missing copy is made in the background; the command does not wait for it."""
    assert answer("ask", "hi").code == 0 and llm.options.weights == "original"


@pytest.mark.usefixtures("automatic")
def test_auto_uses_a_copy_that_exists(answer, llm):
    """Unless the answer has to be deterministic."""
    answer("ask", "hi", "--set", "weights=bf16")
    assert answer("ask", "hi").code == 0 and llm.options.weights == "bf16"
    assert answer("ask", "hi", "--deterministic").code == 0 and llm.options.weights == "original"


@pytest.mark.usefixtures("automatic")
def test_auto_goes_back_to_the_original_without_memory(answer, llm, monkeypatch):
    """The copy cannot be loaded; the command does not fail."""
    answer("ask", "hi", "--set", "weights=bf16")
    tried, real = [], runtime_weights.ChosenWeights.loaded_file

    def refuse(chosen, model):
        if chosen.weights != "original":
            tried.append(chosen.weights)
            raise OutOfMemory(model.name)
        return real(chosen, model)

    monkeypatch.setattr(runtime_weights.ChosenWeights, "loaded_file", refuse)
    run = answer("ask", "hi", "-v", "--json")
    assert run.code == 0 and llm.options.weights == "original" and tried
    assert (
        json.loads(run.out)["weights"] == "original" and "original weights: those in bf16 cannot be loaded" in run.err
    )


# ---- llm models and llm doctor ---------------------------------------------------------------------------------------


@pytest.fixture
def derived(answer, mine, models):
    """Return the name of a model that has a copy."""
    assert models("import", str(mine), "--name", "small").code == 0
    assert answer("ask", "hi", "--set", "weights=bf16", "-m", "small").code == 0
    return "small"


def row_of(models, name):
    rows = [json.loads(line) for line in models("list", "--json").out.splitlines()]
    return next(row for row in rows if row["name"] == name)


def test_list_and_show_name_the_copies(models, derived):
    """With their sizes in bytes."""
    (copy,) = copies()
    size = copy.stat().st_size
    assert row_of(models, derived)["derived"] == {"bf16": size}
    assert json.loads(models("show", derived, "--json").out)["derived"] == {"bf16": size}
    assert f"\tbf16:{size}\n" in models("list").out


def test_rm_removes_the_copies(models, derived):
    """And nothing is left in their directory."""
    assert models("rm", derived, "--yes").code == 0
    assert list(Path(os.environ["LLMCLI_CACHE_DIR"], "derived").iterdir()) == []


def test_rm_keeps_copies_that_another_name_needs(models, derived, mine):
    """The same bytes under another name have the same copies."""
    assert models("import", str(mine), "--name", "again").code == 0
    assert models("rm", derived, "--yes").code == 0 and len(copies()) == 1
    assert models("rm", "again", "--yes").code == 0 and copies() == []


def test_prune_removes_the_copies_of_models_that_are_gone(models, derived, mine):
    """Not those of a model that is here."""
    assert models("prune", "--yes").code == 0 and len(copies()) == 1
    imported = Path(row_of(models, derived)["path"])
    imported.unlink()
    mine.unlink()
    run = models("prune", "--dry-run", "--json")
    assert "derived weights of small, a missing model" in run.out and len(copies()) == 1
    assert models("prune", "--yes").code == 0 and copies() == []


def test_verify_covers_the_copies(models, derived):
    """A damaged one is removed, and the exit code is that of damage."""
    run = models("verify", derived, "--json")
    outcomes = [json.loads(line) for line in run.out.splitlines()]
    assert [row["ok"] for row in outcomes] == [True, True] and outcomes[1]["name"] == "small (bf16)"
    (copy,) = copies()
    status = copy.stat()
    copy.write_bytes(copy.read_bytes()[:-1] + b"x")
    os.utime(copy, ns=(status.st_atime_ns, status.st_mtime_ns))
    run = models("verify", derived)
    assert run.code == 76 and "damaged, removed" in run.out and copies() == []


@pytest.mark.usefixtures("derived")
def test_doctor_counts_the_copies(llm):
    """And their limit."""
    (copy,) = copies()
    run = llm("doctor", "--json")
    found = next(each for line in run.out.splitlines() for each in [json.loads(line)] if each["check"] == "models")
    assert found["data"]["derived_bytes"] >= copy.stat().st_size
    assert found["data"]["derived_limit_bytes"] > 1 << 30 and "copies in other types" in found["text"]


def test_the_default_limit_of_copies_is_the_memory_of_the_machine():
    """A larger copy could not be loaded; a number is a limit in MiB."""
    settings = resolve_settings({}, {}, None)
    assert (settings["weights"], settings["derived_weights"]) == ("auto", "auto")
    (total,) = (line.split()[1] for line in Path("/proc/meminfo").read_text().splitlines() if "MemTotal" in line)
    assert settings.copies_bytes == pytest.approx(int(total) * 1024, rel=0.05)
    assert resolve_settings({}, {"LLMCLI_DERIVED_WEIGHTS": "5"}, None).copies_bytes == 5 << 20


def test_the_memory_that_show_names_is_that_of_the_weights_in_use(answer, mine, monkeypatch):
    """Before the copy exists, it is estimated from the header. Here no processor stores weights twice."""
    monkeypatch.setattr(memory_budget, "list_repacked_types", frozenset)

    def needs(weights):
        shown = answer("models", "show", str(mine), "--json", env={"LLMCLI_WEIGHTS": weights})
        return json.loads(shown.out)["needs"]["chat"]

    planned = needs("bf16")
    assert answer("ask", "hi", "--set", "weights=bf16").code == 0
    (copy,) = copies()
    larger = copy.stat().st_size - mine.stat().st_size
    assert needs("bf16") - needs("original") == larger > 0
    assert abs(planned - needs("bf16")) < larger / 10
    assert needs("auto") == needs("original")  # nothing was measured
