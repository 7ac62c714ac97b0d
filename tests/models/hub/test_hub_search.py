"""Searching the Hub: which repositories are found, what is requested of each, and failures."""

from __future__ import annotations

import pytest
from fake_hub import Fault

from llmcli.errors import MissingError, Offline, TemporaryFailure
from llmcli.errors.network_errors import HubUnreachable
from llmcli.models.hub.variants import FoundRepository
from llmcli.models.memory_estimate import FitPolicy, MachineResources
from llmcli.types import ItemFailed, Notice, Progress

POLICY = FitPolicy(lambda: MachineResources(10**9, (), 10.0**9), 64)


@pytest.fixture
def stocked(hub, tiny):
    """Return a Hub with three repositories, one of which has no model."""
    content = tiny("llama").read_bytes()
    for number, name in enumerate(("a/tiny-GGUF", "b/tiny-chat-GGUF", "c/tiny-empty")):
        hub.repos[name] = {"m.Q4_0.gguf": content, "m.Q8_0.gguf": content[:-1]}
        hub.cards[name] = {"downloads": number, "tags": ["gguf", "license:mit"], "gated": False}
    hub.repos["c/tiny-empty"] = {"mmproj-m.gguf": content}
    return hub


@pytest.fixture
def search(stocked, library, interrupt):
    """Return a function to the events of a search except its progress."""

    def events(words="tiny", limit=10, policy=POLICY):
        found = library.search(words, limit, policy, interrupt)
        return [event for event in found if not isinstance(event, Progress)]

    return events


def repos(events):
    return [event.info.repo for event in events if isinstance(event, FoundRepository)]


def test_repositories_come_with_their_quantizations(search):
    """The most downloaded first; a repository without a model is skipped."""
    events = search()
    assert repos(events) == ["b/tiny-chat-GGUF", "a/tiny-GGUF"] and len(events) == 2
    assert [offer.quantization for offer in events[0].variants.variants] == ["Q4_0", "Q8_0"]
    assert (events[0].info.licence, events[0].info.downloads, events[0].info.gated) == ("mit", 1, False)
    assert events[0].variants.selected.estimate.kv_bytes_per_token == 256


def test_all_words_have_to_match(search):
    """As the Hub does it."""
    assert repos(search("tiny chat")) == ["b/tiny-chat-GGUF"]


def test_the_limit_bounds_the_requests(search, stocked):
    """One listing and one header for each repository, and none for the others."""
    search("tiny", limit=2)
    assert len(stocked.headers_asked()) == 1  # the other of the two has no model
    assert [path for path in stocked.paths("hub") if path.startswith("/api/models/")] == [
        "/api/models/c/tiny-empty",
        "/api/models/b/tiny-chat-GGUF",
    ]


def test_nothing_found(search):
    """No repository, or none with a model: 66."""
    for words in ("unheard-of", "empty"):
        with pytest.raises(MissingError) as caught:
            search(words)
        assert (caught.value.exit_code, caught.value.kind, caught.value.subject) == (66, "match", words)


def test_a_repository_that_fails_does_not_end_the_search(search, stocked):
    """Its error comes in its place."""
    stocked.listing_faults = [Fault(), Fault(), Fault(status=500), Fault(status=500)]
    failed, found = search()
    assert (
        isinstance(failed, ItemFailed)
        and failed.name == "b/tiny-chat-GGUF"
        and isinstance(failed.error, TemporaryFailure)
    )
    assert found.info.repo == "a/tiny-GGUF"


def test_a_removed_repository_is_skipped(search, stocked):
    """With a notice, since that is no failure."""
    stocked.listing_faults = [Fault(), Fault(), Fault(status=404)]
    notice, found = search()
    assert isinstance(notice, Notice) and "skipped b/tiny-chat-GGUF" in notice.text
    assert found.info.repo == "a/tiny-GGUF"


def test_the_error_names_skipped_repositories_if_none_remains(search, stocked):
    """The error says why."""
    stocked.listing_faults = [Fault(), Fault(status=403)]
    with pytest.raises(MissingError) as caught:
        search("chat")
    assert "skipped b/tiny-chat-GGUF" in caught.value.detail


def test_a_gated_repository_shows_its_sizes(search, stocked):
    """Its files can be listed; the weights are known, and where to accept its terms."""
    stocked.header_faults = [Fault(status=403)]
    found, failed, _ = search()
    assert isinstance(failed, ItemFailed) and failed.error.url == f"{stocked.endpoint}/b/tiny-chat-GGUF"
    fit = found.variants.selected.estimate
    assert (fit.kv_bytes_per_token, fit.fits, fit.header_known) == (None, None, False)


def test_a_file_that_cannot_be_loaded_is_skipped(search, stocked):
    """It cannot be used here."""
    stocked.repos["b/tiny-chat-GGUF"] = {"m.Q4_0.gguf": b"GGUF nonsense"}
    notice, found = search()
    assert isinstance(notice, Notice) and found.info.repo == "a/tiny-GGUF"


def test_an_unreachable_hub_ends_the_search(library, stocked, interrupt):
    """The other repositories would not answer either."""
    stocked.listing_faults = [Fault(), Fault(), Fault(hang_up=True)]
    with pytest.raises(HubUnreachable):
        list(library.search("tiny", 10, POLICY, interrupt))
    assert stocked.headers_asked() == []


def test_a_search_retries_once(search, stocked):
    """A busy Hub is asked twice."""
    stocked.listing_faults = [Fault(status=429)] * 9
    with pytest.raises(TemporaryFailure):
        search()
    assert len(stocked.asked) == 2


def test_names_pass_the_allow_list(search, stocked):
    """A repository whose name could not be pulled is not requested."""
    stocked.repos["d/tiny--x"] = stocked.repos["a/tiny-GGUF"]
    assert "d/tiny--x" not in repos(search()) and "/api/models/d/tiny--x" not in stocked.paths("hub")


def test_offline(make_library, stocked, interrupt):
    """No connection is opened."""
    with pytest.raises(Offline):
        list(make_library(offline=True).search("tiny", 10, POLICY, interrupt))
    assert stocked.asked == []
