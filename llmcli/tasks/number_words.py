"""The words for numbers in the languages that have a table here, and the words for powers of ten in some more."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from itertools import pairwise

from llmcli.fast_dataclass import field, frozen

_MAX_WORDS = 4
_MIN_REQUIRED = 3
"""The smallest number whose word cannot be left out: "the two files" may be "both files", and "one" an article."""

# the words for 0 to 19; "/" separates forms
_UNITS = {
    "en": "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen",
    "de": "null ein/eins/eine/einen/einem/einer/eines zwei drei vier fünf sechs sieben acht neun zehn elf zwölf dreizehn vierzehn fünfzehn sechzehn siebzehn achtzehn neunzehn",
    "fr": "zéro un/une deux trois quatre cinq six sept huit neuf dix onze douze treize quatorze quinze seize dix-sept dix-huit dix-neuf",
    "es": "cero un/uno/una dos tres cuatro cinco seis siete ocho nueve diez once doce trece catorce quince dieciséis diecisiete dieciocho diecinueve",
    "it": "zero un/uno/una due tre quattro cinque sei sette otto nove dieci undici dodici tredici quattordici quindici sedici diciassette diciotto diciannove",
    "pt": "zero um/uma dois/duas três quatro cinco seis sete oito nove dez onze doze treze catorze/quatorze quinze dezesseis/dezasseis dezessete/dezassete dezoito dezenove/dezanove",
    "nl": "nul een/één twee drie vier vijf zes zeven acht negen tien elf twaalf dertien veertien vijftien zestien zeventien achttien negentien",
}
_TENS = {
    "en": "twenty thirty forty fifty sixty seventy eighty ninety",
    "de": "zwanzig dreißig/dreissig vierzig fünfzig sechzig siebzig achtzig neunzig",
    "fr": "vingt trente quarante cinquante soixante soixante-dix/septante quatre-vingts/quatre-vingt quatre-vingt-dix/nonante",
    "es": "veinte treinta cuarenta cincuenta sesenta setenta ochenta noventa",
    "it": "venti trenta quaranta cinquanta sessanta settanta ottanta novanta",
    "pt": "vinte trinta quarenta cinquenta/cinqüenta sessenta setenta oitenta noventa",
    "nl": "twintig dertig veertig vijftig zestig zeventig tachtig negentig",
}
_AMBIGUOUS = {
    "en": "",
    "de": "acht elf sieben",
    "fr": "neuf six dix cent",
    "es": "once",
    "it": "sei nove",
    "pt": "",
    "nl": "acht elf",
}
"""Words with another meaning: "acht" in "gib acht", "neuf" (new), "sei" (you are)."""
_OTHER_WORDS = {
    "en": "0:no none never nil nothing|1:a an single once first each|2:both pair couple twice double second two-thirds half more multiple several multi binary|3:third triple thrice|4:fourth quarter "
    "quadruple|5:fifth|6:sixth|7:seventh|8:eighth octal|9:ninth|10:tenth decimal|12:dozen twelfth noon|16:hexadecimal hex|100:hundred hundreds|1000:thousand thousands",
    "de": "0:kein keine keinen keiner keines nie|1:erste ersten erster erstes einmal einzige|2:beide beiden beider beides paar doppelt zweimal zweite zweiten "
    "zweiter zweites halb|3:dritte dritten dritter drittes dreifach dreimal|4:vierte vierten vierter viertel|5:fünfte fünften|6:sechste sechsten|"
    "7:siebte siebten|8:achte achten|9:neunte neunten|10:zehnte zehnten|12:dutzend mittag mittags|100:hundert|1000:tausend",
    "fr": "0:aucun aucune nul nulle jamais|1:premier première seul seule|2:paire double second seconde deuxième demi|3:troisième triple tiers|"
    "4:quatrième quart|5:cinquième|6:sixième|7:septième|8:huitième|9:neuvième|10:dixième dizaine|12:douzaine midi douzième|100:centaine cents|1000:mille millier "
    "milliers",
    "es": "0:ningún ninguno ninguna nunca|1:primer primero primera solo única único|2:ambos ambas par doble segundo segunda medio media|3:tercer tercero tercera "
    "triple|4:cuarto cuarta|5:quinto quinta|6:sexto sexta|7:séptimo|8:octavo|9:noveno|10:décimo|12:docena mediodía|100:cien ciento|1000:mil miles",
    "it": "0:nessun nessuno nessuna mai|1:primo prima solo|2:entrambi entrambe ambedue paio coppia doppio secondo seconda mezzo mezza|3:terzo terza triplo|"
    "4:quarto quarta|5:quinto quinta|6:sesto sesta|7:settimo|8:ottavo|9:nono|10:decimo|12:dozzina mezzogiorno|100:cento|1000:mille mila",
    "pt": "0:nenhum nenhuma nunca|1:primeiro primeira só única único|2:ambos ambas par dobro duplo segundo segunda meio meia|3:terceiro terceira triplo|"
    "4:quarto quarta|5:quinto quinta|6:sexto sexta|7:sétimo|8:oitavo|9:nono|10:décimo|12:dúzia|100:cem cento|1000:mil milhares",
    "nl": "0:geen nooit|1:eerste enkele|2:beide paar dubbel dubbele tweede half|3:derde|4:vierde kwart|5:vijfde|6:zesde|7:zevende|8:achtste|9:negende|"
    "10:tiende|12:dozijn|100:honderd|1000:duizend",
}
"""Words that imply a number. A translation may lack or add them."""
_HUNDREDS = {
    "es": "100:cien ciento|200:doscientos doscientas|300:trescientos trescientas|400:cuatrocientos cuatrocientas|"
    "500:quinientos quinientas|600:seiscientos seiscientas|700:setecientos setecientas|800:ochocientos ochocientas|"
    "900:novecientos novecientas",
    "it": "100:cento",
    "pt": "100:cem cento|200:duzentos duzentas|300:trezentos trezentas|400:quatrocentos quatrocentas|"
    "500:quinhentos quinhentas|600:seiscentos seiscentas|700:setecentos setecentas|800:oitocentos oitocentas|"
    "900:novecentos novecentas",
}
"""Hundreds that are one word; other languages write a number and a scale."""
_FIRST = {"fr": "premier", "es": "primero", "it": "primo", "pt": "primeiro"}
"""Languages that count the days of a month with cardinals, but for the first."""
_ENGLISH_ORDINALS = {
    "one": "first",
    "two": "second",
    "three": "third",
    "five": "fifth",
    "eight": "eighth",
    "nine": "ninth",
    "twelve": "twelfth",
}
_GERMAN_ORDINALS = {"eins": "erst", "drei": "dritt", "sieben": "siebt", "acht": "acht"}
_DAYS_OF_MONTH = 31
_MONTHS = {
    "en": "january/jan february/feb march/mar april/apr may june/jun july/jul august/aug september/sep/sept october/oct november/nov december/dec",
    "de": "januar/jan/jänner februar/feb märz/mär april/apr mai juni/jun juli/jul august/aug september/sep/sept oktober/okt november/nov dezember/dez",
    "fr": "janvier/janv février/févr mars avril/avr mai juin juillet/juil août septembre/sept octobre/oct novembre/nov décembre/déc",
    "es": "enero/ene febrero/feb marzo/mar abril/abr mayo/may junio/jun julio/jul agosto/ago septiembre/sep/sept octubre/oct noviembre/nov diciembre/dic",
    "it": "gennaio/gen febbraio/feb marzo/mar aprile/apr maggio/mag giugno/giu luglio/lug agosto/ago settembre/set ottobre/ott novembre/nov dicembre/dic",
    "pt": "janeiro/jan fevereiro/fev março/mar abril/abr maio/mai junho/jun julho/jul agosto/ago setembro/set outubro/out novembro/nov dezembro/dez",
    "nl": "januari/jan februari/feb maart/mrt april/apr mei juni/jun juli/jul augustus/aug september/sep oktober/okt november/nov december/dec",
}
"""The months, which other languages write in digits: "3 March" is "3月3日"."""
_SCALES = {
    "en": "2:hundred|3:thousand|6:million millions|9:billion billions|12:trillion trillions",
    "de": "2:hundert|3:tausend|6:million millionen|9:milliarde milliarden|12:billion billionen",
    "fr": "2:cent cents|3:mille milliers|6:million millions|9:milliard milliards|12:billion billions",
    "es": "3:mil|6:millón millones|9:mil-millones millardo millardos|12:billón billones",
    "it": "3:mila mille|6:milione milioni|9:miliardo miliardi|12:bilione bilioni",
    "pt": "3:mil|6:milhão milhões|9:mil-milhões bilhão bilhões|12:bilião biliões trilhão trilhões",
    "nl": "2:honderd|3:duizend|6:miljoen|9:miljard|12:biljoen",
    "sv": "3:tusen|6:miljon miljoner|9:miljard miljarder|12:biljon biljoner",
    "da": "3:tusind|6:million millioner|9:milliard milliarder|12:billion billioner",
    "no": "3:tusen|6:million millioner|9:milliard milliarder|12:billion billioner",
    "nb": "3:tusen|6:million millioner|9:milliard milliarder|12:billion billioner",
    "fi": "3:tuhat tuhatta|6:miljoona miljoonaa|9:miljardi miljardia|12:biljoona biljoonaa",
    "pl": "3:tysiąc tysiące tysięcy|6:milion miliony milionów|9:miliard miliardy miliardów|12:bilion biliony bilionów",
    "cs": "3:tisíc tisíce|6:milion miliony milionů|9:miliarda miliardy miliard|12:bilion biliony bilionů",
    "ru": "3:тысяча тысячи тысяч|6:миллион миллиона миллионов|9:миллиард миллиарда миллиардов|12:триллион триллиона триллионов",
    "uk": "3:тисяча тисячі тисяч|6:мільйон мільйона мільйонів|9:мільярд мільярда мільярдів|12:трильйон",
    "tr": "3:bin|6:milyon|9:milyar|12:trilyon",
    "ar": "3:ألف آلاف|6:مليون ملايين|9:مليار مليارات|12:تريليون",
    "zh": "",
    "ja": "",
    "ko": "",
}
"""Powers of ten: "billion" is 9 in English and 12 in German. Chinese, Japanese and Korean write characters."""

SHORT_SCALE = re.compile(r"\s?(k|K|M|Mio\.?|Mrd\.?|Md|bn|B|G|T|mln|mld|млн|млрд|тыс)(?![^\W_])")
SHORT_SCALES = {
    "k": 3, "K": 3, "M": 6, "Mio": 6, "mln": 6, "млн": 6, "Mrd": 9, "Md": 9, "bn": 9, "B": 9, "G": 9, "mld": 9, "млрд": 9,
    "T": 12, "тыс": 3,
}  # fmt: skip
"""Powers of ten that are letters after a number in digits; a letter may also be another abbreviation."""


@frozen
class NumberWords:
    """The words of a language for numbers.

    ``implied`` words may stand for a number, ``ambiguous`` cardinals are also other words, ``scales`` are powers of ten,
    ``hundreds`` are those that are one word.
    """

    cardinals: Mapping[str, int] = field(default_factory=dict)
    implied: Mapping[str, int] = field(default_factory=dict)
    ambiguous: frozenset[str] = frozenset()
    scales: Mapping[str, int] = field(default_factory=dict)
    hundreds: Mapping[str, int] = field(default_factory=dict)

    def find(self, tokens: Sequence[tuple[str, int, int]], at: int, text: str) -> tuple[int, int | None, bool]:
        """Return how many words from ``at`` are a number, its value, None if there is none, and whether it is optional.

        ``tokens`` are words with their place in ``text``.
        """
        for length in range(min(_MAX_WORDS, len(tokens) - at), 0, -1):
            chosen = tokens[at : at + length]
            if any(text[one[2] : later[1]].strip() for one, later in pairwise(chosen)):
                continue
            phrase = " ".join(token[0] for token in chosen)
            if phrase in self.cardinals:
                value = self.cardinals[phrase]
                return length, value, value < _MIN_REQUIRED or phrase in self.ambiguous
        word = tokens[at][0]
        if word in self.implied:
            return 1, self.implied[word], True
        for stem, value in self.cardinals.items():  # compounds: "three-dimensional", "dreimal", "vierstellig"
            if len(stem) > 2 and word.startswith(stem):  # noqa: PLR2004 (a shorter one begins many words)
                return 1, value, True
        return 1, None, True

    def scales_of(self, text: str, at: int) -> tuple[set[int], int]:
        """Return the power of ten that a word at ``at`` stands for, and its end; "mil millones" is one word."""
        match = _WORDS.match(text, at)
        if match is None:
            return set(), at
        first, second = match[1].casefold(), (match[2] or "").casefold()
        if second and f"{first}-{second}" in self.scales:
            return {self.scales[f"{first}-{second}"]}, match.end()
        if first not in self.scales:
            return set(), at
        if second in self.scales and second != first:
            return {self.scales[first] + self.scales[second]}, match.end()
        return {self.scales[first]}, match.end(1)


_WORDS = re.compile(r"([^\W\d_]+)(?:[\s-]([^\W\d_]+))?")


def worded_languages() -> tuple[str, ...]:
    """Return the base codes of the languages whose numbers in words are known."""
    return tuple(_UNITS)


@cache
def number_words(code: str) -> NumberWords:
    """Return the words of the language with a base code; without any words for an unknown one."""
    scales = _read_table(_SCALES.get(code, ""))
    if code not in _UNITS:
        return NumberWords(scales=scales)
    return NumberWords(
        dict(_cardinals(code)),
        _read_table(_OTHER_WORDS[code]) | _months(code),
        frozenset(_AMBIGUOUS[code].split()),
        scales,
        _read_table(_HUNDREDS.get(code, "")),
    )


@cache
def day_words() -> Mapping[str, int]:
    """Return the words for the days of a month: third, dritten, trois."""
    days = dict.fromkeys(_FIRST.values(), 1)
    for code in _FIRST:
        days |= {word: day for word, day in _cardinals(code) if 1 < day <= _DAYS_OF_MONTH}
    days |= {_english_ordinal(word): day for word, day in _cardinals("en") if 0 < day <= _DAYS_OF_MONTH}
    german = ((_german_ordinal(word, day), day) for word, day in _cardinals("de") if 0 < day <= _DAYS_OF_MONTH)
    return days | {stem + ending: day for stem, day in german for ending in ("e", "en", "er", "em", "es")}


def _english_ordinal(cardinal: str) -> str:
    head, mark, last = re.fullmatch(r"(?:(.*)([ -]))?(\w+)", cardinal).groups("")  # type: ignore[union-attr]
    return head + mark + _ENGLISH_ORDINALS.get(last, re.sub("y$", "ie", last) + "th")


def _german_ordinal(cardinal: str, value: int) -> str:
    if value >= 20:  # noqa: PLR2004
        return f"{cardinal}st"
    return _GERMAN_ORDINALS.get(cardinal, f"{cardinal}t")


def _read_table(table: str) -> dict[str, int]:
    lines = (line.partition(":") for line in table.split("|") if line)
    return {word: int(value) for value, _, words in lines for word in words.split()}


def _months(code: str) -> dict[str, int]:
    names = (forms.split("/") for forms in _MONTHS[code].split())
    return {form: month for month, forms in enumerate(names, 1) for form in forms}


def _cardinals(code: str) -> Iterator[tuple[str, int]]:
    units = [forms.split("/") for forms in _UNITS[code].split()]
    for value, forms in enumerate(units):
        yield from ((form, value) for form in forms)
    for tens, ten_forms in enumerate(_TENS[code].split(), 2):
        for form in ten_forms.split("/"):
            yield form, 10 * tens
            teens = code == "fr" and form in {"soixante", "quatre-vingt"}
            for unit in range(1, 20 if teens else 10):
                for word in units[unit]:
                    yield from ((phrase, 10 * tens + unit) for phrase in _join(code, form, word, unit))


def _join(code: str, ten: str, unit_word: str, unit: int) -> Iterator[str]:
    """Yield the forms of a number such as 21."""
    if code == "de":
        yield f"{unit_word}und{ten}"
    elif code == "nl":
        yield f"{unit_word}{'ën' if unit_word.endswith('e') else 'en'}{ten}"
    elif code == "it":
        yield f"{ten[:-1] if unit in {1, 8} else ten}{'tré' if unit == 3 else unit_word}"  # noqa: PLR2004 (an accent on 23)
    elif code in {"es", "pt"}:
        joint = "y" if code == "es" else "e"
        yield f"{ten} {joint} {unit_word}"
        if ten == "veinte":
            accented = {"dos": "dós", "tres": "trés", "seis": "séis", "un": "ún"}.get(unit_word, unit_word)
            yield from {f"veinti{unit_word}", f"veinti{accented}"}
    else:
        yield f"{ten}-{unit_word}"
        yield f"{ten} {unit_word}"
        if code == "fr":
            yield from (f"{ten} et {unit_word}", f"{ten}-et-{unit_word}")
