"""llama.cpp's log: its lines become causes of errors, and a failed assertion becomes one message."""

from __future__ import annotations

import ctypes
import gc
import subprocess
import sys
import threading

import pytest
from engine.tools import model_of

from llmcli.engine.llama import bindings
from llmcli.engine.llama.bindings import LOG_LEVEL_CONTINUED, LOG_LEVEL_ERROR, LOG_LEVEL_WARN, NativeLog
from llmcli.errors import BadModelFile, OutOfMemory

INFO = 2


def log_of(*lines):
    log = NativeLog()
    for level, text in lines:
        log.append(level, text)
    return log


def test_errors_are_the_cause():
    """The logged errors are the cause, as one line."""
    log = log_of(
        (INFO, b"loading\n"),
        (LOG_LEVEL_WARN, b"odd\n"),
        (LOG_LEVEL_ERROR, b"no such\n tensor\n"),
        (LOG_LEVEL_ERROR, b"failed\n"),
    )
    assert log.error_summary() == "no such tensor; failed"


def test_without_errors_the_warnings_are_the_cause():
    """Without an error, the warnings are the only information."""
    assert log_of((INFO, b"a\n"), (LOG_LEVEL_WARN, b"odd thing\n")).error_summary() == "odd thing"


def test_continuations_belong_to_their_line():
    """A line that comes in pieces is one line; pieces of an unimportant line are unimportant."""
    log = log_of(
        (INFO, b"info "),
        (LOG_LEVEL_CONTINUED, b"more\n"),
        (LOG_LEVEL_ERROR, b"can"),
        (LOG_LEVEL_CONTINUED, b"not "),
        (LOG_LEVEL_CONTINUED, b"load\n"),
    )
    assert log.error_summary() == "cannot load"


def test_clear_removes_earlier_causes():
    """An old error is not the cause of a new failure."""
    log = log_of((LOG_LEVEL_ERROR, b"old\n"))
    log.clear()
    assert log.error_summary() == ""


def test_invalid_utf_8_is_replaced():
    """Names in broken files may contain any bytes."""
    assert log_of((LOG_LEVEL_ERROR, b"bad \xff name\n")).error_summary() == "bad \ufffd name"


def test_the_log_is_bounded():
    """Many lines take no more memory, and the last lines are the cause."""
    log = log_of(*[(LOG_LEVEL_ERROR, b"line %d\n" % i) for i in range(5000)])
    assert log.error_summary().endswith("line 4999")
    assert len(log._lines) == 200


def test_the_cause_can_be_read_while_others_log():
    """Another thread that logs at the same time does not interfere."""
    log = log_of((LOG_LEVEL_ERROR, b"first\n"))
    stop = threading.Event()

    def flood():
        while not stop.is_set():
            log.append(LOG_LEVEL_ERROR, b"more\n")

    thread = threading.Thread(target=flood)
    thread.start()
    try:
        for _ in range(2000):
            assert log.error_summary()
    finally:
        stop.set()
        thread.join()


def test_an_error_names_llama_cpps_cause(tiny, tmp_path):
    """A file without tensors is refused with llama.cpp's own message."""
    data = tiny("chatml").read_bytes()
    path = tmp_path / "renamed.gguf"
    path.write_bytes(data.replace(b"blk.1.ffn_up.weight", b"blk.1.ffn_xx.weight"))
    with pytest.raises(BadModelFile) as caught, model_of(path):
        pass
    assert "blk.1.ffn_up.weight" in caught.value.detail


def test_an_allocation_that_fails_is_out_of_memory(tiny, monkeypatch):
    """What llama.cpp says about memory becomes OutOfMemory, not a broken file."""
    with model_of(tiny("chatml")) as model:
        monkeypatch.setattr(bindings, "log", log_of((LOG_LEVEL_ERROR, b"failed to allocate buffer\n")))
        assert isinstance(model._load_error(keep_going=True), OutOfMemory)


ABORT = """
import sys
from pathlib import Path
from llmcli.engine.llama import bindings
from llmcli.engine.llama.context import Context, ContextConfig
from llmcli.engine.llama.model import Model

def told(message):
    print("told:", message, flush=True)

bindings.on_abort = told
model = Model(Path(sys.argv[1]), keep_going=lambda: True)
context = Context(model, ContextConfig(cells=256, sequences=2), lambda: False)
bindings.lib().llama_sampler_sample(
    bindings.lib().llama_sampler_chain_init(bindings.lib().llama_sampler_chain_default_params()), context.handle, 77
)
"""


def test_a_failed_assertion_tells_its_message_before_the_process_ends(tiny):
    """llama.cpp ends the process when an assertion fails; ``on_abort`` gets the message first."""
    result = subprocess.run([sys.executable, "-c", ABORT, tiny("chatml")], capture_output=True, text=True, check=False)
    assert result.returncode < 0
    assert result.stdout.startswith("told: ")
    assert "GGML_ASSERT" in result.stdout or "failed" in result.stdout


def test_nothing_of_llama_cpp_reaches_the_terminal(tiny):
    """Loading and evaluating write nothing to the standard streams."""
    code = (
        "import sys; sys.path.insert(0, sys.argv[2])\n"
        "from pathlib import Path\n"
        "from engine.tools import answer, engine_of, req\n"
        "with engine_of(Path(sys.argv[1])) as engine: answer(engine, req('a'))\n"
    )
    tests = str(__import__("pathlib").Path(__file__).parents[2])
    result = subprocess.run([sys.executable, "-c", code, tiny("chatml"), tests], capture_output=True, check=True)
    assert (result.stdout, result.stderr) == (b"", b"")


def test_an_unknown_recurrent_architecture_is_loaded_safely(tiny, monkeypatch):
    """If llama.cpp reports a recurrent model that the header does not show, the model is loaded again."""
    monkeypatch.setattr("llmcli.engine.llama.model._has_recurrent_layers", lambda _: False)
    with model_of(tiny("mamba")) as model:
        assert model.recurrent
        assert model.chat_template()
        assert len(model.token_attributes()) == model.vocab_size


@pytest.mark.slow
def test_reading_values_leaves_nothing_for_garbage_collection():
    """Otherwise each token of a long job leaves objects that stay until a late collection."""
    values = (ctypes.c_float * 6)(*range(6))
    address = ctypes.c_void_p(ctypes.addressof(values))
    gc.collect()
    gc.disable()
    try:
        for _ in range(20):
            found = bindings.float_array(ctypes.POINTER(ctypes.c_float).from_buffer(address), (2, 3))
        assert gc.collect() < 20
    finally:
        gc.enable()
    assert found.tolist() == [[0, 1, 2], [3, 4, 5]]


def test_long_lines_are_cut():
    """A line of llama.cpp may quote what a damaged file has as a name."""
    assert len(log_of((LOG_LEVEL_ERROR, b"unknown model architecture: " + b"x" * 100_000)).error_summary()) == 300
