"""Base models and instruction-tuned models are distinguished as far as a file allows."""

from __future__ import annotations

import pytest

from llmcli.models.base_models import BaseModelEvidence, base_evidence
from llmcli.models.gguf.header import Header
from llmcli.models.gguf.header_parser import read_header

TEMPLATE = {"tokenizer.chat_template": "{{ messages }}"}


def header(architecture="llama", template=True, **general):
    metadata = {"general.architecture": architecture, **(TEMPLATE if template else {})}
    metadata |= {f"general.{key}": value for key, value in general.items()}
    return Header(3, metadata, (), 0, 0)


@pytest.mark.parametrize(
    ("found", "names", "evidence"),
    [
        # without a template
        (header(template=False), (), BaseModelEvidence.NO_TEMPLATE),
        (header("gemma3", template=False, name="Gemma 3 270m", basename="gemma-3"), (), BaseModelEvidence.NO_TEMPLATE),
        (header(template=False, name="Llama 2 7b Chat"), (), None),
        (header(template=False), ("old-7b-instruct",), None),
        (header(template=False), ("mine", None, "model-7b-chat.Q4_K_M.gguf"), None),
        # with a template, by its name
        (header("qwen3", name="Qwen3 1.7B Base", finetune="Base"), (), BaseModelEvidence.BASE_NAME),
        (header("gemma3", name="Gemma 3 4b Pt", finetune="pt"), (), BaseModelEvidence.BASE_NAME),
        (header(name="SmolLM3 3B Base"), (), BaseModelEvidence.BASE_NAME),
        (header(name="Knowledge Base Helper 7B"), (), None),
        # with a template, by its family
        (header("gemma3", name="Gemma-3-270M", basename="Gemma-3-270M"), (), BaseModelEvidence.UNTUNED_FAMILY_NAME),
        (header("gemma3", name="Gemma 3 270m It", basename="gemma-3", finetune="it"), (), None),
        (header("gemma3", name="Gemma-3-270M"), ("gemma-3-270m-it-GGUF",), None),
        (header("gemma2", name="Gemma 2 9b Magnum", finetune="magnum"), (), None),
        (header("qwen2", name="Qwen2.5 0.5B", basename="Qwen2.5"), (), BaseModelEvidence.UNTUNED_FAMILY_NAME),
        (header("qwen2", name="Qwen2.5 7B Instruct 1M", finetune="Instruct-1M"), (), None),
        (header("qwen2", name="DeepSeek R1 Distill Qwen 7B", basename="DeepSeek-R1-Distill-Qwen"), (), None),
        # tuned, although nothing says so
        (header("qwen3", name="Qwen3 1.7B", basename="Qwen3"), (), None),
        (header(name="Smollm2 135M 8k Lc100K Mix1 Ep2", finetune="8k-lc100k-mix1-ep2"), ("smollm2-135m",), None),
        (header(), (), None),
    ],
)
def test_the_rule(found, names, evidence):
    """A file shows it by its template and its names; if it shows nothing, there is no warning."""
    assert base_evidence(found, *names) is evidence


@pytest.mark.parametrize(
    ("name", "evidence"), [("llama", BaseModelEvidence.NO_TEMPLATE), ("chatml", None), ("bert", None)]
)
def test_real_files(tiny, name, evidence):
    """An encoder has no template either, and is no base model."""
    assert base_evidence(read_header(tiny(name))) is evidence
