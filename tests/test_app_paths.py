"""The directories of llm's files."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import platformdirs
import pytest

from llmcli.app_paths import find_paths

XDG = ("XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME", "XDG_STATE_HOME")


@pytest.mark.parametrize("given", [{}, dict.fromkeys(XDG, ""), dict.fromkeys(XDG, "  "), {n: f"/x/{n}" for n in XDG}])
def test_the_directories_are_those_of_platformdirs(monkeypatch, tmp_path, given):
    """On Linux too, where the library is not imported."""
    for name in (*XDG, "LLMCLI_CONFIG_DIR", "LLMCLI_DATA_DIR", "LLMCLI_CACHE_DIR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("HOME", str(tmp_path))
    paths, expected = find_paths(os.environ), platformdirs.PlatformDirs("llmcli", appauthor=False)
    assert (paths.config, paths.data, paths.cache, paths.log) == (
        expected.user_config_path,
        expected.user_data_path,
        expected.user_cache_path,
        expected.user_log_path,
    )


def test_variables_of_llm_override_the_platform():
    """The log is in the cache directory then."""
    names = {"LLMCLI_CONFIG_DIR": "/c", "LLMCLI_DATA_DIR": "/d", "LLMCLI_CACHE_DIR": "/e"}
    paths = find_paths({**names, "HOME": "/home/someone"})
    assert [*map(str, (paths.config, paths.data, paths.cache, paths.log))] == ["/c", "/d", "/e", "/e"]


@pytest.mark.skipif(sys.platform != "linux", reason="the paths of Linux")
def test_without_a_home_the_password_database_names_it(monkeypatch):
    """As in cron jobs of some systems."""
    monkeypatch.delenv("HOME", raising=False)
    assert find_paths({}).data == Path.home() / ".local/share/llmcli"
