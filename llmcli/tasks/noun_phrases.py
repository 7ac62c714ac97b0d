"""Clauses told from noun phrases, by the words that English, German, French and Spanish put into clauses.

The words are those of the grammars' closed classes: pronouns, conjunctions, forms of auxiliary verbs, articles,
prepositions and adverbs of degree. A noun is not told from a verb otherwise, so that a clause without any of them
passes.
"""

from __future__ import annotations

import re
from functools import cache

from llmcli.fast_dataclass import frozen


@frozen
class _ClosedClasses:
    """Words of one language, each class as the alternatives of a regular expression without case.

    No aspect and no opinion has one of ``clause``. No aspect has one of ``verbs``. No noun phrase begins or ends with
    one of ``function``, and they say nothing alone.
    """

    clause: str
    verbs: str
    function: str


_LANGUAGES = {
    "en": _ClosedClasses(
        clause=(
            "i|you|u|he|she|it|we|they|me|him|us|them|who|whom|which|what|where|when|while|that|if|because|since"
            "|although|though|unless|until|but|myself|yourself|itself"
        ),
        verbs=(
            r"is|are|was|were|am|be|been|being|has|have|had|having|do|does|did|will|would|can|could|should|may|might"
            r"|must|shall|\w+n['\u2019]t|cannot|not|to|seems?|there|these|those|this|some(?:thing|one)|any(?:thing|one)"
        ),
        function=(
            "a|an|the|and|or|nor|of|in|on|at|by|for|from|with|without|about|into|over|under|up|down|out|off|as|than"
            "|like|so|too|very|quite|rather|just|only|also|even|ever|never|always|often|still|again|then|here|now|more"
            "|most|less|much|many|few|all|both|each|every|any|some|no|such|same|other|another|one|own|my|your|his|her"
            "|its|our|their"
        ),
    ),
    "de": _ClosedClasses(
        clause=(
            "ich|du|er|sie|es|wir|ihr|mich|dich|ihn|uns|euch|mir|dir|ihm|ihnen|sich|man|wer|wen|wem|was|wo|wann|wie"
            "|dass|daß|wenn|weil|obwohl|falls|damit|bevor|nachdem|sodass|aber|sondern|denn"
        ),
        verbs=(
            "ist|sind|war|waren|bin|bist|seid|sein|gewesen|wäre|wären|hat|haben|habe|hast|hatte|hatten|wird|werden"
            "|werde|wurde|wurden|würde|würden|kann|können|konnte|konnten|soll|sollte|muss|müssen|musste|darf|dürfen"
            "|will|wollen|wollte|mag|möchte|lässt|ließ|macht|machte|geht|ging|kam|kommt|nicht|zu|etwas|nichts"
            "|jemand|dies|diese[mnrs]?|jene[mnrs]?"
        ),
        function=(
            "der|die|das|den|dem|des|ein|eine|einen|einem|einer|eines|und|oder|noch|in|im|ins|an|am|auf|bei|beim|für"
            "|von|vom|mit|ohne|über|unter|aus|nach|vor|zum|zur|um|durch|gegen|als|so|sehr|ganz|ziemlich|nur|auch"
            "|sogar|nie|immer|oft|wieder|dann|hier|jetzt|mehr|weniger|viel|viele|alle|alles|beide|jede[mnrs]?|kein"
            "|keine[mnrs]?|leider|schon|doch|mal|einfach|mein|meine|dein|seine|ihre|unser|unsere"
        ),
    ),
    "fr": _ClosedClasses(
        clause=(
            "je|tu|il|elle|on|nous|vous|ils|elles|me|te|se|lui|leur|qui|que|quoi|dont|où|quand|lorsque|si|parce"
            r"|puisque|mais|car|ce|cela|ça|[jtmsnc]['\u2019]\w+|qu['\u2019]\w+"
        ),
        verbs=(
            "est|sont|était|étaient|suis|es|sommes|êtes|être|été|sera|serait|fut|a|ai|as|ont|avons|avez|avait"
            "|avaient|avoir|eu|peut|peuvent|doit|doivent|fait|font|va|vont|ne|pas|y|en|cette|cet|ces"
        ),
        function=(
            "le|la|les|un|une|des|du|de|au|aux|et|ou|ni|à|dans|sur|sous|par|pour|avec|sans|chez|vers|entre|plus|moins"
            "|très|trop|assez|aussi|même|jamais|toujours|souvent|encore|déjà|ici|tout|toute|tous|toutes|chaque|aucun"
            "|aucune|mon|ma|mes|ton|ta|tes|son|sa|ses|notre|nos|votre|vos"
        ),
    ),
    "es": _ClosedClasses(
        clause=(
            "yo|tú|él|ella|ello|nosotros|vosotros|ellos|ellas|usted|ustedes|me|te|se|nos|os|le|les|que|quien|quienes"
            "|donde|cuando|como|si|porque|aunque|pero|sino|pues|esto|eso"
        ),
        verbs=(
            "es|son|era|eran|fue|fueron|soy|eres|somos|ser|sido|está|están|estaba|estaban|estoy|estar|ha|han|he"
            "|había|habían|haber|hay|tiene|tienen|tenía|puede|pueden|debe|deben|hace|hacen|va|van|no|este|esta|estos"
            "|estas|ese|esa|esos|esas"
        ),
        function=(
            "el|la|los|las|un|una|unos|unas|lo|y|e|o|u|ni|a|al|de|del|en|con|sin|por|para|sobre|entre|desde|hasta"
            "|más|menos|muy|tan|tanto|mucho|mucha|muchos|muchas|poco|también|tampoco|nunca|siempre|ya|aún|aquí|todo"
            "|toda|todos|todas|cada|ningún|ninguna|otro|otra|mi|mis|tu|tus|su|sus|nuestro|nuestra"
        ),
    ),
}
_WORD = re.compile(r"[^\W\d_]+")
_PLAIN_WORD = re.compile(r"(?<![^|])[^\W\d_]+(?![^|])")


@frozen
class PhrasePatterns:
    """Regular expressions without case of what is no noun phrase, and of what is a clause or says nothing."""

    no_noun_phrase: str
    no_opinion: str


@cache
def closed_class_words() -> frozenset[str]:
    """Return the pronouns, conjunctions, auxiliary verbs, articles, prepositions and adverbs of all languages."""
    return frozenset(
        word
        for each in _LANGUAGES.values()
        for words in (each.clause, each.verbs, each.function)
        for word in _PLAIN_WORD.findall(words)
    )


def phrase_patterns(text: str) -> PhrasePatterns:
    """Return the patterns of the language that most of the text's closed-class words belong to, in doubt English."""
    words = _WORD.findall(text.lower())

    def known(language: str) -> int:
        classes = _LANGUAGES[language]
        pattern = re.compile(f"{classes.clause}|{classes.verbs}|{classes.function}")
        return sum(pattern.fullmatch(word) is not None for word in words)

    classes = _LANGUAGES[max(_LANGUAGES, key=known)]
    clause, verbs, function = classes.clause, classes.verbs, classes.function
    return PhrasePatterns(
        rf"(?i:(?:[^\n]*\W)?(?:{clause}|{verbs})(?:\W[^\n]*)?|(?:{function})(?:\s[^\n]*)?"
        rf"|(?:[^\n]*\s)?(?:{function})|[^\n]*,\s[^\n]*|[\W\d_]*)",
        rf"(?i:(?:[^\n]*\W)?(?:{clause})(?:\W[^\n]*)?"
        rf"|(?:{verbs}|{function})(?:\s+(?:{verbs}|{function}))*|[\W\d_]*)",
    )
