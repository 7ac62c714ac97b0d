"""``llm models search``, ``recommend``, and the choices and refusals of ``pull``: what is on the Hub and what fits."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from fake_hub import REPO, Fault

from llmcli.engine.llama import hardware
from llmcli.engine.llama.hardware import Gpu
from llmcli.models.footprint import PROCESS_BYTES

MB = 10**6
BUSY = Fault(status=503, headers={"Retry-After": "0"})
KEYS = ["name", "quantization", "size", "needs", "context", "fits", "on_gpu", "tokens_per_second", "taken", "bits"]
KEYS += ["file", "repository", "licence", "gated", "downloads", "updated", "peak"]


@pytest.fixture
def machine_of(monkeypatch):
    """Return a function that sets the resources of this machine."""

    def make(memory, gpus=(), rate=10.0**9):
        monkeypatch.setattr(hardware, "available_memory", lambda: memory)
        monkeypatch.setattr(hardware, "list_gpus", lambda: [Gpu("GPU", free, free) for free in gpus])
        monkeypatch.setattr(hardware, "load_or_measure_bandwidth", lambda _: rate)

    make(200 * MB)
    return make


@pytest.fixture
def models(llm, machine_of):
    """Run ``llm models`` with no model configured, on a machine with 200 MB of memory that reads 1 GB a second."""
    return lambda *argv, env=None, **how: llm("models", *argv, env={"LLMCLI_MODEL": None, **(env or {})}, **how)


@pytest.fixture
def large(hub):
    """Make the quantizations claim sizes of 100 MB and 300 MB."""
    hub.sizes = {(REPO, "tiny.Q4_0.gguf"): 100 * MB, (REPO, "tiny.Q8_0.gguf"): 300 * MB}
    hub.cards[REPO] = {"downloads": 1234, "tags": ["gguf", "license:mit"], "gated": False}
    return hub


def rows(run):
    return [json.loads(line) for line in run.out.splitlines()]


def error(run):
    return json.loads(run.err.splitlines()[-1])["error"]


# ---- search --------------------------------------------------------------------------------------------------------


def test_search_in_json_is_an_object_a_quantization(models, large):
    """Bytes, tokens per second, and which one pull would take."""
    run = models("search", "tiny", "--json")
    small, big = rows(run)
    assert run.code == 0 and run.err == "" and list(small) == KEYS == list(big)
    assert (small["name"], small["size"], small["fits"], small["taken"]) == (f"{REPO}:Q4_0", 100 * MB, True, True)
    assert (big["name"], big["size"], big["fits"], big["taken"]) == (f"{REPO}:Q8_0", 300 * MB, False, False)
    assert small["context"] == 4096
    assert small["peak"] > small["needs"] > 100 * MB + PROCESS_BYTES and big["needs"] > 300 * MB + PROCESS_BYTES
    assert small["tokens_per_second"] > big["tokens_per_second"] > 3
    assert (small["repository"], small["licence"], small["downloads"]) == (REPO, "mit", 1234)


def test_search_with_a_context(models, large):
    """The cache for it counts."""
    usual, longer = (rows(models("search", "tiny", "--json", *how))[0] for how in ((), ("--ctx", "8000")))
    assert longer["context"] == 8000 and longer["needs"] - usual["needs"] > 136 * (8000 - 1024)


def test_search_in_a_pipe_is_a_line_a_quantization(models, large):
    """The first field is an argument of pull; nothing is on stderr."""
    run = models("search", "tiny")
    assert run.code == 0 and run.err == ""
    fields = [line.split("\t") for line in run.out.splitlines()]
    assert [row[0] for row in fields] == [f"{REPO}:Q4_0", f"{REPO}:Q8_0"] and all(
        len(row) == len(KEYS) for row in fields
    )
    assert models("pull", fields[1][0]).code == 71  # it does not fit


def test_search_on_a_terminal_is_a_group_a_repository(models, large, terminal):
    """Within 80 columns; the choice is marked."""
    large.repos["maker/other-tiny"] = {"x.Q4_0.gguf": large.repos[REPO]["tiny.Q4_0.gguf"] + b"x"}
    screen = terminal()
    assert models("search", "tiny", out=screen.slave).code == 0
    lines = screen.close().splitlines()
    assert max(map(len, lines)) <= 80
    start = lines.index(f"{REPO} (mit, context 4,096, 1,234 downloads a month)")
    assert lines[start + 1].split() == ["QUANT", "SIZE", "NEEDS", "PEAK", "FITS", "TOKENS/S"]
    assert lines[start + 2].split()[:3] == ["Q4_0", "100.0", "MB"] and lines[start + 2].endswith("<")
    assert " no " in lines[start + 3] and not lines[start + 3].endswith("<")
    assert any(line.startswith("maker/other-tiny (") for line in lines)


def test_search_says_what_fits_a_gpu(models, large, machine_of, terminal):
    """Completely, or split; a model that is only on a GPU has no estimate of its speed."""
    machine_of(165 * MB, (200 * MB,))
    small, big = rows(models("search", "tiny", "--json"))
    assert (small["on_gpu"], small["tokens_per_second"]) == (True, None)
    assert (big["on_gpu"], big["fits"]) == (False, True) and big["tokens_per_second"] > 3
    screen = terminal()
    models("search", "tiny", out=screen.slave)
    shown = screen.close()
    assert "on the GPU" in shown and "GPU in part" in shown


def test_search_where_nothing_fits(models, large, machine_of, terminal):
    """Nothing is marked, and the group says so."""
    machine_of(1 * MB)
    assert [row["taken"] for row in rows(models("search", "tiny", "--json"))] == [False, False]
    screen = terminal()
    models("search", "tiny", out=screen.slave)
    assert "nothing fits" in screen.close()


def test_search_has_a_limit(models, hub):
    """--limit bounds the requests to the Hub."""
    for number in range(4):
        hub.repos[f"maker/tiny-{number}"] = hub.repos[REPO]
    run = models("search", "tiny", "--limit", "2", "--json")
    assert len({row["repository"] for row in rows(run)}) == 2 == len(hub.headers_asked())


def test_search_that_finds_nothing_is_66(models, hub):
    """With a suggestion."""
    run = models("search", "unheard", "of")
    happened, advice = run.err.splitlines()
    assert run.code == 66 and run.out == "" and "unheard of" in happened and "fewer words" in advice


@pytest.mark.parametrize(
    ("faults", "code"),
    [
        ([Fault(), BUSY, BUSY], 3),
        ([Fault(), BUSY, BUSY, BUSY, BUSY], 75),
        ([Fault(portal="html")], 76),
        ([Fault(), Fault(status=404)], 0),
    ],
)
def test_search_when_repositories_fail(models, hub, faults, code):
    """A failed one gets a line and makes the result partial; if all fail, the first one's code applies."""
    hub.repos["maker/tiny-other"] = hub.repos[REPO]
    hub.listing_faults = faults
    run = models("search", "tiny", "--json")
    assert run.code == code and len(rows(run)) == (2 if code in {0, 3} else 0)
    assert all("error" in json.loads(line) for line in run.err.splitlines()) and bool(run.err) == bool(code)


