"""``llm models tune``: the table, what is kept, and what ends it."""

from __future__ import annotations

import json
import os
import signal
import time
import zlib
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from engine.profiles import DriftingMachine, shorten_measurements
from fake_hub import REPO
from scripted import last_message

from llmcli.cli.commands.models import tuning_view
from llmcli.config.engine_options import EngineOptions
from llmcli.engine.engine import Engine
from llmcli.engine.llama import hardware
from llmcli.engine.tuning import background_tuning, microbenchmark, tuning_plan
from llmcli.engine.tuning.cost_profile import ATTENTION_KERNELS
from llmcli.errors.model_errors import EngineRefused
from llmcli.models.footprint import WORKLOADS
from llmcli.models.library.derived_weights import DerivedWeightsStore
from llmcli.runtime import engine_install
from llmcli.runtime.engine_install import FasterEngine
from llmcli.tasks import layer_choice
from llmcli.types import StateLayers
from llmcli.weights_times import StepTimes

COLUMNS = ["weights", "size", "prompt", "decode", "at_once_16", "at_once_32", "divergence", "faithful", "chosen_for"]


@pytest.fixture
def models(llm):
    """Run ``llm models`` with no model configured."""
    return lambda *argv, env=None, **how: llm("models", *argv, env={"LLMCLI_MODEL": None, **(env or {})}, **how)


@pytest.fixture(autouse=True)
def _short(monkeypatch):
    """Measure very little, with one thread, on a processor with BF16."""
    monkeypatch.setenv("LLMCLI_THREADS", "1")
    shorten_measurements(monkeypatch)
    monkeypatch.setattr(tuning_plan.bindings, "system_info", lambda: "CPU : AVX512_BF16 = 1 | ")


@pytest.fixture
def bf16_is_fastest(monkeypatch):
    """Let BF16 take a tenth of the time of the others, whatever it takes."""

    def time_steps(model, _threads, _interrupt):
        seconds = 0.001 if "-bf16-" in model.path.name else 0.01
        return StepTimes(seconds, seconds, seconds, seconds)

    monkeypatch.setattr(microbenchmark, "time_steps", time_steps)


def rows(run):
    return [json.loads(line) for line in run.out.splitlines()]


def cached(directory, suffix):
    """Return the names of files in a directory of the cache."""
    return sorted(path.name for path in (Path(os.environ["LLMCLI_CACHE_DIR"]) / directory).glob(f"*{suffix}"))


def test_tune_prints_a_line_for_each_type(models, tiny):
    """Tab-separated in a pipe, nothing on stderr, and a stored profile."""
    run = models("tune", str(tiny("chatml")))
    lines = [line.split("\t") for line in run.out.splitlines()]
    assert run.code == 0 and run.err == ""
    assert lines[0][0] == "original" and lines[1][0] == "bf16"
    assert all(len(line) == len(COLUMNS) for line in lines)
    assert len(cached("tuning", ".json")) == 1


def test_tune_draws_the_rates(models, tiny, tmp_path):
    """A bar for each type of weights and kind of work; a name that cannot be drawn is refused before the measurement."""
    path = tmp_path / "speed.svg"
    assert models("tune", str(tiny("chatml")), "--plot", str(path)).code == 0
    drawn = path.read_text()
    assert all(
        words in drawn for words in ("original", "Reading a prompt", "Writing 16 answers at once", "tokens per second")
    )
    run = models("tune", str(tiny("chatml")), "--plot", "speed.gif")
    assert (run.code, run.out) == (2, "") and "measured" not in run.err


def test_tune_in_json_is_an_object_for_each_type(models, tiny, bf16_is_fastest):
    """The same facts for a script: tokens a second, nats a token, the kinds of work."""
    run = models("tune", str(tiny("gemma3")), "--json")
    found = {row["weights"]: row for row in rows(run)}
    assert run.code == 0 and all(list(row) == COLUMNS for row in found.values())
    assert found["bf16"]["prompt"] == 1000.0 and found["bf16"]["faithful"]
    assert found["bf16"]["chosen_for"] == ["short answers", "long prompts", "16 at once", "scoring"]
    assert found["original"]["chosen_for"] == []
    assert [name.split("-")[1] for name in cached("derived", ".gguf")] == ["bf16"]


