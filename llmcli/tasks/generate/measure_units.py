"""The units of measure and currencies beside numbers; equal spellings of one unit are equal, and none is converted."""

from __future__ import annotations

import re

_UNITS = """
kg: kg Kg KG kgs kilo kilos kilogram kilograms kilogramme kilogrammes Kilogramm kilogramo kilogramos chilogrammo chilogrammi
g: g gram grams gramme grammes Gramm gramo gramos grammo grammi
mg: mg milligram milligrams milligramme milligrammes Milligramm miligramo miligramos milligrammo milligrammi
t: t ton tons tonne tonnes Tonne Tonnen tonelada toneladas tonnellata tonnellate
lb: lb lbs pound pounds Pfund
st: stone stones
oz: oz ounce ounces
km: km kilometre kilometres kilometer kilometers Kilometern kilomètre kilomètres kilómetro kilómetros chilometro chilometri
m: m metre metres meter meters Metern mètre mètres metro metros metri
cm: cm centimetre centimetres centimeter centimeters Zentimeter Zentimetern centimètre centimètres centímetro centímetros centimetro centimetri
mm: mm millimetre millimetres millimeter millimeters Millimetern millimètre millimètres milímetro milímetros millimetro millimetri
mile: mi mile miles Meile Meilen milla millas miglio miglia
ft: ft foot feet
inch: inch inches
yard: yd yard yards
m2: m² m2 sqm square_metre square_metres square_meter square_meters Quadratmeter Quadratmetern mètre_carré mètres_carrés metro_cuadrado
m2: metros_cuadrados metro_quadrato metri_quadrati
km2: km² km2 square_kilometre square_kilometres square_kilometer square_kilometers Quadratkilometer
m3: m³ m3 cubic_metre cubic_metres cubic_meter cubic_meters Kubikmeter Kubikmetern mètre_cube mètres_cubes metro_cúbico metros_cúbicos metri_cubi
ha: ha hectare hectares Hektar hectárea hectáreas ettaro ettari
acre: acre acres
l: l L litre litres liter liters Litern litro litros litri
hl: hl hectolitre hectolitres hectoliter hectoliters Hektoliter
gallon: gal gallon gallons
pint: pint pints
ml: ml mL millilitre millilitres milliliter milliliters
percent: % percent per_cent pct Prozent pour_cent por_ciento per_cento percentage_point percentage_points Prozentpunkt Prozentpunkte Prozentpunkten
USD: $ US$ USD dollar dollars US_dollar US_dollars US-Dollar dólar dólares dollaro dollari
EUR: € EUR euro euros
GBP: £ GBP pound pounds Pfund
JPY: ¥ JPY yen
CHF: CHF Franken Swiss_franc Swiss_francs
NOK: NOK kr krone kroner Krone Kronen crown crowns Norwegian_krone Norwegian_kroner
SEK: SEK kr krona kronor Krone Kronen crown crowns Swedish_krona Swedish_kronor
DKK: DKK kr krone kroner Krone Kronen crown crowns Danish_krone Danish_kroner
CZK: CZK crown crowns Krone Kronen koruna koruny
INR: INR rupee rupees
CNY: CNY yuan renminbi
PLN: PLN zloty zlotys złoty złotych
RUB: RUB ruble rubles rouble roubles
s: s sec secs second seconds Sekunde Sekunden seconde secondes segundo segundos secondi
min: min mins minute minutes Minute Minuten minuto minutos minuti
h: h hr hrs hour hours Std Std. Stunde Stunden heure heures hora horas ore
ms: ms millisecond milliseconds Millisekunde Millisekunden
day: day days Tag Tage Tagen jour jours día días giorno giorni
week: week weeks Woche Wochen semaine semaines semana semanas settimana settimane
month: month months Monat Monate Monaten mois mes meses mese mesi
decade: decade decades Jahrzehnt Jahrzehnte Jahrzehnten décennie décennies década décadas decennio decenni
century: century centuries Jahrhundert Jahrhunderte Jahrhunderten siècle siècles siglo siglos secolo secoli
year: year years yr yrs Jahr Jahre Jahren ans année années año años anno anni
W: W watt watts
kW: kW kilowatt kilowatts
MW: MW megawatt megawatts
GW: GW gigawatt gigawatts
kWh: kWh kilowatt_hour kilowatt_hours Kilowattstunde Kilowattstunden
MWh: MWh megawatt_hour megawatt_hours Megawattstunde Megawattstunden
GWh: GWh gigawatt_hour gigawatt_hours
V: V volt volts
J: joule joules
kJ: kJ kilojoule kilojoules
kcal: kcal calorie calories kilocalorie kilocalories Kilokalorie Kilokalorien
dB: dB decibel decibels Dezibel
rpm: rpm
px: px pixel pixels Pixel
Hz: Hz hertz
kHz: kHz kilohertz
MHz: MHz megahertz
GHz: GHz gigahertz
byte: byte bytes
bit: bit bits
kB: kB KB kilobyte kilobytes
MB: MB megabyte megabytes
GB: GB gigabyte gigabytes
TB: TB terabyte terabytes
KiB: KiB
MiB: MiB
GiB: GiB
km/h: km/h kmh kph
m/s: m/s
mph: mph miles_per_hour
°C: °C degrees_Celsius degree_Celsius degrees_C Grad_Celsius degrés_Celsius grados_Celsius gradi_Celsius
°F: °F degrees_Fahrenheit degree_Fahrenheit
"""
"""A unit a line, then its spellings in English, German, French, Spanish and Italian; "_" stands for a blank.

A spelling of several units, such as pounds, may be any of them.
"""
_OR = ","
_MAX_SYMBOL = 3
"""Letters of a spelling that counts only in its case: MW is not mW."""
_GAP = r"(?:[ \t\u00a0\u202f-]|[ \t]*\r?\n[ \t]*)?"


