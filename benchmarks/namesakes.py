"""Refusals where all of a store's names are alike but for one word.

A store holds the warehouses of thirty towns, or thirty people of one family. Each question is for
the property that all of them have: once for one that is there, and once for the same one after its
fact was removed, as it is written and all in small letters. Names are of several forms, as the word
that tells may stand anywhere, and the others be written small.

    python benchmarks/namesakes.py
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from pathlib import Path
from random import Random

from tqdm import tqdm

from kblam import KBLaM, KnowledgeStore
from kblam.config import GenerationOptions
from kblam.knowledge import Triple

TOWNS = (
    "Aarhus", "Basel", "Bergen", "Bilbao", "Brno", "Bruges", "Cork", "Cracow", "Dresden", "Galway",
    "Gdansk", "Geneva", "Ghent", "Graz", "Kaunas", "Leeds", "Linz", "Lyon", "Malaga", "Nantes",
    "Odense", "Parma", "Porto", "Rennes", "Riga", "Seville", "Split", "Turin", "Verona", "Zagreb",
)  # fmt: skip
PEOPLE = (
    "Ada", "Ben", "Clara", "David", "Elena", "Felix", "Greta", "Hugo", "Ines", "Jonas", "Karin",
    "Leon", "Marta", "Nils", "Olga", "Pablo", "Rosa", "Sven", "Tilda", "Uwe", "Vera", "Willem",
    "Xenia", "Yusuf", "Zora", "Anton", "Bianca", "Cyril", "Dora", "Emil",
)  # fmt: skip
#: How things are called and the property that is asked for.
NAMES = (
    ("the {town} warehouse", "phone number"),
    ("the {town} plant", "safety officer"),
    ("{town} office", "manager"),
    ("project {town}", "budget"),
    ("line {town}", "number of stops"),
    ("University of {town}", "rector"),
    ("Port of {town}", "depth"),
    ("Hotel {town}", "street address"),
    ("{town} Clinic", "opening hours"),
    ("{town} Water Works", "operator"),
    ("{town}", "population"),
    ("{person} Meier", "email"),
    ("Dr. {person} Okafor", "room"),
    ("Printer {number}", "location"),
    ("order {number}", "delivery date"),
    ("WX-{number}", "serial number"),
)
COLUMNS = ("there", "removed", "there, small", "removed, small")
_BRIEF = GenerationOptions(max_new_tokens=1)


def names_like(form: str) -> list[str]:
    """Thirty names of a form."""
    return [
        form.format(town=town, person=person, number=100 + 7 * place)
        for place, (town, person) in enumerate(zip(TOWNS, PEOPLE, strict=True))
    ]


def measure(model: KBLaM, form: str, asked_for: str, count: int, rng: Random) -> dict[str, int]:
    """How many are refused: of those that are there, and of the same ones removed."""
    names = names_like(form)
    facts = [Triple(name, asked_for, f"no. {place}") for place, name in enumerate(names)]
    refused: dict[str, int] = defaultdict(int)
    for name in rng.sample(names, count):
        question = f"What is the {asked_for} of {name}?"
        ways = [("", question), (", small", question.lower())]
        with KnowledgeStore.from_source(facts) as store:
            answers = model.with_options().attach(store)
            for way, text in ways:
                refused[f"there{way}"] += answers.ask(text, _BRIEF).refused
            store.remove(entity=name)
            for way, text in ways:
                refused[f"removed{way}"] += answers.ask(text, _BRIEF).refused
    return refused


def main() -> None:
    """Read the arguments, measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=10, help="questions for each form of name")
    parser.add_argument("--threshold", type=float, help="the default is the adapter's own")
    parser.add_argument("--adapter", default="default")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    model = KBLaM.from_pretrained(adapter=options.adapter, refusal_threshold=options.threshold)
    rng = Random(options.seed)
    rows = {
        form: measure(model, form, asked_for, options.count, rng)
        for form, asked_for in tqdm(NAMES, desc="forms of names", leave=False)
    }
    total = {column: sum(row[column] for row in rows.values()) for column in COLUMNS}
    print(f"{f'refused of {options.count}':<26}" + "".join(f"{name:>16}" for name in COLUMNS))
    for form, row in [*rows.items(), (f"all, of {options.count * len(rows)}", total)]:
        print(f"{form:<26}" + "".join(f"{row[name]:>16}" for name in COLUMNS))
    if options.json:
        options.json.write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
