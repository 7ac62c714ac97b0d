"""Typing errors that `llm proofread` finds: by surprisal alone, by the list of words alone, and by both.

300 typing errors are planted in real text of at most 60,000 characters, each in a word of at least four letters: two
neighbouring letters are exchanged, one is left out, doubled, or replaced by its neighbour on the keyboard. In English
text up to a third of them are common misspellings ("seperate"). An error that makes another word of the texts is none,
and no error is twice in a text. The texts are paragraphs of the descriptions of installed Python packages, or of
``--file``.

The constants of ``llmcli/tasks/proofread/spelling.py`` were chosen on the descriptions of packages whose name has an
odd SHA-256 (``--tuning``), and on the Debian FAQ in German and French; the figures in the documentation are those of
the even ones, and of the Debian Developer's Reference. Precision depends on the share of wrong words. Errors that the
texts have of their own count as right words.
"""

from __future__ import annotations

import random
import re
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import common
from check_quality import load_documents
from proofread_quality import is_prose

from llmcli.backends.base import Backend
from llmcli.config.engine_options import EngineOptions
from llmcli.documents.reading.document import Document
from llmcli.tasks.proofread import DEFAULT_THRESHOLD_BITS, MISSPELLING_BITS, SuspiciousWord, find_words, proofread
from llmcli.tasks.runner.task_requests import GenerationOptions
from llmcli.types import Result

ERRORS = 300
MIN_LETTERS = 4
MAX_TEXT_CHARS, MAX_CHARS = 6000, 60_000
KEYBOARDS = {
    "en": ("qwertyuiop", "asdfghjkl", "zxcvbnm"),
    "de": ("qwertzuiopü", "asdfghjklöä", "yxcvbnm"),
    "fr": ("azertyuiop", "qsdfghjklm", "wxcvbn"),
}
_PAIRS = (
    "absence:absense access:acess accessible:accessable accidentally:accidently accommodate:accomodate "
    "achieve:acheive across:accross actually:actualy additional:additonal address:adress addresses:adresses "
    "advanced:advaned against:agianst algorithm:algorythm already:allready always:allways another:anohter "
    "apparent:apparant appearance:appearence appropriate:appropiate argument:arguement arguments:arguements "
    "automatically:automaticly available:availible basically:basicly because:becuase before:befor beginning:begining "
    "behavior:behavoir believe:beleive between:betwen business:buisness calendar:calender certain:certian "
    "changing:changeing character:charachter characters:charachters coming:comming command:comand commands:comands "
    "committed:commited common:comon compatible:compatable completely:completly connection:conection "
    "consistent:consistant containing:contianing control:controll convenient:convienent correctly:corectly "
    "definitely:definately dependency:dependancy dependencies:dependancies describe:discribe described:discribed "
    "description:desciption development:developement difference:diference different:diffrent directly:direclty "
    "directory:direcotry disappear:dissapear does:dose easily:easely environment:enviroment environments:enviroments "
    "especially:especialy existence:existance existing:exisiting experience:experiance explicitly:explicitely "
    "extension:extention extremely:extremly familiar:familar finally:finaly following:folowing foreign:foriegn "
    "format:fromat further:futher generally:generaly guarantee:garantee happened:happend having:haveing "
    "immediately:immediatly implementation:implemenation important:importent independent:independant "
    "information:infomation initial:intial install:instal installed:instaled installation:instalation instead:insted "
    "interface:inteface knowledge:knowlege language:langauge length:lenght library:libary maintained:mantained "
    "maintenance:maintainance memory:memmory method:mehtod multiple:mutiple necessary:neccessary number:nubmer "
    "occasionally:occasionaly occurred:occured occurs:occures official:offical often:offen original:orignal "
    "other:ohter otherwise:otherwize output:ouput package:pacakge parallel:paralell parameter:paramater "
    "parameters:paramaters particular:particuler performance:performence permission:permision please:plese "
    "possible:posible preferred:prefered previous:previuos probably:propably process:proccess processing:proccessing "
    "program:progam project:projcet publicly:publically really:realy receive:recieve received:recieved "
    "recommend:reccomend recommended:recomended reference:referance relevant:relevent repository:repositry "
    "required:requried requires:requries response:responce result:reuslt retrieve:retreive running:runing "
    "separate:seperate separately:seperately several:severel should:shoud similar:similiar simple:simpel since:sicne "
    "sometimes:somtimes specific:specfic specified:specifed standard:standart statement:statment string:strign "
    "successfully:succesfully support:suport supported:suported supports:suports surprise:suprise their:thier "
    "therefore:therfore these:theese though:thoguh through:thru together:togehter transferred:transfered truly:truely "
    "unfortunately:unfortunatly unnecessary:unneccessary until:untill using:useing usually:usualy value:vaule "
    "values:vaules version:verison versions:verisons weird:wierd where:whre whether:wether which:wich while:whlie "
    "with:wiht within:withing without:withuot would:woud writing:writting written:writen"
)
MISSPELLINGS = dict(pair.split(":") for pair in _PAIRS.split())
"""How people often write these words."""


@dataclass
class PlantedText:
    """A text, and what is put in the place of some of its words."""

    right: str
    errors: dict[tuple[int, int], str] = field(default_factory=dict)

    def spoil(self) -> tuple[str, dict[int, str]]:
        """Return the text with the errors, and what was right at their offsets."""
        text, last = "", 0
        right = {}
        for (start, end), wrong in sorted(self.errors.items()):
            text += self.right[last:start]
            right[len(text)] = self.right[start:end]
            text += wrong
            last = end
        return text + self.right[last:], right