@pytest.mark.parametrize("fault", [Fault(status=500), Fault(status=403, headers={"X-Error-Code": "GatedRepo"})])
def test_search_without_a_header_does_not_know_the_needs(models, large, fault, terminal):
    """3, and unknown values are not guessed: the size of the weights is a minimum. Too large is too large."""
    large.header_faults = [fault] * 2
    run = models("search", "tiny", "--json")
    small, big = rows(run)
    assert run.code == 3 and (small["size"], small["needs"], small["fits"]) == (100 * MB, None, None)
    assert (big["needs"], big["fits"], big["taken"]) == (None, False, False)
    assert "only its sizes are known" in error(run)["message"]
    large.header_faults = [fault] * 2
    run = models("search", "tiny")
    assert run.code == 3 and "only its sizes are known" in run.err
    screen = terminal(columns=120)
    large.header_faults = [fault] * 2
    assert models("search", "tiny", out=screen.slave).code == 3
    left = screen.close()
    assert "at least 100.0 MB" in left and "not known" in left


@pytest.mark.parametrize("how", [{"env": {"HF_HUB_OFFLINE": "1"}}, {}])
def test_search_offline_is_69(models, hub, how):
    """At once, without a connection."""
    run = models("search", "tiny", *([] if how else ["--offline"]), **how)
    assert run.code == 69 and hub.asked == [] and "offline" in run.err


@pytest.mark.parametrize("argv", [(), ("  ",), ("x", "--limit", "0"), ("x", "--limit", "51")])
def test_search_for_nothing_is_usage(models, argv):
    """And so is an invalid limit."""
    assert models("search", *argv).code == 2


