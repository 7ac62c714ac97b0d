"""The work and the output of ``llm models verify``, ``prune`` and ``import``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from llmcli.cli.command_context import CommandContext
from llmcli.cli.commands.models import model_rows
from llmcli.cli.console import confirm, sanitize, suggestion
from llmcli.cli.console.messages import message_text
from llmcli.cli.render import base_model_notice
from llmcli.cli.reporter import Reporter
from llmcli.errors import BadModelFile, DamagedModel, LlmError, MissingError, UnavailableError
from llmcli.fast_dataclass import replace
from llmcli.models.files.paths import HUB_CACHE_VARIABLES
from llmcli.models.library.derived_weights import DerivedCopy
from llmcli.models.library.foreign_stores import find_foreign_models, get_foreign_model
from llmcli.models.library.model_library import ModelFile
from llmcli.models.library.prune import PruneCandidate
from llmcli.runtime import hardware_fit
from llmcli.settings import DATA_DIR_VARIABLE

LOCATION_VARIABLES = (*HUB_CACHE_VARIABLES, DATA_DIR_VARIABLE)
"""The variables that name the directories of models."""


def nothing_to_remove(name: str) -> UnavailableError:
    """Return the error of ``llm models rm`` for a model that is not here."""
    return UnavailableError(
        name,
        message="the model {subject} is not on this machine",
        advice="Try: llm models list",
        type_name="NothingToRemove",
    )


def verify_models(ctx: CommandContext, models: Sequence[ModelFile], *, all_copies: bool) -> int:
    """Hash ``models`` and their copies in other types, and show the outcomes; return the first failure's exit code.

    ``all_copies``: also the copies of other models, which were named by their path.
    """
    code = 0
    copies = ctx.runtime.models.derived_weights.list_copies()
    for model in {model.path: model for model in models}.values():
        try:
            row = _verified_row(
                ctx.runtime.observer.show_model_events(ctx.runtime.models.verify(model, ctx.runtime.interrupt))
            )
        except (BadModelFile, DamagedModel, MissingError) as error:
            code = code or error.exit_code
            row = _failed_row(model, error)
            ctx.console.write_error(error, name=model.name)
        _show_verification(ctx, model, row)
        damaged = _verify_copies(ctx, model, [each for each in copies if each.key.source == model.weights_sha256])
        code = code or damaged
    known = {model.weights_sha256 for model in models}
    for copy in copies if all_copies else ():
        if copy.key.source not in known:
            damaged = _verify_copies(ctx, ModelFile(copy.model, copy.path, copy.size), [copy])
            code = code or damaged
    return code


def _verify_copies(ctx: CommandContext, model: ModelFile, copies: Sequence[DerivedCopy]) -> int:
    """Hash copies of a model in other types again, and show the outcomes; a damaged one is removed."""
    code = 0
    for row in _verify_each_copy(ctx, model, copies):
        code = code if row["ok"] else DamagedModel.exit_code
        _show_verification(ctx, model, row)
    return code


def _verify_each_copy(ctx: CommandContext, model: ModelFile, copies: Sequence[DerivedCopy]) -> Iterator[dict[str, Any]]:
    store = ctx.runtime.models.derived_weights
    for copy in copies:
        reporter, steps = Reporter(ctx.console), store.verify(copy, ctx.runtime.interrupt)
        try:
            while True:
                reporter.show_progress(next(steps))
        except StopIteration as end:
            intact = bool(end.value)
        finally:
            reporter.close()
        described = replace(model, name=f"{model.name} ({copy.key.weights})", path=copy.path, sha256=copy.sha256)
        yield _verification_row(described, "unchanged" if intact else "damaged, removed", ok=intact, repair=None)


def _show_verification(ctx: CommandContext, model: ModelFile, row: dict[str, Any]) -> None:
    """Show the outcome for a model, or for a copy of it."""
    if ctx.console.writes_for_people:
        compared = "unchanged, " if row["verification"] == "not announced" and model.sha256 else ""
        ctx.console.write_stdout(sanitize.single_line(f"{row['name']}: {compared}{row['verification']}") + "\n")
    elif ctx.console.as_json:
        ctx.console.write_table([row])
    else:
        ctx.console.write_table([{key: value for key, value in row.items() if key != "ok"}])


def _verified_row(model: ModelFile) -> dict[str, Any]:
    return _verification_row(model, model_rows.verification_state(model), ok=True, repair=None)


def _failed_row(model: ModelFile, error: LlmError) -> dict[str, Any]:
    repair = None
    if isinstance(error, DamagedModel):
        repair = error.repair or suggestion.format_command("models", "pull", error.subject)
    if model.incomplete and model.repo is not None:
        repair = suggestion.format_command("models", "pull", model.name)
    state = "damaged"
    if isinstance(error, MissingError):
        state = "not readable" if error.kind == "place" else "incomplete" if model.incomplete else "missing"
    return _verification_row(model, state, ok=False, repair=repair)


def _verification_row(model: ModelFile, state: str, *, ok: bool, repair: str | None) -> dict[str, Any]:
    return {
        "name": model.name,
        "verification": state,
        "sha256": model.sha256,
        "path": str(model.path),
        "repair": repair,
        "ok": ok,
    }


def prune_files(ctx: CommandContext, *, yes: bool, dry_run: bool) -> int:
    """Show and remove unused files; returns the exit code, 1 where the user declined."""
    found = ctx.runtime.models.remover.find_prune_candidates()
    people = ctx.console.writes_for_people
    for waste in found if people else ():  # in full, since the end of a path matters most
        ctx.console.write_stdout(
            sanitize.single_line(f"{message_text.format_bytes(waste.size):>10}  {waste.description}  {waste.path}")
            + "\n"
        )
    if not dry_run:
        if found and not yes:
            question = f"Remove {_count_files(found)} ({message_text.format_bytes(sum(waste.size for waste in found))})"
            if not confirm.require_confirmation(
                ctx.console, question, ("models", "prune", "--yes"), LOCATION_VARIABLES
            ):
                return 1
        found = ctx.runtime.models.remover.prune(found)
    if not people:
        ctx.console.write_table([_candidate_row(waste) for waste in found])
    freed = f"{message_text.format_bytes(sum(waste.size for waste in found))} in {_count_files(found)}"
    told = f"{'Would free' if dry_run else 'Freed'} {freed}." if found else "Nothing to remove."
    if people:
        ctx.console.write_stdout(f"{told}\n")
    else:
        ctx.console.explain(told)
    return 0


def _candidate_row(waste: PruneCandidate) -> dict[str, Any]:
    return {"path": str(waste.path), "size": waste.size, "what": waste.description}


def _count_files(found: Sequence[PruneCandidate]) -> str:
    return "1 file" if len(found) == 1 else f"{len(found)} files"


def import_model(ctx: CommandContext, path: Path, name: str) -> int:
    """Import the model at ``path`` and show the outcome."""
    model = ctx.runtime.observer.show_model_events(
        ctx.runtime.models.import_file(
            path, ctx.runtime.interrupt, name=name, unsupported_reason=hardware_fit.unsupported_reason
        )
    )
    report_local_model(ctx, model)
    return 0


def report_local_model(ctx: CommandContext, model: ModelFile) -> None:
    """Report that a model is on this machine now, and explain base models."""
    if ctx.console.as_json:
        ctx.console.write_record(model_rows.local_model_row(ctx.runtime.models, model))
    else:
        ctx.console.write_note(f"{model.name} is here: {model.path}")
    base_model_notice.explain_base_model(ctx.console, ctx.runtime.models, model)


def list_foreign_models(ctx: CommandContext, program: str) -> int:
    """Show the models of another program."""
    all_of_them = find_foreign_models(program, ctx.runtime.environ)
    for model in all_of_them:
        if model.missing_file is not None:
            Reporter(ctx.console).warn(f"{model.name} is skipped: {model.missing_file} is missing")
    found = [model for model in all_of_them if model.missing_file is None]
    if ctx.console.writes_for_people:
        ctx.console.write_table(
            [{"name": model.name, "size": message_text.format_bytes(model.size), "path": model.path} for model in found]
        )
    else:
        ctx.console.write_table([{"name": model.name, "size": model.size, "path": str(model.path)} for model in found])
    return 0


def import_foreign_model(ctx: CommandContext, program: str, wanted: str, name: str) -> int:
    """Import the model of another program that is called ``wanted`` there."""
    model = get_foreign_model(wanted, find_foreign_models(program, ctx.runtime.environ), program)
    if model.extra_layers:
        Reporter(ctx.console).warn(
            f"{model.name}: only the weights are taken, without its {' and '.join(model.extra_layers)}"
        )
    return import_model(ctx, model.path, name or model.import_name)
