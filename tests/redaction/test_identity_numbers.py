"""National numbers of people: the words beside them, other spellings, and numbers that only look alike."""

from __future__ import annotations

import pytest
from row_table import all_rows

from llmcli.cli.main import main
from llmcli.redaction.detectors import find_private

FOUND = [
    ("employee_ssn=523538094", "523538094"),
    ('{"socialSecurityNumber": "523-53-8094"}', "523-53-8094"),
    ("<ssn>523-53-8094</ssn>", "523-53-8094"),
    ("523-53-8094 (SSN)", "523-53-8094"),
    ("D.N.I.: 52.556.238-L", "52.556.238-L"),
    ("NIR 283077505648401", "283077505648401"),
    ("rssgli84c52f205n", "rssgli84c52f205n"),
    ("Steueridentifikationsnummer 86095742719", "86095742719"),
    ("personnummer \u00e4r 19811228-9874", "19811228-9874"),
    ("PAN card AFZPK7190K", "AFZPK7190K"),
    ("social insurance number 046454286", "046454286"),
    ("Her NI no. AB 12 34 56 C", "AB 12 34 56 C"),
    ("Driver's license: D123-4567-8901", "D123-4567-8901"),
    ("Reisepass-Nr.: C01X00T47", "C01X00T47"),
    ("SSN: 523\u00a053\u00a08094", "523\u00a053\u00a08094"),
    ("\u8eab\u4efd\u8bc1\u53f7\uff1a\uff11\uff11\uff10\uff11\uff10\uff15198403124825", "\uff11\uff11\uff10\uff11\uff10\uff15198403124825"),
]  # fmt: skip
INNOCENT = [
    "Order 523-53-8094 was shipped on 2026-12-02.",
    "Invoice 2026-1202-0001 for 12 345,67 EUR",
    "ISBN 978-3-16-148410-0, ISSN 2049-3630",
    "version 10.0.19045.3693 of the driver",
    "part GB29 NWBK 6016 1331 9268 20",
    "model AB123456C, SKU AFZPK7190K",
    "52556238L * sizeof(int)",
    "The sin of 123456782 radians",
    "nie mam 044051401359, pan 12345678",
    "EAN 4006381333931, IMEI 490154203237518",
    "timestamp 1701516742123 ms",
    "Passport control opens at 0800 hours",
    "passport.js 0.7.0 released 20230101",
    '"passport": "^0.6.0", "express": "4.18.2"',
    "Driving licence required, minimum age 21",
    "SSNs have nine digits: 3-2-4",
    'std::cout << "ABC" << std::endl;',
    "class name 123456789",
    "Medicare part B covers 80% of the costs in 2024",
    "cpf: 000.000.000-00",
]


@all_rows(("text", "value"), FOUND)
def test_a_number_is_found_beside_its_word(text, value):
    """In settings, JSON, XML and sentences, with other separators and digits."""
    spans = find_private(text)
    assert [text[span.start : span.end] for span in spans] == [value], text


@all_rows("text", INNOCENT)
def test_other_numbers_are_left(text):
    """Orders, versions, dates, measures, and words that mean something else."""
    assert find_private(text) == [], text


@pytest.mark.parametrize("unit", ["SSN 523-53-8094 ", "SSN passport ", "110105198403124825 ", "1.2/3-4 ", "P<UTO<<"])
def test_the_time_grows_with_the_length(unit):
    """The cost of a piece does not depend on the length of the text."""
    import time

    text = unit * (200_000 // len(unit))
    started = time.process_time()
    find_private(text, ("id",))
    assert time.process_time() - started < len(text) / 1024 * 0.008


def test_the_command_shows_a_placeholder(tmp_path, capfd):
    """As for every other kind."""
    path = tmp_path / "form.txt"
    path.write_text("SSN: 523-53-8094\n", "utf-8")
    assert main(["redact", str(path)]) == 0
    assert capfd.readouterr().out == "SSN: PII_ID_1\n"