# ---- recommend -----------------------------------------------------------------------------------------------------


@pytest.fixture
def laptop(machine_of):
    """Make this machine one with 6 GB of free memory."""
    machine_of(6 * 10**9, rate=15.0 * 10**9)


@pytest.mark.usefixtures("laptop")
def test_recommend_in_a_pipe_begins_with_the_pick(models):
    """Its name is the first field of the first line, and an argument of pull; nothing is on stderr."""
    run = models("recommend", "--for", "translate", "--language", "French")
    assert run.code == 0 and run.err == ""
    first, *others = (line.split("\t") for line in run.out.splitlines())
    assert first[:2] == ["gemma-3-4b", "translate"] and "fr" in first[-2].split("; ")[-1]
    assert "qwen3-4b" in [row[0] for row in others] and "llama-3.2-3b" not in [row[0] for row in others]
    assert models("show", first[0]).code == 0


@pytest.mark.usefixtures("laptop")
def test_recommend_in_json(models):
    """Numbers in bytes and tokens per second; everything fits."""
    found = rows(models("recommend", "--json"))
    assert all(row["fits"] and row["needs"] > row["size"] > 0 and row["task"] == "chat" for row in found)
    assert found[0]["tokens_per_second"] >= 5 and not any(row["here"] for row in found)


@pytest.mark.usefixtures("laptop")
@pytest.mark.parametrize(
    ("use", "task"), [("ask", "chat"), ("generate", "chat"), ("sentiment", "classify"), ("code", "code")]
)
def test_recommend_takes_the_names_of_commands(models, use, task):
    """A command means the task for which it needs a model."""
    assert {row["task"] for row in rows(models("recommend", "--for", use, "--json"))} == {task}


@pytest.mark.usefixtures("laptop")
def test_recommend_on_a_terminal(models, terminal):
    """The pick and its reason, how to fetch it, then the others, within 80 columns."""
    screen = terminal()
    assert models("recommend", "--for", "translate", out=screen.slave).code == 0
    lines = screen.close().splitlines()
    assert "".join(lines[:2]).startswith("gemma-3-4b: strong in translation")
    assert "llm models pull gemma-3-4b" in " ".join(lines[:2]) and max(map(len, lines)) <= 80
    head = next(number for number, line in enumerate(lines) if line.startswith("NAME"))
    assert lines[head + 1].startswith("gemma-3-4b") and "2.5 GB" in lines[head + 1]


def test_recommend_needs_no_network(models, machine_of, hub):
    """It needs no network."""
    machine_of(6 * 10**9)
    assert models("recommend", "--json").code == 0 and hub.asked == []


@pytest.mark.parametrize(
    ("argv", "code"),
    [
        (("--language", "am"), 69),
        (("--for", "code"), 71),
        (("--language", "Klingon"), 2),
        (("--for", "cooking"), 2),
    ],
)
def test_recommend_without_a_result(models, argv, code):
    """No such model, none that fits, no such language, no such task."""
    run = models("recommend", *argv)
    assert run.code == code and run.out == "" and run.err.startswith("llm: ")


def test_recommend_knows_what_is_here(models, machine_of, monkeypatch, tiny):
    """It says so instead of how to fetch it."""
    from llmcli.models.files.model_file import ModelFile
    from llmcli.models.library.model_library import ModelLibrary

    machine_of(300 * MB)
    here = ModelFile("smollm2-135m", tiny("llama"), 1, catalogue="smollm2-135m", parts=(tiny("llama"),))
    monkeypatch.setattr(ModelLibrary, "list", lambda _: [here])
    (row,) = rows(models("recommend", "--json"))
    assert (row["name"], row["here"]) == ("smollm2-135m", True) and row["why"].startswith("here already")


# ---- what pull shows and refuses -----------------------------------------------------------------------------------


def test_pull_shows_what_there_is_on_a_terminal(models, hub, terminal):
    """A table of the quantizations, with the chosen one and the reason."""
    screen = terminal()
    assert models("pull", REPO, err=screen.slave).code == 0
    shown = screen.close()
    assert "QUANT" in shown and "Q8_0" in shown and f"choosing {REPO}:Q4_0 (" in shown.replace("\n", "")


