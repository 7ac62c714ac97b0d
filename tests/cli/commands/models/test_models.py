"""``llm models``: listing, showing, fetching, removing and defaults."""

from __future__ import annotations

import json
import os
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest
from fake_hub import REPO, Fault

from llmcli.engine.llama import hardware

KEYS = ["name", "size", "quantization", "context", "licence", "last_used", "verification", "source", "here", "default"]
KEYS += ["path", "derived"]


@pytest.fixture
def models(llm):
    """Run ``llm models`` with no model configured."""
    return lambda *argv, env=None, **how: llm("models", *argv, env={"LLMCLI_MODEL": None, **(env or {})}, **how)


def rows(run):
    return [json.loads(line) for line in run.out.splitlines()]


def test_list_in_json_is_one_object_a_line(models, here):
    """Local and available models have the same keys."""
    found = {row["name"]: row for row in rows(models("list", "--json"))}
    assert all(list(row) == KEYS for row in found.values())
    assert (found[here]["here"], found[here]["verification"]) == (True, "verified")
    assert found[here]["source"] == f"{REPO}@{'c' * 40}" and found[here]["context"] == 8192


def test_list_shows_the_last_use(llm, models, here):
    """Fetching does not count; a command that runs it does. Time in UTC for programs, the day for people."""
    used = {row["name"]: row["last_used"] for row in rows(models("list", "--json"))}
    assert used[here] is None
    before = datetime.now(UTC).replace(microsecond=0)
    assert llm("ask", "x", "-m", here).code == 0
    used = {row["name"]: row["last_used"] for row in rows(models("list", "--json"))}
    assert datetime.fromisoformat(used[here]) >= before
    assert json.loads(models("show", here, "--json").out)["last_used"] == used[here]


def test_list_marks_the_default_under_any_name(models, here):
    """A default that was set by the name of its repository marks the model that it means."""
    models("default", REPO)
    found = {row["name"]: row for row in rows(models("list", "--json"))}
    assert [name for name, row in found.items() if row["default"]] == [here]


def test_list_says_what_is_not_pinned(models):
    """Nothing is invented about a model if only its repository is known."""
    found = {row["name"]: row for row in rows(models("list", "--json"))}
    assert (found["smollm2-135m"]["verification"], found["smollm2-135m"]["size"]) == ("pinned", 98362432)
    assert (found["qwen3-4b"]["verification"], found["qwen3-4b"]["size"]) == ("not pinned", None)


def test_a_model_that_was_imported_is_not_announced(models, tiny):
    """A local file has no announced hash, and the list shows that."""
    assert models("pull", str(tiny("llama"))).code == 0
    (row,) = [row for row in rows(models("list", "--json")) if row["here"]]
    assert (row["name"], row["verification"], row["path"]) == ("llama", "not announced", str(tiny("llama")))


def test_list_in_a_pipe_has_a_line_of_tabs_for_each_model(models, here):
    """A script cuts fields at tabs; sizes are bytes."""
    first = models("list").out.splitlines()[0].split("\t")
    assert first[0] == here and first[1].isdecimal() and len(first) == len(KEYS)


def test_list_fits_80_columns_with_sizes_for_people(models, here, terminal):
    """On a terminal columns are aligned, and the catalogue follows the local models."""
    screen = terminal()
    assert models("list", out=screen.slave).code == 0
    lines = screen.close().splitlines()
    assert lines[0].split() == ["NAME", "SIZE", "QUANT", "CONTEXT", "LICENCE", "USED", "CHECK"]
    wrapped = lines[1 : lines.index("")]
    assert "".join(line[: lines[0].index("SIZE")].strip() for line in wrapped) == here and " kB" in wrapped[0]
    ladder = next(line for line in lines if line.startswith("qwen3-4b"))
    assert "about 2.5 GB" in ladder and max(map(len, lines)) <= 80 and "…" not in "".join(lines)


def test_pull_is_silent_in_a_pipe(models, hub):
    """Success prints nothing without a terminal."""
    run = models("pull", REPO)
    assert (run.code, run.out, run.err) == (0, "", "")


def test_pull_in_json_gives_the_row_of_the_model(models, hub):
    """A script learns the path of the file."""
    (row,) = rows(models("pull", REPO, "--json"))
    assert row["name"] == f"{REPO}:Q4_0" and Path(row["path"]).exists()


def test_pull_and_list_call_an_import_by_one_name(models, tiny):
    """Both print the same name."""
    (row,) = rows(models("pull", str(tiny("llama")), "--json"))
    assert row["name"] == "llama"


