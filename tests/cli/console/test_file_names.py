"""Names of files in headings: one line in which each character is seen."""

from __future__ import annotations

import os
import subprocess

import pytest

from llmcli.cli.console.file_names import show_name

NAMES = {
    "a\nb": r"'a'$'\n''b'",
    "\x1b[31m.txt": r"''$'\033''[31m.txt'",
    "a\n": r"'a'$'\n'",
    "it's\t1": r"'it'\''s'$'\t''1'",
    "a ": "'a '",
    os.fsdecode(b"caf\xe9"): r"'caf'$'\351'",
    "a\u202eb": r"'a'$'\342\200\256''b'",
    "'a'": r"''\''a'\'''",
}


@pytest.mark.parametrize("name", NAMES)
def test_a_name_with_what_is_not_seen_is_quoted(name):
    """As ls quotes it; bash takes it back."""
    shown = show_name(name)
    assert shown == NAMES[name]
    printed = subprocess.run(["bash", "-c", f"printf %s {shown}"], capture_output=True, check=True).stdout
    assert printed == os.fsencode(name)


@pytest.mark.parametrize(
    "name", ["a.txt", "my notes.txt", "-n", "über.txt", "it's", "日本.md", os.fsdecode("é".encode())]
)
def test_another_name_stays(name):
    """A blank within it is seen."""
    assert show_name(name) == name


def test_a_surrogate_that_is_no_byte_is_replaced():
    """JSON of a server may have one."""
    assert show_name("a\ud800") == "a\ufffd"


@pytest.mark.parametrize("command", ["redact", "summarize"])
def test_a_line_feed_forges_no_heading(llm, tmp_path, monkeypatch, command):
    """Each file has one heading."""
    monkeypatch.chdir(tmp_path)
    names = ["a <==\nMy card\n\n==> b", "c.txt", os.fsdecode(b"\xe9\x1b[2J")]
    for name in names:
        (tmp_path / name).write_text("Some words of a text.\n")
    done = llm(command, "--", *names, answer=lambda _: "Short.")
    assert done.code == 0, done.err
    headings = [line for line in done.out.splitlines() if line.startswith("==> ")]
    assert headings == [f"==> {show_name(name)} <==" for name in names]
    assert "\x1b" not in done.out