def test_without_room_for_copies_settings_are_measured(models, tiny):
    """The original weights alone, and no copy."""
    run = models("tune", str(tiny("chatml")), "--json", env={"LLMCLI_DERIVED_WEIGHTS": "0"})
    (row,) = rows(run)
    assert (run.code, row["weights"], row["divergence"]) == (0, "original", None)
    assert not cached("derived", ".gguf")


def test_a_result_that_cannot_be_kept_is_not_measured(models, tiny, monkeypatch):
    """The measurement takes long, so its directory is checked before."""
    directory = Path(os.environ["LLMCLI_CACHE_DIR"]) / "tuning"
    directory.parent.mkdir(parents=True, exist_ok=True)
    directory.write_text("")
    monkeypatch.setattr(microbenchmark, "time_steps", lambda *_: pytest.fail("measured"))
    run = models("tune", str(tiny("chatml")))
    assert run.code == 74 and str(directory) in run.err and run.out == ""


def test_verbose_tells_the_settings_and_what_was_left_out(models, tiny):
    """One line for each task, and one for each type that was not measured."""
    run = models("tune", str(tiny("chatml")), "-v")
    told = [line for line in run.err.splitlines() if line.startswith("llm: KV cache for ")]
    assert len(told) == len(WORKLOADS) and all(
        line.endswith(("one buffer", "a buffer for each sequence")) for line in told
    )
    assert "q8_0 was not measured: its weights are q8_0 already" in run.err


@pytest.mark.parametrize(("plain_s", "attention"), [(0.8, "plain attention"), (1.25, "flash attention")])
def test_the_faster_kernel_of_attention_is_chosen(models, tiny, monkeypatch, plain_s, attention):
    """Also on a machine whose speed drifts by more than the kernels differ."""
    seconds = dict.fromkeys(ATTENTION_KERNELS, 1.0) | {(False, "f16"): plain_s}
    DriftingMachine(monkeypatch, seconds)
    run = models("tune", str(tiny("chatml")), "-v")
    (line,) = [line for line in run.err.splitlines() if line.startswith("llm: KV cache for chat: ")]
    assert run.code == 0 and f": {attention}, f16 cache, " in line


def test_tune_chooses_the_layers_of_an_unknown_model(models, tiny):
    """They are said with -v and kept, and the model's backends report them from then on."""

    def states(request):
        values = np.random.default_rng(zlib.crc32(last_message(request).encode())).normal(size=8)
        return values.astype("<f4").tobytes()  # the same after each layer

    model = tiny("chatml")
    run = models("tune", str(model), "-v", answer=states, layers=20, context=100_000)
    (told,) = [line for line in run.err.splitlines() if "hidden states are read after" in line]
    assert run.code == 0 and told.endswith(
        "hidden states are read after layer 10 for labels, after layer 10 for vectors"
    )
    (name,) = cached("layers", ".json")
    options = EngineOptions(cache=Path(os.environ["LLMCLI_CACHE_DIR"]))
    with closing(Engine(model, "m", name.removesuffix(".json"), options, lambda: None)) as engine:
        assert engine.info().measured_layers == StateLayers((10,), 10)


@pytest.mark.parametrize("faster", [FasterEngine("llm engine use compiled", "it is new"), None])
def test_tune_names_an_engine_that_is_faster(models, tiny, monkeypatch, faster):
    """Once, by the line of doctor; off a terminal only with -v."""
    monkeypatch.setattr(engine_install, "find_faster", lambda _config: faster)
    run = models("tune", str(tiny("chatml")), "-v")
    line = "llm: Probably faster here: llm engine use compiled (it is new)"
    assert run.code == 0 and run.err.splitlines().count(line) == (faster is not None)
    assert models("tune", str(tiny("chatml"))).err == ""


# ---- within two minutes ----


