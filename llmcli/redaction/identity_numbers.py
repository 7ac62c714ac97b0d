"""Find national numbers of people: social security, tax, health insurance, identity cards, passports.

A number with several check digits, or with a form of its own, is found anywhere. Any other number must stand beside a
word for it ("SSN", "codice fiscale"), and its check digit, if it has one, must be right.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import date

from llmcli.fast_dataclass import replace
from llmcli.redaction.format import Format
from llmcli.redaction.normalization import Range
from llmcli.redaction.number_formats import passes_luhn
from llmcli.redaction.text_index import TextIndex, lower

KIND = "id"
_REACH_BEFORE, _REACH_AFTER = 64, 28
"""How many characters around a number are searched for its words."""
_LOOSE_REACH = 32
"""How many characters before a number without a form of its own are searched."""
_LETTERS, _DNI_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ", "TRWAGMYFPDXBNJZSQVHLCKE"


def _weighted(number: str, weights: str) -> int:
    """Return the sum of the digits, each times its weight; weights of two digits are letters ("a" is 10)."""
    return sum(int(digit) * int(weight, 36) for digit, weight in zip(number, weights, strict=False))


def _is_date(year: str, month: str, day: str) -> bool:
    """Return whether a year of two digits (of any century) or four, a month and a day are a date."""
    try:
        date(int(year) if len(year) > 2 else 2000 + int(year), int(month), int(day))  # noqa: PLR2004
    except ValueError:
        return False
    return True


def _is_us_ssn(number: str) -> bool:
    return number[:3] not in {"000", "666"} and number[0] != "9" and number[3:5] != "00" and number[5:] != "0000"


def _is_french_nir(number: str) -> bool:
    digits = number.replace("2A", "19").replace("2B", "18")
    return digits.isdigit() and int(digits[13:]) == 97 - int(digits[:13]) % 97


def _is_spanish_dni(number: str) -> bool:
    digits = number[:-1].translate(str.maketrans("XYZ", "012"))
    return _DNI_LETTERS[int(digits) % 23] == number[-1]


def _is_chinese_id(number: str) -> bool:
    total = sum(int(digit) * pow(2, 17 - index, 11) for index, digit in enumerate(number[:17]))
    return _is_date(number[6:10], number[10:12], number[12:14]) and "10X98765432"[total % 11] == number[17]


def _has_mod_11_pair(number: str, first: str, second: str) -> bool:
    """Return whether the last two digits are check digits: the weighted sum mod 11, subtracted from 11, 0 above 9."""
    checks = [
        (11 - _weighted(number, weights) % 11) % 11 % 10 if _weighted(number, weights) % 11 > 1 else 0
        for weights in (first, second)
    ]
    return number[-2:] == f"{checks[0]}{checks[1]}" and len(set(number)) > 1


def _is_brazilian_cpf(number: str) -> bool:
    return _has_mod_11_pair(number, "a98765432", "ba98765432")


def _is_brazilian_cnpj(number: str) -> bool:
    return _has_mod_11_pair(number, "543298765432", "6543298765432")


def _is_nhs_number(number: str) -> bool:
    check = 11 - _weighted(number[:9], "a98765432") % 11
    return check % 11 == int(number[9]) and check != 10  # noqa: PLR2004


def _is_nino(number: str) -> bool:
    return number[:2] not in {"BG", "GB", "KN", "NK", "NT", "TN", "ZZ"}


def _is_dutch_bsn(number: str) -> bool:
    number = number.zfill(9)
    return (_weighted(number[:8], "98765432") - int(number[8])) % 11 == 0 and int(number) > 0


_ODD_VALUES = dict(
    zip("0123456789" + _LETTERS, [1, 0, 5, 7, 9, 13, 15, 17, 19, 21] * 2 + [2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16, 10, 22, 25, 24, 23], strict=True)
)  # fmt: skip


def _is_codice_fiscale(number: str) -> bool:
    total = sum(
        _ODD_VALUES[character] if index % 2 == 0 else int(character) if character.isdigit() else ord(character) - 65
        for index, character in enumerate(number[:15])
    )
    return _LETTERS[total % 26] == number[15]


def _is_mod_11_10(number: str) -> bool:
    """ISO/IEC 7064, MOD 11,10: the tax numbers of Germany and Croatia."""
    product = 10
    for digit in number[:-1]:
        product = ((int(digit) + product) % 10 or 10) * 2 % 11
    return (11 - product) % 10 == int(number[-1])


def _is_german_tax_id(number: str) -> bool:
    """One digit occurs twice or three times among the first ten."""
    return len(set(number[:10])) in {8, 9} and _is_mod_11_10(number)


def _is_german_pension_number(number: str) -> bool:
    digits = f"{number[:8]}{ord(number[8]) - 64:02}{number[9:]}"
    return sum(sum(divmod(int(d) * int(w), 10)) for d, w in zip(digits, "212571212121", strict=False)) % 10 == int(
        digits[12]
    )


def _is_machine_read(number: str) -> bool:
    """Return whether the last character is the check digit of the others (weights 7, 3, 1; ICAO 9303)."""
    values = (0 if character == "<" else int(character, 36) for character in number[:-1])
    return sum(value * (7, 3, 1)[index % 3] for index, value in enumerate(values)) % 10 == int(number[-1])


def _is_second_line(number: str) -> bool:
    """Return whether the date of birth and the date of expiry have the right check digits: passports and visas."""
    return _is_machine_read(number[13:20]) and _is_machine_read(number[21:28])


def _is_second_line_of_card(number: str) -> bool:
    return _is_machine_read(number[:7]) and _is_machine_read(number[8:15])


def _is_polish_pesel(number: str) -> bool:
    month = int(number[2:4]) % 20
    return _is_date(number[:2], str(month), number[4:6]) and _weighted(number, "13791379131") % 10 == 0


def _is_dated_luhn(number: str) -> bool:
    """Sweden and Finland's neighbours: a date, a serial number, a check digit (Luhn). Add 60 to the day for visitors."""
    number = number.replace("+", "")[-10:]
    day = int(number[4:6]) % 60
    return _is_date(number[:2], number[2:4], str(day)) and passes_luhn(number)


_VERHOEFF = ["0123456789", "1234067895", "2340178956", "3401289567", "4012395678", "5987604321", "6598710432", "7659821043", "8765932104", "9876543210"]  # fmt: skip
_VERHOEFF_STEPS = ["0123456789", "1576283094", "5803796142", "8916043527", "9453126870", "4286573901", "2793806415", "7046913258"]  # fmt: skip


def _is_aadhaar(number: str) -> bool:
    state = 0
    for index, digit in enumerate(reversed(number)):
        state = int(_VERHOEFF[state][int(_VERHOEFF_STEPS[index % 8][int(digit)])])
    return state == 0


