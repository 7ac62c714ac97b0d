"""Priors of labels are kept by the weights that gave them."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

from llmcli.runtime.runtime import Runtime


def test_each_type_of_weights_has_its_own_priors():
    """A prior that a copy of the model gave is not used for the original, nor that of a server."""
    paths = SimpleNamespace(cache=Path("cache"))
    made = {
        Runtime.prior_directory.fget(SimpleNamespace(paths=paths, weights=weights))
        for weights in ("original", "bf16", None)
    }
    assert len(made) == 3
