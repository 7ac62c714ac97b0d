"""Checks that a library of llama.cpp is the one that the binding declares, and that it computes right here.

As a program (``python -m llmcli.engine.abi_check DIRECTORY``) it is the child of ``llama.library_check``, and writes
what it found as JSON. It compares which functions exist, the defaults in each struct of parameters at the offsets that
the binding declares, and the size of these structs. Then it evaluates four tiny models (see ``tests/check_models.py``)
with the code that evaluates every other model, and compares their logits with those of a compiled library. Those of 13
variants for x86-64 differ by .05 at most; a wrong kernel, offset or state changes them by more than 1.
"""

from __future__ import annotations

import ctypes
import itertools
import json
import math
import os
import platform
import re
import resource
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from llmcli.engine.llama import bindings, hardware
from llmcli.engine.llama.context import DECODE_DONE, Context, ContextConfig
from llmcli.engine.llama.model import Model
from llmcli.engine.llama.threads import ThreadPolicy
from llmcli.engine.sampling.sampler import Sampler
from llmcli.engine.text.tokenizer import Tokenizer
from llmcli.engine_library import EngineLibrary, library_in
from llmcli.errors import LlmError
from llmcli.types import Sampling

CHECK_DATA = Path(__file__).parent / "check_data"
LOGIT_TOLERANCE = 0.25
"""GPUs round more than processors do."""
COMPARED_LOGITS = 32
"""Logits of a position that are compared, of the first tokens."""
_TIMEOUT_S = 120
_PROMPT_LENGTHS = (40, 24)
"""Tokens of two sequences that are evaluated at once; the first is longer than the window of the model with one."""
_STEPS = 3
_TEXT = "hello world, yes or no?"


def evaluate_model(path: Path) -> list[list[float]]:
    """Return logits of a model after two prompts at once, after tokens one by one, and after a restored state."""
    model = Model(path, gpu_layers=None, keep_going=lambda: True)
    config = ContextConfig(cells=256, sequences=4, batch=64, threads=ThreadPolicy(2, fixed=True))
    context = Context(model, config, lambda: False)
    try:
        return list(_evaluate_positions(context))
    finally:
        context.close()
        model.close()


def _evaluate_positions(context: Context) -> Iterator[list[float]]:
    lengths = list(_PROMPT_LENGTHS)
    prompts = [(_tokens(context.model, length, salt), 0, salt) for salt, length in enumerate(lengths)]
    yield from _evaluate(context, *prompts)
    for step in range(_STEPS):
        one = [(_tokens(context.model, 1, step + salt), length + step, salt) for salt, length in enumerate(lengths)]
        yield from _evaluate(context, *one)
    restored = len(lengths)
    if not context.restore_state(restored, context.save_state(0)):
        raise ArithmeticError("a saved state cannot be restored")
    yield from _evaluate(context, ([1], lengths[0] + _STEPS, 0), ([1], lengths[0] + _STEPS, restored))


def _tokens(model: Model, count: int, salt: int) -> list[int]:
    return [(7 * position * position + 5 * position + 11 * salt + 3) % model.vocab_size for position in range(count)]


def _evaluate(context: Context, *pieces: tuple[list[int], int, int]) -> Iterator[list[float]]:
    """Evaluate (tokens, position, sequence) in one batch; yield the first logits after each piece."""
    context.batch.clear()
    last = [context.batch.add(tokens, at, to, [len(tokens) - 1]) + len(tokens) - 1 for tokens, at, to in pieces]
    if context.evaluate(abortable=True) != DECODE_DONE:
        raise ArithmeticError("the models of the check cannot be evaluated")
    for index in last:
        logits = bindings.lib().llama_get_logits_ith(context.handle, index)
        yield bindings.float_array(logits, (COMPARED_LOGITS,)).tolist()


def find_problem(module: Any) -> str:
    """Return why the loaded library must not be used, "" if it may be."""
    checks = (_missing_functions(module), _struct_problems(module), _vocabulary_problems(), _logit_problems())
    return next(itertools.chain.from_iterable(checks), "")  # each only after those before it: others might crash


def load_declarations() -> Any:
    """Return the ``functions`` of the library that llm calls, and the ``defaults`` in the structs of parameters."""
    return json.loads((CHECK_DATA / "declarations.json").read_bytes())


def _missing_functions(module: Any) -> Iterator[str]:
    missing = [name for name in load_declarations()["functions"] if not hasattr(module._lib, name)]  # noqa: SLF001 (the functions of the library itself)
    if missing:
        yield f"it lacks functions: {', '.join(missing[:3])}{', ...' if missing[3:] else ''}"


def _struct_problems(module: Any) -> Iterator[str]:
    for function, expected in load_declarations()["defaults"].items():
        params = getattr(module, function)()
        for name, _ in params._fields_:
            value = number_of(getattr(params, name))
            if name not in expected or value != expected[name]:
                yield f"{function}: {name} is {value}, not {expected.get(name, 'declared')}: it is of another version"
                return
        size = ctypes.sizeof(params)
        written = _written_bytes(module._lib, function, size)  # noqa: SLF001 (as above)
        if written > size:
            yield f"{function} writes {written} bytes instead of {size}: it is of another version"


def number_of(value: Any) -> float:
    """Return a default as a number: a pointer or callback that is not set is 0, and one that is set is not a number."""
    if value is None or isinstance(value, int | float):
        return value or 0
    return math.nan if bool(value) else 0


