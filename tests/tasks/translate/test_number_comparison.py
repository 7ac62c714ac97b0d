"""Numbers of a translation are compared with its source by value, in the formats and words of many languages."""

from __future__ import annotations

import pytest
from row_table import all_rows

from llmcli.tasks.languages import parse_language
from llmcli.tasks.translate.number_comparison import NumberDifference, compare_numbers


def compare(source, target, text, translation):
    return compare_numbers(text, translation, parse_language(source), parse_language(target))


@all_rows(
    ("source", "target", "text", "translation"),
    [
        ("en", "fr", "The old man has three cars.", "Le vieil homme a trois voitures."),
        ("en", "fr", "The old man has 3 cars.", "Le vieil homme a trois voitures."),
        ("en", "fr", "The meeting is at 3 pm.", "La réunion est à 15 h."),
        ("en", "fr", "The meeting is at 3 pm.", "La réunion est à 15h00."),
        ("en", "fr", "The meeting is at 3:30 p.m. today.", "La réunion est à 15 h 30 aujourd'hui."),
        ("en", "fr", "The meeting is at 3 pm.", "La réunion est à 3 heures de l'après-midi."),
        ("en", "de", "The meeting is at 3 pm.", "Das Treffen ist um 15 Uhr."),
        ("en", "de", "The meeting is at 3:30 pm.", "Das Treffen ist um 15.30 Uhr."),
        ("en", "de", "The meeting is at 3:30 pm.", "Das Treffen ist um 15 Uhr 30."),
        ("en", "es", "The meeting is at 3 pm.", "La reunión es a las 3 de la tarde."),
        ("en", "es", "The meeting is at 3 pm.", "La reunión es a las 15:00."),
        ("en", "fi", "The meeting is at 3:30 pm.", "Kokous on klo 15.30."),
        ("en", "ja", "The meeting is at 3:30 pm.", "会議は午後3時30分です。"),
        ("en", "zh", "The meeting is at 3 pm.", "会议在下午3点举行。"),
        ("en", "ja", "The meeting is at 3 pm.", "会議は15時です。"),
        ("de", "en", "Das Treffen ist um 15 Uhr.", "The meeting is at 3 p.m."),
        ("en", "pl", "The meeting is at 3 pm.", "Spotkanie jest o godz. 15."),
        ("en", "pl", "The meeting is at 3 pm.", "Spotkanie jest o 15:00."),
        ("en", "ru", "The meeting is at 3 pm.", "Встреча в 3 часа дня."),
        ("en", "ru", "The meeting is at 3 pm.", "Встреча в 15:00."),
        ("en", "de", "It costs 1,234.5 euros.", "Es kostet 1.234,5 Euro."),
        ("en", "fr", "It costs 1,234.5 euros.", "Cela coûte 1 234,5 euros."),
        ("en", "de-CH", "It costs 1,234.5 francs.", "Es kostet 1'234.5 Franken."),
        ("en", "de-CH", "It costs 1,234.5 francs.", "Es kostet 1\u2019234.5 Franken."),
        ("en", "de", "It costs 3 billion euros.", "Es kostet 3 Milliarden Euro."),
        ("en", "de", "It costs 3 billion euros.", "Es kostet 3 Mrd. Euro."),
        ("en", "fr", "It costs 3.5 billion euros.", "Cela coûte 3,5 milliards d'euros."),
        ("en", "es", "It costs 3 billion euros.", "Cuesta 3.000 millones de euros."),
        ("en", "es", "It costs 3 billion euros.", "Cuesta 3 mil millones de euros."),
        ("en", "es", "It costs 3 trillion euros.", "Cuesta 3 billones de euros."),
        ("en", "it", "It costs 2 million euros.", "Costa 2 milioni di euro."),
        ("en", "pl", "It costs 2 million euros.", "Kosztuje 2 miliony euro."),
        ("en", "pl", "It costs 2 million euros.", "Kosztuje 2 mln euro."),
        ("en", "ru", "It costs 2 million euros.", "Это стоит 2 миллиона евро."),
        ("en", "ru", "It costs 2 million euros.", "Это стоит 2 млн евро."),
        ("en", "ja", "It costs 2 million yen.", "それは200万円です。"),
        ("en", "ja", "It costs 3.5 billion yen.", "それは35億円です。"),
        ("en", "zh", "It costs 50,000 yuan.", "它的价格是5万元。"),
        ("en", "zh", "There are three cats here.", "这里有三只猫。"),
        ("en", "zh", "There are 3 cats here.", "这里有三只猫。"),
        ("en", "ja", "There are three cats here.", "ここに猫が3匹います。"),
        ("en", "ja", "There are twenty-five cats.", "猫が25匹います。"),
        ("en", "ar", "There are 25 cats here.", "يوجد هنا ٢٥ قطة."),
        ("en", "ar", "There are two cats here.", "توجد هنا قطتان."),
        ("en", "ar", "It costs 1,234.5 dollars.", "يكلف ١٬٢٣٤٫٥ دولار."),
        ("en", "fi", "It takes 25 minutes.", "Se kestää 25 minuuttia."),
        ("en", "fi", "It costs 1,234.50 euros.", "Se maksaa 1 234,50 euroa."),
        ("en", "fi", "The old man has three cars.", "Vanhalla miehellä on kolme autoa."),
        ("en", "fi", "The old man has 3 cars.", "Vanhalla miehellä on kolme autoa."),
        ("en", "pl", "The old man has five cars.", "Stary człowiek ma pięć samochodów."),
        ("en", "de", "On 3 March 2026 we left.", "Am 3. März 2026 fuhren wir ab."),
        ("en", "de", "On 3 March 2026 we left.", "Wir fuhren am 03.03.2026 ab."),
        ("en", "ja", "On 3 March 2026 we left.", "2026年3月3日に出発しました。"),
        ("en", "fr", "The 19th century was long.", "Le XIXe siècle fut long."),
        ("en", "es", "The 19th century was long.", "El siglo XIX fue largo."),
        ("en", "es", "The 5th century was long.", "El siglo V fue largo."),
        ("en", "fr", "The 5th century was long.", "Le Ve siècle fut long."),
        ("en", "fr", "The fifth floor is closed.", "Le 5e étage est fermé."),
        ("en", "de", "The 5th floor is closed.", "Der fünfte Stock ist geschlossen."),
        ("en", "fr", "Costs rose by 12.5%.", "Les coûts ont augmenté de 12,5 %."),
        ("en", "de", "Pages 3-5 are missing here.", "Die Seiten 3 bis 5 fehlen hier."),
        ("en", "de", "Twenty-five people came.", "Fünfundzwanzig Personen kamen."),
        ("en", "de", "The two files were removed.", "Beide Dateien wurden entfernt."),
        ("en", "fr", "Ninety-seven people came.", "Quatre-vingt-dix-sept personnes sont venues."),
        ("en", "fr", "Ninety-seven people came.", "97 personnes sont venues."),
        ("en", "es", "Thirty-two people came.", "Treinta y dos personas vinieron."),
        ("en", "it", "Twenty-three people came.", "Ventitré persone sono venute."),
        ("en", "pt", "Forty-five people came here.", "Quarenta e cinco pessoas vieram aqui."),
        ("en", "nl", "Thirty-two people came.", "Tweeëndertig mensen kwamen."),
        ("en", "fr", "I saw a new car.", "J'ai vu une voiture neuve, un neuf."),
        ("en", "de", "Two hundred people came.", "Zweihundert Menschen kamen."),
        ("en", "de", "Two hundred people came.", "200 Menschen kamen."),
        ("en", "fr", "Two hundred and fifty people came.", "250 personnes sont venues."),
        ("en", "de", "The three-year-old child sleeps.", "Das dreijährige Kind schläft."),
        ("en", "de", "A dozen eggs were broken.", "12 Eier waren zerbrochen."),
        ("en", "de", "I went there three times.", "Ich war dreimal dort."),
        ("en", "fr", "Vitamin C is good.", "La vitamine C est bonne."),
        ("en", "ar", "The old man has cars.", "الرجل العجوز لديه سيارات.\\u200f"),
        ("en", "ja", "The IPv4 address is wrong.", "IPv4アドレスが正しくありません。"),
        ("en", "hi", "There are 25 cats here.", "यहाँ २५ बिल्लियाँ हैं।"),
        ("en", "hi", "It costs 100,000 rupees.", "इसकी कीमत 1,00,000 रुपये है।"),
        ("en", "sv", "It costs 2 billion kronor.", "Det kostar 2 miljarder kronor."),
        ("en", "fr", "See items 1,3 and 5.", "Voir les points 1, 3 et 5."),
        ("en", "de", "It opens at noon.", "Es öffnet um 12 Uhr."),
        ("en", "fr", "Ten thousand people came.", "Dix mille personnes sont venues."),
        ("en", "fr", "A thousand people came.", "Mille personnes sont venues."),
        ("en", "de", "1,000 people came here.", "Tausend Menschen kamen hierher."),
        ("en", "fr", "I am 20 years old.", "J'ai vingt ans."),
        ("en", "ja", "Half of 10 people came.", "10人の半分が来ました。"),
        ("en", "pt-BR", "The old man has 3 cars.", "O velho tem três carros."),
        ("en", "ko", "There are three cats here.", "여기에 고양이 세 마리가 있습니다."),
        ("en", "ko", "It costs 20,000 won.", "2만 원입니다."),
        ("en", "th", "There are 3 cats here.", "ที่นี่มีแมวสามตัว"),
        ("en", "he", "There are 3 cats here.", "יש כאן שלושה חתולים."),
    ],
)
def test_equal_numbers_agree(source, target, text, translation):
    """However the languages write them."""
    assert compare(source, target, text, translation) is None


