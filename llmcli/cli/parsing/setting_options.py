"""The ``--set NAME=VALUE`` that an unknown option means if it is named for a setting."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from llmcli.settings import SETTING_SPECS, SettingSpec


def assignment_advice(option: str, value: str) -> str:
    """Return the ``--set`` for ``option`` with the value that was typed; "" if it is named for no setting.

    ``--threads 4`` is ``threads=4``, ``--no-worker`` is ``worker=off``, ``--redact-names`` is ``redact=names``.
    """
    name = option.removeprefix("--").replace("-", "_")
    assignment = next(_assignments(name, value or "VALUE"), "")
    return f"Try: {shlex.join(['--set', assignment])}" if assignment else ""


def _assignments(name: str, value: str) -> Iterator[str]:
    """Yield the assignments that an option called ``name`` may mean."""
    for spec in SETTING_SPECS:
        called = spec.name.replace(".", "_")
        if name == called:
            yield f"{spec.name}={value}"
        elif name == f"no_{called}" and _can_be_off(spec):
            yield f"{spec.name}=off"
        elif name in {f"{called}_{word}" for word in spec.words}:
            yield f"{spec.name}={name.removeprefix(called)[1:]}"


def _can_be_off(spec: SettingSpec) -> bool:
    return isinstance(spec.default, bool) or "off" in {*spec.words, spec.default}