_SENTINELS = 0xA5, 0x5A
"""Values of the bytes of a buffer before the library writes a struct into it."""
_BUFFER_BYTES = 1024
_MAX_RETURNED_BYTES = 16
"""By the System V convention for x86-64, a larger struct is written to the address in the first argument."""


def _written_bytes(library: Any, function: str, size: int) -> int:
    """Return how many bytes the library writes for a struct of ``size``; 0 where the convention does not show it."""
    if platform.machine() not in {"x86_64", "AMD64"} or size <= _MAX_RETURNED_BYTES:
        return 0
    written = 0
    for sentinel in _SENTINELS:  # a byte may have the value of one of them
        buffer = (ctypes.c_uint8 * _BUFFER_BYTES)(*[sentinel] * _BUFFER_BYTES)
        write = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p)((function, library))
        write(ctypes.addressof(buffer))
        written = max(written, *(index + 1 for index, byte in enumerate(buffer) if byte != sentinel))
    return written


def _vocabulary_problems() -> Iterator[str]:
    """Yield what is wrong with tokens and sampling, by the model that has a vocabulary."""
    model = Model(CHECK_DATA / "llama.gguf", gpu_layers=0, keep_going=lambda: True)
    tokens = Tokenizer(model).encode(_TEXT)
    text = b"".join(model.token_pieces(tokens)).decode("utf-8", "replace")
    if text != _TEXT:
        yield f"the tokens of {_TEXT!r} are those of {text!r}"
    context = Context(model, ContextConfig(cells=256, sequences=2, batch=64, threads=ThreadPolicy(1)), lambda: False)
    last = context.batch.add(tokens, 0, 0, [len(tokens) - 1]) + len(tokens) - 1
    context.evaluate(abortable=False)
    for sampling in (Sampling(temperature=0), Sampling(temperature=1.0, top_k=1, seed=1)):
        sampler = Sampler(model, sampling)
        logits = bindings.float_array(bindings.lib().llama_get_logits_ith(context.handle, last), (model.vocab_size,))
        if sampler.sample(context.handle, last) != int(logits.argmax()):
            yield "its samplers do not choose the most likely token"
        sampler.close()
    context.close()
    model.close()


def _logit_problems() -> Iterator[str]:
    expected = json.loads((CHECK_DATA / "logits.json").read_bytes())
    for name, rows in expected.items():
        error = largest_error(evaluate_model(CHECK_DATA / f"{name}.gguf"), rows)
        if not error <= LOGIT_TOLERANCE:  # not a number: neither more nor less
            yield f"its logits of the model {name} are off by {error:.3g}"


def largest_error(rows: list[list[float]], expected: list[list[float]]) -> float:
    """Return the largest difference between logits; not a number if one is none."""
    errors = [abs(a - b) for row, right in zip(rows, expected, strict=True) for a, b in zip(row, right, strict=True)]
    return math.nan if any(map(math.isnan, errors)) else max(errors)


def loaded_backends(library: EngineLibrary) -> list[str]:
    """Return the names of the files of backends that this process has loaded."""
    if sys.platform == "linux":
        images = Path("/proc/self/maps").read_text("utf-8", "replace").splitlines()
    else:
        dyld: Any = ctypes.CDLL(None)
        name_of = dyld._dyld_get_image_name  # noqa: SLF001 (dyld(3))
        name_of.restype = ctypes.c_char_p
        images = [os.fsdecode(name_of(index)) for index in range(dyld._dyld_image_count())]  # noqa: SLF001 (dyld(3))
    loaded = {_library_name(image) for image in images}
    return [path.name for path in library.files if _library_name(path.name) in loaded and _is_backend(path)]


def _library_name(path: str) -> str:
    """Return the name of a file without its version: "libggml-cpu" for libggml-cpu.so.0."""
    return re.split(r"\.(?:so|dylib)\b", path.rpartition("/")[2])[0]


def _is_backend(path: Path) -> bool:
    return not path.name.startswith(("libggml-base.", "libggml.", "libllama", "libmtmd"))


def variant_of(backends: list[str]) -> str:
    """Return the processors for which the CPU backend among files was built, "" if it was built for all."""
    for name in backends:
        if name.startswith("libggml-cpu-"):
            return name.removeprefix("libggml-cpu-").rpartition(".")[0]
    return ""


def check_library(library: EngineLibrary) -> dict[str, Any]:
    """Load a library in this process and return what is found, or ``reason`` if it must not be used."""
    module = bindings.load_unchecked(library)
    if not module._lib.ggml_backend_dev_count():  # noqa: SLF001 (the binding does not declare it)
        return {"reason": "none of its backends runs on this processor"}
    problem = find_problem(module)
    if problem:
        return {"reason": problem}
    backends = loaded_backends(library)
    devices = [gpu.name for gpu in hardware.list_gpus()]
    return {"backends": backends, "variant": variant_of(backends), "devices": devices}


def _main(directory: str) -> None:
    signal.alarm(_TIMEOUT_S)  # in case the parent is gone
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    bindings.on_abort = lambda message: _write(2, message)
    try:
        found = check_library(library_in(Path(directory)))
    except (LlmError, ArithmeticError) as error:
        found = {"reason": getattr(error, "detail", "") or str(error)}
    _write(1, json.dumps(found))
    os._exit(0)


def _write(descriptor: int, line: str) -> None:
    os.write(descriptor, f"{line}\n".encode())


if __name__ == "__main__":
    _main(*sys.argv[1:])