def test_a_mistyped_path_is_no_repository(models):
    """A path with one slash that ends in .gguf is a missing file, not a repository."""
    for command in ("show", "pull"):
        run = models(command, "mine/nothere.gguf")
        assert run.code == 66 and "No such file" in run.err and "llm models pull" not in run.err


def test_a_directory_is_no_model(llm, tmp_path):
    """For a directory, the next step is to name the model in it."""
    run = llm("ask", "x", "-m", str(tmp_path))
    assert run.code == 65 and "is a directory" in run.err and "model" in run.err


def test_pull_shows_its_progress_on_a_terminal(models, hub, terminal, monkeypatch, at_once):
    """A terminal shows the progress; at the end one line has the path of the model."""
    monkeypatch.setattr(hardware, "load_or_measure_bandwidth", lambda _: 1e9)
    screen = terminal()
    assert models("pull", REPO, err=screen.slave).code == 0
    left = screen.close()
    shown = bytes(screen.raw).decode()
    assert "150.1 kB of 150.1 kB" in shown and "━" in shown
    assert f"llm: {REPO}:Q4_0 is here: /" in " ".join(left.split()) and "━" not in left


@pytest.mark.parametrize(
    ("name", "fault", "code"),
    [
        ("maker/nothing", None, 66),
        (f"{REPO}:Q2_K", None, 66),
        ("no-such-model", None, 66),
        ("/no/such/file.gguf", None, 66),
        ("/", None, 65),
        (REPO, Fault(status=403), 77),
        (REPO, Fault(portal="html"), 76),
        (REPO, Fault(status=404), 66),
    ],
)
def test_each_failure_of_pull_has_its_code(models, hub, name, fault, code):
    """The Hub's response determines the exit code, with one line and no model."""
    hub.listing_faults += [fault] * 9 if fault else []
    run = models("pull", name)
    assert run.code == code and run.out == "" and run.err.startswith("llm: ")


def test_pull_refuses_bytes_that_were_not_announced(models, hub):
    """A file with another hash is 76, and is not stored."""
    hub.storage_faults += [Fault(flip=True)] * 9
    assert models("pull", REPO).code == 76
    assert not any(row["here"] for row in rows(models("list", "--json")))


def test_a_damaged_model_is_reported_and_repaired(llm, models, here):
    """A file whose bytes have changed is 76 with the repair command; --pull fetches it again."""
    path = Path(json.loads(models("show", here, "--json").out)["path"]).resolve()
    path.write_bytes(path.read_bytes()[:-100])
    run = llm("ask", "x", "-m", here)
    assert run.code == 76 and "in the cache is damaged" in run.err and f"llm models pull {here}" in run.err
    assert {row["name"]: row for row in rows(models("list", "--json"))}[here]["verification"] == "damaged"
    assert llm("ask", "x", "-m", here, "--pull").code == 0
    assert json.loads(models("show", here, "--json").out)["verification"] == "verified"


def test_pull_offline_is_69(models, hub):
    """--offline opens no connection."""
    run = models("pull", REPO, "--offline")
    assert run.code == 69 and hub.asked == []


def test_pull_refuses_a_file_that_is_no_model(models, tmp_path):
    """A local file is checked before it is registered."""
    (tmp_path / "x.gguf").write_bytes(b"GGUF nonsense")
    assert models("pull", str(tmp_path / "x.gguf")).code == 65


def test_show_says_what_the_header_and_the_registry_know(models, here):
    """Architecture, sizes, hash and source together."""
    facts = json.loads(models("show", here, "--json").out)
    assert (facts["architecture"], facts["layers"], facts["verification"]) == ("llama", 2, "verified")
    assert facts["cache_bytes_per_token"] > 0 and len(facts["sha256"]) == 64
    assert (facts["source"], facts["file"], facts["revision"]) == (REPO, "tiny.Q4_0.gguf", "c" * 40)


