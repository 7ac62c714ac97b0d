"""``llm worker``."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from llmcli.cli import completers
from llmcli.cli.context import Context
from llmcli.cli.groups import group
from llmcli.cli.options import GENERAL, command
from llmcli.errors import MissingError, TryAgain
from llmcli.types import Phase

if TYPE_CHECKING:
    from llmcli.worker.place import Place

_COLUMNS = (
    *("pid", "model", "memory", "uptime", "requests", "active", "tokens_per_second", "idle_seconds", "path", "socket"),
)
_SILENT = "(does not answer)"
Which = Annotated[
    list[str] | None,
    typer.Argument(metavar="[WORKER]...", help="Model or pid; none: all.", autocompletion=completers.workers),
]


@command(*GENERAL, examples="llm worker list\nllm worker list --json | jq .memory")
def show_list(cli: Context) -> int:
    """List the workers that run: the model of each, its memory, what it has done, how long it has been idle.

    In a pipe, tab-separated: pid, model, memory, uptime, requests, active, tokens a second, idle seconds, path, socket.
    One that does not answer has a pid and a socket only; stop ends it all the same.
    """
    from llmcli.cli import wording

    rows = [_row(status) for status in _running(cli)]
    if cli.world.terminal(cli.world.stdout) and not cli.flags.json:
        rows = [_for_people(row, wording.size) for row in rows]
        if not rows:
            cli.write("No workers.\n")
    cli.table(rows)
    return 0


@command(*GENERAL, examples="llm worker stop\nllm worker stop qwen3-1.7b")
def stop(
    cli: Context,
    which: Which = None,
    idle: Annotated[bool, typer.Option("--idle", help="Only those that have nothing to do.")] = False,
) -> int:
    """End workers; answers that are running get some seconds to come to their end."""
    _stop(cli, which, only_idle=idle)
    return 0


@command(*GENERAL, examples="llm worker restart\nllm worker restart qwen3-1.7b")
def restart(cli: Context, which: Which = None) -> int:
    """End workers and start them again, with the settings and the version of now."""
    from llmcli.cli import wiring

    for name in dict.fromkeys(_stop(cli, which)):
        wiring.start(cli, cli.models.ready(name, cli.interrupt))
    return 0


@command(*GENERAL, examples="llm worker log\nllm worker log qwen3-1.7b | tail")
def log(cli: Context, which: Which = None) -> int:
    """Print what workers wrote down: starts, ends, crashes; no prompt and no answer. Those that ended have a log too."""
    for path in _logs(cli, which):
        try:
            text = path.read_text(encoding="utf-8", errors="replace")
        except OSError as error:
            raise MissingError(str(path), kind="input", detail=error.strerror or "") from error
        if cli.flags.json:
            cli.table([{"log": str(path), "line": line} for line in text.splitlines()])
        else:
            cli.write(text)
    return 0


def _logs(cli: Context, which: list[str] | None) -> list[Path]:
    """Return the logs that the words name, by model or pid, all without any; what is newest last.

    Raises ``MissingError``.
    """
    from llmcli.cli import wiring
    from llmcli.models.paths import entries

    there = [path for path in entries(wiring.log_directory(cli)) if path.suffix == ".log"]
    there.sort(key=lambda path: path.stat().st_mtime)
    chosen = list(there) if not which else []
    for word in which or ():
        names = {wiring.log_file(cli, word).stem, wiring.log_file(cli, str(Path(word).absolute())).stem}
        named = [path for path in there if path.stem.removesuffix(".old") in names or _tells_of(path, word)]
        if not named:
            raise MissingError(word, kind="worker", suggestions=[path.stem for path in there])
        chosen += [path for path in named if path not in chosen]
    return chosen


def _tells_of(log: Path, pid: str) -> bool:
    return pid.isdigit() and f" {pid} starts: " in log.read_text(encoding="utf-8", errors="replace")


def _running(cli: Context) -> list[dict[str, Any]]:
    from llmcli.worker import place, start

    return start.statuses(place.directory(cli.world.environ))


def _chosen(cli: Context, which: list[str] | None) -> list[dict[str, Any]]:
    """Return the workers that the words name, all without any. Raises ``MissingError``."""
    running = _running(cli)
    chosen: list[dict[str, Any]] = []
    for word in which or ():
        named = [status for status in running if word in {status.get("model"), str(status["pid"])}]
        if not named:
            names = [str(status.get("model", status["pid"])) for status in running]
            raise MissingError(word, kind="worker", suggestions=names)
        chosen += [status for status in named if status not in chosen]
    return chosen if which else running


def _stop(cli: Context, which: list[str] | None, *, only_idle: bool = False) -> list[str]:
    """Stop workers and say so; returns the names of their models. Raises ``TryAgain`` for one that goes on."""
    from llmcli.worker import place, start

    directory = place.directory(cli.world.environ)
    ended, rows = [], []
    for status in _chosen(cli, which):
        with cli.status.waiting(Phase.STOPPING, f"the worker {status['pid']}"):
            stopped = start.stop(_place(directory, status), only_idle=only_idle, check=cli.interrupt.check)
        if stopped:
            ended += [status["model"]] if "model" in status else []
            rows.append({"pid": status["pid"], "model": status.get("model")})
        elif not only_idle:
            raise TryAgain(f"the worker {status['pid']}", detail="it goes on")
    if cli.flags.json:
        cli.table(rows)
    for row in rows:
        of = f"of {row['model']}" if row["model"] else "that did not answer"
        cli.explain(f"ended the worker {row['pid']} {of}")
    return ended


def _place(directory: Path, status: dict[str, Any]) -> Place:
    from llmcli.worker.place import Place

    return Place(directory, status["key"])


def _row(status: dict[str, Any]) -> dict[str, Any]:
    """Return what the list shows of a worker; of one that does not answer (to be stopped) nothing but pid and socket."""
    if "model" not in status:
        return dict.fromkeys(_COLUMNS) | {"pid": status["pid"], "model": _SILENT, "socket": status["socket"]}
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
    }


def _for_people(row: dict[str, Any], size: Any) -> dict[str, Any]:
    return {
        "pid": row["pid"],
        "model": row["model"],
        "memory": size(row["memory"]) if row["memory"] is not None else "",
        "uptime": _span(row["uptime"]) if row["uptime"] is not None else "",
        "requests": row["requests"],
        "tok/s": row["tokens_per_second"],
        "idle": ""
        if row["uptime"] is None
        else f"{row['active']} active"
        if row["active"]
        else _span(row["idle_seconds"]),
    }


def _span(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes:02d}m" if hours else f"{minutes}m{rest:02d}s" if minutes else f"{rest}s"


worker = group(
    "See and stop the processes that keep models loaded.",
    {"list": show_list, "stop": stop, "restart": restart, "log": log},
)
