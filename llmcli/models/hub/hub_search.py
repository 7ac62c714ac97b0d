"""Searching the Hub: what the repositories that match offer, and which of it fits this machine.

For each repository one listing is asked for and the header of one file read, some megabytes at most.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from llmcli.errors import AccessDenied, BadModelFile, MissingError, RemoteError, TemporaryFailure
from llmcli.interrupt import Interrupt
from llmcli.models.files.names import HubName, is_model_file, parse_hub_name
from llmcli.models.hub.hub_client import HubClient, HubUnreachable, RepositoryInfo
from llmcli.models.hub.variants import VariantList, rate_variants, read_supported_header
from llmcli.models.memory_estimate import FitPolicy
from llmcli.types import ItemFailed, Notice, Progress


@dataclass(frozen=True, slots=True)
class FoundRepository:
    """A repository that was found, and the quantizations that it offers of its usual model."""

    info: RepositoryInfo
    variants: VariantList


def search_models(
    hub: HubClient, words: str, limit: int, fit_policy: FitPolicy, interrupt: Interrupt
) -> Iterator[Progress | Notice | ItemFailed | FoundRepository]:
    """Yield at most ``limit`` repositories whose names match ``words``, the most downloaded first.

    One that holds no whole model is left out, with a notice one that nobody may have or load; one about which nothing
    was answered is an ``ItemFailed``, and so is one, behind what it offers, of which only the sizes came. Raises as ``Hub.search``, ``MissingError`` (kind "match") where nothing is found,
    and ``Unreachable`` when the Hub goes away.
    """
    found = [each for each in hub.search_repositories(words, limit, interrupt) if parse_hub_name(each.repo)]
    something, left_out = False, []
    for number, each in enumerate(found):
        yield Progress(number, len(found), "repositories")
        try:
            offers, trouble = _rate_repository(hub, each.repo, fit_policy, interrupt)
        except HubUnreachable:
            raise
        except (AccessDenied, BadModelFile, MissingError) as error:
            left_out.append(f"{each.repo} is left out: {error.detail}")
            yield Notice(left_out[-1])
        except (RemoteError, TemporaryFailure) as error:
            something = True
            yield ItemFailed(number, each.repo, error)
        else:
            if offers is not None:
                something = True
                yield FoundRepository(each, offers)
                if trouble is not None:
                    yield ItemFailed(number, each.repo, trouble)
    if not something:
        raise MissingError(words, kind="match", detail="; ".join(left_out))


def _rate_repository(
    hub: HubClient, repo: str, fit_policy: FitPolicy, interrupt: Interrupt
) -> tuple[VariantList | None, AccessDenied | RemoteError | TemporaryFailure | None]:
    """Return what a repository offers, and why its header cannot be read, so that only sizes are known."""
    listing = hub.list_repository(repo, interrupt)
    usual = HubName(repo).choose_file([item.file for item in listing.files if is_model_file(item.file)])
    if usual is None:
        return None, None
    header, trouble = None, None
    try:
        header = read_supported_header(hub, listing, usual, fit_policy, interrupt)
    except (AccessDenied, RemoteError, TemporaryFailure) as error:  # a gated repository lists its files all the same
        error.detail = f"only the sizes are known, not what it needs: {error.detail}"
        trouble = error
    return rate_variants(listing, usual, header, fit_policy), trouble
