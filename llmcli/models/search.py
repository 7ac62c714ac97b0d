"""Searching the Hub: what the repositories that match offer, and which of it fits this machine.

For each repository one listing is asked for and the header of one file read, some megabytes at most.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from llmcli.errors import AccessDenied, BadModelFile, MissingError, RemoteError, TryAgain
from llmcli.interrupt import Interrupt
from llmcli.models.fit import Fitting
from llmcli.models.hub import Found, Hub, Unreachable
from llmcli.models.names import HubName, is_model_file, parse_hub_name
from llmcli.models.offers import Offers, judge, read_header
from llmcli.types import ItemFailed, Notice, Progress


@dataclass(frozen=True, slots=True)
class Repository:
    """A repository that was found, and the quantizations that it offers of its usual model."""

    found: Found
    offers: Offers


def search(
    hub: Hub, words: str, limit: int, fitting: Fitting, interrupt: Interrupt
) -> Iterator[Progress | Notice | ItemFailed | Repository]:
    """Yield at most ``limit`` repositories whose names match ``words``, the most downloaded first.

    One that holds no whole model is left out, with a notice one that nobody may have or load; one about which nothing
    was answered is an ``ItemFailed``, and so is one, behind what it offers, of which only the sizes came. Raises as ``Hub.search``, ``MissingError`` (kind "match") where nothing is found,
    and ``Unreachable`` when the Hub goes away.
    """
    found = [each for each in hub.search(words, limit, interrupt) if parse_hub_name(each.repo)]
    something, left_out = False, []
    for number, each in enumerate(found):
        yield Progress(number, len(found), "repositories")
        try:
            offers, trouble = _offers(hub, each.repo, fitting, interrupt)
        except Unreachable:
            raise
        except (AccessDenied, BadModelFile, MissingError) as error:
            left_out.append(f"{each.repo} is left out: {error.detail}")
            yield Notice(left_out[-1])
        except (RemoteError, TryAgain) as error:
            something = True
            yield ItemFailed(number, each.repo, error)
        else:
            if offers is not None:
                something = True
                yield Repository(each, offers)
                if trouble is not None:
                    yield ItemFailed(number, each.repo, trouble)
    if not something:
        raise MissingError(words, kind="match", detail="; ".join(left_out))


def _offers(
    hub: Hub, repo: str, fitting: Fitting, interrupt: Interrupt
) -> tuple[Offers | None, AccessDenied | RemoteError | TryAgain | None]:
    """Return what a repository offers, and why its header cannot be read, so that only sizes are known."""
    listing = hub.listing(repo, interrupt)
    usual = HubName(repo).choose([item.file for item in listing.files if is_model_file(item.file)])
    if usual is None:
        return None, None
    header, trouble = None, None
    try:
        header = read_header(hub, listing, usual, fitting, interrupt)
    except (AccessDenied, RemoteError, TryAgain) as error:  # a gated repository lists its files all the same
        error.detail = f"only the sizes are known, not what it needs: {error.detail}"
        trouble = error
    return judge(listing, usual, header, fitting), trouble