@pytest.mark.parametrize(
    ("name", "facts"),
    [
        ("llama", {"heads": 2, "kv_heads": 1, "vocabulary": 435, "recurrent": False, "cache_bytes_per_token": 256}),
        ("qwen3moe", {"layers": 2, "experts": 6, "experts_used": 2, "window": None, "cache_bytes_per_token": 256}),
        ("gemma3", {"layers": 4, "experts": None, "window": 32, "context": 8192, "cache_bytes_per_token": 512}),
        ("mamba", {"layers": 2, "heads": 0, "kv_heads": 0, "recurrent": True, "cache_bytes_per_token": None}),
        ("lfm2", {"heads": 2, "kv_heads": [0, 1, 0, 1], "recurrent": True, "cache_bytes_per_token": None}),
        ("bert", {"heads": 2, "kv_heads": 2, "context": 256, "recurrent": False, "cache_bytes_per_token": None}),
    ],
)
def test_show_has_the_architecture(models, tiny, name, facts):
    """Layers, heads, experts, window and cache, for every kind of model; null for missing values."""
    shown = json.loads(models("show", str(tiny(name)), "--json").out)
    assert shown["architecture"] == name and {key: shown[key] for key in facts} == facts


def test_show_tells_people_the_same(models, tiny):
    """A line for each, with separators and commas."""
    lines = dict(line.split("\t") for line in models("show", str(tiny("lfm2"))).out.splitlines())
    assert (lines["kv heads"], lines["recurrent"], lines["context"]) == ("0, 1, 0, 1", "yes", "8,192")
    lines = dict(line.split("\t") for line in models("show", str(tiny("qwen3moe"))).out.splitlines())
    assert (lines["experts"], lines["experts used"], lines["cache bytes per token"]) == ("6", "2", "256")


def test_show_omits_unknown_values(models, here):
    """People get a line for each known fact."""
    lines = dict(line.split("\t") for line in models("show", here).out.splitlines())
    assert lines["architecture"] == "llama" and "experts" not in lines and lines["chat template"] == "no"


def test_show_describes_a_model_that_is_not_here(models):
    """A model can be shown before it is fetched."""
    facts = json.loads(models("show", "qwen3-4b", "--json").out)
    assert facts["here"] is False and facts["source"] == "Qwen/Qwen3-4B-GGUF" and facts["sha256"] is None


def test_show_of_an_unknown_name_suggests_similar_ones(models):
    """A misspelt name has suggestions."""
    run = models("show", "qwen3-4")
    assert run.code == 66 and "qwen3-4b" in run.err.splitlines()[1]


def test_show_of_a_repository_that_is_not_here_is_69(models):
    """A well-formed name without local files can be downloaded."""
    run = models("show", REPO)
    assert run.code == 69 and f"llm models pull {REPO}" in run.err


@pytest.mark.parametrize("name", ["a/../b", "..", "a/b/../c.gguf", "a/b:../../c"])
def test_a_name_with_dots_reaches_no_path_of_the_cache(models, name):
    """Names pass the allow-list."""
    assert models("show", name).code == 66


def test_show_refuses_a_file_that_is_no_model(models, tmp_path):
    """A path may lead anywhere, but only a model is shown."""
    (tmp_path / "secret").write_text("secret")
    run = models("show", str(tmp_path / "secret"))
    assert run.code == 65 and run.out == ""


def test_rm_without_a_terminal_needs_yes(models, here):
    """Nothing is removed without a terminal to ask on."""
    run = models("rm", here)
    assert run.code == 2 and f"llm models rm --yes {here}" in run.err
    assert models("show", here).code == 0


def test_rm_with_yes_removes_the_file(models, here):
    """The file is removed from the disk, and --json lists the files."""
    path = json.loads(models("show", here, "--json").out)["path"]
    removed = json.loads(models("rm", here, "--yes", "--json").out)["removed"]
    assert path in removed and not Path(path).exists()
    assert models("show", here).code == 69


def test_rm_of_an_import_leaves_the_file(models, tiny):
    """A file that was pulled by its path belongs to the user."""
    models("pull", str(tiny("llama")))
    assert models("rm", "llama", "--yes").code == 0 and tiny("llama").exists()
    assert models("show", "llama").code == 66


def test_rm_of_an_import_that_is_gone_forgets_it(models, tiny, tmp_path):
    """A deleted file is listed as missing and not as here, until it is forgotten."""
    file = tmp_path / "mine.gguf"
    file.write_bytes(tiny("llama").read_bytes())
    models("pull", str(file))
    file.unlink()
    row = next(row for row in rows(models("list", "--json")) if row["name"] == "mine")
    assert (row["verification"], row["here"]) == ("missing", False)
    assert models("rm", "mine", "--yes").code == 0
    assert "mine" not in models("list").out.split()


def test_rm_of_a_model_that_is_not_here_advises_no_pull(models):
    """A command that removes a model does not advise downloading it."""
    run = models("rm", REPO, "--yes")
    assert run.code == 69 and "not on this machine" in run.err and "pull" not in run.err


