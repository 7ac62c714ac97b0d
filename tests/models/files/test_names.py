"""Names: the allow-list, labels, parts, and which file is chosen."""

from __future__ import annotations

import pytest
from row_table import all_rows

from llmcli.models.files.names import (
    HubName,
    choose_file,
    is_model_file,
    is_valid_name,
    parse_hub_name,
    part_names,
    quantization_label,
)
from llmcli.models.files.paths import is_path


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("owner/repo", HubName("owner/repo")),
        ("owner/repo:Q4_K_M", HubName("owner/repo", quantization="Q4_K_M")),
        ("owner/repo/file.gguf", HubName("owner/repo", file="file.gguf")),
        ("owner/repo/BF16/file-00001-of-00002.gguf", HubName("owner/repo", file="BF16/file-00001-of-00002.gguf")),
        ("o.w-n_er1/re.po-GGUF", HubName("o.w-n_er1/re.po-GGUF")),
    ],
)
def test_hub_names(name, meant):
    """The three forms of a Hub name are parsed and written back unchanged."""
    assert parse_hub_name(name) == meant
    assert str(meant) == name


@all_rows(
    "name",
    [
        *["", "word", "/", "a/", "/b", "a//b", "a/b/", "../b", "a/..", "a/../b.gguf", "a/b/../c.gguf", "a/b/c.txt"],
        *["a--b/c", "a/b--c", "a/b:", "a/b:../x", "a/b:Q4/x", "a/b/c.gguf:Q4", "a/b c", "a/.b", "-a/b", "a/b\n"],
        *["a/b/\x00.gguf", "a/b/.x.gguf", "a/b//c.gguf", "\u0430/b", "a/" + "b" * 97, "http://a/b", "a\\b/c"],
    ],
)
def test_refused_hub_names(name):
    """A name that could leave the cache or cannot be on the Hub is not a Hub name."""
    assert parse_hub_name(name) is None


@pytest.mark.parametrize("name", ["/m.gguf", "./m", "../m.gguf", "~/m.gguf", "m.gguf", "dir/M.GGUF"])
def test_paths(name, tmp_path, monkeypatch):
    """A name that begins like a path, or ends in .gguf and exists, is a path."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "dir").mkdir()
    for file in ("m.gguf", "dir/M.GGUF"):
        (tmp_path / file).touch()
    assert is_path(name)


@pytest.mark.parametrize("name", ["m", "owner/repo", "owner/repo:Q4_0"])
def test_names_that_are_not_paths(name, tmp_path, monkeypatch):
    """Other names are no paths even if a file of that name exists."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "owner").mkdir()
    (tmp_path / name).touch()
    assert not is_path(name)


def test_a_missing_gguf_file_is_not_a_path():
    """A name that ends in .gguf is no path if there is no such file."""
    assert not is_path("owner/repo/m.gguf")


@pytest.mark.parametrize(("name", "plain"), [("qwen3-0.6b", True), ("a/b", False), ("a..b", False), ("", False)])
def test_plain_names(name, plain):
    """A plain name is one word."""
    assert is_valid_name(name) is plain


@pytest.mark.parametrize(
    ("file", "label"),
    [
        ("SmolLM2-135M-Instruct.Q4_1.gguf", "Q4_1"),
        ("qwen2.5-7b-instruct-q4_k_m-00001-of-00002.gguf", "Q4_K_M"),
        ("gpt-oss-20b-mxfp4.gguf", "MXFP4"),
        ("gemma-3-4b-it-UD-Q4_K_XL.gguf", "UD-Q4_K_XL"),
        ("Model.i1-IQ4_XS.gguf", "IQ4_XS"),
        ("BF16/model-BF16-00001-of-00002.gguf", "BF16"),
        ("model-f16.gguf", "F16"),
        ("phi-4.gguf", None),
        ("q8-chat.gguf", "Q8"),
        ("Q4_0/model.gguf", None),
    ],
)
def test_labels(file, label):
    """The quantization label is read from the file's name."""
    assert quantization_label(file) == label


def test_parts():
    """All parts of a split model follow from any of them; other names have only themselves."""
    both = ("d/m-00001-of-00002.gguf", "d/m-00002-of-00002.gguf")
    assert part_names(both[0]) == part_names(both[1]) == both
    assert [part_names(name) for name in ("m.gguf", "m-00003-of-00002.gguf")] == [
        ("m.gguf",),
        ("m-00003-of-00002.gguf",),
    ]


@pytest.mark.parametrize("file", ["mmproj-model-f16.gguf", "model.imatrix.gguf", "README.md", "../m.gguf", ".m.gguf"])
def test_not_models(file):
    """Projectors, statistics, other files and unsafe names are never accepted as models."""
    assert not is_model_file(file)


FILES = ("m-Q8_0.gguf", "m-q4_k_m.gguf", "m-Q2_K-00001-of-00002.gguf", "m-Q2_K-00002-of-00002.gguf", "mmproj-Q4_0.gguf")


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("a/b", "m-q4_k_m.gguf"),
        ("a/b:q8_0", "m-Q8_0.gguf"),
        ("a/b:Q2_K", "m-Q2_K-00001-of-00002.gguf"),
        ("a/b:Q4_0", None),
        ("a/b/m-Q8_0.gguf", "m-Q8_0.gguf"),
        ("a/b/other.gguf", None),
        ("a/b/mmproj-Q4_0.gguf", None),
    ],
)
def test_choice(name, file):
    """A label selects its file in any case, a file name itself, and no label the preferred one."""
    assert parse_hub_name(name).choose_file(FILES) == file


def test_unknown_labels():
    """A repository without any known label still has a model; a list of labels alone finds none there."""
    assert parse_hub_name("a/b").choose_file(["z.gguf", "x.gguf"]) == "x.gguf"
    assert choose_file(["z.gguf"], ("Q4_K_M",)) is None
