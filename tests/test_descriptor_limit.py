"""The limit on descriptors is raised if the system allows it, and never lowered."""

from __future__ import annotations

import resource

import pytest

from llmcli.child_processes import raise_descriptor_limit

NO_LIMIT = resource.RLIM_INFINITY


@pytest.mark.parametrize(
    ("soft", "hard", "raised"),
    [
        (1024, 65536, 8192),
        (1024, 4096, 4096),
        (1024, NO_LIMIT, 8192),
        (10000, 65536, None),
        (4096, 4096, None),
        (NO_LIMIT, NO_LIMIT, None),
    ],
)
def test_the_limit_is_raised_as_far_as_possible(monkeypatch, soft, hard, raised):
    """To what a server needs, or to the hard limit, which stays."""
    limits = []
    monkeypatch.setattr(resource, "getrlimit", lambda _: (soft, hard))
    monkeypatch.setattr(resource, "setrlimit", lambda _, values: limits.append(values))
    raise_descriptor_limit()
    assert limits == ([] if raised is None else [(raised, hard)])


def test_a_limit_that_cannot_be_raised_stays(monkeypatch):
    """Then there are fewer descriptors."""

    def refuse(_limit, _values):
        raise ValueError

    monkeypatch.setattr(resource, "getrlimit", lambda _: (1024, 65536))
    monkeypatch.setattr(resource, "setrlimit", refuse)
    raise_descriptor_limit()