def test_rm_removes_the_leftovers_of_a_download(models, hub):
    """The name of the model is enough to free the space."""
    hub.storage_faults += [Fault(drop=1000), Fault(status=403)]
    assert models("pull", REPO).code == 77
    (path,) = json.loads(models("rm", REPO, "--yes", "--json").out)["removed"]
    assert path.endswith(".incomplete") and not Path(path).exists()


def test_rm_of_a_repository_with_several_models_is_refused(models, here):
    """An ambiguous name removes nothing; the error lists the possible names."""
    models("pull", f"{REPO}:Q8_0")
    run = models("rm", REPO, "--yes")
    assert run.code == 2 and "Q4_0" in run.err and "Q8_0" in run.err
    assert sum(row["here"] for row in rows(models("list", "--json"))) == 2


@pytest.mark.parametrize(("typed", "code"), [(b"y\n", 0), (b"\n", 1), (b"n\n", 1)])
def test_rm_asks_on_a_terminal(process, terminal, here, typed, code):
    """Only a yes removes; Enter alone does not."""
    screen = terminal()
    running = process("models", "rm", here, stdin=screen.slave, stdout=screen.slave, stderr=screen.slave)
    _when(screen, b"[y/N]")
    os.write(screen.master, typed)
    assert running.wait(20) == code
    assert f"Remove {here}" in screen.close()


def _when(screen, text):
    """Wait until ``text`` is on the screen."""
    seen = threading.Event()
    for _ in range(2000):
        if text in screen.raw:
            return
        seen.wait(0.01)
    raise AssertionError(bytes(screen.raw))


def test_config_shows_the_default_that_was_chosen(llm, models, here):
    """The default model is among the settings, with its origin."""
    models("default", here)
    (row,) = rows(llm("config", "show", "model", "--json", env={"LLMCLI_MODEL": None}))
    assert (row["value"], row["origin"]) == (here, "llm models default")


def test_models_alone_lists_them(models):
    """The list of llm models list."""
    run = models()
    assert (run.code, run.out, run.err) == (0, models("list").out, "")


def test_a_registry_that_cannot_be_written_is_74(models, tmp_path):
    """A default that cannot be stored is an error."""
    (tmp_path / "file").write_text("")
    assert models("default", "qwen3-4b", env={"LLMCLI_DATA_DIR": str(tmp_path / "file")}).code == 74


# ---- base models --------------------------------------------------------------------------------------------------

SAID = "is a base model: it continues text and does not follow instructions"


def test_show_names_a_base_model(llm, models, terminal, tiny):
    """A script gets a boolean, a person an explanation."""
    for name, base in (("llama", True), ("chatml", False)):
        assert json.loads(models("show", str(tiny(name)), "--json").out)["base_model"] is base
    screen = terminal()
    models("show", str(tiny("llama")), out=screen.slave)
    shown = " ".join(screen.close().split())
    assert "base model yes: it continues text and does not follow instructions" in shown


def test_pull_names_a_base_model_on_a_terminal(models, mine, terminal):
    """The notice appears on a terminal, but not in a script or with -q."""
    screen = terminal(columns=300)
    assert models("pull", str(mine), err=screen.slave).code == 0
    assert SAID in " ".join(screen.close().split())
    screen = terminal(columns=300)
    models("pull", str(mine), "-q", err=screen.slave)
    assert screen.close() == "" and models("pull", str(mine)).err == ""


def test_the_default_names_a_base_model_on_a_terminal(models, mine, terminal):
    """As its download does: it would answer everything from now on."""
    screen = terminal(columns=300)
    assert models("default", str(mine), err=screen.slave).code == 0
    assert SAID in " ".join(screen.close().split())
    assert models("default", str(mine)).err == ""


def test_the_first_use_on_a_terminal_names_a_base_model(llm, terminal, tiny):
    """Once, before the answer; not if stderr is no terminal, and not for an instruction-tuned model."""
    assert llm("ask", "Q").err == ""
    shown = []
    for _ in range(2):
        screen = terminal(columns=300)
        assert llm("ask", "Q", err=screen.slave).code == 0
        shown.append(" ".join(screen.close().split()))
    assert SAID in shown[0] and "no chat template" in shown[0] and "base model" not in shown[1]
    screen = terminal(columns=300)
    llm("ask", "Q", err=screen.slave, env={"LLMCLI_MODEL": str(tiny("chatml"))})
    assert "base model" not in screen.close()
