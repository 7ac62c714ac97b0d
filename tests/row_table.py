"""Tables: one test that runs all rows and names every row that failed, for many rows of microseconds each."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable

import pytest


def all_rows(names: str | tuple[str, ...], rows: Iterable[object]) -> Callable:
    """Like pytest's ``parametrize``, but all rows are one test and share its fixtures."""
    several = not isinstance(names, str)
    rows = list(rows)

    def decorate(test):
        @functools.wraps(test)
        def run(**fixtures):
            failed = []
            for row in rows:
                values = dict(zip(names, row, strict=True)) if several else {names: row}
                try:
                    test(**values, **fixtures)
                except (Exception, pytest.fail.Exception) as error:  # noqa: BLE001 (the group below has it)
                    failed.append(BaseExceptionGroup(f"row {row!r}", [error]))
            if failed:
                raise BaseExceptionGroup(f"{len(failed)} of {len(rows)} rows failed", failed)

        signature = inspect.signature(test)
        kept = [each for name, each in signature.parameters.items() if name not in (names if several else (names,))]
        run.__signature__ = signature.replace(parameters=kept)  # pytest takes what is left for fixtures
        return run

    return decorate
