"""Searching the Hub: the quantizations in matching repositories, and which of them fit this machine.

Each repository takes one listing and the header of one file, some megabytes at most.
"""

from __future__ import annotations

from collections.abc import Iterator

from llmcli.errors import AccessDenied, BadModelFile, MissingError, RemoteError, TemporaryFailure
from llmcli.errors.network_errors import HubUnreachable
from llmcli.frozen_dataclass import frozen
from llmcli.interrupt import Interrupt
from llmcli.models.files.names import HubName, is_model_file, parse_hub_name
from llmcli.models.hub.hub_client import HubClient, RepositoryInfo
from llmcli.models.hub.variants import VariantList, rate_variants, read_supported_header
from llmcli.models.memory_estimate import FitPolicy
from llmcli.types import ItemFailed, Notice, Progress


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
        header = read_supported_header(hub, listing, usual, fit_policy, interrupt)
    except (AccessDenied, RemoteError, TemporaryFailure) as error:  # a gated repository still lists its files
        error.detail = f"only its sizes are known, not the memory that it needs: {error.detail}"
        header_error = error
    return rate_variants(listing, usual, header, fit_policy), header_error
