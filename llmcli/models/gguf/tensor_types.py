"""The types of tensors in a GGUF file, and the names of its quantizations.

Sources: ``ggml_type`` and the block structures of ggml (ggml.h, ggml-common.h); ``llama_ftype`` of llama.h.
"""

from __future__ import annotations

import re

# number: (name, elements in a block, bytes of a block)
TENSOR_TYPES: dict[int, tuple[str, int, int]] = {
    0: ("F32", 1, 4),
    1: ("F16", 1, 2),
    2: ("Q4_0", 32, 18),
    3: ("Q4_1", 32, 20),
    6: ("Q5_0", 32, 22),
    7: ("Q5_1", 32, 24),
    8: ("Q8_0", 32, 34),
    9: ("Q8_1", 32, 40),
    10: ("Q2_K", 256, 84),
    11: ("Q3_K", 256, 110),
    12: ("Q4_K", 256, 144),
    13: ("Q5_K", 256, 176),
    14: ("Q6_K", 256, 210),
    15: ("Q8_K", 256, 292),
    16: ("IQ2_XXS", 256, 66),
    17: ("IQ2_XS", 256, 74),
    18: ("IQ3_XXS", 256, 98),
    19: ("IQ1_S", 256, 50),
    20: ("IQ4_NL", 32, 18),
    21: ("IQ3_S", 256, 110),
    22: ("IQ2_S", 256, 82),
    23: ("IQ4_XS", 256, 136),
    24: ("I8", 1, 1),
    25: ("I16", 1, 2),
    26: ("I32", 1, 4),
    27: ("I64", 1, 8),
    28: ("F64", 1, 8),
    29: ("IQ1_M", 256, 56),
    30: ("BF16", 1, 2),
    34: ("TQ1_0", 256, 54),
    35: ("TQ2_0", 256, 66),
    39: ("MXFP4", 32, 17),
    40: ("NVFP4", 64, 36),
    41: ("Q1_0", 128, 18),
    42: ("Q2_0", 64, 18),
}

BITS_PER_ELEMENT: dict[str, float] = {name: 8 * size / block for name, block, size in TENSOR_TYPES.values()}

# general.file_type: what most of the tensors are
FILE_TYPES: dict[int, str] = {
    0: "F32",
    1: "F16",
    2: "Q4_0",
    3: "Q4_1",
    7: "Q8_0",
    8: "Q5_0",
    9: "Q5_1",
    10: "Q2_K",
    11: "Q3_K_S",
    12: "Q3_K_M",
    13: "Q3_K_L",
    14: "Q4_K_S",
    15: "Q4_K_M",
    16: "Q5_K_S",
    17: "Q5_K_M",
    18: "Q6_K",
    19: "IQ2_XXS",
    20: "IQ2_XS",
    21: "Q2_K_S",
    22: "IQ3_XS",
    23: "IQ3_XXS",
    24: "IQ1_S",
    25: "IQ4_NL",
    26: "IQ3_S",
    27: "IQ3_M",
    28: "IQ2_S",
    29: "IQ2_M",
    30: "IQ4_XS",
    31: "IQ1_M",
    32: "BF16",
    36: "TQ1_0",
    37: "TQ2_0",
    38: "MXFP4",
    39: "NVFP4",
    40: "Q1_0",
    41: "Q2_0",
}
_NOT_MADE = frozenset({"NVFP4"})  # llama.cpp reads these files, and does not make them
_OTHER_NAMES = {"MXFP4": "mxfp4_moe"}
_ALIASES = {"q3_k": "q3_k_m", "q4_k": "q4_k_m", "q5_k": "q5_k_m"}

QUANTIZATIONS: dict[str, int] = {
    _OTHER_NAMES.get(label, label.lower()): number for number, label in FILE_TYPES.items() if label not in _NOT_MADE
}
"""The types of files that llama.cpp's quantizer makes, by its own names for them: numbers of ``llama_ftype``."""


def find_quantization(name: str) -> str | None:
    """Return the key of ``QUANTIZATIONS`` for a name in any case, which may be an alias of llama-quantize; or None."""
    name = _ALIASES.get(name.lower(), name.lower())
    return name if name in QUANTIZATIONS else None


def nominal_bits(label: str) -> float | None:
    """Return the bits of a weight for a quantization's label ("Q4_K_M": 4.5), or None if unknown."""
    plain = re.sub("^FP", "F", label.upper().removeprefix("UD-"))
    known = [name for name in BITS_PER_ELEMENT if plain.startswith(name)]
    if known:
        return BITS_PER_ELEMENT[max(known, key=len)]
    digit = re.match(r"[IT]?Q(\d)", plain)
    return float(digit.group(1)) if digit else None
