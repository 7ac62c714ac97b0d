"""What people are told about a base model: when it is shown, when it was fetched, and when they first use it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from llmcli.cli import sanitize, wording
from llmcli.errors import BadModelFile, MissingError
from llmcli.models.base_models import Evidence, base_evidence
from llmcli.models.gguf import Header, read_header

if TYPE_CHECKING:
    from llmcli.cli.context import Context
    from llmcli.models.library import ModelFile

MEANING = "it continues a text rather than follows instructions"
_WHY = {
    Evidence.NO_TEMPLATE: "the file has no chat template",
    Evidence.NAME: "its name says so",
    Evidence.FAMILY: "the models of its family that follow instructions say so in their names",
}


def evidence(model: ModelFile, header: Header) -> Evidence | None:
    """Return why a model is taken for a base model, None for any other."""
    return base_evidence(header, Path(model.name).name, model.repo, model.file and Path(model.file).name)


def tell(cli: Context, model: ModelFile) -> None:
    """Say on a terminal what a base model does; of other models, and of a bad file, nothing."""
    if not _wanted(cli):
        return
    try:
        found = evidence(model, read_header(model.path))
    except (BadModelFile, MissingError):  # whoever uses it is told
        return
    if found is not None:
        text = f"{model.name} is a base model: {MEANING} ({_WHY[found]})"
        advice = "For answers, take one whose name says instruct, it or chat: llm models recommend"
        wording.say(cli.world, f"llm: {sanitize.line(text)}\n{advice}")
        cli.models.introduce(model)


def introduce(cli: Context, model: ModelFile) -> None:
    """Do as ``tell`` at the first use of a model on a terminal."""
    if _wanted(cli) and cli.models.introduce(model):
        tell(cli, model)


def _wanted(cli: Context) -> bool:
    """Whether a person reads standard error, who has not asked for less or for JSON."""
    return not (cli.flags.quiet or cli.flags.json) and cli.world.terminal(cli.world.stderr)