def test_layers_that_take_too_long_are_left_out(models, tiny, monkeypatch):
    """One line names them and the command that measures everything; off a terminal, too."""
    monkeypatch.setattr(layer_choice, "estimate_seconds", lambda _parameters: 116.0)
    measured = []
    monkeypatch.setattr(layer_choice, "measure_layers", lambda *_: measured.append(True))
    path = str(tiny("chatml"))
    run = models("tune", path)
    (line,) = run.err.splitlines()
    assert run.code == 0 and len(run.out.splitlines()) > 1 and not measured
    assert line == (
        "llm: not measured, to end within 2 min: the layers of hidden states; "
        f"to measure everything: llm models tune --all {path}"
    )
    assert models("tune", path, "--all").err == "" and measured
    monkeypatch.setattr(layer_choice, "estimate_seconds", lambda _parameters: 60.0)
    assert models("tune", path).err == "" and len(measured) == 2


def test_layers_are_left_out_if_the_weights_took_too_long(models, tiny, monkeypatch):
    """On a busy or slow machine, what was planned may not fit any more."""
    monkeypatch.setattr(layer_choice, "estimate_seconds", lambda _parameters: 60.0)
    monkeypatch.setattr(layer_choice, "measure_layers", lambda *_: pytest.fail("measured"))
    clock = iter([0.0])
    monkeypatch.setattr(tuning_view, "time", SimpleNamespace(monotonic=lambda: next(clock, 61.0)))
    run = models("tune", str(tiny("chatml")))
    assert run.code == 0 and "to end within 2 min: the layers of hidden states; " in run.err


def test_types_that_take_too_long_are_left_out(models, tiny, monkeypatch):
    """As many as do not fit; the first copy is measured."""
    monkeypatch.setattr(tuning_plan, "candidate_types", lambda _info: ("bf16", "f16"))
    monkeypatch.setattr(tuning_plan.TuningPlan, "seconds", property(lambda plan: 61.0 * len(plan.types)))
    monkeypatch.setattr(layer_choice, "estimate_seconds", lambda _parameters: 0.0)
    run = models("tune", str(tiny("gemma3")), "--json")
    assert run.code == 0 and [row["weights"] for row in rows(run)] == ["original", "bf16"]
    assert "to end within 2 min: f16; to measure everything: llm models tune --all" in run.err
    run = models("tune", str(tiny("gemma3")), "--json", "--all")
    assert run.err == "" and [row["weights"] for row in rows(run)] == ["original", "bf16", "f16"]


def test_a_model_that_takes_too_long_is_refused(models, tiny, monkeypatch):
    """Before anything is measured, with the time and the command."""
    monkeypatch.setattr(tuning_plan, "_FIXED_SECONDS", 200.0)
    path = str(tiny("chatml"))
    run = models("tune", path)
    assert (run.code, run.out) == (2, "") and not cached("tuning", ".json")
    assert "takes about 3 min" in run.err and f"Try: llm models tune --all {path}" in run.err
    assert models("tune", path, "--all").code == 0 and len(cached("tuning", ".json")) == 1


@pytest.mark.slow
def test_tune_shows_a_table_and_its_progress_on_a_terminal(models, tiny, terminal, at_once, bf16_is_fastest):
    """The progress is visible on a terminal, and is removed at the end."""
    screen = terminal()
    assert models("tune", str(tiny("chatml")), out=screen.slave, err=screen.slave).code == 0
    left = screen.close()
    assert b"measurements" in bytes(screen.raw) and "measurements" not in left
    assert "WEIGHTS" in left and "1000/s" in left and "short answers" in left


def test_a_long_measurement_is_announced(models, tiny, monkeypatch):
    """Time, disk and memory are stated before it begins, with the layers if they are measured, too."""
    assert "takes about" not in models("tune", str(tiny("chatml")), "-v").err
    monkeypatch.setattr(layer_choice, "estimate_seconds", lambda _parameters: 60.0)
    run = models("tune", str(tiny("chatml")), "-v")
    assert run.err.startswith("llm: this takes about 1 min 5 s, up to ") and " of disk and " in run.err
    monkeypatch.setattr(tuning_plan, "_FIXED_SECONDS", 50.0)
    monkeypatch.setattr(layer_choice, "estimate_seconds", lambda _parameters: 130.0)
    assert models("tune", str(tiny("chatml")), "-v").err.startswith("llm: this takes about 50 s, up to ")
    assert models("tune", str(tiny("chatml")), "-v", "--all").err.startswith("llm: this takes about 3 min, up to ")


def test_tune_measures_the_default_model(models, here):
    """Without a name it is the model of the next command."""
    models("default", here)
    assert models("tune").code == 0 and len(cached("tuning", ".json")) == 1


