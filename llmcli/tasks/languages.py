"""Languages: their codes and names, and the one that a text is in.

py3langid (a naive Bayes classifier over bytes, Lui and Baldwin 2012) knows some 130 languages, including dialects and
"none". It is unreliable on short texts. So callers mostly ask which of two languages a text is in, and a few words get
no answer.
"""

from __future__ import annotations

import difflib
import functools
import io
import math
import re
import unicodedata
from collections.abc import Collection
from functools import cache
from types import SimpleNamespace

from llmcli.errors import UsageError
from llmcli.fast_dataclass import frozen

# One a line: code, English name, then other names (the language's own name first).
_LANGUAGE_TABLE = """
af|Afrikaans
am|Amharic|አማርኛ
ar|Arabic|العربية
as|Assamese|অসমীয়া
az|Azerbaijani|azərbaycan
be|Belarusian|беларуская
bg|Bulgarian|български
bn|Bengali|বাংলা|Bangla
bo|Tibetan|བོད་སྐད་
br|Breton|brezhoneg
bs|Bosnian|bosanski
ca|Catalan|català
ceb|Cebuano
ckb|Central Kurdish|کوردیی ناوەندی|Sorani
co|Corsican|corsu
cs|Czech|čeština
cy|Welsh|Cymraeg
da|Danish|dansk
de|German|Deutsch
de-AT|Austrian German|Österreichisches Deutsch
de-CH|Swiss High German|Schweizer Hochdeutsch
el|Greek|Ελληνικά
en|English
en-AU|Australian English
en-CA|Canadian English
en-GB|British English
en-US|American English
eo|Esperanto
es|Spanish|español|Castilian|castellano
es-419|Latin American Spanish|español latinoamericano
es-ES|European Spanish|español de España
es-MX|Mexican Spanish|español de México
et|Estonian|eesti
eu|Basque|euskara
fa|Persian|فارسی|Farsi
fi|Finnish|suomi
fil|Filipino
fo|Faroese|føroyskt
fr|French|français
fr-CA|Canadian French|français canadien
fy|Western Frisian|Frysk|Frisian
ga|Irish|Gaeilge
gd|Scottish Gaelic|Gàidhlig
gl|Galician|galego
gn|Guarani|avañe'ẽ
gu|Gujarati|ગુજરાતી
ha|Hausa
haw|Hawaiian|ʻŌlelo Hawaiʻi
he|Hebrew|עברית
hi|Hindi|हिन्दी
hmn|Hmong|Hmoob
hr|Croatian|hrvatski
ht|Haitian Creole|kreyòl ayisyen
hu|Hungarian|magyar
hy|Armenian|հայերեն
id|Indonesian|Bahasa Indonesia
ig|Igbo
is|Icelandic|íslenska
it|Italian|italiano
ja|Japanese|日本語
jv|Javanese|Jawa
ka|Georgian|ქართული
kk|Kazakh|қазақ тілі
km|Khmer|ខ្មែរ
kn|Kannada|ಕನ್ನಡ
ko|Korean|한국어
ku|Kurdish|kurdî|Kurmanji
ky|Kyrgyz|кыргызча
la|Latin|Latina
lb|Luxembourgish|Lëtzebuergesch
lg|Ganda|Luganda
ln|Lingala|lingála
lo|Lao|ລາວ
lt|Lithuanian|lietuvių
lv|Latvian|latviešu
mg|Malagasy
mi|Maori|te reo Māori
mk|Macedonian|македонски
ml|Malayalam|മലയാളം
mn|Mongolian|монгол
mr|Marathi|मराठी
ms|Malay|Bahasa Melayu
mt|Maltese|Malti
my|Burmese|မြန်မာ
nb|Norwegian Bokmål|norsk bokmål
ne|Nepali|नेपाली
nl|Dutch|Nederlands
nl-BE|Flemish|Vlaams
nn|Norwegian Nynorsk|norsk nynorsk
no|Norwegian|norsk
ny|Chichewa|Nyanja
oc|Occitan
om|Oromo|Oromoo
or|Odia|ଓଡ଼ିଆ|Oriya
pa|Punjabi|ਪੰਜਾਬੀ
pl|Polish|polski
ps|Pashto|پښتو
pt|Portuguese|português
pt-BR|Brazilian Portuguese|português do Brasil
pt-PT|European Portuguese|português europeu
qu|Quechua|Runasimi
ro|Romanian|română
ru|Russian|русский
rw|Kinyarwanda|Ikinyarwanda
sa|Sanskrit|संस्कृतम्
sd|Sindhi|سنڌي
si|Sinhala|සිංහල
sk|Slovak|slovenčina
sl|Slovenian|slovenščina
sm|Samoan|gagana Samoa
sn|Shona|chiShona
so|Somali|Soomaali
sq|Albanian|shqip
sr|Serbian|српски
sr-Latn|Serbian in Latin script|srpski
st|Southern Sotho|Sesotho
su|Sundanese|Basa Sunda
sv|Swedish|svenska
sw|Swahili|Kiswahili
ta|Tamil|தமிழ்
te|Telugu|తెలుగు
tg|Tajik|тоҷикӣ
th|Thai|ไทย
ti|Tigrinya|ትግርኛ
tk|Turkmen|türkmen dili
tl|Tagalog
tn|Tswana|Setswana
tr|Turkish|Türkçe
ts|Tsonga|Xitsonga
tt|Tatar|татар
ug|Uyghur|ئۇيغۇرچە
uk|Ukrainian|українська
ur|Urdu|اردو
uz|Uzbek|o‘zbek
vi|Vietnamese|Tiếng Việt
wo|Wolof
xh|Xhosa|isiXhosa
yi|Yiddish|ייִדיש
yo|Yoruba|Èdè Yorùbá
yue|Cantonese|粵語
zh|Chinese|中文|Mandarin
zh-Hans|Simplified Chinese|简体中文
zh-Hant|Traditional Chinese|繁體中文
zu|Zulu|isiZulu
"""  # noqa: RUF001 (letters of the languages' own names)
_ALIASES = {"zh-cn": "zh-Hans", "zh-sg": "zh-Hans", "zh-tw": "zh-Hant", "zh-hk": "zh-Hant", "iw": "he", "in": "id"}
_TAG = re.compile(r"([a-z]{2,3})(?:-([a-z]{4}))?(?:-([a-z]{2}|[0-9]{3}))?")
_MIN_LETTERS = 24
"""Fewest letters for which a language is reported."""
MIN_LOG_ODDS = 8.0
"""Natural-log odds above which one of two languages is reported."""
_SAMPLE_CHARS = 20_000
_CLOSE_LANGUAGES = tuple(
    frozenset(group.split())
    for group in (
        "da nb nn no", "bs hr sr", "id jv ms su", "es gl", "cs sk", "be ru uk", "bg mk", "hi mr ne", "ja yue zh",
        "af fy nl", "de lb", "fr oc", "co it", "ar ckb fa ps ur", "az ku tr", "kk ky",
    )
)  # fmt: skip
"""Languages that a sentence hardly tells apart."""
_NO_WORDS = re.compile(r"[\d_]|[^\w\s'\u2019.,!?-]")


