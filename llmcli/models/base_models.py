"""Telling base models, which continue a text, from those that were trained to follow instructions.

No key of a GGUF header says which kind a model is, so these rules apply, in this order:

1. Models that generate no text (embeddings, encoders) are neither.
2. A model with a name that says that it was tuned for instructions or chats is no base model. Names are general.name,
   general.basename and general.finetune of the header, the repository, the file, and the model's name on this machine.
3. A base model is one without a chat template, since the engine can then give it only the text;
4. one whose general.finetune says base, pt or pretrained, or whose name ends so, whatever template it has;
5. one of a family whose tuned models always say so in their names (Gemma: it; Qwen 1.5, 2 and 2.5: Instruct or Chat),
   when general.finetune is not given: quantizers add a template to base models of Gemma, and those of Qwen have one.

Anything else (Qwen3-1.7B has a template but no word for its tuning) counts as tuned: no warning is better than a false
one.
"""

from __future__ import annotations

import re
from enum import Enum, auto

from llmcli.models.gguf.header import Header

_WORD = re.compile(r"[a-z0-9]+")
_TUNED_WORDS = frozenset({
    *("instruct", "instruction", "instructions", "inst", "it", "chat", "assistant", "sft", "dpo", "rlhf", "orpo"),
    *("thinking", "reasoning", "distill"),
})  # fmt: skip
_BASE_WORDS = frozenset({"base", "pt", "pretrained", "pretrain"})
_FAMILIES_THAT_NAME_TUNING = re.compile(r"gemma(?:[-_ ]?\d|$)|qwen[-_ ]?(?:1\.5|2)(?:\D|$)")


class BaseModelEvidence(Enum):
    """Why a model counts as a base model."""

    NO_TEMPLATE = auto()
    BASE_NAME = auto()
    UNTUNED_FAMILY_NAME = auto()


def base_evidence(header: Header, *names: str | None) -> BaseModelEvidence | None:
    """Return why the model with this header, also known by ``names``, is a base model; None for any other."""
    if not _generates_text(header):
        return None
    title, basename, finetune = (_general_text(header, key) for key in ("name", "basename", "finetune"))
    known = [title, basename, finetune, *(name.lower() for name in names if name)]
    if any(_TUNED_WORDS & {*_WORD.findall(name)} for name in known):
        return None
    if header.chat_template is None:
        return BaseModelEvidence.NO_TEMPLATE
    last = _WORD.findall(title)[-1:]
    if _BASE_WORDS & {*_WORD.findall(finetune), *last}:
        return BaseModelEvidence.BASE_NAME
    if not finetune and any(map(_FAMILIES_THAT_NAME_TUNING.match, (title, basename))):
        return BaseModelEvidence.UNTUNED_FAMILY_NAME
    return None


def _generates_text(header: Header) -> bool:
    """Whether the model generates text: its attention is causal, and it has no pooling."""
    causal = header.metadata.get(f"{header.architecture}.attention.causal", True)
    return bool(causal) and not header.arch_integer("pooling_type")  # 0: no pooling


def _general_text(header: Header, key: str) -> str:
    value = header.metadata.get(f"general.{key}")
    return value.lower() if isinstance(value, str) else ""
