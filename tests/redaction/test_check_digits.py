"""Check digits of cards and IBANs."""

from __future__ import annotations

import pytest

from llmcli.redaction.number_formats import IBAN_LENGTHS, is_card_number, is_iban, passes_luhn

CARDS = ["4111111111111111", "5555555555554444", "2223003122003222", "378282246310005", "6011111111111117",
         "3530111333300000", "30569309025904", "4222222222222", "6200000000000005"]  # fmt: skip
IBANS = ["DE89370400440532013000", "GB29NWBK60161331926819", "FR1420041010050500013M02606", "NO9386011117947",
         "MT84MALT011000012345MTLCAST001S", "CH9300762011623852957"]  # fmt: skip


@pytest.mark.parametrize("digits", CARDS)
def test_numbers_of_issuers_are_cards(digits):
    """The test numbers that issuers publish."""
    assert is_card_number(digits)


@pytest.mark.parametrize("digits", CARDS)
def test_one_wrong_digit_makes_no_card(digits):
    """Each change of the last digit is found."""
    others = [str((int(digits[-1]) + change) % 10) for change in range(1, 10)]
    assert not any(passes_luhn(digits[:-1] + other) for other in others)


def test_other_numbers_are_no_cards():
    """Numbers with a right check digit of no issuer."""
    assert passes_luhn("1234567812345670") and not is_card_number("1234567812345670")
    assert not is_card_number("0000000000000000")


@pytest.mark.parametrize("iban", IBANS)
def test_ibans_of_the_registry(iban):
    """The examples of SWIFT's registry; another length or country is none."""
    assert is_iban(iban)
    assert not is_iban(iban[:-1]) and not is_iban("XX" + iban[2:]) and not is_iban(iban + "0")
    assert not is_iban(f"{iban[:2]}{(int(iban[2:4]) + 1) % 97:02}{iban[4:]}")


def test_lengths_of_ibans_are_those_that_the_standard_allows():
    """From 15 to 34 characters."""
    assert len(IBAN_LENGTHS) > 75 and all(15 <= length <= 34 for length in IBAN_LENGTHS.values())
