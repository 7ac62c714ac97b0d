"""``llm worker``."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any

from llmcli.cli.command_context import CommandContext
from llmcli.cli.command_registry import CommandArea
from llmcli.cli.groups import CommandGroup
from llmcli.cli.options import GENERAL_OPTIONS, command
from llmcli.cli.parsing.parameters import Argument, Option
from llmcli.errors import MissingError, TemporaryFailure, UsageError
from llmcli.types import Phase

_COLUMNS = (
    *("pid", "model", "memory", "uptime", "requests", "active", "tokens_per_second", "idle_seconds", "path", "socket"),
    "adapters",
)
_NOT_ANSWERING = "(does not answer)"
WorkersArgument = Annotated[
    list[str] | None,
    Argument(metavar="[WORKER]...", help="Model or pid; none: all.", autocompletion="workers"),
]


@command(*GENERAL_OPTIONS, examples="llm worker list\nllm worker list --json | jq .memory")
def show_list(ctx: CommandContext) -> int:
    """List the running workers: model, memory, work done, idle time.

    In a pipe, tab-separated: pid, model, memory, uptime, requests, active, tokens per second, idle seconds, path,
    socket, LoRA adapters. For a worker that does not answer, only pid and socket are shown; llm worker stop ends it
    too.
    """
    from llmcli.cli.console.messages import message_text

    rows = [_worker_row(status) for status in _list_statuses(ctx)]
    if not ctx.console.as_json:
        rows = [row | {"adapters": _format_adapters(row)} for row in rows]
    if ctx.console.writes_for_people:
        rows = [_worker_row_for_terminal(row, message_text.format_bytes) for row in rows]
        if not rows:
            ctx.console.write_stdout("No workers.\n")
    ctx.console.write_table(rows)
    return 0


@command(*GENERAL_OPTIONS, examples="llm worker stop --all\nllm worker stop qwen3-1.7b")
def stop(
    ctx: CommandContext,
    which: WorkersArgument = None,
    idle: Annotated[bool, Option("--idle", help="Only idle workers.")] = False,
    everything: Annotated[bool, Option("--all", help="All workers, as without a name.")] = False,
) -> int:
    """Stop workers; running answers get some seconds to finish."""
    if everything and which:
        raise UsageError(
            f"--all and {which[0]} exclude each other", detail="Name the workers to stop, or none for all."
        )
    _stop_workers(ctx, which, only_idle=idle)
    return 0


@command(*GENERAL_OPTIONS, examples="llm worker restart\nllm worker restart qwen3-1.7b")
def restart(ctx: CommandContext, which: WorkersArgument = None) -> int:
    """Stop workers and start them again, with the current settings and version, and with the same LoRA adapters."""
    from llmcli.runtime import backend_factory

    for name, *adapters in dict.fromkeys(_stop_workers(ctx, which)):
        model = ctx.runtime.models.ensure_verified(name, ctx.runtime.interrupt)
        model = ctx.runtime.add_adapters(model, adapters)
        backend_factory.start_worker(ctx.runtime.config, ctx.runtime.models, model)
    return 0


@command(*GENERAL_OPTIONS, examples="llm worker log\nllm worker log qwen3-1.7b | tail")
def log(ctx: CommandContext, which: WorkersArgument = None) -> int:
    """Print the logs of running and ended workers: starts, ends and crashes, but no prompts or answers."""
    for path in _select_logs(ctx, which):
        try:
            text = path.read_text(encoding="utf-8", errors="replace")
        except OSError as error:
            raise MissingError(str(path), kind="input", detail=error.strerror or "") from error
        if ctx.console.as_json:
            ctx.console.write_table([{"log": str(path), "line": line} for line in text.splitlines()])
        else:
            ctx.console.write_stdout(text)
    return 0


def _select_logs(ctx: CommandContext, which: list[str] | None) -> list[Path]:
    """Return the logs that the words name by model or pid, the newest last; without words, all.

    Raises ``MissingError``.
    """
    from llmcli.models.files.paths import list_directory
    from llmcli.runtime import backend_factory

    there = [path for path in list_directory(backend_factory.log_directory(ctx.runtime.paths)) if path.suffix == ".log"]
    there.sort(key=lambda path: path.stat().st_mtime)
    chosen = list(there) if not which else []
    for word in which or ():
        names = {
            backend_factory.log_file(ctx.runtime.paths, word).stem,
            backend_factory.log_file(ctx.runtime.paths, str(Path(word).absolute())).stem,
        }
        named = [path for path in there if path.stem.removesuffix(".old") in names or _log_mentions_pid(path, word)]
        if not named:
            raise MissingError(word, kind="worker", suggestions=[path.stem for path in there])
        chosen += [path for path in named if path not in chosen]
    return chosen


def _log_mentions_pid(log: Path, pid: str) -> bool:
    return pid.isdigit() and f" {pid} starts: " in log.read_text(encoding="utf-8", errors="replace")


def _list_statuses(ctx: CommandContext) -> list[dict[str, Any]]:
    from llmcli.worker import runtime_dir
    from llmcli.worker.client import worker_status

    return worker_status.list_statuses(runtime_dir.find_runtime_dir(ctx.runtime.environ))


def _select_workers(ctx: CommandContext, which: list[str] | None) -> list[dict[str, Any]]:
    """Return the workers that the words name; without words, all. Raises ``MissingError``."""
    running = _list_statuses(ctx)
    chosen: list[dict[str, Any]] = []
    for word in which or ():
        named = [status for status in running if word in {status.get("model"), str(status["pid"])}]
        if not named:
            names = [str(status.get("model", status["pid"])) for status in running]
            raise MissingError(word, kind="worker", suggestions=names)
        chosen += [status for status in named if status not in chosen]
    return chosen if which else running


def _stop_workers(ctx: CommandContext, which: list[str] | None, *, only_idle: bool = False) -> list[tuple[str, ...]]:
    """Stop workers and report it; returns the name of each one's model and its adapters, as ``FILE:SCALE``.

    Raises ``TemporaryFailure`` if one keeps running.
    """
    from llmcli.worker import runtime_dir
    from llmcli.worker.client import worker_status

    directory = runtime_dir.find_runtime_dir(ctx.runtime.environ)
    ended, rows = [], []
    for status in _select_workers(ctx, which):
        with ctx.console.status_line.waiting(Phase.STOPPING, f"the worker {status['pid']}"):
            stopped = worker_status.stop_worker(
                runtime_dir.WorkerPaths(directory, status["key"]),
                only_idle=only_idle,
                check=ctx.runtime.interrupt.check,
            )
        if stopped:
            adapters = [f"{each['path']}:{each['scale']!r}" for each in status.get("adapters", ())]
            ended += [(status["model"], *adapters)] if "model" in status else []
            rows.append({"pid": status["pid"], "model": status.get("model")})
        elif not only_idle:
            raise TemporaryFailure(f"the worker {status['pid']}", detail="it keeps running")
    if ctx.console.as_json:
        ctx.console.write_table(rows)
    for row in rows:
        of = f"of {row['model']}" if row["model"] else "that did not answer"
        ctx.console.explain(f"stopped the worker {row['pid']} {of}")
    return ended


def _worker_row(status: dict[str, Any]) -> dict[str, Any]:
    """Return the row of a worker; one that does not answer has only pid and socket."""
    if "model" not in status:
        return dict.fromkeys(_COLUMNS) | {"pid": status["pid"], "model": _NOT_ANSWERING, "socket": status["socket"]}
    return {
        "pid": status["pid"],
        "model": status["model"],
        "memory": status["memory"],
        "uptime": round(time.time() - status["started"], 1),
        "requests": status["requests"],
        "active": status["active"],
        "tokens_per_second": status["tokens_per_second"] and round(status["tokens_per_second"], 1),
        "idle_seconds": round(status["idle_seconds"], 1),
        "path": status["path"],
        "socket": status["socket"],
        "adapters": status.get("adapters", []),  # a worker of an earlier version has none
    }


def _format_adapters(row: dict[str, Any]) -> str:
    return ", ".join(f"{each['path']}:{each['scale']:g}" for each in row["adapters"] or ())


def _worker_row_for_terminal(row: dict[str, Any], size: Any) -> dict[str, Any]:
    return {
        "pid": row["pid"],
        "model": row["model"] + (f" + {row['adapters']}" if row["adapters"] else ""),
        "memory": size(row["memory"]) if row["memory"] is not None else "",
        "uptime": _format_uptime(row["uptime"]) if row["uptime"] is not None else "",
        "requests": row["requests"],
        "tok/s": row["tokens_per_second"],
        "idle": ""
        if row["uptime"] is None
        else f"{row['active']} active"
        if row["active"]
        else _format_uptime(row["idle_seconds"]),
    }


def _format_uptime(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes:02d}m" if hours else f"{minutes}m{rest:02d}s" if minutes else f"{rest}s"


worker = CommandGroup(
    "List, stop and restart the processes that keep models loaded.",
    {"list": show_list, "stop": stop, "restart": restart, "log": log},
    area=CommandArea.MODELS,
    listed=False,
)
