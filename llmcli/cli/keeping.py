"""What ``llm models verify``, ``prune`` and ``import`` do and show."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from llmcli.cli import asking, base_models, fitting, sanitize, shelf, suggestion, wording
from llmcli.cli.context import Context
from llmcli.errors import BadModelFile, DamagedModel, LlmError, MissingError
from llmcli.models.folders import find_foreign, named
from llmcli.models.library import ModelFile
from llmcli.models.paths import HUB_VARIABLES
from llmcli.models.waste import Waste
from llmcli.settings import DATA_DIR

VARIABLES = (*HUB_VARIABLES, DATA_DIR)
"""The variables that say where models lie."""


def _for_people(cli: Context) -> bool:
    return cli.world.terminal(cli.world.stdout) and not cli.flags.json


def verify(cli: Context, models: Sequence[ModelFile]) -> int:
    """Hash ``models`` and show what came of each; returns the exit code: that of the first that is not right."""
    code = 0
    for model in {model.path: model for model in models}.values():
        try:
            row = _verified(cli.last(cli.models.verify(model, cli.interrupt)))
        except (BadModelFile, DamagedModel, MissingError) as error:
            code = code or error.exit_code
            row = _failed(model, error)
            wording.show(error, cli.world, as_json=cli.flags.json, name=model.name)
        if _for_people(cli):
            compared = "unchanged, " if row["verification"] == "not announced" and model.sha256 else ""
            cli.write(sanitize.line(f"{row['name']}: {compared}{row['verification']}") + "\n")
        elif cli.flags.json:
            cli.table([row])
        else:
            cli.table([{key: value for key, value in row.items() if key != "ok"}])
    return code


def _verified(model: ModelFile) -> dict[str, Any]:
    return _row(model, shelf.verification(model), ok=True, repair=None)


def _failed(model: ModelFile, error: LlmError) -> dict[str, Any]:
    repair = None
    if isinstance(error, DamagedModel):
        repair = error.repair or suggestion.command("models", "pull", error.subject)
    if model.incomplete and model.repo is not None:
        repair = suggestion.command("models", "pull", model.name)
    state = "damaged"
    if isinstance(error, MissingError):
        state = "not readable" if error.kind == "place" else "incomplete" if model.incomplete else "missing"
    return _row(model, state, ok=False, repair=repair)


def _row(model: ModelFile, state: str, *, ok: bool, repair: str | None) -> dict[str, Any]:
    return {
        "name": model.name,
        "verification": state,
        "sha256": model.sha256,
        "path": str(model.path),
        "repair": repair,
        "ok": ok,
    }


def prune(cli: Context, *, yes: bool, dry_run: bool) -> int:
    """Show what nobody needs and remove it; returns the exit code, 1 where the user did not want it."""
    found = cli.models.waste()
    people = _for_people(cli)
    for waste in found if people else ():  # in full, since the end of a path says most
        cli.write(sanitize.line(f"{wording.size(waste.size):>10}  {waste.what}  {waste.path}") + "\n")
    if not dry_run:
        if found and not yes:
            question = f"Remove {_count(found)} ({wording.size(sum(waste.size for waste in found))})"
            if not asking.confirmed(cli, question, ("models", "prune", "--yes"), VARIABLES):
                return 1
        found = cli.models.prune(found)
    if not people:
        cli.table([_waste(waste) for waste in found])
    freed = f"{wording.size(sum(waste.size for waste in found))} in {_count(found)}"
    told = f"{'Would free' if dry_run else 'Freed'} {freed}." if found else "There is nothing to remove."
    if people:
        cli.write(f"{told}\n")
    else:
        cli.explain(told)
    return 0


def _waste(waste: Waste) -> dict[str, Any]:
    return {"path": str(waste.path), "size": waste.size, "what": waste.what}


def _count(found: Sequence[Waste]) -> str:
    return "1 file" if len(found) == 1 else f"{len(found)} files"


def take(cli: Context, path: Path, name: str) -> int:
    """Import the model at ``path`` and show what became of it."""
    model = cli.last(cli.models.import_file(path, cli.interrupt, name=name, obstacle=fitting.obstacle))
    if cli.flags.json:
        cli.facts(shelf.here(cli.models, model))
    elif cli.flags.verbose or (cli.world.terminal(cli.world.stderr) and not cli.flags.quiet):
        wording.say(cli.world, f"llm: {sanitize.line(f'{model.name} is here: {model.path}')}")
    base_models.tell(cli, model)
    return 0


def list_foreign(cli: Context, program: str) -> int:
    """Show the models of another program."""
    from llmcli.cli.reporter import Reporter

    all_of_them = find_foreign(program, cli.world.environ)
    for model in all_of_them:
        if model.lost is not None:
            Reporter(cli).notice(f"{model.name} is left out: {model.lost} is missing")
    found = [model for model in all_of_them if model.lost is None]
    if _for_people(cli):
        cli.table([{"name": model.name, "size": wording.size(model.size), "path": model.path} for model in found])
    else:
        cli.table([{"name": model.name, "size": model.size, "path": str(model.path)} for model in found])
    return 0


def take_foreign(cli: Context, program: str, wanted: str, name: str) -> int:
    """Import the model of another program that is called ``wanted`` there."""
    from llmcli.cli.reporter import Reporter

    model = named(wanted, find_foreign(program, cli.world.environ), program)
    if model.left_out:
        Reporter(cli).notice(f"{model.name}: only the weights are taken, without its {' and '.join(model.left_out)}")
    return take(cli, model.path, name or model.short)
