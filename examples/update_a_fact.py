"""Change a fact in a store: the next answer has it, and only that fact is embedded again."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from kblam import KBLaM
from kblam.knowledge import KnowledgeStore

CITIES = [
    "Aarhus", "Basel", "Bergen", "Bilbao", "Brno", "Bruges", "Cork", "Cracow", "Dresden", "Galway",
    "Gdansk", "Geneva", "Ghent", "Graz", "Kaunas", "Leeds", "Linz", "Lyon", "Malaga", "Nantes",
    "Odense", "Parma", "Porto", "Rennes", "Riga", "Seville", "Split", "Turin", "Verona", "Zagreb",
]  # fmt: skip
QUESTION = "What is the phone number of the Ghent warehouse?"


def main() -> None:
    """Ask, change the fact that answers, ask again, remove it, ask again."""
    with (
        tempfile.TemporaryDirectory() as folder,
        KnowledgeStore(Path(folder) / "warehouses.db") as store,
    ):
        store.add(
            (f"the {city} warehouse", "phone number", f"555-{1000 + 37 * number}")
            for number, city in enumerate(CITIES)
        )
        model = KBLaM.from_pretrained().attach(store)
        print(f"{len(store)} facts, fingerprint {store.fingerprint}")
        ask(model)

        store.upsert([("the Ghent warehouse", "phone number", "777-9000")])
        print(f"Changed one fact, fingerprint {store.fingerprint}")
        ask(model)

        store.remove(entity="the Ghent warehouse", property="phone number")
        print("Removed it")
        ask(model)
        model.detach()


def ask(model: KBLaM) -> None:
    """Ask the one question and print the answer and its time."""
    started = time.perf_counter()
    answer = model.ask(QUESTION)
    print(f"> {QUESTION}\n{answer.text}  ({time.perf_counter() - started:.2f} s)\n")


if __name__ == "__main__":
    main()
