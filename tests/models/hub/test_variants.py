"""The quantizations of a repository, and which one is chosen: decided from one header before a download."""

from __future__ import annotations

import dataclasses
import os

import pytest
from fake_hub import QUICK_RETRIES, REPO, Fault

from llmcli.errors import AccessDenied, BadModelFile, ModelTooLarge
from llmcli.models.footprint import PROCESS_BYTES
from llmcli.models.gguf.header_parser import read_header
from llmcli.models.hub.hub_client import HubClient, RemoteFile, RepositoryListing
from llmcli.models.hub.variants import VariantList, choose_variant, rate_variants
from llmcli.models.memory_estimate import FitPolicy, MachineResources
from llmcli.types import Notice

MB = 10**6
CONTEXT = 64
SIZES = {"m.Q2_K.gguf": 30 * MB, "m.Q4_K_M.gguf": 50 * MB, "m.Q6_K.gguf": 70 * MB, "m.Q8_0.gguf": 90 * MB}
HEADER_ROOM = 58 * MB  # more than the process, the cache and the buffers of the tiny model take


def fit_policy(memory=10**12, *, gpus=(), force=False):
    return FitPolicy(lambda: MachineResources(memory, gpus, 10.0**9), CONTEXT, force=force)


def listing(sizes):
    return RepositoryListing(REPO, "c" * 40, tuple(RemoteFile(name, size, "0" * 64) for name, size in sizes.items()))


def judged(sizes=SIZES, usual="m.Q4_K_M.gguf", memory=10**12, order=(), header=None):
    return rate_variants(listing(sizes), usual, header, fit_policy(memory), order)


def labels(variants):
    return [offer.quantization for offer in variants.variants]


# ---- what is offered -----------------------------------------------------------------------------------------------


def test_each_quantization_is_listed_once():
    """The usual ones first; another model, a projector and files other than GGUF are not listed."""
    others = {"other.Q4_0.gguf": 1, "mmproj-m.Q8_0.gguf": 1, "README.md": 1, "copy/m.Q8_0.gguf": 2}
    found = judged(SIZES | others)
    assert labels(found) == ["Q4_K_M", "Q6_K", "Q8_0", "Q2_K"]
    names = {offer.quantization: offer.name for offer in found.variants}
    assert names["Q6_K"] == f"{REPO}:Q6_K"


def test_a_name_is_unambiguous():
    """If a label would mean a file of another model, the file itself is the name."""
    found = judged({"a.Q8_0.gguf": 1, "m.Q4_K_M.gguf": 1, "m.Q8_0.gguf": 1})
    assert {offer.file: offer.name for offer in found.variants} == {
        "m.Q4_K_M.gguf": f"{REPO}:Q4_K_M",
        "m.Q8_0.gguf": f"{REPO}/m.Q8_0.gguf",
    }


def test_a_file_without_a_label_is_listed():
    """By its own name."""
    (offer,) = judged({"model.gguf": 5}, "model.gguf").variants
    assert (offer.quantization, offer.name, offer.bits_per_weight) == (None, f"{REPO}/model.gguf", None)


def test_a_split_model_is_the_sum_of_its_parts():
    """Only complete ones, in whatever folder they are."""
    split = {f"big/m.Q8_0-0000{n}-of-00003.gguf": 40 * MB for n in (1, 2, 3)}
    torn = {f"m.BF16-0000{n}-of-00003.gguf": 80 * MB for n in (1, 3)}
    found = judged({"m.Q4_K_M.gguf": 50 * MB, **split, **torn})
    assert [(offer.quantization, offer.size) for offer in found.variants] == [("Q4_K_M", 50 * MB), ("Q8_0", 120 * MB)]
    assert found.variants[1].file == "big/m.Q8_0-00001-of-00003.gguf"


def test_an_incomplete_model_is_not_listed():
    """A missing file cannot be chosen."""
    assert judged({"m.Q8_0-00001-of-00002.gguf": 1}, "m.Q8_0-00001-of-00002.gguf") is None