@all_rows(
    ("source", "target", "text", "translation"),
    [
        ("en", "fr", "The old man has 3 cars.", "Le vieil homme a 5 voitures."),
        ("en", "fr", "The old man has three cars.", "Le vieil homme a cinq voitures."),
        ("en", "fr", "The old man has three cars.", "Le vieil homme a 5 voitures."),
        ("en", "fr", "The old man has 3 cars.", "Le vieil homme a cinq voitures."),
        ("en", "fr", "The old man has cars.", "Le vieil homme a 5 voitures."),
        ("en", "fr", "The old man has cars.", "Le vieil homme a trois voitures."),
        ("en", "fr", "The old man has 3 cars.", "Le vieil homme a des voitures."),
        ("en", "fr", "The old man has seven cars.", "Le vieil homme a des voitures."),
        ("en", "fr", "The old man has three cars.", "Der alte Mann hat drei Autos."),
        ("en", "fr", "The old man has three cars.", "El viejo tiene tres coches."),
        ("en", "fr", "The old man has three cars.", "Il vecchio ha tre macchine."),
        ("en", "fr", "The meeting is at 3 pm.", "La réunion est à 16 h."),
        ("en", "fr", "The meeting is at 3 pm.", "La réunion est à 3 h du matin."),
        ("en", "de", "The meeting is at 3 pm.", "Das Treffen ist um 14 Uhr."),
        ("en", "de", "It costs 3 million euros.", "Es kostet 3 Milliarden Euro."),
        ("en", "de", "It costs 3 billion euros.", "Es kostet 3 Billionen Euro."),
        ("en", "fr", "It costs 3 billion euros.", "Cela coûte 3 millions d'euros."),
        ("en", "es", "It costs 3 billion euros.", "Cuesta 3 billones de euros."),
        ("en", "it", "It costs 3 million euros.", "Costa 3 miliardi di euro."),
        ("en", "de", "It costs 1,234.50 euros.", "Es kostet 1.235,50 Euro."),
        ("en", "de", "It costs 1,234.5 euros.", "Es kostet 12.345 Euro."),
        ("en", "fr", "Costs rose by 12.5%.", "Les coûts ont augmenté de 125 %."),
        ("en", "fr", "Between 10 and 20 people came.", "Entre 10 et 30 personnes sont venues."),
        ("en", "fr", "See pages 3 to 5 and 3 to 7.", "Voir pages 3 à 5 et 5 à 7."),
        ("en", "de", "On 3 March 2026 we left.", "Am 4. März 2026 fuhren wir ab."),
        ("en", "de", "In 1998 he moved here.", "Er zog 1989 hierher."),
        ("en", "fr", "The 19th century was long.", "Le XVIIIe siècle fut long."),
        ("en", "fr", "The 5th floor is closed.", "Le 6e étage est fermé."),
        ("en", "ja", "There are 3 cats here.", "ここに猫が4匹います。"),
        ("en", "ar", "There are 25 cats here.", "يوجد هنا ٢٦ قطة."),
        ("en", "ja", "There are cats here.", "ここに猫が4匹います。"),
        ("en", "fi", "It takes 25 minutes.", "Se kestää 52 minuuttia."),
        ("en", "de", "Twenty-five people came.", "Zweiundfünfzig Personen kamen."),
        ("en", "fr", "Ninety-seven people came.", "Quatre-vingt-dix-huit personnes sont venues."),
        ("en", "ru", "The old man has cars.", "У старого чоловіка є 3 машини."),
        ("de", "en", "Der alte Mann hat drei Autos.", "The old man has four cars."),
        ("fr", "en", "Le vieil homme a 80 voitures.", "The old man has 90 cars."),
        ("en", "de", "Chapter 4 begins on page 12.", "Kapitel 4 beginnt auf Seite 21."),
        ("en", "fr", "Add 1 litre of water and 2 eggs.", "Ajoutez 2 litres d'eau et 2 œufs."),
    ],
)
def test_other_numbers_differ(source, target, text, translation):
    """Changed, added and dropped ones, in digits and in words."""
    assert compare(source, target, text, translation) is not None


def test_the_difference_is_named():
    """As the texts write it; the number that agrees is not in it."""
    assert compare("en", "fr", "From 3 to 8 of 12.", "De 3 à 9 sur douze.") == NumberDifference(("8",), ("9",))


def test_numbers_are_a_multiset():
    """A number that comes twice agrees with two."""
    assert compare("en", "de", "2 of 20 and 2 of 30", "2 von 20 und 30") == NumberDifference(("2",), ())


@pytest.mark.parametrize("source", ["en", None])
def test_any_numbers_are_compared_in_time(source):
    """Many equal numbers, very long ones, and digits of another script."""
    text = "The pages are " + "7 " * 400 + "9" * 5000 + " ٢٥"
    language = parse_language(source) if source else None
    assert compare_numbers(text, text.replace("٢٥", "25"), language, parse_language("fr")) is None
    assert compare_numbers(text, text + " 8", language, parse_language("fr")) == NumberDifference((), ("8",))
