"""Codes that restore access: each one of a list is found, and nothing between or behind them."""

from __future__ import annotations

import pytest

from llmcli.cli.main import main
from llmcli.redaction.recovery_codes import find_recovery_codes
from llmcli.redaction.text_index import TextIndex


@pytest.mark.parametrize(
    ("text", "codes"),
    [
        ("Recovery codes:\n  1. 4f7k-92mz\n  2. p3xw-77qa\n\nNext section", ["4f7k-92mz", "p3xw-77qa"]),
        ("Wiederherstellungscodes:\n- 8a2b3c4d\n- 9z8y7x6w\n\nBob [10:12]: hi", ["8a2b3c4d", "9z8y7x6w"]),
        ("Save these backup codes. Each can be used once:\n 4fk2-9xqm\n p7dz-3hwt", ["4fk2-9xqm", "p7dz-3hwt"]),
        ("BitLocker recovery key: 123456-234567-345678\nNext line", ["123456-234567-345678"]),
        ("backup code: a8f3 k2m9, 77qa p3xw", ["a8f3 k2m9", "77qa p3xw"]),
        ("Recovery codes are lost.\nwell-known next-line", []),
    ],
)
def test_each_code_is_found_alone(text, codes):
    """In the order of the text, without marks of lists, line ends and the lines that follow."""
    assert [text[start:end] for start, end in find_recovery_codes(TextIndex(text))] == codes


def test_llm_redact_keeps_the_lines(tmp_path, capfd):
    """The list and what follows it keep their form."""
    (tmp_path / "codes.txt").write_text("Recovery codes:\n- 4f7k-92mz\n- p3xw-77qa\nNext section\n", encoding="utf-8")
    assert main(["redact", str(tmp_path / "codes.txt")]) == 0
    assert capfd.readouterr().out == "Recovery codes:\n- PII_KEY_1\n- PII_KEY_2\nNext section\n"
