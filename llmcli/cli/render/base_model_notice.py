"""The notice about a base model: in its details, after its download, and at its first use."""

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

BASE_MODEL_MEANING = "it continues text and does not follow instructions"
_EVIDENCE_TEXT = {
    BaseModelEvidence.NO_TEMPLATE: "the file has no chat template",
    BaseModelEvidence.BASE_NAME: "its name says so",
    BaseModelEvidence.UNTUNED_FAMILY_NAME: "the instruction-tuned models of its family have it in their names",
}


def find_base_evidence(model: ModelFile, header: Header) -> BaseModelEvidence | None:
    """Return why a model counts as a base model, None for any other."""
    return base_evidence(header, Path(model.name).name, model.repo, model.file and Path(model.file).name)


def explain_base_model(console: Console, models: ModelLibrary, model: ModelFile) -> None:
    """Explain base models on a terminal; nothing for other models and for a bad file."""
    if not _should_explain(console):
        return
    try:
        found = find_base_evidence(model, read_header(model.path))
    except (BadModelFile, MissingError):  # using the model reports it
        return
    if found is not None:
        text = f"{model.name} is a base model: {BASE_MODEL_MEANING} ({_EVIDENCE_TEXT[found]})"
        advice = "For answers, choose one with instruct, it or chat in its name: llm models recommend"
        console.write_message(f"llm: {sanitize.single_line(text)}\n{advice}")
        models.mark_introduced(model)


def explain_base_model_once(console: Console, models: ModelLibrary, model: ModelFile) -> None:
    """Call ``explain_base_model`` at the first use of a model on a terminal."""
    if _should_explain(console) and models.mark_introduced(model):
        explain_base_model(console, models, model)


def _should_explain(console: Console) -> bool:
    """Whether a person reads standard error, without -q and --json."""
    return not (console.quiet or console.as_json) and console.stderr_is_terminal
