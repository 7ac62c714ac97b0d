"""Classes of models by their numbers of parameters, for models about which nothing else is known."""

from __future__ import annotations

READABLE_BILLIONS = 1.0
"""Parameters, in billions, from which on a model writes texts that read well."""
TOY_BILLIONS = 0.5
"""Parameters, in billions, below which a model is for looking at the program only."""
TOY_MEANING = "is a toy and often wrong"
"""What is said about such a model, after its name."""


def is_toy_size(parameters: int | None) -> bool:
    """Whether a model of so many parameters (None: unknown) is only for looking at the program."""
    return parameters is not None and parameters < TOY_BILLIONS * 1e9
