"""The quantizations in a repository, and which of them fit: decided from one header, before a download.

The quantizations of one model have the same layers. So the header of one (some megabytes, mostly vocabulary) shows for
all of them how much memory a token of context takes, and how many weights share the bytes of each file.

Searching the Hub: the quantizations in matching repositories, and which of them fit this machine.

Each repository takes one listing and the header of one file, some megabytes at most.

The header of a GGUF file on the Hub, read before anything is downloaded.

The parser only moves forward, so each request asks for the next bytes: 1 MiB first (enough for the whole header of most
small vocabularies), then twice as much each time. A server without range support sends the file from its start; it is
read up to the end of the header, and the connection is closed.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing

from llmcli.errors import AccessDenied, BadModelFile, MissingError, RemoteError, TemporaryFailure
from llmcli.errors.network_errors import HubUnreachable
from llmcli.fast_dataclass import frozen, replace
from llmcli.interrupt import Interrupt
from llmcli.models.files.names import (
    PREFERRED_QUANTIZATIONS,
    HubName,
    is_model_file,
    model_title,
    parse_hub_name,
    part_names,
    quantization_label,
)
from llmcli.models.gguf import header_parser
from llmcli.models.gguf.header import Header
from llmcli.models.gguf.header_parser import parse_header
from llmcli.models.gguf.tensor_types import nominal_bits
from llmcli.models.hub.download import DownloadTarget, check_content_range, check_magic
from llmcli.models.hub.hub_client import HubClient, RepositoryInfo, RepositoryListing, ResponseHead
from llmcli.models.memory_estimate import FitPolicy, MemoryEstimate, does_not_fit_error
from llmcli.network.transfers import DownloadAttempts
from llmcli.types import ItemFailed, Notice, Progress

_LOSSLESS_BITS = 8
"""More bits a weight make no visible difference."""


@frozen
class Variant:
    """One quantization: its ``name`` for pull, its (first) file, bytes, bits a weight (None if unknown)."""

    name: str
    file: str
    quantization: str | None
    size: int
    bits_per_weight: float | None
    estimate: MemoryEstimate


@frozen
class VariantList:
    """The quantizations of a model, in the order of preference, and which of them is ``selected``."""

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
    """Return the file of the model ``usual`` to download: the best quantization that fits; yields the choices first.

    The best is the first of the labels in ``order`` that fits. Without an order, it is the one with the most bits a
    weight up to 8, or if all have more, with the fewest. ``named``: the user asked for ``usual`` itself. Unless forced,
    raises ``ModelTooLarge``, and ``BadModelFile`` for a model that cannot run here. Raises what
    ``HubClient.stream_file`` raises about a file that cannot be downloaded.
    """
    usual = part_names(usual)[0]
    try:
        header = _read_supported_header(hub, listing, usual, fit_policy, interrupt)
    except BadModelFile:
        if not fit_policy.force:
            raise
        header = None
    except (TemporaryFailure, RemoteError) as error:  # a download retries more, and has a hash to compare with
        yield Notice(f"{listing.repo}/{usual}: only the size of its weights is known: {error.detail}")
        header = None
    found = rate_variants(listing, usual, header, fit_policy, order)
    named_one = (
        next((variant for variant in found.variants if variant.file == usual), None) if found and named else None
    )
    if found is None or (named and named_one is None):
        return usual  # parts of it are missing, which the caller reports
    best = found.selected
    chosen = named_one or best
    yield VariantList((chosen,), chosen) if named else found
    if chosen.estimate.fits is False and not fit_policy.force:
        raise does_not_fit_error(chosen.name, chosen.estimate, "" if best.estimate.fits is False else best.name)
    return chosen.file


def _read_supported_header(
    hub: HubClient, listing: RepositoryListing, file: str, fit_policy: FitPolicy, interrupt: Interrupt
) -> Header | None:
    """Return the header of a file of a repository, None if the repository lacks the file.

    Raises ``BadModelFile``, also for a model that cannot run here, and what ``HubClient.stream_file`` and
    ``read_remote_header`` raise about a file that cannot be downloaded.
    """
    by_name = {item.file: item for item in listing.files}
    if file not in by_name:
        return None
    header = read_remote_header(hub, DownloadTarget(listing.repo, listing.revision, by_name[file], file), interrupt)
    subject = f"{listing.repo}/{file}"
    header_parser.check_header(header, subject)
    reason = fit_policy.unsupported_reason(header)
    if reason:
        raise BadModelFile(subject, detail=reason)
    return header


def rate_variants(
    listing: RepositoryListing, usual: str, header: Header | None, fit_policy: FitPolicy, order: Sequence[str] = ()
) -> VariantList | None:
    """Return the complete quantizations of the model ``usual``, and the best by the rule of ``choose_variant``.

    None if no quantization has all its parts.
    """
    variants = _estimate_variants(listing, usual, header, fit_policy, order)
    best = _best_variant(variants, in_order=bool(order))
    return VariantList(tuple(variants), best) if best else None


def _estimate_variants(
    listing: RepositoryListing, usual: str, header: Header | None, fit_policy: FitPolicy, order: Sequence[str]
) -> list[Variant]:
    """Return the complete quantizations of the model ``usual``, one for each label, the preferred ones first."""
    sizes = {item.file: item.size for item in listing.files}
    models = [file for file in sizes if is_model_file(file)]
    firsts = sorted({part_names(file)[0] for file in models if model_title(file) == model_title(usual)})
    variants: dict[str, Variant] = {}
    for file in [usual, *firsts]:
        label = quantization_label(file)
        if (label or file) in variants or any(part not in sizes for part in part_names(file)):
            continue
        size = sum(sizes[part] for part in part_names(file))
        short = HubName(listing.repo, quantization=label)
        name = short if label and short.choose_file(models) == file else HubName(listing.repo, file=file)
        weights = header.n_params if header and header.part_count == 1 else 0
        bits = 8 * size / weights if weights else nominal_bits(label or "")
        variants[label or file] = Variant(str(name), file, label, size, bits, fit_policy.estimate(header, size))
    ranks = {label.casefold(): rank for rank, label in enumerate(order or PREFERRED_QUANTIZATIONS)}
    listed = [o for o in variants.values() if not order or (o.quantization or "").casefold() in ranks]
    return sorted(listed, key=lambda variant: ranks.get((variant.quantization or "").casefold(), len(ranks)))


def _best_variant(variants: Sequence[Variant], *, in_order: bool) -> Variant | None:
    """Return the best that fits by the rule of ``choose_variant``, else the smallest; None without variants."""
    fit = [variant for variant in variants if variant.estimate.fits is not False]
    if not fit:
        return min(variants, key=lambda variant: variant.size, default=None)
    return fit[0] if in_order else max(fit, key=_variant_rank)  # of equal ones the first


def _variant_rank(variant: Variant) -> tuple[bool, float]:
    bits = round(variant.bits_per_weight or math.inf, 1)
    return (bits <= _LOSSLESS_BITS, bits if bits <= _LOSSLESS_BITS else -bits)


@frozen
class FoundRepository:
    """A repository that was found, and the quantizations of its preferred model."""

    info: RepositoryInfo
    variants: VariantList


def search_models(
    hub: HubClient, words: str, limit: int, fit_policy: FitPolicy, interrupt: Interrupt
) -> Iterator[Progress | Notice | ItemFailed | FoundRepository]:
    """Yield at most ``limit`` repositories whose names match ``words``, the most downloaded first.

    Repositories without a complete model are skipped. So are repositories without access or with a model that cannot be
    loaded, with a notice. A repository without a response is an ``ItemFailed``; one with sizes but without a header is
    followed by an ``ItemFailed``. Raises as ``HubClient.search_repositories``, ``MissingError`` (kind "match") if
    nothing is found, and ``HubUnreachable``.
    """
    found = [each for each in hub.search_repositories(words, limit, interrupt) if parse_hub_name(each.repo)]
    any_found, left_out = False, []
    for number, each in enumerate(found):
        yield Progress(number, len(found), "repositories")
        try:
            variants, header_error = _rate_repository(hub, each.repo, fit_policy, interrupt)
        except HubUnreachable:
            raise
        except (AccessDenied, BadModelFile, MissingError) as error:
            left_out.append(f"skipped {each.repo}: {error.detail}")
            yield Notice(left_out[-1])
        except (RemoteError, TemporaryFailure) as error:
            any_found = True
            yield ItemFailed(number, each.repo, error)
        else:
            if variants is not None:
                any_found = True
                yield FoundRepository(each, variants)
                if header_error is not None:
                    yield ItemFailed(number, each.repo, header_error)
    if not any_found:
        raise MissingError(words, kind="match", detail="; ".join(left_out))


def _rate_repository(
    hub: HubClient, repo: str, fit_policy: FitPolicy, interrupt: Interrupt
) -> tuple[VariantList | None, AccessDenied | RemoteError | TemporaryFailure | None]:
    """Return the quantizations of a repository, and the error of reading a header if only sizes are known."""
    listing = hub.list_repository(repo, interrupt)
    usual = HubName(repo).choose_file([item.file for item in listing.files if is_model_file(item.file)])
    if usual is None:
        return None, None
    header, header_error = None, None
    try:
        header = _read_supported_header(hub, listing, usual, fit_policy, interrupt)
    except (AccessDenied, RemoteError, TemporaryFailure) as error:  # a gated repository still lists its files
        error.detail = f"only its sizes are known, not the memory that it needs: {error.detail}"
        header_error = error
    return rate_variants(listing, usual, header, fit_policy), header_error


_FIRST_WINDOW_BYTES = 1 << 20
_MAX_HEADER_BYTES = 64 << 20  # a vocabulary of 262,144 tokens takes 6.5 MB
_MAX_TRIES = 2  # the header is a convenience: without a response the caller continues without it
_PARTIAL_CONTENT, _OK = 206, 200


def read_remote_header(hub: HubClient, target: DownloadTarget, interrupt: Interrupt) -> Header:
    """Return the header of a file on the Hub; for a part of a split model, the part's.

    Raises what ``HubClient.stream_file`` raises, ``RemoteError`` for a response that cannot be the file, such as the
    login page of a network, and ``BadModelFile``, also for a header above the size limit.
    """
    with closing(_iter_blocks(hub, target, interrupt)) as blocks:
        return parse_header(_BlockStream(blocks), target.file.size, f"{target.repo}/{target.file.file}")


class _BlockStream:
    """The blocks as a stream."""

    def __init__(self, blocks: Iterator[bytes]) -> None:
        self._blocks = blocks
        self._unread = b""

    def read(self, size: int, /) -> bytes:
        """Return up to ``size`` bytes."""
        data = self._unread or next(self._blocks, b"")
        self._unread = data[size:]
        return data[:size]


def _iter_blocks(hub: HubClient, target: DownloadTarget, interrupt: Interrupt) -> Generator[bytes, None, None]:
    """Yield the file from its start, window after window, until the reader stops."""
    attempts = DownloadAttempts(replace(hub.retry_policy, max_tries=_MAX_TRIES), target.label, interrupt)
    size, bound = target.file.size, min(target.file.size, _MAX_HEADER_BYTES)
    done, window = 0, _FIRST_WINDOW_BYTES
    while done < bound:
        begin, end = done, min(done + window, bound)
        try:
            for block in _fetch_window(hub, target, interrupt, done, end):
                if done == 0:
                    check_magic(block, target.label)
                done += len(block)
                attempts.add_bytes(len(block))
                yield block
            _require_bytes(target, done, end)
        except TemporaryFailure as error:
            attempts.wait_or_raise(error, has_progressed=done > begin)
        else:
            window *= 2
    if done < size:
        raise BadModelFile(target.label, detail=f"its header is longer than {done:,} bytes")


def _require_bytes(target: DownloadTarget, done: int, end: int) -> None:
    if done < end:
        raise TemporaryFailure(target.label, detail=f"the connection ended after {done:,} bytes")


def _fetch_window(
    hub: HubClient, target: DownloadTarget, interrupt: Interrupt, start: int, end: int
) -> Iterator[bytes]:
    """Yield the bytes from ``start`` to ``end``; more if the server does not support ranges."""
    skip = 0
    with closing(hub.stream_file(target.repo, target.revision, target.file.file, start, interrupt, end=end)) as stream:
        for item in stream:
            if isinstance(item, ResponseHead):
                if item.headers.get("content-type", "").startswith("text/html"):
                    raise RemoteError(target.label, detail="the server sent a web page instead of the file")
                if item.status == _PARTIAL_CONTENT:
                    check_content_range(item.headers, start, target)
                elif item.status == _OK:
                    skip, end = start, _MAX_HEADER_BYTES
                else:
                    raise RemoteError(target.label, detail=f"the server refused to send bytes from {start} on")
                continue
            block, skip = item[skip:], max(0, skip - len(item))
            block = block[: end - start]
            start += len(block)
            if block:
                yield block
            if start >= end:
                return