@frozen
class Language:
    """A language: its BCP 47 ``code`` ("pt-BR") and its English ``name`` ("Brazilian Portuguese")."""

    code: str
    name: str


def _table_rows() -> list[list[str]]:
    return [line.split("|") for line in _LANGUAGE_TABLE.split("\n") if line]


def language_names() -> list[tuple[str, str]]:
    """Return (code, English name) of every known language, for completion."""
    return [(row[0], row[1]) for row in _table_rows()]


def parse_language(text: str) -> Language:
    """Return the language for a code, an English name or its own name, ignoring case and accents.

    Raises ``UsageError`` with similar names.
    """
    rows = _table_rows()
    key = _fold_name(text)
    tag = key.replace("_", "-")
    tag = _ALIASES.get(tag, tag).lower()
    for code, *names in rows:
        if tag == code.lower() or key in map(_fold_name, names):
            return Language(code, names[0])
    match = _TAG.fullmatch(tag)
    if match:
        for code, name, *_ in rows:
            if code == match[1]:
                return _make_variant(code, name, match[2], match[3])
    known = {_fold_name(name): name for row in rows for name in row[1:]}
    near = [known[name] for name in difflib.get_close_matches(key, known, n=3, cutoff=0.6)]
    hint = f"; did you mean {', '.join(near)}?" if near else "; expected a code (fr, pt-BR) or a name (French)"
    raise UsageError(f"unknown language {text!r}{hint}")


