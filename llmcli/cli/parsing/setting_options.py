"""The ``--set NAME=VALUE`` that an unknown option means if it is named for a setting."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence

from llmcli.cli import command_registry
from llmcli.cli.options import find_parameters
from llmcli.settings import SETTING_SPECS, SettingSpec


def assignment_advice(option: str, words: Sequence[str]) -> str:
    """Return the ``--set`` for ``option`` in the line ``words``; "" if it is no setting, or the command has none.

    ``--threads 4`` is ``threads=4``, ``--no-worker`` is ``worker=off``, ``--redact-names`` is ``redact=names``.
    """
    command = "ask" if words[0].startswith("-") else command_registry.command_path(words)
    if not any(each.name == "assignments" for each in find_parameters(command)):
        return ""
    name = option.removeprefix("--").replace("-", "_")
    assignment = next(_assignments(name, option, words), "")
    return f"Try: {shlex.join(['--set', assignment])}" if assignment else ""


def _assignments(name: str, option: str, words: Sequence[str]) -> Iterator[str]:
    """Yield the assignments that an option called ``name`` may mean."""
    for spec in SETTING_SPECS:
        called = spec.name.replace(".", "_")
        if name == called:
            yield f"{spec.name}={_value_after(option, words)}"
        elif name == f"no_{called}" and _can_be_off(spec):
            yield f"{spec.name}=off"
        elif name in {f"{called}_{word}" for word in spec.words}:
            yield f"{spec.name}={name.removeprefix(called)[1:]}"


def _can_be_off(spec: SettingSpec) -> bool:
    return isinstance(spec.default, bool) or "off" in {*spec.words, spec.default}


def _value_after(option: str, words: Sequence[str]) -> str:
    """Return the value of an option in a command line; VALUE if it has none."""
    for word, following in zip(words, [*words[1:], "VALUE"], strict=True):
        if word == option:
            return following
        if word.startswith(f"{option}="):
            return word.partition("=")[2]
    return "VALUE"
