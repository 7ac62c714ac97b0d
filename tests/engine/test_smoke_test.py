"""The child that loads a model for the first time, and its result."""

from __future__ import annotations

import math
import signal
import struct
import subprocess
import sys

import pytest

from llmcli.engine.llama import load_check
from llmcli.engine.smoke_test import smoke_test
from llmcli.errors import BadModelFile
from llmcli.models.gguf.header_parser import read_header


def ran(path) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", load_check._CHILD_MODULE, str(path), load_check.AUTO_LAYERS, "60"]
    return subprocess.run(command, check=False, capture_output=True, timeout=60)


def test_a_good_model_generates(tiny):
    """The process ends with 0 and writes nothing."""
    done = ran(tiny("llama"))
    assert (done.returncode, done.stdout) == (0, b"")


def test_a_known_error_has_its_own_exit_code(tmp_path):
    """The parent leaves the report to the engine."""
    path = tmp_path / "bad.gguf"
    path.write_bytes(b"GGUF" + bytes(100))
    assert ran(path).returncode == load_check.EXIT_KNOWN_ERROR
    with pytest.raises(BadModelFile):
        smoke_test(path, 0)


def test_a_model_whose_logits_are_no_numbers_is_bad(tiny, tmp_path):
    """As those are that overflow in the range of a type."""
    path = tmp_path / "overflows.gguf"
    path.write_bytes(tiny("llama").read_bytes())
    header = read_header(path)
    tensor = next(each for each in header.tensors if each.name == "output_norm.weight")
    with path.open("r+b") as file:
        file.seek(header.data_offset + tensor.offset)
        file.write(struct.pack("<f", math.inf) * (tensor.nbytes // 4))
    done = ran(path)
    assert done.returncode == -signal.SIGABRT and b"an evaluation overflows" in done.stderr
    with pytest.raises(BadModelFile, match="an evaluation overflows"):
        load_check.check_in_subprocess(path, path.stat().st_size, gpu_layers=0, stop=lambda: None)
