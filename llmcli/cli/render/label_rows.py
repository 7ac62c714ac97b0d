"""Lines for results that are not texts."""

from __future__ import annotations

from collections.abc import Mapping

from llmcli.types import Result

_PROBABILITY_DIGITS = 4


def format_label_row(result: Result) -> str:
    """Return label and probabilities, separated by tabs: ``positive<TAB>positive=0.9000<TAB>...``; "" for a blank line."""
    label = result.fields.get("label")
    if label is None:
        return ""
    shares = round_probabilities(result.fields["probabilities"])
    return "\t".join([label, *(f"{name}={share:.{_PROBABILITY_DIGITS}f}" for name, share in shares.items())])


def round_probabilities(probabilities: Mapping[str, float], digits: int = _PROBABILITY_DIGITS) -> dict[str, float]:
    """Round probabilities so that they still sum to 1 as printed (largest remainder method)."""
    whole = 10**digits
    scaled = {name: share * whole for name, share in probabilities.items()}
    units = {name: int(share) for name, share in scaled.items()}
    by_remainder = sorted(scaled, key=lambda name: units[name] - scaled[name])
    for name in by_remainder[: whole - sum(units.values())]:
        units[name] += 1
    return {name: count / whole for name, count in units.items()}