def test_bits_are_computed_from_the_file_if_its_weights_are_known(tiny):
    """Otherwise those that the label implies."""
    header = read_header(tiny("llama"))
    (offer,) = judged({"m.Q4_K_M.gguf": header.n_params}, header=header).variants
    assert offer.bits_per_weight == 8
    assert judged({"m.Q4_K_M.gguf": 1}).variants[0].bits_per_weight == 4.5


# ---- which is taken ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("memory", "taken", "fits"),
    [
        (10**12, "Q6_K", None),
        (70 * MB, "Q6_K", None),
        (69 * MB, "Q4_K_M", None),
        (49 * MB, "Q2_K", None),
        (29 * MB, "Q2_K", False),
    ],
)
def test_the_best_that_fits_is_chosen(memory, taken, fits):
    """The one with the most bits up to 8; if nothing fits, the smallest is the one to force.

    Here only sizes are known: they can show that something does not fit, but not that it fits.
    """
    found = judged(memory=memory)
    assert (found.selected.quantization, found.selected.estimate.fits) == (taken, fits)


def test_of_more_than_8_bits_the_fewest_are_chosen():
    """They gain nothing."""
    assert judged({"m.BF16.gguf": 160 * MB, "m.Q8_0.gguf": 90 * MB}, "m.Q8_0.gguf").selected.quantization == "Q8_0"


def test_an_order_decides():
    """The first of it that fits, whatever else there is."""
    assert judged(order=("Q4_K_M", "Q8_0")).selected.quantization == "Q4_K_M"
    assert judged(order=("Q8_0", "Q4_K_M"), memory=60 * MB).selected.quantization == "Q4_K_M"
    assert labels(judged(order=("Q8_0", "Q4_K_M"))) == ["Q8_0", "Q4_K_M"]


def test_unknown_memory_refuses_nothing():
    """The usual rule applies then."""
    assert judged(memory=None).selected.quantization == "Q6_K"


# ---- with a Hub ----------------------------------------------------------------------------------------------------


@pytest.fixture
def choose(hub, tiny, interrupt):
    """Return a function to the chosen file of a repository, and the events before."""
    content = {"llama": tiny("llama").read_bytes(), "gemma3": tiny("gemma3").read_bytes()}
    hub.repos[REPO] = {"m.Q4_K_M.gguf": content["llama"], "m.Q8_0.gguf": content["gemma3"]}
    hub.sizes = {(REPO, "m.Q4_K_M.gguf"): 50 * MB, (REPO, "m.Q8_0.gguf"): 90 * MB}

    def chosen(policy, usual="m.Q4_K_M.gguf", **how):
        client = HubClient(os.environ, QUICK_RETRIES)
        events = choose_variant(client, client.list_repository(REPO, interrupt), usual, policy, interrupt, **how)
        said = []
        while True:
            try:
                said.append(next(events))
            except StopIteration as end:
                return end.value, said

    return chosen


def test_one_header_describes_all(hub, choose, tiny):
    """It is read once, and the variants are reported before anything is fetched."""
    file, (variants,) = choose(fit_policy())
    assert file == "m.Q4_K_M.gguf" and isinstance(variants, VariantList) and len(hub.headers_asked()) == 1
    cache = {offer.estimate.kv_cache_bytes for offer in variants.variants}
    assert cache == {read_header(tiny("llama")).kv_bytes_per_token() * CONTEXT}
    assert [offer.estimate.weight_bytes for offer in variants.variants] == [50 * MB, 90 * MB]


def test_the_cache_counts(choose):
    """Weights that fill the memory leave no room for it."""
    assert choose(fit_policy(50 * MB + HEADER_ROOM))[0] == "m.Q4_K_M.gguf"
    with pytest.raises(ModelTooLarge) as caught:
        choose(fit_policy(50 * MB))
    error = caught.value
    assert (error.exit_code, error.subject, error.weights, error.context) == (71, f"{REPO}:Q4_K_M", 50 * MB, CONTEXT)
    assert error.needed - error.weights > PROCESS_BYTES + 256 * CONTEXT and error.smaller_variant == ""