@pytest.mark.slow
def test_each_number_of_threads_has_its_profile(models, tiny, bf16_is_fastest):
    """A new measurement replaces the old one; another number of threads has its own."""
    for threads, count in (("1", 1), ("1", 1), ("2", 2)):
        assert models("tune", str(tiny("chatml")), env={"LLMCLI_THREADS": threads}).code == 0
        assert len(cached("tuning", ".json")) == count


def test_tune_uses_the_threads_that_a_job_will_use(models, tiny, monkeypatch):
    """As many as this process may use, if no number was set."""
    used = []

    def time_steps(_model, threads, _interrupt):
        used.append(threads)
        return StepTimes(1.0, 1.0, 1.0, 1.0)

    monkeypatch.setattr(microbenchmark, "time_steps", time_steps)
    monkeypatch.setattr(hardware, "detect_cores", lambda: hardware.CpuCores(affinity=8, physical=2, quota=1.0))
    assert models("tune", str(tiny("chatml")), env={"LLMCLI_THREADS": "auto"}).code == 0
    assert set(used) == {1}


def test_what_tune_measured_is_used(models, tiny, llm, bf16_is_fastest):
    """A later engine says that its settings were measured, and a later command answers with the chosen weights."""
    path = tiny("chatml")

    def choice(sha256):
        engine = Engine(
            path, "tiny", sha256, EngineOptions(cache=Path(os.environ["LLMCLI_CACHE_DIR"]), threads=1), lambda: None
        )
        engine.info()
        try:
            return " ".join(engine.stats().choices)
        finally:
            engine.close()

    (row,) = [row for row in rows(models("verify", str(path), "--json")) if row["path"] == str(path)]
    assert "to measure this machine" in choice(row["sha256"])
    assert models("tune", str(path)).code == 0
    assert ", measured on this machine)" in choice(row["sha256"])
    (answer,) = rows(llm("ask", "hello", "-m", str(path), "--json", "--max-tokens", "2"))
    assert answer["weights"] == "bf16"
    (answer,) = rows(llm("ask", "hello", "-m", str(path), "--json", "--max-tokens", "2", "--set", "weights=original"))
    assert answer["weights"] == "original"


@pytest.mark.parametrize("name", ["mamba", "lfm2", "falcon-h1", "qwen35"])
def test_a_recurrent_model_has_a_choice_of_weights(models, tiny, name):
    """Its cache has one setting, so without copies nothing can be chosen: 69."""
    assert models("tune", str(tiny(name))).code == 0
    run = models("tune", str(tiny(name)), env={"LLMCLI_DERIVED_WEIGHTS": "0"})
    assert run.code == 69 and run.out == "" and "no choice of weights or settings" in run.err


@pytest.mark.parametrize(
    ("name", "code"), [("no-such-model", 66), ("/no/such/file.gguf", 66), (REPO, 69), ("smollm2-135m", 69), ("/", 65)]
)
def test_tune_of_what_is_not_here_has_its_code(models, name, code):
    """An unknown name, a missing file, a model that was not fetched, a directory."""
    run = models("tune", name)
    assert run.code == code and run.out == "" and run.err.startswith("llm: ")
    assert not cached("tuning", ".json")


def test_an_interrupted_measurement_stores_nothing(models, tiny, monkeypatch):
    """Ctrl-C ends it with 130, within the evaluation that runs."""
    timed = []
    measure = microbenchmark.time_steps

    def interrupted(*arguments):
        timed.append(arguments)
        signal.raise_signal(signal.SIGINT)
        time.sleep(0.3)  # the main thread, which handles it, checks at intervals
        return measure(*arguments)

    monkeypatch.setattr(microbenchmark, "time_steps", interrupted)
    assert models("tune", str(tiny("chatml"))).code == 130
    assert len(timed) == 1 and not cached("tuning", ".json")


def test_an_embedding_model_is_69(models, tiny):
    """It generates nothing, and evaluating it as if it did would end the process."""
    run = models("tune", str(tiny("bert")))
    assert run.code == 69 and run.out == "" and "embedding" in run.err


