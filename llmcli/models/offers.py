"""What a repository offers, and which of it fits: decided from one header, before anything is downloaded.

The quantizations of one model have the same layers, so the header of one (some megabytes, most of it vocabulary) tells
of all of them what a token of context takes, and how many weights share the bytes of each file.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Sequence
from dataclasses import dataclass

from llmcli.errors import BadModelFile, DoesNotFit, RemoteError, TryAgain
from llmcli.interrupt import Interrupt
from llmcli.models import gguf_checks
from llmcli.models.download import Wanted
from llmcli.models.fit import Fit, Fitting
from llmcli.models.gguf import Header
from llmcli.models.gguf_types import nominal_bits
from llmcli.models.hub import Hub, Listing
from llmcli.models.names import PREFERRED, HubName, is_model_file, parts, quantization, title
from llmcli.models.remote import remote_header
from llmcli.types import Notice

_BITS = 8
"""Above so many bits a weight nothing is gained that anybody sees."""


@dataclass(frozen=True, slots=True)
class Offer:
    """One quantization: the ``name`` that pull takes, its (first) file, bytes, bits a weight (None: not known)."""

    name: str
    file: str
    quantization: str | None
    size: int
    bits: float | None
    fit: Fit


@dataclass(frozen=True, slots=True)
class Offers:
    """The quantizations of a model, in the order of preference, and which of them is ``taken``."""

    offers: tuple[Offer, ...]
    taken: Offer


def choose_fitting(
    hub: Hub,
    listing: Listing,
    usual: str,
    fitting: Fitting,
    interrupt: Interrupt,
    *,
    named: bool = False,
    order: Sequence[str] = (),
) -> Generator[Notice | Offers, None, str]:
    """Return the file of the model ``usual`` to fetch: the best quantization that fits, said beforehand as ``Offers``.

    The best is the first that fits of the labels in ``order``; without an order, the one with most bits a weight up to
    8, or where all have more, with fewest. ``named``: the user wants ``usual`` and no other. Unless that is forced,
    raises ``DoesNotFit``, and ``BadModelFile`` for a model that cannot run here. Raises what ``Hub.stream`` raises about
    a file that cannot be had.
    """
    usual = parts(usual)[0]
    try:
        header = read_header(hub, listing, usual, fitting, interrupt)
    except BadModelFile:
        if not fitting.force:
            raise
        header = None
    except (TryAgain, RemoteError) as error:  # a download has more patience, and a hash to compare with
        yield Notice(f"{listing.repo}/{usual}: only the size of its weights is known beforehand: {error.detail}")
        header = None
    found = judge(listing, usual, header, fitting, order)
    named_one = next((offer for offer in found.offers if offer.file == usual), None) if found and named else None
    if found is None or (named and named_one is None):
        return usual  # its parts are not all there, as will be said
    best = found.taken
    taken = named_one or best
    yield Offers((taken,), taken) if named else found
    if taken.fit.fits is False and not fitting.force:
        raise refusal(taken.name, taken.fit, "" if best.fit.fits is False else best.name)
    return taken.file


def refusal(name: str, fit: Fit, smaller: str = "") -> DoesNotFit:
    """Return the error for a model that does not fit."""
    return DoesNotFit(
        name,
        needed=fit.needed,
        available=fit.available,
        weights=fit.weights,
        per_token=fit.per_token,
        context=fit.context,
        room=fit.longest,
        smaller=smaller,
    )


def read_header(hub: Hub, listing: Listing, file: str, fitting: Fitting, interrupt: Interrupt) -> Header | None:
    """Return the header of a file of a repository, None where that has no such file.

    Raises ``BadModelFile``, also for a model that cannot run here, and what ``Hub.stream`` and ``remote_header`` raise
    about a file that cannot be had.
    """
    by_name = {item.file: item for item in listing.files}
    if file not in by_name:
        return None
    header = remote_header(hub, Wanted(listing.repo, listing.revision, by_name[file], file), interrupt)
    subject = f"{listing.repo}/{file}"
    gguf_checks.check(header, subject)
    obstacle = fitting.obstacle(header)
    if obstacle:
        raise BadModelFile(subject, detail=obstacle)
    return header


def judge(
    listing: Listing, usual: str, header: Header | None, fitting: Fitting, order: Sequence[str] = ()
) -> Offers | None:
    """Return the whole quantizations of the model ``usual``, and the best of them by the rule of ``choose_fitting``.

    None where no quantization has all its parts.
    """
    offers = _offers(listing, usual, header, fitting, order)
    best = _best(offers, in_order=bool(order))
    return Offers(tuple(offers), best) if best else None


def _offers(listing: Listing, usual: str, header: Header | None, fitting: Fitting, order: Sequence[str]) -> list[Offer]:
    """Return the whole quantizations of the model ``usual``, one for each label, the preferred ones first."""
    sizes = {item.file: item.size for item in listing.files}
    models = [file for file in sizes if is_model_file(file)]
    firsts = sorted({parts(file)[0] for file in models if title(file) == title(usual)})
    offers: dict[str, Offer] = {}
    for file in [usual, *firsts]:
        label = quantization(file)
        if (label or file) in offers or any(part not in sizes for part in parts(file)):
            continue
        size = sum(sizes[part] for part in parts(file))
        short = HubName(listing.repo, quantization=label)
        name = short if label and short.choose(models) == file else HubName(listing.repo, file=file)
        weights = header.n_params if header and header.parts == 1 else 0
        bits = 8 * size / weights if weights else nominal_bits(label or "")
        offers[label or file] = Offer(str(name), file, label, size, bits, fitting.judge(header, size))
    ranks = {label.casefold(): rank for rank, label in enumerate(order or PREFERRED)}
    wanted = [o for o in offers.values() if not order or (o.quantization or "").casefold() in ranks]
    return sorted(wanted, key=lambda offer: ranks.get((offer.quantization or "").casefold(), len(ranks)))


def _best(offers: Sequence[Offer], *, in_order: bool) -> Offer | None:
    """Return the best of those that fit, by the rule of ``choose_fitting``; where none does the smallest, None of none."""
    fit = [offer for offer in offers if offer.fit.fits is not False]
    if not fit:
        return min(offers, key=lambda offer: offer.size, default=None)
    return fit[0] if in_order else max(fit, key=_worth)  # of equals the first


def _worth(offer: Offer) -> tuple[bool, float]:
    bits = round(offer.bits or math.inf, 1)
    return (bits <= _BITS, bits if bits <= _BITS else -bits)