def load_texts(files: list[str], parity: int) -> list[str]:
    """Return prose, in texts of at most ``MAX_TEXT_CHARS``."""
    whole = [Path(file).read_text(encoding="utf-8") for file in files] or load_documents(parity).values()
    texts: list[str] = []
    for each in whole:
        text = ""
        for paragraph in filter(is_prose, (" ".join(part.split()) for part in re.split(r"\n\s*\n", each))):
            if text and len(text) + len(paragraph) > MAX_TEXT_CHARS:
                texts, text = [*texts, text], ""
            text += paragraph + "\n\n"
        texts += [text] if text else []
    return [text for number, text in enumerate(texts) if sum(map(len, texts[:number])) < MAX_CHARS]


def mistype(word: str, keyboard: tuple[str, ...], choice: random.Random) -> str:
    """Return a word with one typing error after its first letter; the word itself if the error changes nothing."""
    at = choice.randrange(1, len(word) - 1)
    row = next((row for row in keyboard if word[at] in row), word[at])
    near = [row[index] for index in (row.index(word[at]) - 1, row.index(word[at]) + 1) if 0 <= index < len(row)]
    return choice.choice(
        [
            word[:at] + word[at + 1] + word[at] + word[at + 2 :],
            word[:at] + word[at + 1 :],
            word[:at] + word[at] + word[at:],
            word[:at] + choice.choice(near or [word[at]]) + word[at + 1 :],
        ]
    )


def plant(texts: list[str], language: str) -> list[PlantedText]:
    """Return the texts with ``ERRORS`` errors in all; no error is twice in a text."""
    choice = random.Random(1)  # noqa: S311 (the same errors each time)
    places = [(number, *span) for number, text in enumerate(texts) for span in find_words(text, 0, len(text))]
    words = {place: texts[place[0]][place[1] : place[2]] for place in places}
    unusable = {(number, word.lower()) for word in words.values() for number in range(len(texts))}
    planted = [PlantedText(text) for text in texts]
    choice.shuffle(places)

    def put(place: tuple[int, int, int], new: str) -> None:
        if (place[0], new.lower()) not in unusable:
            unusable.add((place[0], new.lower()))
            planted[place[0]].errors[place[1:]] = new

    misspellable = [place for place in places if language == "en" and words[place] in MISSPELLINGS]
    for place in misspellable[: ERRORS // 3]:
        put(place, MISSPELLINGS[words[place]])
    for place in places:
        word = words[place]
        if sum(len(each.errors) for each in planted) == ERRORS:
            break
        if (
            place[1:] not in planted[place[0]].errors
            and len(word) >= MIN_LETTERS
            and word[1:].islower()
            and word.isalpha()
        ):
            put(place, mistype(word, KEYBOARDS[language], choice))
    return planted


def score_texts(backend: Backend, planted: list[PlantedText]) -> list[tuple[float, str | None, str | None]]:
    """Return the score, the suggestion and, if it is wrong, the right form of each word."""
    spoiled = [each.spoil() for each in planted]
    documents = [Document(str(number), text) for number, (text, _) in enumerate(spoiled)]
    found = []
    for event in proofread(backend, documents, GenerationOptions(), SuspiciousWord(0.0)):
        if isinstance(event, Result):
            right = spoiled[event.item][1]
            found += [(word["score"], word["suggestion"], right.get(word["start"])) for word in event.fields["words"]]
    return found


def main() -> None:
    """Score and print."""
    parser = common.parser(__doc__ or "")
    parser.add_argument("--tuning", action="store_true", help="the descriptions on which constants were chosen")
    parser.add_argument("--file", action="append", default=[], help="a text instead of the descriptions")
    parser.add_argument("--language", choices=KEYBOARDS, default="en", help="of the files (default: en)")
    options = parser.parse_args()
    planted = plant(load_texts(options.file, parity=int(options.tuning)), options.language)
    with tempfile.TemporaryDirectory() as kept:
        engine = common.open_engine(common.model_path(options.model), EngineOptions(cache=Path(kept)))
        with engine as backend:
            found = score_texts(backend, planted)
    suggestions = [(suggested, right) for _, suggested, right in found if suggested and right]
    apt = sum(suggested.lower() == right.lower() for suggested, right in suggestions)
    print(f"{len(found)} words, {sum(right is not None for *_, right in found)} wrong;", end=" ")
    print(f"{apt / len(suggestions):.0%} of {len(suggestions)} suggestions are what stood there")
    rows = [_describe("list of words", [right for _, suggested, right in found if suggested])]
    for bits in (DEFAULT_THRESHOLD_BITS, DEFAULT_THRESHOLD_BITS + 4):
        alone = [right for score, suggested, right in found if score - (MISSPELLING_BITS if suggested else 0) >= bits]
        rows.append(_describe(f"surprisal, {bits:.0f} bits", alone))
        rows.append(_describe(f"both, {bits:.0f} bits", [right for score, _, right in found if score >= bits]))
    common.print_table(rows, ["", "listed", "precision", "recall"])


def _describe(name: str, listed: list[str | None]) -> list[str]:
    hits = sum(right is not None for right in listed)
    return [name, str(len(listed)), f"{hits / max(1, len(listed)):.1%}", f"{hits / ERRORS:.1%}"]


if __name__ == "__main__":
    main()