def is_code(text: str) -> bool:
    """Return whether ``text`` has the form of ``Language.code``: fr, pt-BR."""
    match = _TAG.fullmatch(text.lower())
    known = {row[0] for row in _table_rows()}
    if text in known or match is None or match[1] not in known:
        return text in known
    return _make_variant(match[1], "", match[2], match[3]).code == text


def _make_variant(code: str, name: str, script: str | None, region: str | None) -> Language:
    marks = [part for part in (script and script.title(), region and region.upper()) if part]
    return Language("-".join([code, *marks]), f"{name} ({', '.join(marks)})")


@functools.lru_cache(maxsize=1024)
def _fold_name(text: str) -> str:
    """Return ``text`` without case, accents and outer white space."""
    plain = unicodedata.normalize("NFKD", text.strip().casefold())
    return "".join(character for character in plain if unicodedata.category(character) != "Mn")


# ---- detection -------------------------------------------------------------------------------------------------------


def detect_language(text: str) -> Language | None:
    """Return the main language of a document, None if it is uncertain."""
    sample = text[:_SAMPLE_CHARS]
    if _count_letters(sample) < _MIN_LETTERS:
        return None
    ranked = _rank_languages(_strip_non_words(sample))
    named = {code.partition("-")[0] for code, _ in language_names()}
    (code, best), (_, next_best), *_ = [(code, odds) for code, odds in ranked if code in named]
    if best - next_best <= 1 or ranked[0][1] - best > MIN_LOG_ODDS:
        return None
    return parse_language(code)


def is_still_in_source_language(text: str, source: Language, target: Language) -> bool:
    """Return whether a translation is certainly in the source language."""
    one, other = base_code(source), base_code(target)
    if one == other or _count_letters(text) < _MIN_LETTERS:
        return False
    known = _detectable_codes()
    if one not in known:
        return False
    odds = dict(_rank_languages(_strip_non_words(text)))
    return odds[one] - odds[other] > MIN_LOG_ODDS if other in known else max(odds, key=lambda code: odds[code]) == one


def foreign_log_odds(text: str, rivals: Collection[str], target: Language) -> float:
    """Return the log-odds that a text is in the likeliest of ``rivals`` (base codes) rather than in ``target``.

    Languages that are too close to the target to be told apart do not count. Minus infinity if nothing can be said.
    """
    other = base_code(target)
    odds = dict(_rank_languages(_strip_non_words(text)))
    close = next((group for group in _CLOSE_LANGUAGES if other in group), frozenset())
    choices = [odds[code] for code in rivals if code in odds and code != other and code not in close]
    return max(choices) - odds[other] if other in odds and choices else -math.inf


def likeliest_language(text: str) -> str:
    """Return the base code of the language that a text most likely is in, however uncertain; "" without letters."""
    words = _strip_non_words(text)
    return _rank_languages(words)[0][0] if any(map(str.isalpha, words)) else ""


def is_detectable(language: Language) -> bool:
    """Return whether a text can be identified as one in this language."""
    return base_code(language) in _detectable_codes()


@cache
def named_base_codes() -> frozenset[str]:
    """Return the base codes of all languages that have a name here."""
    return frozenset(code.partition("-")[0] for code, _ in language_names())


@cache
def _detectable_codes() -> frozenset[str]:
    return frozenset(code for code, _ in _rank_languages("x"))


def _rank_languages(text: str) -> list[tuple[str, float]]:
    """Return all languages with the log-odds for a text, the most likely first."""
    import py3langid

    try:
        ranked = py3langid.rank(text)
    except OSError:  # loading unpacks the model into a temporary file, which fails on a full disk
        from py3langid import modelio

        modelio.tempfile = SimpleNamespace(TemporaryFile=lambda **_: io.BytesIO())
        ranked = py3langid.rank(text)
    return [(code, float(odds)) for code, odds in ranked]


def base_code(language: Language) -> str:
    """Return the code of a language without script and region, as texts are identified."""
    code = language.code.partition("-")[0]
    return {"yue": "zh", "tl": "fil", "nb": "no"}.get(code, code)


def _strip_non_words(text: str) -> str:
    """Return the words alone: digits and signs belong to no language."""
    return " ".join(_NO_WORDS.sub(" ", text).split())


def _count_letters(text: str) -> int:
    """Count letters; in scripts without spaces between words each counts for three."""
    return sum(3 if unicodedata.category(c) == "Lo" else 1 for c in text if c.isalpha())