def test_a_gpu_has_its_own_memory(choose):
    """A model that does not fit the main memory may fit both."""
    _, (variants,) = choose(fit_policy(20 * MB + HEADER_ROOM, gpus=(30 * MB,)))
    assert variants.selected.estimate.fits and not variants.selected.estimate.fits_on_gpu
    _, (variants,) = choose(fit_policy(0, gpus=(110 * MB,)))
    assert variants.selected.estimate.fits_on_gpu


def test_a_named_quantization_is_chosen_or_refused(choose):
    """Never another instead; the refusal names a smaller one that fits."""
    file, (variants,) = choose(fit_policy(), "m.Q8_0.gguf", named=True)
    assert file == "m.Q8_0.gguf" and labels(variants) == ["Q8_0"]
    with pytest.raises(ModelTooLarge) as caught:
        choose(fit_policy(60 * MB + HEADER_ROOM), "m.Q8_0.gguf", named=True)
    assert (caught.value.subject, caught.value.smaller_variant) == (f"{REPO}:Q8_0", f"{REPO}:Q4_K_M")


def test_force_chooses_what_does_not_fit(choose):
    """The smallest, or the named one."""
    assert choose(fit_policy(1, force=True))[0] == "m.Q4_K_M.gguf"
    assert choose(fit_policy(1, force=True), "m.Q8_0.gguf", named=True)[0] == "m.Q8_0.gguf"


@pytest.mark.parametrize("fault", [Fault(status=500), Fault(portal="html"), Fault(bad_range=True)])
def test_without_a_header_the_weights_decide(hub, choose, fault):
    """A notice says that no more was known."""
    hub.header_faults += [fault] * 9
    file, (notice, variants) = choose(fit_policy(51 * MB))
    assert isinstance(notice, Notice) and f"{REPO}/m.Q4_K_M.gguf" in notice.text
    assert file == "m.Q4_K_M.gguf" and variants.selected.estimate.needed_bytes == 50 * MB


def test_a_header_that_cannot_be_loaded_is_refused(hub, choose):
    """Before gigabytes are downloaded; unless it is forced."""
    hub.repos[REPO]["m.Q4_K_M.gguf"] = b"GGUF nonsense".ljust(2000)
    with pytest.raises(BadModelFile):
        choose(fit_policy())
    assert choose(fit_policy(force=True))[0] == "m.Q4_K_M.gguf"


def test_a_gated_repository_is_refused(hub, choose):
    """With the address where its terms can be accepted."""
    hub.header_faults += [Fault(status=403)]
    with pytest.raises(AccessDenied) as caught:
        choose(fit_policy())
    assert caught.value.url.endswith(REPO)


def test_missing_parts_are_left_to_the_download(hub, choose):
    """A named model is not replaced by a complete one."""
    hub.repos[REPO]["m.BF16-00001-of-00002.gguf"] = b"x"
    file, said = choose(fit_policy(force=True), "m.BF16-00001-of-00002.gguf", named=True)
    assert file == "m.BF16-00001-of-00002.gguf" and not any(isinstance(event, VariantList) for event in said)


def test_a_model_that_cannot_run_is_refused(choose):
    """Its header says so; unless it is forced."""
    asked = []

    def obstacle(header):
        asked.append(header.architecture)
        return "an embedding model"

    policy = dataclasses.replace(fit_policy(), unsupported_reason=obstacle)
    with pytest.raises(BadModelFile) as caught:
        choose(policy)
    assert (caught.value.subject, caught.value.detail) == (f"{REPO}/m.Q4_K_M.gguf", "an embedding model")
    assert choose(dataclasses.replace(policy, force=True))[0] == "m.Q4_K_M.gguf" and asked == ["llama"] * 2
