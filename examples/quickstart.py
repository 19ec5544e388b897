"""Attach a few facts to a frozen model, ask, and see what the answer was read from."""

from __future__ import annotations

from kblam import KBLaM

FACTS = [
    ("Aurora", "launch code", "QX-7719"),
    ("Aurora", "project lead", "Mirela Osei"),
    ("Aurora", "start date", "14 March 2031"),
    ("Borealis", "project lead", "Tomas Lindqvist"),
    ("Borealis", "budget", "4.8 million euros"),
]
QUESTIONS = [
    "Who is the project lead of Aurora?",
    "What is the launch code of Aurora?",
    "What is the budget of Borealis?",
    "What is the launch code of Borealis?",  # the facts do not say
]


def main() -> None:
    """Ask each question and print the answer with its citations."""
    model = KBLaM.from_pretrained().attach(FACTS)
    for question in QUESTIONS:
        answer = model.ask(question)
        print(f"\n> {question}\n{answer.text}")
        for citation in answer.citations:
            print(f"  [{citation.score:.2f}] {citation.fact.statement}")
        if answer.refused:
            print("  (refused: no fact says so)")


if __name__ == "__main__":
    main()
