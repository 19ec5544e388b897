"""How the shipped adapter on its real base puts facts: verbs, several values, one that is gone."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from kblam.knowledge import KnowledgeStore
from kblam.model import KBLaM

pytestmark = pytest.mark.weights

FACTS = [
    ("Ann Lee", "WORKS_AT", "Acme Robotics"),
    ("Ann Lee", "LIVES_IN", "Graz"),
    ("Ann Lee", "MARRIED_TO", "Tom Reed"),
    ("Acme Robotics", "FOUNDED_BY", "Mirela Osei"),
    ("Acme Robotics", "founded_in", "1987"),
    ("Acme Robotics", "OWNS", "Beta Tools"),
    ("Acme Robotics", "ceo", "Ivo Tanner"),
    ("Aspirin", "treats", "headache"),
    ("Aspirin", "treats", "fever"),
    ("Server db-12", "RUNS_ON", "Debian 12"),
    ("Server db-12", "location", "rack 14"),
]


@pytest.fixture(scope="module")
def model() -> Iterator[KBLaM]:
    with KnowledgeStore.from_source(FACTS) as store:
        yield KBLaM.from_pretrained().attach(store)


@pytest.mark.parametrize(
    ("question", "reply"),
    [
        ("Where does Ann Lee work?", "Ann Lee works at Acme Robotics."),
        ("Who is Ann Lee married to?", "Ann Lee is married to Tom Reed."),
        ("Who founded Acme Robotics?", "Acme Robotics was founded by Mirela Osei."),
        ("When was Acme Robotics founded?", "Acme Robotics was founded in 1987."),
        ("What does Acme Robotics own?", "Acme Robotics owns Beta Tools."),
        ("Who is the CEO of Acme Robotics?", "The ceo of Acme Robotics is Ivo Tanner."),
        ("What does Server db-12 run on?", "Server db-12 runs on Debian 12."),
        ("What is the location of Server db-12?", "The location of Server db-12 is rack 14."),
    ],
)
def test_nouns_and_verbs_are_told_each_in_their_way(
    model: KBLaM, question: str, reply: str
) -> None:
    assert model.ask(question).text == reply


def test_all_values_of_a_property_are_told_and_cited(model: KBLaM) -> None:
    answer = model.ask("What does Aspirin treat?")
    assert {"headache", "fever"} == {citation.fact.value for citation in answer.citations}
    for citation in answer.citations:
        assert answer.text[citation.start : citation.end] == citation.fact.value


def test_when_one_of_them_is_gone_the_other_is_told_alone() -> None:
    facts = [fact for fact in FACTS if fact[2] != "fever"]
    answer = KBLaM.from_pretrained().attach(facts).ask("What does Aspirin treat?")
    assert answer.text == "Aspirin treats headache."
