"""Ask the same questions in other words, to see how far answers depend on the wording.

Writes a questions file line by line in other words, by property; it is checked that training never
asks in these words. Evaluate both files with the same seed and limit, which draws the same lines:

    python benchmarks/reword.py questions.jsonl reworded.jsonl
    kblam evaluate --facts facts.jsonl --questions reworded.jsonl --num-facts 1000 --limit 300
"""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path

from kblam.training.data._tables import load_relations

FORMS = {
    "CEO": "Who has the top job at {e}?",
    "archnemesis": "Against whom does {e} fight most bitterly?",
    "band": "Which group does {e} front?",
    "birth year": "Which year did {e} come into the world?",
    "capital": "In which city do the ministers of {e} meet?",
    "constellation": "In which pattern of stars do I look for {e}?",
    "continent": "{e} is on which of the seven continents?",
    "country": "{e} lies within the borders of which nation?",
    "country of origin": "Which nation gave us {e}?",
    "currency": "What do shops in {e} accept as payment?",
    "developer": "Which firm is responsible for {e}?",
    "election year": "In which year did {e} win at the polls?",
    "evolved form": "What is the next stage of {e}?",
    "father": "Which man passed his name on to {e}?",
    "headquarters": "Where would I find the head office of {e}?",
    "instrument": "On stage, what does {e} perform on?",
    "language": "In what tongue would I be greeted in {e}?",
    "largest city": "Where do the most people live in {e}?",
    "mother": "Which lady brought {e} into the world?",
    "native language": "Growing up, which language did {e} learn at home?",
    "occupation": "What keeps {e} busy on working days?",
    "position": "What role does {e} fill on the team?",
    "secret identity": "Who is really behind the mask of {e}?",
    "sport": "Which game is {e} a professional in?",
    "university": "On which campus was {e} a student?",
}


def _words(form: str) -> tuple[str, ...]:
    return tuple(re.findall(r"\w+", re.sub(r"\{\w+\}", "", form).lower()))


def main() -> None:
    """Write the file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("questions", type=Path)
    parser.add_argument("output", type=Path)
    options = parser.parse_args()
    seen = {_words(form) for relation in load_relations() for form in relation.asks}
    if trained := [form for form in FORMS.values() if _words(form) in seen]:
        raise SystemExit(f"Training asks in these words; find others: {trained}")
    with options.questions.open() as lines, options.output.open("w") as output:
        for line in lines:
            row = json.loads(line)
            form = FORMS.get(row["property"])
            if form is None:
                raise SystemExit(f"There is no other wording for {row['property']!r}; add one.")
            row["question"] = form.replace("{e}", row["entity"])
            output.write(json.dumps(row, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
