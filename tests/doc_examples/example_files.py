"""The files that the examples name, as a reader would have them."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

from source_files import make_docx, make_email, make_pdf, make_pptx
from split_models import split
from tiny_adapters import write_adapter

from llmcli.tasks.quiz.card import Card, CardKind, deck_text, order_card

from .page_examples import BLOCKS

NOTES = next(block.body for block in BLOCKS["docs/tutorial.md"] if block.kind == "text")
GUIDE = next(block.body for block in BLOCKS["docs/tutorial.md"] if block.kind == "markdown")
SERVERS = "backends:\n" + "".join(
    block.body.removeprefix("backends:\n") for block in BLOCKS["docs/remote-servers.md"] if block.kind == "yaml"
)
NAMES = next(block.body for block in BLOCKS["docs/audit.md"] if block.kind == "yaml")
MESSAGES = """\
msgid ""
msgstr "Content-Type: text/plain; charset=UTF-8\\n"

msgid "Bicycle workshop"
msgstr ""

msgid "Bring a friend."
msgstr "Bringt Freunde mit."
"""
RESOURCES = """\
<resources>
    <string name="door">Don\\'t ring, <b>%1$s</b> sleeps</string>
    <plurals name="bikes">
        <item quantity="one">%d bicycle</item>
        <item quantity="other">%d bicycles</item>
    </plurals>
</resources>
"""
MEMORY = """\
<?xml version="1.0" encoding="UTF-8"?>
<tmx version="1.4">
<header srclang="en" adminlang="en" segtype="paragraph" datatype="plaintext" creationtool="hand" o-tmf="hand"
 creationtoolversion="1"/>
<body><tu><tuv xml:lang="en"><seg>Good morning.</seg></tuv><tuv xml:lang="de"><seg>Guten Morgen.</seg></tuv></tu></body>
</tmx>
"""
PERSON = """\
description: Name, year of birth and field of a person, as JSON
user: "Who is this about? {{ text }}"
variables:
  text: {default: "", description: notes}
options: {temperature: 0}
output:
  schema:
    type: object
    properties:
      name: {type: string, maxLength: 40}
      born: {type: integer, minimum: 1000, maximum: 2100}
      field: {enum: [science, art, politics]}
    required: [name, born, field]
"""
INVOICE = """\
Invoice 2024-0317
Seller: Acme Tools Ltd, Leeds

2 hammers: 49.90 EUR
1 saw: 15.43 EUR
Total with tax: 65.33 EUR

Please pay until 15 April 2024.
"""
LABELLED = "text,label\n" + "".join(
    f"The page {number} stays blank.,bug\nWhat does it cost for {number}?,billing\nI like version {number}.,praise\n"
    for number in range(4)
)
MONEY = "text,label\n" + "".join(
    f"Please send me the invoice {number}.,yes\nThe app crashes with {number} windows.,no\n" for number in range(40)
)
PARTS = (
    LABELLED.replace(",bug\n", ",camera\n")
    .replace(",billing\n", ",price\n")
    .replace(",praise\n", ',"camera,battery"\n')
)
RATED = (
    LABELLED.replace(",bug\n", ",negative\n").replace(",billing\n", ",neutral\n").replace(",praise\n", ",positive\n")
)
GARDEN = """# Gardens

## Watering

Most vegetables need about twenty-five litres of water for each square metre every week. Watering in the morning loses less water to evaporation than watering at noon. Tomatoes crack when a dry week is followed by heavy watering. A layer of mulch keeps the soil moist and suppresses weeds. Mulch should not touch the stems of young plants, since moisture causes rot.

## Soil

Compost improves the structure of heavy clay soil and feeds earthworms. Earthworms draw dead leaves into the soil and leave channels for air and water. Legumes such as beans and peas fix nitrogen from the air in nodules of their roots. Nitrogen makes leaves grow, phosphorus helps roots and flowers, and potassium strengthens stems. Too much nitrogen delays the ripening of tomatoes. Lime raises the pH of acid soil, and sulphur lowers it.

## Sowing, step by step