def _key(spelling: str) -> str:
    joined = re.sub(r"[\s_-]+", " ", spelling)
    return joined if len(joined) <= _MAX_SYMBOL else joined.lower()


def _read_units() -> dict[str, str]:
    units: dict[str, dict[str, None]] = {}
    for line in _UNITS.strip().splitlines():
        unit, _, spellings = line.partition(":")
        for spelling in spellings.split():
            units.setdefault(_key(spelling), {})[unit] = None
    return {spelling: _OR.join(meanings) for spelling, meanings in units.items()}


_BY_SPELLING = _read_units()


def _pattern(spelling: str) -> str:
    escaped = re.escape(spelling).replace(r"\ ", r"[\s-]+")
    return escaped if len(spelling) <= _MAX_SYMBOL else f"(?i:{escaped})"


_SPELLINGS = "|".join(map(_pattern, sorted(_BY_SPELLING, key=lambda spelling: -len(spelling))))
_AFTER = re.compile(
    rf"{_GAP}(?P<unit>(?:{_SPELLINGS}))(?<!\d)(?![\w\u00b2\u00b3$]|/[^\W\d])|{_GAP}(?P<squared>k?m[23])(?!\w)"
)
_BEFORE = re.compile(
    r"(?:(?<!\w)(?P<unit>US\$|USD|EUR|GBP|JPY|CHF|NOK|SEK|DKK)|(?<!\w)(?P<sign>[$\u20ac\u00a3\u00a5]))[ \u00a0]?\Z"
)
_LONGEST_BEFORE = 4


def meanings(unit: str) -> list[str]:
    """Return the units that a unit of a text may be."""
    return unit.split(_OR)


def unit_after(text: str, at: int) -> tuple[str, int]:
    """Return the unit that follows a number which ends at ``at``, and where it ends; "" if there is none."""
    match = _AFTER.match(text, at)
    if match is None:
        return "", at
    return _BY_SPELLING[_key(match["unit"] or match["squared"])], match.end()


def unit_before(text: str, at: int) -> tuple[str, int]:
    """Return the currency in front of a number that begins at ``at``, and where it begins; "" if there is none."""
    match = _BEFORE.search(text, max(0, at - _LONGEST_BEFORE), at)
    return ("", at) if match is None else (_BY_SPELLING[match["unit"] or match["sign"]], match.start())