def test_a_model_on_a_gpu_is_69(models, tiny, monkeypatch):
    """The times of the processor say nothing about it; without layers there they do."""
    monkeypatch.setattr(hardware, "list_gpus", lambda: [hardware.Gpu("GPU", 1 << 33, 1 << 33)])
    run = models("tune", str(tiny("chatml")))
    assert run.code == 69 and run.out == "" and "GPU" in run.err
    assert models("tune", str(tiny("chatml")), env={"LLMCLI_GPU_LAYERS": "0"}).code == 0


def test_without_disk_for_copies_only_the_cache_is_measured(models, tiny, monkeypatch):
    """Types that do not fit on the disk are left out, with the reason."""
    monkeypatch.setattr(DerivedWeightsStore, "_free_bytes", lambda _store: 1000)
    run = models("tune", str(tiny("chatml")), "--json", "-v")
    assert run.code == 0 and [row["weights"] for row in rows(run)] == ["original"]
    assert "too little disk space is free" in run.err and cached("derived", ".gguf") == []


def test_the_next_step_is_possible_where_no_copy_can_be_stored(models, tiny):
    """The command has no setting of weights."""
    cache = Path(os.environ["LLMCLI_CACHE_DIR"])
    cache.mkdir(parents=True)
    (cache / "derived").write_bytes(b"")
    run = models("tune", str(tiny("chatml")))
    assert run.code == 73 and "LLMCLI_CACHE_DIR" in run.err and "weights=" not in run.err


# ---- in the background, before the first job ----


@pytest.fixture
def started(monkeypatch):
    """Return a list of the models that processes would have measured in the background; ``tune`` is auto."""
    names = []
    monkeypatch.setattr(background_tuning, "start_process", lambda task: names.append(Path(task.path).name))
    monkeypatch.setenv("LLMCLI_TUNE", "auto")
    return names


def test_a_pulled_model_is_measured_in_the_background(models, mine, started):
    """Once it is here, and again as a new default until it was measured; -v says so."""
    run = models("pull", str(mine), "-v")
    assert run.code == 0 and "llm: mine is measured in the background, in about 5 s" in run.err.splitlines()
    assert models("default", "mine").err == "" and started == ["mine.gguf"] * 2
    assert models("tune", "mine").code == 0
    assert models("default", "mine", "-v").err == "llm: mine: llm models default\n" and len(started) == 2


def test_a_downloaded_model_is_measured_in_the_background(models, hub, started):
    """As is a local one; a second pull starts it again if it was not measured."""
    assert models("pull", f"{REPO}:Q4_0").code == models("pull", f"{REPO}:Q4_0").code == 0
    assert started == ["tiny.Q4_0.gguf"] * 2


@pytest.mark.parametrize("setting", ["tune=off", "weights=bf16", "deterministic=true"])
def test_settings_without_a_choice_start_no_measurement(models, mine, started, setting):
    """Nothing is measured that would not be used."""
    name, value = setting.split("=")
    assert models("pull", str(mine), env={f"LLMCLI_{name.upper()}": value}).code == 0
    assert started == []


def test_a_model_on_a_gpu_is_not_measured(models, mine, started, monkeypatch):
    """Only the processor is measured."""
    monkeypatch.setattr(hardware, "list_gpus", lambda: [hardware.Gpu("a GPU", 1 << 30, 1 << 30)])
    assert models("pull", str(mine)).code == 0 and started == []


def test_a_default_that_was_never_read_is_not_measured(models, mine, started):
    """A measurement belongs to the hash of the weights, which only a pull or a first job computes."""
    assert models("default", str(mine)).code == 0 and started == []


def test_pull_succeeds_where_nothing_can_be_measured(models, mine, started, tmp_path, monkeypatch):
    """Without a directory for the result or an engine that loads, -v says why; the model is here."""
    (tmp_path / "file").write_text("")
    run = models("pull", str(mine), "-v", env={"LLMCLI_CACHE_DIR": str(tmp_path / "file" / "cache")})
    assert run.code == 0 and "llm: mine is not measured: " in run.err

    def refuse():
        raise EngineRefused("llama.cpp", detail="it crashed")

    monkeypatch.setattr(hardware, "list_gpus", refuse)
    run = models("pull", str(mine), "-v")
    assert run.code == 0 and "llm: mine is not measured: it crashed" in run.err.splitlines() and started == []
