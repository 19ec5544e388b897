"""The same facts with verbs for properties, as the relations of a graph are named.

Writes facts and questions anew, each property as a verb (``WORKS_AS`` for occupation). Evaluate
them, and look at how the replies are put:

    python benchmarks/verbs.py facts.jsonl questions.jsonl verbs
    kblam evaluate --facts verbs/facts.jsonl --questions verbs/questions.jsonl --num-facts 1000
    python benchmarks/handful.py --facts verbs/facts.jsonl --questions verbs/questions.jsonl
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from kblam.knowledge import Triple

VERBS = {
    "CEO": "LED_BY",
    "archnemesis": "FIGHTS_AGAINST",
    "band": "MEMBER_OF",
    "birth year": "BORN_IN",
    "capital": "GOVERNED_FROM",
    "constellation": "LIES_IN",
    "continent": "PART_OF",
    "country": "LOCATED_IN",
    "country of origin": "ORIGINATES_FROM",
    "currency": "USES_CURRENCY",
    "developer": "DEVELOPED_BY",
    "election year": "ELECTED_IN",
    "evolved form": "EVOLVES_INTO",
    "father": "FATHERED_BY",
    "headquarters": "HEADQUARTERED_IN",
    "instrument": "PLAYS_INSTRUMENT",
    "language": "SPEAKS",
    "largest city": "CONTAINS_LARGEST_CITY",
    "mother": "BORN_TO",
    "native language": "GREW_UP_SPEAKING",
    "occupation": "WORKS_AS",
    "position": "PLAYS_AS",
    "secret identity": "KNOWN_AS",
    "sport": "COMPETES_IN",
    "university": "EDUCATED_AT",
}


def _rewrite(source: Path, target: Path) -> None:
    with source.open(encoding="utf-8") as lines, target.open("w", encoding="utf-8") as output:
        for line in lines:
            row = json.loads(line)
            if row["property"] not in VERBS:
                raise SystemExit(f"There is no verb for {row['property']!r}; add one.")
            row["property"] = VERBS[row["property"]]
            output.write(json.dumps(row, ensure_ascii=False) + "\n")


def main() -> None:
    """Write the files."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("facts", type=Path)
    parser.add_argument("questions", type=Path)
    parser.add_argument("output", type=Path)
    options = parser.parse_args()
    if nouns := [verb for verb in VERBS.values() if Triple("it", verb, "that").verb_text is None]:
        raise SystemExit(f"kblam takes these for nouns; find others: {nouns}")
    options.output.mkdir(parents=True, exist_ok=True)
    _rewrite(options.facts, options.output / "facts.jsonl")
    _rewrite(options.questions, options.output / "questions.jsonl")


if __name__ == "__main__":
    main()