def test_pull_explains_in_a_pipe(models, hub):
    """With -v a line for each; without it none."""
    run = models("pull", REPO, "-v")
    assert [line.split(": ")[1] for line in run.err.splitlines()[:2]] == [f"{REPO}:Q4_0", f"{REPO}:Q8_0"]
    assert "choosing" in run.err
    said = [json.loads(line) for line in models("pull", REPO, "-v", "--json").err.splitlines()]
    assert all(set(each) == {"explanation"} for each in said)


def test_pull_of_a_model_that_does_not_fit_is_71(models, large, machine_of):
    """With the figures and what would fit; nothing is downloaded."""
    run = models("pull", f"{REPO}:Q8_0")
    happened, advice = run.err.splitlines()
    assert run.code == 71 and "300.0 MB of it weights" in happened and "not downloaded" in happened
    assert advice.startswith(f"Try: llm models pull {REPO}:Q4_0") and "--force" in advice
    machine_of(1 * MB)
    failed = error(models("pull", REPO, "--json"))
    assert (failed["code"], failed["type"]) == (71, "DoesNotFit") and "llm models recommend" in failed["next"]
    assert len(large.headers_asked()) == sum(asked.server == "storage" for asked in large.asked)


def test_pull_names_the_context_that_would_fit(models, hub, machine_of):
    """Weights that fit with a shorter one are not refused completely."""
    machine_of(PROCESS_BYTES + 3 * MB // 2)
    run = models("pull", REPO, "--ctx", "8000")
    advice = run.err.splitlines()[1]
    assert run.code == 71 and advice.startswith(f"Try: llm models pull {REPO}:Q4_0 --ctx ")
    context = advice.split()[6]
    assert models("pull", REPO, "--ctx", context).code == 0


def test_pull_of_an_unsupported_model_is_65(models, hub, tiny):
    """An embedding model is refused by its header; with force it is fetched."""
    hub.repos[REPO] = {"bert.Q8_0.gguf": tiny("bert").read_bytes()}
    run = models("pull", REPO)
    assert run.code == 65 and "embedding model" in run.err and len(hub.headers_asked()) == 1
    assert models("search", "tiny").code == 66
    assert models("pull", REPO, "--force").code == 0


def test_pull_with_force(models, hub, machine_of):
    """--force downloads it."""
    machine_of(1000)
    assert models("pull", REPO).code == 71
    (row,) = rows(models("pull", REPO, "--force", "--json"))
    assert Path(row["path"]).is_file()


def test_a_verb_that_fetches_follows_the_same_rules(llm, hub, machine_of):
    """--pull chooses what fits and refuses what does not."""
    machine_of(1000)
    run = llm("ask", "Q", "-m", REPO, "--pull")
    assert run.code == 71 and "was not downloaded" in run.err and run.backend is None
    machine_of(200 * MB)
    assert llm("ask", "Q", "-m", REPO, "--pull").code == 0


def test_the_bandwidth_is_measured_only_for_output_on_a_terminal(models, hub, monkeypatch):
    """A pull in a pipe measures nothing."""
    monkeypatch.setattr(hardware, "load_or_measure_bandwidth", lambda _: pytest.fail("measured"))
    assert models("pull", REPO).code == 0


def test_the_bandwidth_is_cached(tmp_path, monkeypatch):
    """It is measured once a day for a processor; a damaged file is ignored."""
    measured = []
    monkeypatch.setattr(hardware, "measure_bandwidth", lambda threads: measured.append(threads) or 1e9 * len(measured))
    directory = tmp_path / "cache"
    assert (
        hardware.load_or_measure_bandwidth(directory) == hardware.load_or_measure_bandwidth(directory) == 1e9
        and len(measured) == 1
    )
    for nonsense in ("{", "[1]", '{"x": -1}'):
        (directory / "bandwidth.json").write_text(nonsense)
        assert hardware.load_or_measure_bandwidth(directory) == 1e9 * len(measured)
    os.utime(directory / "bandwidth.json", (0, 0))
    assert hardware.load_or_measure_bandwidth(directory) == 5e9 and hardware.load_or_measure_bandwidth(directory) == 5e9
    assert len(measured) == 5 and [file.name for file in directory.iterdir()] == ["bandwidth.json"]


def test_the_bandwidth_is_a_rate():
    """In bytes a second."""
    assert 10**8 < hardware.measure_bandwidth(1, 1 << 22) < 10**13
