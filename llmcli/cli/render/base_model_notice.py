"""The notice about a base model: with its details, after its download, and at its first use."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from llmcli.cli.console import sanitize
from llmcli.errors import BadModelFile, MissingError
from llmcli.models.base_models import BaseModelEvidence, base_evidence
from llmcli.models.gguf.header import Header
from llmcli.models.gguf.header_parser import read_header

if TYPE_CHECKING:
    from llmcli.cli.console.console import Console
    from llmcli.models.library.model_library import ModelFile, ModelLibrary

BASE_MODEL_MEANING = "it continues a text rather than follows instructions"
_EVIDENCE_TEXT = {
    BaseModelEvidence.NO_TEMPLATE: "the file has no chat template",
    BaseModelEvidence.BASE_NAME: "its name says so",
    BaseModelEvidence.UNTUNED_FAMILY_NAME: "the models of its family that follow instructions say so in their names",
}


def find_base_evidence(model: ModelFile, header: Header) -> BaseModelEvidence | None:
    """Return why a model is taken for a base model, None for any other."""
    return base_evidence(header, Path(model.name).name, model.repo, model.file and Path(model.file).name)


def explain_base_model(console: Console, models: ModelLibrary, model: ModelFile) -> None:
    """Say on a terminal what a base model does; of other models, and of a bad file, nothing."""
    if not _should_explain(console):
        return
    try:
        found = find_base_evidence(model, read_header(model.path))
    except (BadModelFile, MissingError):  # using the model reports it
        return
    if found is not None:
        text = f"{model.name} is a base model: {BASE_MODEL_MEANING} ({_EVIDENCE_TEXT[found]})"
        advice = "For answers, take one whose name says instruct, it or chat: llm models recommend"
        console.write_stderr(f"llm: {sanitize.single_line(text)}\n{advice}")
        models.mark_introduced(model)


def explain_base_model_once(console: Console, models: ModelLibrary, model: ModelFile) -> None:
    """Call ``explain_base_model`` at the first use of a model on a terminal."""
    if _should_explain(console) and models.mark_introduced(model):
        explain_base_model(console, models, model)


def _should_explain(console: Console) -> bool:
    """Whether a person reads standard error, who has not asked for less or for JSON."""
    return not (console.quiet or console.as_json) and console.stderr_is_terminal