1. Loosen the soil with a fork.
2. Rake the bed until the soil is fine.
3. Draw a furrow and water it.
4. Sow the seeds and cover them.
5. Firm the soil with the back of the rake.

Carrots germinate slowly, so gardeners sow radishes in the same row to mark it. Peas were sown in 1856 by Gregor Mendel in the garden of a monastery in Brno.
"""
REVIEW = '{"card": "%s", "at": "2026-11-30T08:00:00+00:00", "rating": "good", "verdict": "right", "answer": "", "hinted": false}'
CARDS = [
    Card(CardKind.CLOZE, "Tomatoes crack when a dry week is followed by h____ watering.", "heavy"),
    Card(CardKind.CHOICE, "Earthworms draw dead ____ into the soil.", "leaves", ("stems", "roots", "leaves")),
    order_card("Put in order: Sowing", ("Loosen the soil", "Sow the seeds"), ("Sow the seeds", "Loosen the soil")),
]
TEXTS = {
    "garden.md": GARDEN,
    "deck.jsonl": deck_text(CARDS),
    "deck.reviews.jsonl": '{"version": 1}\n' + "".join(f"{REVIEW % card.id}\n" for card in CARDS[:2]),
    "notes/heat.md": "# Heat\n\nThe workshop needs 40 percent less heat with a new roof.\n",
    "answers.txt": "heavi\n3\n2 1\n",
    "words.csv": "question,answer\nHaus,house\nBaum,tree\n",
    "notes.txt": NOTES,
    "report.txt": NOTES,
    "summary.log": NOTES,
    "errors.log": NOTES,
    "chapter1.txt": NOTES,
    **{f"week{number}.txt": NOTES for number in (1, 2, 3)},
    "service.log": NOTES,
    "state.json": json.dumps({"text": "The workshop will be closed.", "source": {}}),
    "meeting.txt": NOTES,
    "chapter2.txt": NOTES,
    "README.md": GUIDE,
    "guide.md": GUIDE,
    "docs/guide.md": GUIDE,
    "docs/repairs.md": "# Bicycle workshop\n\nBring your bicycle.\n",
    "answer.md": "# Answer\n\nThe workshop is closed on Monday, 4 May. It opens again on Tuesday at 10:00.\n",
    "strings.json": '{"open": "We open at {time}.", "closed": "Closed today"}\n',
    "messages.po": MESSAGES,
    "strings.xml": RESOURCES,
    "tides.adoc": "= Tides\n:figure-caption: Drawing\n\nSee <<_high_water>> and run `make` in *any* port.\n\n== High water\n\n[source]\n----\nkeep this\n----\n",
    "terms.csv": "workshop,atelier\n",
    "style.md": "Write short sentences.\n",
    "reviews.txt": "I love this bicycle.\nWhat a day!\n",
    "tickets.txt": "Please send me the invoice.\nThe app crashes when I open the settings.\nMy card was charged twice.\n",
    "tickets.csv": "id,text\n1,Please send me the invoice.\n2,The app crashes.\n",
    "messages.csv": "id,message\n1,The kettle broke on 3 May 2024. I paid 35.50 EUR for it.\n"
    "2,Thank you for the quick delivery!\n3,Please send me an invoice of 120 EUR until 15.6.2024.\n",
    "labelled.csv": LABELLED,
    "rated.csv": RATED,
    "money.csv": MONEY,
    "parts.csv": PARTS,
    "check.csv": "text,label\nThe button does nothing.,bug\nPlease refund me.,billing\nA great tool.,praise\n",
    "labels.yaml": "billing: Money.\nbug: Something is broken.\npraise:\n",
    "applicants.txt": "{person} sent an application, and {they} called twice.\nEmily wants to repair bicycles.\n",
    "applicants.csv": "id,text\n1,Emily wants to repair bicycles.\n2,The shop called Lakisha.\n",
    "names.yaml": NAMES,
    "topics.txt": "rain\nsnow\n",
    "reviews.csv": 'id,text,stars\n1,"I love this bicycle, it is wonderful!",5\n2,What a day!,3\n',
    "requests.jsonl": '{"custom_id": "a", "method": "POST", "url": "/v1/chat/completions", "body": '
    '{"messages": [{"role": "user", "content": "What is the capital of France?"}]}}\n',
    "countries.jsonl": '{"country": "France", "visited": true}\n',
    "articles.csv": "title,body\nBicycle workshop,Bring a friend.\n",
    "articles.jsonl": '{"body": "The bicycle workshop will be closed on Monday."}\n',
    "people.csv": "recipient,topic\nAnn,a later meeting\n",
    "settings.yaml": "ctx: 4096\n",
    "invoice.txt": INVOICE,
    "person.json": '{"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}\n',
    "draft.txt": "We are sorry. The roof has to be repiared after the storm. We will definately write.\n",
    "letter.txt": "Dear Jane Doe,\n\nyour address is jane@example.org.\n",
    "servers.yaml": SERVERS,
    "person.yaml": PERSON,
    "memory.tmx": MEMORY,
    "old/first.tmx": MEMORY,
}


def _write_letter(document: Any) -> None:
    """Write a Word document with python-docx."""
    document.add_heading("Bicycle workshop", 1)
    paragraph = document.add_paragraph("The workshop opens on ")
    paragraph.add_run("Saturday").bold = True
    paragraph.add_run(" at 10:00.")


def _write_report(document: Any) -> None:
    """Write a Word document without formatting."""
    document.add_heading("Bicycle workshop", 1)
    document.add_paragraph("Bring a friend.")


def write_documents(directory: Path) -> None:
    """Write documents of other formats."""
    rows = "".join(f"{number},{'North' if number % 3 else 'South'},{number % 40}\n" for number in range(3000))
    documents = {
        "report.pdf": make_pdf(NOTES),
        "study.pdf": make_pdf(NOTES),
        "contract.pdf": make_pdf(NOTES),
        "slides.pptx": make_pptx(),
        "letter.docx": make_docx(_write_letter),
        "report.docx": make_docx(_write_report),
        "letters/may.eml": make_email(text=NOTES),
        "page.html": f"<!DOCTYPE html><nav>Home</nav><p>{NOTES}</p>".encode(),
        "login.pdf": b"<!DOCTYPE html><p>Log in to read this report.</p>",
        "sales.csv": f"receipt,shop,price\n{rows}".encode(),
    }
    for name, data in documents.items():
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_bytes(data)


def write_texts(directory: Path) -> None:
    """Write the texts, and make ``directory`` a repository in which the notes have changed."""
    for name, text in TEXTS.items():
        file = directory / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    secret = directory / "secret"
    secret.write_text("a-secret-of-at-least-thirty-two-characters\n")
    secret.chmod(0o600)
    draft, *later = NOTES.splitlines(keepends=True)
    notes = directory / "notes.txt"
    author = ["-c", "user.name=A", "-c", "user.email=a@example.org"]
    if shutil.which("git") is None:  # the examples with git are skipped then
        return
    notes.write_text(draft)
    for words in (["init", "-q"], ["add", "notes.txt"], [*author, "commit", "-qm", "Write notes"]):
        subprocess.run(["git", *words], cwd=directory, check=True)
    notes.write_text(draft + "".join(later))


def write_models(home: Path, directory: Path, model: bytes) -> None:
    """Write the model files that a reader has, and one of Ollama's."""
    (home / "Downloads").mkdir()
    for file in (directory / "mine.gguf", home / "Downloads" / "mine.gguf"):
        file.write_bytes(model)
    for name in ("formal.gguf", "legal.gguf"):
        write_adapter(directory / name, directory / "mine.gguf")
    for name, part in split(model, "big-Q4_K_M").items():
        (directory / name).write_bytes(part)
    digest = hashlib.sha256(model).hexdigest()
    layer = {"mediaType": "application/vnd.ollama.image.model", "digest": f"sha256:{digest}", "size": len(model)}
    folder = home / ".ollama" / "models"
    manifest = folder / "manifests" / "registry.ollama.ai" / "library" / "llama3.2" / "1b"
    for path, data in (
        (manifest, json.dumps({"layers": [layer]}).encode()),
        (folder / "blobs" / f"sha256-{digest}", model),
    ):
        path.parent.mkdir(parents=True)
        path.write_bytes(data)
