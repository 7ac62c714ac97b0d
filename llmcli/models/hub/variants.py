"""What a repository offers, and which of it fits: decided from one header, before anything is downloaded.

The quantizations of one model have the same layers, so the header of one (some megabytes, most of it vocabulary) tells
of all of them what a token of context takes, and how many weights share the bytes of each file.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Sequence
from dataclasses import dataclass

from llmcli.errors import BadModelFile, RemoteError, TemporaryFailure
from llmcli.interrupt import Interrupt
from llmcli.models.files.names import (
    PREFERRED_QUANTIZATIONS,
    HubName,
    is_model_file,
    model_title,
    part_names,
    quantization_label,
)
from llmcli.models.gguf import header_checks
from llmcli.models.gguf.header import Header
from llmcli.models.gguf.tensor_types import nominal_bits
from llmcli.models.hub.download import DownloadTarget
from llmcli.models.hub.hub_client import HubClient, RepositoryListing
from llmcli.models.hub.remote_header import read_remote_header
from llmcli.models.memory_estimate import FitPolicy, MemoryEstimate, does_not_fit_error
from llmcli.types import Notice

_LOSSLESS_BITS = 8
"""Above so many bits a weight nothing is gained that anybody sees."""


@dataclass(frozen=True, slots=True)
class Variant:
    """One quantization: the ``name`` that pull takes, its (first) file, bytes, bits a weight (None: not known)."""

    name: str
    file: str
    quantization: str | None
    size: int
    bits_per_weight: float | None
    estimate: MemoryEstimate


@dataclass(frozen=True, slots=True)
class VariantList:
    """The quantizations of a model, in the order of preference, and which of them is ``taken``."""

    variants: tuple[Variant, ...]
    selected: Variant


def choose_variant(
    hub: HubClient,
    listing: RepositoryListing,
    usual: str,
    fit_policy: FitPolicy,
    interrupt: Interrupt,
    *,
    named: bool = False,
    order: Sequence[str] = (),
) -> Generator[Notice | VariantList, None, str]:
    """Return the file of the model ``usual`` to fetch: the best quantization that fits, said beforehand as ``Offers``.

    The best is the first that fits of the labels in ``order``; without an order, the one with most bits a weight up to
    8, or where all have more, with fewest. ``named``: the user wants ``usual`` and no other. Unless that is forced,
    raises ``ModelTooLarge``, and ``BadModelFile`` for a model that cannot run here. Raises what ``Hub.stream`` raises about
    a file that cannot be had.
    """
    usual = part_names(usual)[0]
    try:
        header = read_supported_header(hub, listing, usual, fit_policy, interrupt)
    except BadModelFile:
        if not fit_policy.force:
            raise
        header = None
    except (TemporaryFailure, RemoteError) as error:  # a download has more patience, and a hash to compare with
        yield Notice(f"{listing.repo}/{usual}: only the size of its weights is known beforehand: {error.detail}")
        header = None
    found = rate_variants(listing, usual, header, fit_policy, order)
    named_one = next((offer for offer in found.variants if offer.file == usual), None) if found and named else None
    if found is None or (named and named_one is None):
        return usual  # its parts are not all there, as will be said
    best = found.selected
    taken = named_one or best
    yield VariantList((taken,), taken) if named else found
    if taken.estimate.fits is False and not fit_policy.force:
        raise does_not_fit_error(taken.name, taken.estimate, "" if best.estimate.fits is False else best.name)
    return taken.file


def read_supported_header(
    hub: HubClient, listing: RepositoryListing, file: str, fit_policy: FitPolicy, interrupt: Interrupt
) -> Header | None:
    """Return the header of a file of a repository, None where that has no such file.

    Raises ``BadModelFile``, also for a model that cannot run here, and what ``Hub.stream`` and ``remote_header`` raise
    about a file that cannot be had.
    """
    by_name = {item.file: item for item in listing.files}
    if file not in by_name:
        return None
    header = read_remote_header(hub, DownloadTarget(listing.repo, listing.revision, by_name[file], file), interrupt)
    subject = f"{listing.repo}/{file}"
    header_checks.check_header(header, subject)
    obstacle = fit_policy.unsupported_reason(header)
    if obstacle:
        raise BadModelFile(subject, detail=obstacle)
    return header


def rate_variants(
    listing: RepositoryListing, usual: str, header: Header | None, fit_policy: FitPolicy, order: Sequence[str] = ()
) -> VariantList | None:
    """Return the whole quantizations of the model ``usual``, and the best of them by the rule of ``choose_fitting``.

    None where no quantization has all its parts.
    """
    offers = _estimate_variants(listing, usual, header, fit_policy, order)
    best = _best_variant(offers, in_order=bool(order))
    return VariantList(tuple(offers), best) if best else None


def _estimate_variants(
    listing: RepositoryListing, usual: str, header: Header | None, fit_policy: FitPolicy, order: Sequence[str]
) -> list[Variant]:
    """Return the whole quantizations of the model ``usual``, one for each label, the preferred ones first."""
    sizes = {item.file: item.size for item in listing.files}
    models = [file for file in sizes if is_model_file(file)]
    firsts = sorted({part_names(file)[0] for file in models if model_title(file) == model_title(usual)})
    offers: dict[str, Variant] = {}
    for file in [usual, *firsts]:
        label = quantization_label(file)
        if (label or file) in offers or any(part not in sizes for part in part_names(file)):
            continue
        size = sum(sizes[part] for part in part_names(file))
        short = HubName(listing.repo, quantization=label)
        name = short if label and short.choose_file(models) == file else HubName(listing.repo, file=file)
        weights = header.n_params if header and header.part_count == 1 else 0
        bits = 8 * size / weights if weights else nominal_bits(label or "")
        offers[label or file] = Variant(str(name), file, label, size, bits, fit_policy.estimate(header, size))
    ranks = {label.casefold(): rank for rank, label in enumerate(order or PREFERRED_QUANTIZATIONS)}
    wanted = [o for o in offers.values() if not order or (o.quantization or "").casefold() in ranks]
    return sorted(wanted, key=lambda offer: ranks.get((offer.quantization or "").casefold(), len(ranks)))


def _best_variant(offers: Sequence[Variant], *, in_order: bool) -> Variant | None:
    """Return the best of those that fit, by the rule of ``choose_fitting``; where none does the smallest, None of none."""
    fit = [offer for offer in offers if offer.estimate.fits is not False]
    if not fit:
        return min(offers, key=lambda offer: offer.size, default=None)
    return fit[0] if in_order else max(fit, key=_variant_rank)  # of equals the first


def _variant_rank(offer: Variant) -> tuple[bool, float]:
    bits = round(offer.bits_per_weight or math.inf, 1)
    return (bits <= _LOSSLESS_BITS, bits if bits <= _LOSSLESS_BITS else -bits)