def _is_australian_tfn(number: str) -> bool:
    return _weighted(number, "1437586910" if len(number) == 8 else "14375869a") % 11 == 0  # noqa: PLR2004


def _is_australian_medicare(number: str) -> bool:
    return _weighted(number[:8], "13791379") % 10 == int(number[8])


def _is_belgian_number(number: str) -> bool:
    check = int(number[9:])
    return check in {97 - int(number[:9]) % 97, 97 - int("2" + number[:9]) % 97}


def _is_finnish_number(number: str) -> bool:
    digits = number[:6] + number[-4:-1]
    return (
        _is_date(digits[4:6], digits[2:4], digits[:2])
        and "0123456789ABCDEFHJKLMNPRSTUVWXY"[int(digits) % 31] == number[-1]
    )


def _is_danish_cpr(number: str) -> bool:
    return _is_date(number[4:6], number[2:4], number[:2])


def _is_norwegian_number(number: str) -> bool:
    first, second = _weighted(number[:10], "3761894521"), _weighted(number, "54327654321")
    return first % 11 == 0 and second % 11 == 0 and 0 < int(number[2:4]) % 40 <= 12  # noqa: PLR2004


def _is_ean(number: str) -> bool:
    return _weighted(number, "1313131313131") % 10 == 0


def _is_austrian_number(number: str) -> bool:
    return _weighted(number[:3] + number[4:], "379584216") % 11 == int(number[3])


def _is_czech_number(number: str) -> bool:
    month = int(number[2:4]) % 50 % 20
    right = len(number) == 9 or int(number) % 11 == 0 or int(number[:9]) % 11 == 10 == int(number[9]) + 10  # noqa: PLR2004
    return right and _is_date(number[:2], str(month), number[4:6])


def _is_romanian_cnp(number: str) -> bool:
    rest = _weighted(number[:12], "279146358279") % 11
    return _is_date(number[1:3], number[3:5], number[5:7]) and rest % 10 + rest // 10 == int(number[12])


def _is_greek_amka(number: str) -> bool:
    return _is_date(number[4:6], number[2:4], number[:2]) and passes_luhn(number)


def _is_greek_afm(number: str) -> bool:
    return sum(int(digit) << (8 - index) for index, digit in enumerate(number[:8])) % 11 % 10 == int(number[8])


def _is_portuguese_nif(number: str) -> bool:
    rest = _weighted(number[:8], "98765432") % 11
    return (0 if rest < 2 else 11 - rest) == int(number[8])  # noqa: PLR2004


def _is_irish_pps(number: str) -> bool:
    total = _weighted(number[:7], "8765432") + sum(9 * "WABCDEFGHI".index(letter) for letter in number[8:])
    return "WABCDEFGHIJKLMNOPQRSTUV"[total % 23] == number[7]


def _is_turkish_number(number: str) -> bool:
    digits = [int(digit) for digit in number]
    return (7 * sum(digits[0:9:2]) - sum(digits[1:8:2])) % 10 == digits[9] and sum(digits[:10]) % 10 == digits[10]


def _is_south_african_number(number: str) -> bool:
    return _is_date(number[:2], number[2:4], number[4:6]) and passes_luhn(number)


def _is_curp(number: str) -> bool:
    alphabet = "0123456789ABCDEFGHIJKLMN\u00d1OPQRSTUVWXYZ"
    total = sum(alphabet.index(character) * (18 - index) for index, character in enumerate(number[:17]))
    return str(-total % 10) == number[17]


def _is_cuit(number: str) -> bool:
    return "01234567899"[-_weighted(number[:10], "5432765432") % 11] == number[10]


def _is_chilean_rut(number: str) -> bool:
    total = sum(int(digit) * (2 + index % 6) for index, digit in enumerate(reversed(number[:-1])))
    return "0K987654321"[total % 11] == number[-1]


def _is_my_number(number: str) -> bool:
    rest = _weighted(number[:11], "65432765432") % 11
    return (0 if rest < 2 else 11 - rest) == int(number[11])  # noqa: PLR2004


def _is_korean_number(number: str) -> bool:
    return _is_date(number[:2], number[2:4], number[4:6])


