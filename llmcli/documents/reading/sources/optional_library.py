"""Libraries that read documents and come with the optional part ``documents``."""

from __future__ import annotations

import importlib
from typing import Any

from llmcli.errors import MissingExtra

DOCUMENTS_EXTRA = "documents"


def import_optional(module: str, package: str) -> Any:
    """Return a module of the installed ``package``. Raises ``MissingExtra``, which names the extra."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise MissingExtra(package, detail=DOCUMENTS_EXTRA) from error