def _is_taiwanese_number(number: str) -> bool:
    value = "ABCDEFGHJKLMNPQRSTUVXYWZIO".index(number[0]) + 10
    return (value // 10 + value % 10 * 9 + _weighted(number[1:], "876543211")) % 10 == 0


def _is_hong_kong_number(number: str) -> bool:
    values = [36] * (9 - len(number)) + [int(character, 36) for character in number]
    return sum(value * (9 - index) for index, value in enumerate(values)) % 11 == 0


def _is_singaporean_number(number: str) -> bool:
    total = _weighted(number[1:8], "2765432") + {"T": 4, "G": 4, "M": 3}.get(number[0], 0)
    letters = "JZIHGFEDCBA" if number[0] in "ST" else "KLJNPQRTUWX" if number[0] == "M" else "XWUTRQPNMLK"
    return letters[(10 - total % 11) if number[0] == "M" else total % 11] == number[8]


def _is_thai_number(number: str) -> bool:
    return (11 - _weighted(number[:12], "dcba98765432") % 11) % 10 == int(number[12])


def _is_russian_snils(number: str) -> bool:
    return _weighted(number[:9], "987654321") % 101 % 100 == int(number[9:])


def _is_russian_inn(number: str) -> bool:
    first, second = _weighted(number[:10], "724a359468"), _weighted(number[:11], "3724a359468")
    return first % 11 % 10 == int(number[10]) and second % 11 % 10 == int(number[11])


def _is_bulgarian_egn(number: str) -> bool:
    month = int(number[2:4]) % 20
    return _is_date(number[:2], str(month), number[4:6]) and _weighted(number[:9], "2485a9736") % 11 % 10 == int(
        number[9]
    )


def _is_yugoslav_number(number: str) -> bool:
    check = 11 - _weighted(number[:12], "765432765432") % 11
    return 0 < int(number[2:4]) <= 12 and (0 if check > 9 else check) == int(number[12])  # noqa: PLR2004


def _is_baltic_number(number: str) -> bool:
    rest = _weighted(number[:10], "1234567891") % 11
    rest = _weighted(number[:10], "3456789123") % 11 % 10 if rest == 10 else rest  # noqa: PLR2004
    return _is_date(number[1:3], number[3:5], number[5:7]) and rest == int(number[10])


def _is_ukrainian_number(number: str) -> bool:
    signed = [int(d) * w for d, w in zip(number, (-1, 5, 7, 9, 4, 6, 10, 5, 7), strict=False)]
    return sum(signed) % 11 % 10 == int(number[9])


def _is_new_zealand_ird(number: str) -> bool:
    number = number.zfill(9)
    rest = -_weighted(number, "32765432") % 11
    rest = -_weighted(number, "74325276") % 11 if rest == 10 else rest  # noqa: PLR2004
    return rest == int(number[8])


_DIGITS9 = r"[0-9]{3}([ -]?)[0-9]{3}\1[0-9]{3}"
_DATE6 = r"[0-9]{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12][0-9]|3[01])"
_ANYWHERE = (
    Format("Chinese resident identity number", r"[1-8][0-9]{5}(?:19|20)[0-9]{2}(?:0[1-9]|1[0-2])[0-3][0-9]{4}[0-9Xx]", "\u8eab\u4efd\u8bc1\u53f7:\u27e6110105198403124825\u27e7", "\u8ba2\u5355 110105198403124826", "GB 11643-1999"),
    Format("French NIR", r"[1-478]([ .]?)[0-9]{2}\1(?:0[1-9]|1[0-2]|[2-9][0-9])\1(?:[0-9]{2}|2[ABab])\1[0-9]{3}\1[0-9]{3}[ .]?[0-9]{2}", "N\u00b0 SS : \u27e62 83 07 75 056 484 01\u27e7", "2 83 07 75 056 484 02 pi\u00e8ces", "INSEE"),
    Format("Brazilian CPF", r"[0-9]{3}\.[0-9]{3}\.[0-9]{3}-[0-9]{2}", "cliente \u27e6513.163.563-29\u27e7", "pe\u00e7a 513.163.563-28", "Receita Federal"),
    Format("Brazilian CNPJ", r"[0-9]{2}\.[0-9]{3}\.[0-9]{3}/[0-9]{4}-[0-9]{2}", "empresa \u27e611.222.333/0001-81\u27e7", "pe\u00e7a 11.222.333/0001-82", "Receita Federal"),
    Format("Italian codice fiscale", r"[A-Za-z]{6}[0-9LMNP-Vlmnp-v]{2}[ABCDEHLMPRSTabcdehlmprst][0-9LMNP-Vlmnp-v]{2}[A-Za-z][0-9LMNP-Vlmnp-v]{3}[A-Za-z]", "C.F. \u27e6RSSGLI84C52F205N\u27e7", "RSSGLI84C52F205X", "DM 12 March 1974"),
    Format("Finnish personal identity code", r"[0-3][0-9][01][0-9]{3}[-+A-FU-Y][0-9]{3}[0-9A-Y]", "Hetu \u27e6131052-308T\u27e7", "131052-308U", "Digital and Population Data Services Agency"),
    Format("Swiss AHV number", r"756([. ]?)[0-9]{4}\1[0-9]{4}\1[0-9]{2}", "AHV \u27e6756.9217.0769.85\u27e7", "756.9217.0769.84", "Swiss Central Compensation Office"),
    Format("Mexican CURP", rf"[A-Z][AEIOUX][A-Z]{{2}}{_DATE6}[HMX][A-Z]{{2}}[B-DF-HJ-NP-TV-Z]{{3}}[A-Z0-9][0-9]", "CURP \u27e6BOXW310820HNERXN09\u27e7", "BOXW310820HNERXN08", "RENAPO"),
    Format("first line of a machine-readable zone", r"(?:[PV][A-Z<][A-Z<]{3}(?=[A-Z<]*<<)(?:[A-Z<]{39}|[A-Z<]{31})|[ACI][A-Z<][A-Z<]{3}[A-Z0-9<]{25}(?=\s{1,4}[0-9]{7}[MFX<])|[ACI][A-Z<][A-Z<]{3}(?=[A-Z<]*<<)[A-Z<]{31})", "\u27e6P<UTOERIKSSON<<ANNA<MARIA<<<<<<<<<<<<<<<<<<<\u27e7", "a<<b<<c", "ICAO 9303"),
    Format("second line of a machine-readable zone", r"[A-Z0-9<]{9}[0-9<][A-Z<]{3}[0-9]{7}[MFX<][0-9]{7}(?:[A-Z0-9<]{16}|[A-Z0-9<]{8})", "\u27e6L898902C36UTO7408122F1204159ZE184226B<<<<<10\u27e7", "L898902C36UTO7408123F1204159ZE184226B<<<<<10", "ICAO 9303"),
    Format("second line on an identity card", r"[0-9]{7}[MFX<][0-9]{7}[A-Z<]{3}[A-Z0-9<]{11}[0-9]", "\u27e67408122F1204159UTO<<<<<<<<<<<6\u27e7", "7408123F1204159UTO<<<<<<<<<<<6", "ICAO 9303"),
    Format("third line on an identity card", r"(?=[A-Z<]{30}(?![A-Z<]))(?=[A-Z<]*[A-Z]<<)[A-Z][A-Z<]{29}", "7408122F1204159UTO<<<<<<<<<<<6\n\u27e6ERIKSSON<<ANNA<MARIA<<<<<<<<<<\u27e7", "A<<B<<", "ICAO 9303"),
)  # fmt: skip
_BESIDE = (
    Format("US Social Security number", r"[0-8][0-9]{2}([- ]?)[0-9]{2}\1[0-9]{4}", "SSN: \u27e6523-53-8094\u27e7", "SSN: 000-53-8094", "US Social Security Administration", ("ssn", "social security", "soc sec", "social sec", "my social", "your social", "his social", "her social", "social is", "social number", "social insurance", "ss#", "tax id", "taxpayer id")),
    Format("US taxpayer number (ITIN)", r"9[0-9]{2}([- ]?)[5-9][0-9]\1[0-9]{4}", "ITIN \u27e6912-70-1234\u27e7", "ITIN 912-10-1234", "US Internal Revenue Service", ("itin", "taxpayer id", "tax id")),
    Format("US Medicare number (MBI)", r"[1-9][A-Z][A-Z0-9][0-9]-?[A-Z][A-Z0-9][0-9]-?[A-Z]{2}[0-9]{2}", "Medicare: \u27e61EG4-TE5-MK73\u27e7", "Medicare part A", "US Centers for Medicare and Medicaid Services", ("medicare", "mbi")),
    Format("Spanish DNI", r"[0-9]{2}[. ]?[0-9]{3}[. ]?[0-9]{3}[ -]?[A-HJ-NP-TV-Za-hj-np-tv-z]", "con DNI \u27e652556238L\u27e7", "DNI 52556238M", "Real Decreto 1553/2005", ("dni", "nif", "documento nacional", "documento de identidad", "documento", "c\u00e9dula")),
    Format("Spanish NIE", r"[XYZxyz][ -]?[0-9]{7}[ -]?[A-HJ-NP-TV-Za-hj-np-tv-z]", "NIE \u27e6X1234567L\u27e7", "NIE X1234567M", "Real Decreto 557/2011", ("nie", "nif", "identidad de extranjero", "extranjero", "documento")),
    Format("Brazilian CPF without signs", r"[0-9]{9}-?[0-9]{2}", "CPF \u27e651316356329\u27e7", "CPF 51316356328", "Receita Federal", ("cpf", "cadastro de pessoa")),
    Format("Brazilian CNPJ without signs", r"[0-9]{14}", "CNPJ \u27e611222333000181\u27e7", "CNPJ 11222333000182", "Receita Federal", ("cnpj",)),
    Format("Brazilian RG", r"[0-9]{1,2}\.[0-9]{3}\.[0-9]{3}-[0-9Xx]", "RG \u27e612.345.678-9\u27e7", "RG 12.345", "Secretaria de Seguran\u00e7a P\u00fablica", ("rg", "registro geral", "identidade")),
    Format("UK NHS number", r"[0-9]{3}([ -]?)[0-9]{3}\1[0-9]{4}", "NHS No. \u27e6502 032 1117\u27e7", "NHS No. 502 032 1118", "NHS Data Dictionary", ("nhs", "chi number", "chi no", "health and care number", "h&c")),
    Format("UK National Insurance number", r"[A-CEGHJ-PR-TW-Za-ceghj-pr-tw-z][A-CEGHJ-NPR-TW-Za-ceghj-npr-tw-z]([ -]?)[0-9]{2}\1[0-9]{2}\1[0-9]{2}\1[A-Da-d]", "NI number: \u27e6AB 12 34 56 C\u27e7", "NI number: AB 12 34 56 E", "HM Revenue and Customs, NIM39110", ("nino", "national insurance", "nat ins", "ni number", "ni no", "insurance number", "ni")),
    Format("UK taxpayer reference", r"[0-9]{5} ?[0-9]{5}", "UTR: \u27e61123456789\u27e7", "UTR: 11234", "HM Revenue and Customs", ("utr", "taxpayer reference")),
    Format("UK driving licence", r"[A-Z9]{5} ?[0-9][0156][0-9][0-3][0-9]{2} ?[A-Z9]{2}[A-Z0-9] ?[A-Z0-9]{2}", "driving licence \u27e6MORGA753116SM9IJ\u27e7", "driving licence MORGA793116SM9IJ", "DVLA", ("licence", "license", "driver", "dvla")),
    Format("Dutch BSN", r"[0-9]{4}([ .]?)[0-9]{2}\1[0-9]{3}|[0-9]{3}([ .]?)[0-9]{3}\2[0-9]{3}", '{"bsn": "\u27e6197152843\u27e7"}', "BSN 197152844", "Wet algemene bepalingen burgerservicenummer", ("bsn", "burgerservice", "burger service", "sofinummer", "sofi")),
    Format("German tax number (Steuer-ID)", r"[1-9][0-9]([ /]?)[0-9]{3}\1[0-9]{3}\1[0-9]{3}", "Steuer-ID \u27e686 095 742 719\u27e7", "Steuer-ID 86 095 742 718", "\u00a7 139b AO", ("steuer id", "steuerid", "steueridentifikation", "steuerliche identifikation", "idnr", "id nr", "identifikationsnummer", "identifikations nummer", "tin", "tax id", "steuernummer", "steuer identifikation", "steuer nr", "steuernr", "idnummer")),
    Format("German tax number of an office", r"[0-9]{2,3}[/ ][0-9]{3,4}[/ ][0-9]{4,5}", "Steuernummer \u27e6181/815/08155\u27e7", "Steuernummer: fehlt", "Abgabenordnung", ("steuernummer", "st nr", "stnr", "steuer nr", "steuernr")),
    Format("German pension insurance number", r"[0-9]{2} ?[0-9]{6} ?[A-Z] ?[0-9]{3}", "Sozialversicherungsnummer \u27e615 070649 C 103\u27e7", "Sozialversicherungsnummer 15 070649 C 104", "Deutsche Rentenversicherung", ("sozialversicherung", "rentenversicherung", "versicherungsnummer", "sv nummer", "svnr", "sv nr", "rvnr", "vsnr")),
    Format("German health insurance number", r"[A-Z][0-9]{9}", "Krankenversichertennummer \u27e6A123456780\u27e7", "Krankenversichertennummer A12345", "GKV-Spitzenverband", ("krankenversicher", "versichertennummer", "versicherten nr", "versicherten nummer", "kvnr", "krankenkasse")),
    Format("German identity card", r"[CFGHJK-NPRTV-Z][0-9CFGHJK-NPRTV-Z]{8}[0-9]?", "Personalausweis \u27e6L01X00T471\u27e7", "Personalausweis fehlt", "Personalausweisgesetz", ("personalausweis", "ausweisnummer", "ausweis nr", "ausweis")),
    Format("Polish PESEL", r"[0-9]{11}", "PESEL \u27e644051401359\u27e7", "PESEL 44051401358", "Ustawa o ewidencji ludno\u015bci", ("pesel",)),
    Format("Polish NIP", r"[0-9]{3}-?[0-9]{3}-?[0-9]{2}-?[0-9]{2}|[0-9]{3}-[0-9]{2}-[0-9]{2}-[0-9]{3}", "NIP \u27e6123-456-32-18\u27e7", "NIP 123-456-32-19", "Ustawa o NIP", ("nip",)),
    Format("Polish identity card", r"[A-Z]{3} ?[0-9]{6}", "dow\u00f3d osobisty \u27e6ABA 300000\u27e7", "dow\u00f3d ABA 300001", "Ustawa o dowodach osobistych", ("dow\u00f3d", "dowodu", "dowod")),
    Format("Swedish personnummer", r"(?:19|20)?[0-9]{6}[-+ ]?[0-9]{4}", "personnummer \u27e6811228-9874\u27e7", "personnummer 811228-9873", "Skatteverket, SKV 704", ("personnummer", "personnr", "person nr", "samordningsnummer", "pnr", "personal identity")),
    Format("Norwegian f\u00f8dselsnummer", r"[0-9]{6} ?[0-9]{5}", "f\u00f8dselsnummer \u27e615108695088\u27e7", "f\u00f8dselsnummer 15108695087", "Skatteetaten", ("f\u00f8dselsnummer", "fodselsnummer", "f\u00f8dselsnr", "personnummer", "fnr", "d nummer", "personnr")),
    Format("Danish CPR number", r"[0-3][0-9][01][0-9]{3}[- ]?[0-9]{4}", "CPR-nr. \u27e6211062-5629\u27e7", "CPR-nr. 991462-5629", "CPR-kontoret", ("cpr", "personnummer", "cprnr")),
    Format("Indian Aadhaar", r"[2-9][0-9]{3}([ -]?)[0-9]{4}\1[0-9]{4}", "Aadhaar: \u27e62341 2341 2346\u27e7", "Aadhaar: 2341 2341 2347", "UIDAI", ("aadhaar", "aadhar", "adhaar", "uidai", "\u0906\u0927\u093e\u0930")),
    Format("Indian PAN", r"[A-Z]{3}[ABCFGHJLPT][A-Z][0-9]{4}[A-Z]", "PAN: \u27e6AFZPK7190K\u27e7", "PAN: AFZZK7190K", "Income Tax Department of India", ("pan", "permanent account", "income tax")),
    Format("Canadian SIN", _DIGITS9, "SIN: \u27e6046 454 286\u27e7", "SIN: 046 454 287", "Employment and Social Development Canada", ("sin", "social insurance", "assurance sociale", "nas")),
    Format("Australian TFN", r"[0-9]{3}([ -]?)[0-9]{3}\1[0-9]{2,3}", "TFN \u27e6123 456 782\u27e7", "TFN 123 456 783", "Australian Taxation Office", ("tfn", "tax file")),
    Format("Australian Medicare number", r"[2-6][0-9]{3}[ -]?[0-9]{5}[ -]?[0-9](?:[ /-]?[0-9])?", "Medicare \u27e62123 45670 1\u27e7", "Medicare 2123 45671 1", "Services Australia", ("medicare",)),
    Format("New Zealand IRD number", r"[0-9]{2,3}([ -]?)[0-9]{3}\1[0-9]{3}", "IRD number \u27e649-091-850\u27e7", "IRD number 49-091-851", "Inland Revenue", ("ird",)),
    Format("New Zealand NHI number", r"[A-HJ-NP-Z]{3}[0-9]{4}|[A-HJ-NP-Z]{3}[0-9]{2}[A-HJ-NP-Z]{2}", "NHI \u27e6ZAC5361\u27e7", "NHI ZA", "HISO 10046", ("nhi",)),
    Format("Belgian national number", r"[0-9]{2}[. ]?[0-9]{2}[. ]?[0-9]{2}[- ]?[0-9]{3}[. ]?[0-9]{2}", "Rijksregisternummer \u27e685.07.30-033.28\u27e7", "Rijksregisternummer 85.07.30-033.29", "Rijksregister", ("rijksregister", "registre national", "num\u00e9ro national", "numero national", "niss", "insz", "rrn", "nationaal nummer", "national number", "national register", "nrn")),
    Format("Portuguese NIF", r"[1-35689][0-9]{2}([ .]?)[0-9]{3}\1[0-9]{3}", "NIF \u27e6501 964 843\u27e7", "NIF 501 964 842", "Autoridade Tribut\u00e1ria", ("nif", "contribuinte", "nipc", "n\u00famero fiscal", "numero fiscal", "identifica\u00e7\u00e3o fiscal")),
    Format("Austrian social insurance number", r"[1-9][0-9]{3} ?[0-3][0-9][01][0-9]{3}", "SVNR \u27e61237 010180\u27e7", "SVNR 1236 010180", "\u00a7 31 ASVG", ("svnr", "sozialversicherung", "sv nummer", "versicherungsnummer", "sv nr", "svnummer")),
    Format("Czech and Slovak rodn\u00e9 \u010d\u00edslo", r"[0-9]{6}/?[0-9]{3,4}", "rodn\u00e9 \u010d\u00edslo \u27e6710319/2745\u27e7", "rodn\u00e9 \u010d\u00edslo 710319/2746", "Z\u00e1kon 133/2000", ("rodn\u00e9 \u010d", "rodne c", "r\u010d", "rc", "rodn\u00e9ho \u010d")),
    Format("Romanian CNP", r"[1-9][0-9]{12}", "CNP \u27e61630615123457\u27e7", "CNP 1630615123458", "Legea 105/1996", ("cnp", "cod numeric")),
    Format("Greek AMKA", r"[0-9]{11}", "\u0391\u039c\u039a\u0391 \u27e601013099997\u27e7", "\u0391\u039c\u039a\u0391 01013099998", "\u0397\u0394\u0399\u039a\u0391", ("\u03b1\u03bc\u03ba\u03b1", "amka")),
    Format("Greek AFM", r"[0-9]{9}", "\u0391\u03a6\u039c \u27e6094259216\u27e7", "\u0391\u03a6\u039c 094259217", "\u0391\u0391\u0394\u0395", ("\u03b1\u03c6\u03bc", "afm")),
    Format("Irish PPS number", r"[0-9]{7} ?[A-Wa-w][A-IWa-iw]?", "PPSN \u27e66433435F\u27e7", "PPSN 6433435E", "Department of Social Protection", ("pps", "ppsn", "personal public service")),
    Format("Turkish identity number", r"[1-9][0-9]{10}", "T.C. Kimlik No: \u27e617291716060\u27e7", "T.C. Kimlik No: 17291716061", "N\u00fcfus ve Vatanda\u015fl\u0131k \u0130\u015fleri", ("kimlik", "tckn", "tc no")),
    Format("Israeli identity number", r"[0-9]{8}-?[0-9]", "\u05ea\u05e2\u05d5\u05d3\u05ea \u05d6\u05d4\u05d5\u05ea \u27e6039337423\u27e7", "\u05ea\u05e2\u05d5\u05d3\u05ea \u05d6\u05d4\u05d5\u05ea 039337424", "Israel Population Authority", ("teudat zehut", "israeli id", "\u05d6\u05d4\u05d5\u05ea", "\u05ea\u05f4\u05d6", '\u05ea"\u05d6', "\u05ea \u05d6")),
    Format("South African identity number", r"[0-9]{6} ?[0-9]{4} ?[01][89][0-9]", "ID number \u27e67503305044089\u27e7", "ID number 7503305044088", "Department of Home Affairs", ("identity number", "identity no", "id number", "id no", "rsa id", "sa id", "identiteitsnommer", "south african id", "id nommer")),
    Format("Mexican RFC", rf"[A-Z&\u00d1]{{3,4}} ?-?{_DATE6} ?-?[A-Z0-9]{{2}}[0-9A]", "RFC: \u27e6GODE561231GR8\u27e7", "RFC 2119", "SAT", ("rfc", "registro federal")),
    Format("Argentinian CUIT and CUIL", r"(?:2[03-7]|3[034])-?[0-9]{8}-?[0-9]", "CUIT \u27e620-05536168-2\u27e7", "CUIT 20-05536168-3", "AFIP", ("cuit", "cuil")),
    Format("identity card of South America", r"[0-9]{1,2}\.[0-9]{3}\.[0-9]{3}(?:-[0-9])?|[0-9]\.[0-9]{3}\.[0-9]{3}\.[0-9]{3}|[0-9]{7,10}", "DNI \u27e630.123.456\u27e7", "DNI 30.12", "national registries", ("dni", "c\u00e9dula", "cedula", "cc no", "documento nacional", "c\u00e9dula de ciudadan\u00eda")),
    Format("Chilean RUT", r"[0-9]{1,2}\.?[0-9]{3}\.?[0-9]{3}-[0-9Kk]", "RUT \u27e612.531.909-2\u27e7", "RUT 12.531.909-3", "Servicio de Registro Civil", ("rut", "run", "rol \u00fanico")),
    Format("Japanese My Number", r"[0-9]{4}([ -]?)[0-9]{4}\1[0-9]{4}", "\u30de\u30a4\u30ca\u30f3\u30d0\u30fc\uff1a\u27e6123456789018\u27e7", "\u30de\u30a4\u30ca\u30f3\u30d0\u30fc 123456789019", "Digital Agency of Japan", ("\u30de\u30a4\u30ca\u30f3\u30d0\u30fc", "\u500b\u4eba\u756a\u53f7", "my number", "mynumber", "individual number", "kojin bango")),
    Format("Korean resident registration number", r"[0-9]{6}[- ]?[1-8][0-9]{6}", "\uc8fc\ubbfc\ub4f1\ub85d\ubc88\ud638 \u27e6900101-1234567\u27e7", "\uc8fc\ubbfc\ub4f1\ub85d\ubc88\ud638 901301-1234567", "Resident Registration Act", ("\uc8fc\ubbfc", "\uc678\uad6d\uc778\ub4f1\ub85d", "resident registration", "rrn", "jumin")),
    Format("Taiwanese identity number", r"[A-Z][1289][0-9]{8}", "\u8eab\u5206\u8b49\u5b57\u865f \u27e6A123456789\u27e7", "\u8eab\u5206\u8b49\u5b57\u865f A123456788", "National Immigration Agency", ("\u8eab\u5206\u8b49", "\u8eab\u4efd\u8b49", "\u5c45\u7559\u8b49", "national id", "id number", "taiwan id", "arc")),
    Format("Hong Kong identity card", r"[A-Z]{1,2}[0-9]{6} ?\(?[0-9A]\)?", "HKID \u27e6G123456(A)\u27e7", "HKID G123456(5)", "Immigration Department of Hong Kong", ("hkid", "\u8eab\u4efd\u8b49", "\u8eab\u5206\u8b49", "hong kong id")),
    Format("Singaporean NRIC and FIN", r"[STFGMstfgm][0-9]{7}[A-Za-z]", "NRIC \u27e6S1234567D\u27e7", "NRIC S1234567E", "Immigration and Checkpoints Authority", ("nric", "fin", "identity card", "ic no", "ic number")),
    Format("Malaysian identity card", rf"{_DATE6}-?[0-9]{{2}}-?[0-9]{{4}}", "MyKad \u27e6900101-14-5678\u27e7", "MyKad 901301-14-5678", "Jabatan Pendaftaran Negara", ("mykad", "my kad", "nric", "kad pengenalan", "ic no", "ic number", "no kp")),
    Format("Thai identity number", r"[1-8][ -]?[0-9]{4}[ -]?[0-9]{5}[ -]?[0-9]{2}[ -]?[0-9]", "\u0e1a\u0e31\u0e15\u0e23\u0e1b\u0e23\u0e30\u0e0a\u0e32\u0e0a\u0e19 \u27e61-2345-45678-78-1\u27e7", "\u0e1a\u0e31\u0e15\u0e23\u0e1b\u0e23\u0e30\u0e0a\u0e32\u0e0a\u0e19 1-2345-45678-78-2", "Department of Provincial Administration", ("\u0e1b\u0e23\u0e30\u0e0a\u0e32\u0e0a\u0e19", "\u0e1b\u0e23\u0e30\u0e08\u0e33\u0e15\u0e31\u0e27", "thai id", "national id", "id card", "id number")),
    Format("Indonesian NIK", r"[1-9][0-9]{5}(?:[0-6][0-9]|7[01])(?:0[1-9]|1[0-2])[0-9]{6}", "NIK \u27e63171011708450001\u27e7", "NIK 31710", "Dukcapil", ("nik", "ktp", "induk kependudukan")),
    Format("Russian SNILS", r"[0-9]{3}[- ]?[0-9]{3}[- ]?[0-9]{3}[- ]?[0-9]{2}", "\u0421\u041d\u0418\u041b\u0421 \u27e6112-233-445 95\u27e7", "\u0421\u041d\u0418\u041b\u0421 112-233-445 96", "\u0421\u041e\u0426\u0424\u041e\u041d\u0414", ("\u0441\u043d\u0438\u043b\u0441", "snils")),
    Format("Russian INN of a person", r"[0-9]{12}", "\u0418\u041d\u041d \u27e6500100732259\u27e7", "\u0418\u041d\u041d 500100732258", "\u0424\u041d\u0421", ("\u0438\u043d\u043d", "inn")),
    Format("Russian passport", r"[0-9]{2} ?[0-9]{2}(?: ?(?:\u2116|\u043d\u043e\u043c\u0435\u0440) ?| )?[0-9]{6}", "\u043f\u0430\u0441\u043f\u043e\u0440\u0442 \u27e64509 123456\u27e7", "\u043f\u0430\u0441\u043f\u043e\u0440\u0442 4509", "\u041c\u0412\u0414", ("\u043f\u0430\u0441\u043f\u043e\u0440\u0442", "\u0441\u0435\u0440\u0438\u044f")),
    Format("Ukrainian taxpayer number", r"[0-9]{10}", "\u0420\u041d\u041e\u041a\u041f\u041f \u27e61759013776\u27e7", "\u0420\u041d\u041e\u041a\u041f\u041f 1759013777", "\u0414\u041f\u0421", ("\u0440\u043d\u043e\u043a\u043f\u043f", "\u0456\u043f\u043d", "\u043f\u043e\u0434\u0430\u0442\u043a", "rnokpp")),
    Format("Bulgarian EGN", r"[0-9]{10}", "\u0415\u0413\u041d \u27e67523169263\u27e7", "\u0415\u0413\u041d 7523169264", "\u0413\u0420\u0410\u041e", ("\u0435\u0433\u043d", "egn")),
    Format("Croatian OIB", r"[0-9]{11}", "OIB \u27e633392005961\u27e7", "OIB 33392005962", "Zakon o OIB-u", ("oib", "osobni identifikacijski")),
    Format("JMBG, EM\u0160O", r"[0-3][0-9][01][0-9]{10}", "JMBG \u27e60101006500006\u27e7", "JMBG 0101006500007", "Zakon o mati\u010dnom broju", ("jmbg", "em\u0161o", "emso", "mati\u010dni broj", "\u0458\u043c\u0431\u0433")),
    Format("Estonian and Lithuanian personal code", r"[1-8][0-9]{10}", "isikukood \u27e636805280109\u27e7", "isikukood 36805280108", "EVS 585", ("isikukood", "asmens kod", "personal code", "ik")),
    Format("passport", r"[A-Z]{1,2} ?[0-9]{6,8}[A-Z]?|[A-Z]{2}(?=[A-Z0-9]*[0-9])[A-Z0-9]{6}[0-9]|[A-Z][0-9]{2}[A-Z]{2}[0-9]{5}|[0-9]{2}[A-Z]{2}[0-9]{5}|[CFGHJK-NPRTV-Z](?=[A-Z0-9]*[0-9]{2})[0-9CFGHJK-NPRTV-Z]{8}[0-9]?|[0-9]{8,9}", "passport no. \u27e6533380006\u27e7", "passport no. 533", "ICAO 9303", ("passport no", "passport number", "passport nr", "passport n\u00ba", "passport n\u00b0", "passport #", "passport", "passeport", "reisepass", "reisepassnummer", "passnummer", "pass nr", "pasaporte", "passaporto", "passaporte", "paspoort", "paspoortnummer", "\u62a4\u7167", "\u8b77\u7167")),
    Format("identity card", r"[A-Z]{2}[0-9]{5}[A-Z]{2}|[A-Z]{2} ?[0-9]{6,7}|[0-9]{12}|[A-Z]{2}(?=[A-Z0-9]*[0-9])[A-Z0-9]{6}[0-9]|[0-9]{3}-[0-9]{7}-[0-9]{2}|[A-Z]{3}[0-9]{6}", "carta d'identit\u00e0 n. \u27e6CA12345AA\u27e7", "carta d'identit\u00e0 scaduta", "national registries", ("identity card", "id card", "carta d'identit\u00e0", "carta identit\u00e0", "carta d'identita", "carte d'identit\u00e9", "carte nationale d'identit\u00e9", "cni", "identiteitskaart", "cart\u00e3o de cidad\u00e3o", "carte de identitate", "ob\u010diansky preukaz", "ob\u010dansk\u00fd pr\u016fkaz", "osobna iskaznica", "lichna karta")),
    Format("driving licence", r"[A-Z]{1,3}-?(?=[0-9 -]*[0-9]{3})[0-9]{2,8}(?:[- ][0-9]{1,7}){0,5}[A-Z]?|[0-9]{7,12}|[A-Z][0-9]{2}[A-Z0-9]{8}", "driver's license number \u27e6D1234567\u27e7", "driver's license required", "AAMVA", ("driver's license", "drivers license", "driver license", "driver's licence", "driving licence", "driving license", "dl number", "dl no", "dl#", "dl #", "license number", "licence number", "f\u00fchrerschein", "f\u00fchrerscheinnummer", "permis de conduire", "permiso de conducir", "carta de conducir", "patente di guida", "rijbewijs", "rijbewijsnummer", "drivers licence")),
)  # fmt: skip
_CHECKS: dict[str, Callable[[str], bool]] = {
    "Chinese resident identity number": _is_chinese_id,
    "French NIR": _is_french_nir,
    "Brazilian CPF": _is_brazilian_cpf,
    "Brazilian CPF without signs": _is_brazilian_cpf,
    "Brazilian CNPJ": _is_brazilian_cnpj,
    "Brazilian CNPJ without signs": _is_brazilian_cnpj,
    "Italian codice fiscale": _is_codice_fiscale,
    "Finnish personal identity code": _is_finnish_number,
    "Swiss AHV number": _is_ean,
    "Mexican CURP": _is_curp,
    "second line of a machine-readable zone": _is_second_line,
    "second line on an identity card": _is_second_line_of_card,
    "US Social Security number": _is_us_ssn,
    "Spanish DNI": _is_spanish_dni,
    "Spanish NIE": _is_spanish_dni,
    "UK NHS number": _is_nhs_number,
    "UK National Insurance number": _is_nino,
    "Dutch BSN": _is_dutch_bsn,
    "German tax number (Steuer-ID)": _is_german_tax_id,
    "German pension insurance number": _is_german_pension_number,
    "Polish PESEL": _is_polish_pesel,
    "Polish NIP": lambda number: _weighted(number[:9], "657234567") % 11 == int(number[9]),
    "Polish identity card": lambda number: (
        sum(int(character, 36) * weight for character, weight in zip(number, (7, 3, 1, 9, 7, 3, 1, 7, 3), strict=True))
        % 10
        == 0
    ),
    "Swedish personnummer": _is_dated_luhn,
    "Norwegian f\u00f8dselsnummer": _is_norwegian_number,
    "Danish CPR number": _is_danish_cpr,
    "Indian Aadhaar": _is_aadhaar,
    "Canadian SIN": passes_luhn,
    "Australian TFN": _is_australian_tfn,
    "Australian Medicare number": _is_australian_medicare,
    "New Zealand IRD number": _is_new_zealand_ird,
    "Belgian national number": _is_belgian_number,
    "Portuguese NIF": _is_portuguese_nif,
    "Austrian social insurance number": _is_austrian_number,
    "Czech and Slovak rodn\u00e9 \u010d\u00edslo": _is_czech_number,
    "Romanian CNP": _is_romanian_cnp,
    "Greek AMKA": _is_greek_amka,
    "Greek AFM": _is_greek_afm,
    "Irish PPS number": _is_irish_pps,
    "Turkish identity number": _is_turkish_number,
    "Israeli identity number": passes_luhn,
    "South African identity number": _is_south_african_number,
    "Argentinian CUIT and CUIL": _is_cuit,
    "Chilean RUT": _is_chilean_rut,
    "Japanese My Number": _is_my_number,
    "Korean resident registration number": _is_korean_number,
    "Taiwanese identity number": _is_taiwanese_number,
    "Hong Kong identity card": _is_hong_kong_number,
    "Singaporean NRIC and FIN": _is_singaporean_number,
    "Thai identity number": _is_thai_number,
    "Russian SNILS": _is_russian_snils,
    "Russian INN of a person": _is_russian_inn,
    "Ukrainian taxpayer number": _is_ukrainian_number,
    "Bulgarian EGN": _is_bulgarian_egn,
    "Croatian OIB": _is_mod_11_10,
    "JMBG, EM\u0160O": _is_yugoslav_number,
    "Estonian and Lithuanian personal code": _is_baltic_number,
}
"""Whether a number (upper case, without separators) is right, by the name of its format."""
_AMBIGUOUS = frozenset({"sin", "nie", "pan", "ni", "fin", "run", "nas", "rg", "rc", "arc", "ik", "tin", "pps", "nip", "ird", "inn", "nrn", "rrn", "cpr", "rut", "nik", "rfc"})  # fmt: skip
"""Words that also mean something else: they must be in capitals, or stand as a label before ``:`` or ``=``."""
_LOOSE = frozenset({"passport", "identity card", "driving licence", "identity card of South America", "UK taxpayer reference", "German identity card", "German health insurance number", "Greek AFM", "New Zealand NHI number", "Russian passport"})  # fmt: skip
"""Formats that look like other numbers: their word must stand directly before them, without another number between."""
_SEPARATORS = str.maketrans("", "", " .-/()")
_START, _STOP = r"(?<![A-Za-z0-9_<])(?<![0-9][./-])", r"(?![A-Za-z0-9_]|[./-][0-9]|<[<A-Z0-9])"
_OTHER_NUMBER = re.compile(r"[0-9]{3}")
_REGION = re.compile(r"[0-9](?:[ ./()A-Za-z-]{0,3}[0-9]){3,40}")
"""Where a number may stand: four digits with little between them."""
_REGION_BEFORE, _REGION_AFTER = 8, 16
_SHORT_WORD = 4
"""A word of at most so many letters is a whole word; a longer one may begin a compound."""
_SPLIT_WORDS = re.compile(r"(?<=[a-z])(?=[A-Z])|[\s_\-'\u2019\"*<>|]+")
_LETTERS_OF_WORD = re.compile(r"[A-Z]?[^\W\d_A-Z]+|[^\W\d_a-z]+")
_PREFIX_CHARS = 3


def _compile_any(formats: tuple[Format, ...]) -> re.Pattern[str]:
    """Return one pattern for all formats; the name of the group that matched is "f" and the index of its format."""
    pieces = []
    for index, each in enumerate(formats):
        pattern = each.pattern.replace(r"\1", rf"(?P=g{index})").replace("([", f"(?P<g{index}>[")
        pieces.append(f"(?P<f{index}>{pattern})")
    return re.compile(f"{_START}(?:{'|'.join(pieces)}){_STOP}")


_ZONES = tuple(each for each in _ANYWHERE if each.source == "ICAO 9303")
_NUMBERS = tuple(each for each in _ANYWHERE if each.source != "ICAO 9303")
_ZONE, _NUMBER = _compile_any(_ZONES), _compile_any(_NUMBERS)


def _words_of(words: tuple[str, ...]) -> re.Pattern[str]:
    """Return a pattern for words before or behind a number, in a text without points, with single blanks."""
    pieces = []
    for word in sorted(words, key=len, reverse=True):
        tail = (
            r"(?=s?(?:n[ro]|nummer|number|num|code)?(?![a-z]))" if len(word) <= _SHORT_WORD and word.isascii() else ""
        )
        if word in _AMBIGUOUS:
            pieces.append(rf"{word.upper()}(?![A-Za-z])|(?i:{word})(?=(?: ?(?:no|nr|number))?\)? ?[:=#])")
        else:
            pieces.append(rf"(?i:{re.escape(_SPLIT_WORDS.sub(' ', word))}){tail}")
    return re.compile(rf"(?<![A-Za-z\u00df-\u00ff])(?:{'|'.join(pieces)})")


_BESIDE_PATTERNS = [
    (each, re.compile(f"{_START}(?:{each.pattern}){_STOP}"), _words_of(each.context)) for each in _BESIDE
]


def _by_prefix() -> dict[str, set[int]]:
    """Return the formats of ``_BESIDE_PATTERNS`` by the first letters of their words."""
    prefixes: dict[str, set[int]] = {}
    for index, each in enumerate(_BESIDE):
        for word in each.context:
            first = re.match(r"[^\W\d_]+", word)
            assert first is not None
            prefixes.setdefault(first.group()[:_PREFIX_CHARS], set()).add(index)
    return prefixes


_BY_PREFIX = _by_prefix()
_NOT_LATIN = tuple(prefix for prefix in _BY_PREFIX if not prefix.isascii() and prefix[0] > "\u02ff")


def find_identity_numbers(index: TextIndex) -> Iterator[Range]:
    """Yield national numbers of people, and the lines of machine-readable zones."""
    text, regions = index.text, list(_regions(index.text))
    if "<<" in text:
        yield from _find_anywhere(text, _ZONE, _ZONES, 0, len(text))
    formats = [_BESIDE_PATTERNS[index] for index in sorted(_formats_with_words(text))] if regions else []
    for start, end in regions:
        yield from _find_anywhere(text, _NUMBER, _NUMBERS, start, end)
        for format_, pattern, words in formats:
            for match in pattern.finditer(text, start, end):
                if _is_right(format_, match.group()) and _is_beside(text, match, words, loose=format_.name in _LOOSE):
                    yield match.span()


def _regions(text: str) -> Iterator[Range]:
    """Yield the parts of a text in which numbers may stand, disjoint."""
    start = end = 0
    for match in _REGION.finditer(text):
        if match.start() - _REGION_BEFORE > end:
            if end:
                yield start, end
            start = max(0, match.start() - _REGION_BEFORE)
        end = match.end() + _REGION_AFTER
    if end:
        yield start, min(end, len(text))


def _formats_with_words(text: str) -> set[int]:
    """Return the formats of which a word may stand in the text."""
    prefixes = {word[:_PREFIX_CHARS].lower() for word in set(_LETTERS_OF_WORD.findall(text.replace(".", "")))}
    found = [_BY_PREFIX[prefix] for prefix in prefixes & _BY_PREFIX.keys()]
    if not text.isascii():
        lowered = lower(text)
        found += [_BY_PREFIX[prefix] for prefix in _NOT_LATIN if prefix in lowered]
    return set().union(*found)


def _find_anywhere(
    text: str, pattern: re.Pattern[str], formats: tuple[Format, ...], start: int, end: int
) -> Iterator[Range]:
    for match in pattern.finditer(text, start, end):
        index = next(index for index in range(len(formats)) if match[f"f{index}"] is not None)
        if _is_right(formats[index], match.group()):
            yield match.span()


def _is_right(format_: Format, said: str) -> bool:
    check = _CHECKS.get(format_.name)
    return check is None or check(said.upper().translate(_SEPARATORS))


def _is_beside(text: str, match: re.Match[str], words: re.Pattern[str], *, loose: bool) -> bool:
    """Return whether a word for the number stands before it, or behind it on the same line."""
    before = text[max(0, match.start() - (_LOOSE_REACH if loose else _REACH_BEFORE)) : match.start()]
    before = _SPLIT_WORDS.sub(" ", before.replace(".", ""))
    if loose:
        word = next(iter(reversed(list(words.finditer(before)))), None)
        return word is not None and _OTHER_NUMBER.search(before, word.end()) is None
    if words.search(before):
        return True
    after = text[match.end() : match.end() + _REACH_AFTER].partition("\n")[0]
    return words.search(_SPLIT_WORDS.sub(" ", after.replace(".", ""))) is not None


def all_formats() -> Iterator[Format]:
    """Yield the formats of this module with their function."""
    for each in (*_ANYWHERE, *_BESIDE):
        yield replace(each, kind=KIND, find=find_identity_numbers, decodes=True)
