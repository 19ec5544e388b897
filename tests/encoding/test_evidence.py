"""What the words of a question say about facts."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny_kblam import WordEncoder

from kblam.encoding import Evidence, names_something, read_evidence
from kblam.encoding.evidence import without_names
from kblam.knowledge import Triple


def read(
    questions: list[str],
    before: list[str],
    facts: list[list[Triple | None]],
    encoder: WordEncoder,
) -> Evidence:
    """Where questions are read by the encoder itself."""
    return read_evidence(questions, before, facts, encoder, encoder)


def named(question: str, entity: str, before: str = "") -> list[float]:
    fact = Triple(entity, "office", "x")
    return read([question], [before], [[fact]], WordEncoder()).named[0, 0].tolist()


@pytest.mark.parametrize(
    ("question", "entity", "share", "whole"),
    [
        ("Who is the mother of Isabelle Adjani?", "Isabelle Adjani", 1.0, 1.0),
        ("who is isabelle adjani's mother", "Isabelle Adjani", 1.0, 1.0),
        ("Who is the mother of Isabelle Huppert?", "Isabelle Adjani", 0.5, 0.0),
        ("Where is warehouse 42?", "Warehouse 47", 0.0, 0.0),
        ("Where is warehouse 421?", "Warehouse 42", 0.0, 0.0),
        ("Where is warehouse 42?", "Warehouse 42", 1.0, 1.0),
        ("What is the load of HD 4927?", "HD 4927 b", 2 / 3, 0.0),
        ("Where is unit 4 of ZFM-367?", "ZFM-367", 1.0, 1.0),
        ("Where was Adjani, the Isabelle of that film, born?", "Isabelle Adjani", 1.0, 0.0),
        ("Where was Jose Saramago born?", "José Saramago", 1.0, 1.0),
        ("东京的市长是谁\uff1f", "东京", 1.0, 1.0),
        ("东京的市长是谁\uff1f", "大阪", 0.0, 0.0),
        ("What is the office?", "C++", 0.0, 0.0),
        ("Where is Annapolis?", "Anna", 0.0, 0.0),
        ("What is the city of Иванов?", "Иван", 0.0, 0.0),
        ("What is the city of Иван?", "Иван", 1.0, 1.0),
        ("What is the city of Νίκοσίδης?", "Νίκος", 0.0, 0.0),
        ("한강은 어디에 있나요?", "한강", 1.0, 1.0),
        ("Who leads it?", "https://example.org/project_Aurora", 0.0, 0.0),
        ("Who leads project Aurora?", "https://example.org/project_Aurora", 1.0, 1.0),
        ("Who is Louis XIV of France's father?", "Louis XIII of France", 0.0, 0.0),
        ("Who is Louis XIV of France's father?", "Louis XIV of France", 1.0, 1.0),
        ("Who is the mother of Charles I?", "Charles II", 0.0, 0.0),
        ("Who made the Mix?", "Vivid Mix", 0.5, 0.0),
        ("Where is Lodz?", "Łódź", 1.0, 1.0),
        ("who is bjork gudmundsdottir", "Björk Guðmundsdóttir", 1.0, 1.0),
        ("Who wrote the Havamal of Hørsholm and Ærø?", "Aero", 1.0, 1.0),
        ("What is the genre of !!!?", "!!!", 1.0, 1.0),
        ("What is the genre of it?!!!", "!!!", 0.0, 0.0),
    ],
)
def test_how_much_of_a_name_is_there(
    question: str, entity: str, share: float, whole: float
) -> None:
    assert named(question, entity) == pytest.approx([share, whole, 0.0, 0.0])


@pytest.mark.parametrize(
    ("question", "shares"),
    [
        ("When was George H. W. Bush born?", [[1.0, 1.0], [0.0, 0.0], [0.0, 0.0]]),
        ("When was George W. Bush born?", [[0.0, 0.0], [1.0, 1.0], [0.0, 0.0]]),
        ("Did George W. Bush follow George H. W. Bush?", [[1.0, 1.0], [1.0, 1.0], [0.0, 0.0]]),
        # A word that none of the names that stand there whole has.
        ("Did George W. Bush know Kate?", [[0.0, 0.0], [1.0, 1.0], [1.0, 0.0]]),
        # Nobody stands there whole: the name may be put another way round.
        ("When was Bush, George H. W., born?", [[1.0, 0.0], [1.0, 0.0], [0.5, 0.0]]),
    ],
)
def test_words_of_a_name_that_is_there_whole_name_no_other(
    question: str, shares: list[list[float]]
) -> None:
    facts = [
        Triple(entity, "birth year", "x")
        for entity in ("George H. W. Bush", "George W. Bush", "Kate Bush")
    ]
    now = read([question], [""], [facts], WordEncoder())
    assert [row[:2] for row in now.named[0].tolist()] == [pytest.approx(s) for s in shares]
    earlier = read(["When?"], [question], [facts], WordEncoder())
    assert [row[2:] for row in earlier.named[0].tolist()] == [pytest.approx(s) for s in shares]
    # What is left out is of somebody else.
    others = [share == [0.0, 0.0] for share in shares]
    assert [row[0] == 1.0 for row in now.excess[0].tolist()] == others
    assert [row[1] == 1.0 for row in earlier.excess[0].tolist()] == others


MARIAS = ("Maria Garcia", "Maria Garcia Lopez")
JOSES = ("José Núñez", "Jose Nunez")


@pytest.mark.parametrize(
    ("names", "question", "meant"),
    [
        # A name within a longer one.
        (MARIAS, "What is the office of Maria Garcia Lopez?", [False, True]),
        (MARIAS, "What is the office of Maria Garcia?", [True, False]),
        (MARIAS, "Do Maria Garcia and Maria Garcia Lopez share an office?", [True, True]),
        (MARIAS, "what is maria garcia lopez's office", [False, True]),
        # One that is spelled otherwise.
        (JOSES, "What is the city of José Núñez?", [True, False]),
        (JOSES, "What is the city of Jose Nunez?", [False, True]),
        (JOSES, "What is the city of jose nunez?", [True, True]),
        (JOSES, "Do José Núñez and Jose Nunez know each other?", [True, True]),
    ],
)
def test_who_has_nearly_the_name_is_not_meant(
    names: tuple[str, ...], question: str, meant: list[bool]
) -> None:
    facts = [Triple(entity, "office", "x") for entity in names]
    found = read([question], [""], [facts], WordEncoder())
    assert [row[:2] == [1.0, 1.0] for row in found.named[0].tolist()] == meant
    assert [row[0] == 1.0 for row in found.excess[0].tolist()] == [not one for one in meant]


@pytest.mark.parametrize(
    ("question", "names"),
    [
        ("Who leads Aurora?", True),
        ("what is the budget of the iron man?", True),  # a fact's
        ("What is the weather in Paris?", True),
        ("Which is heavier, a kilo of feathers or a kilo of iron?", False),
        ("I cannot fall asleep. Do I need help?", False),
        ('Make this friendlier: "Your form is incomplete. Fill it in again."', False),
        ("what is the weather in Évian today?", True),
        ("какова сегодня цена акций, Газпром?", True),
        ("is there an office of 3M?", True),
        ("what is 2 + 2, and 10 times 10?", False),
        ("", False),
    ],
)
def test_whether_anything_is_named(question: str, names: bool) -> None:
    facts = [Triple("Iron Man", "archnemesis", "x"), None]
    assert names_something(question, facts) is names


def excess(question: str, entity: str, property: str = "office", before: str = "") -> list[float]:
    fact = Triple(entity, property, "x")
    return read([question], [before], [[fact]], WordEncoder()).excess[0, 0].tolist()


@pytest.mark.parametrize(
    ("question", "entity", "share"),
    [
        ("Who is the mother of Augustus John?", "Augustus", 0.5),
        ("Who is the mother of Augustus John?", "Augustus John", 0.0),
        ("Who is the mother of Augustus?", "Augustus John", 0.0),
        ("Who is Michael Jordan's father?", "Michael Jackson", 0.5),
        ("Who is Louis XIV of France's father?", "Louis XIII of France", 1 / 3),
        ("What is the capital of Peru and of Chile?", "Peru", 0.0),
        ("What is the capital of Peru, Chile or Spain?", "Chile", 0.0),
        ("Where is O'Brien-Smith & Sons?", "O'Brien-Smith & Sons", 0.0),
        ("Who is the wife of J. R. R. Tolkien?", "Tolkien", 0.0),
        ("Who is the wife of President Abraham Lincoln?", "Abraham Lincoln", 0.0),
        ("Is Dr. Ann Lee married?", "Ann Lee", 0.0),
        ("Who runs Acme Robotics Inc.?", "Acme Robotics", 0.0),
        ("Who runs Acme Robotics Labs Inc.?", "Acme Robotics", 1 / 3),
        ("Is it Ann Lee? Be brief.", "Ann Lee", 0.0),
        ("Who is the wife of Ann Smith. Be brief.", "Ann Smith", 0.0),
        ("who is augustus john's mother", "Augustus", 0.0),
        ("WHO IS THE MOTHER OF AUGUSTUS JOHN?", "Augustus", 0.0),
        ("Who leads Borealis?", "Aurora", 0.0),
        ("Who leads Aurora and Aurora Labs?", "Aurora", 0.0),
        ("Nimrod Glacier is on which continent?", "Keltie Glacier", 0.5),
        ("Nimrod Glacier's continent is which?", "Keltie Glacier", 0.5),
        ("Nimrod Glacier is on which continent?", "Nimrod Glacier", 0.0),
        ("Describe Aurora, please.", "Aurora", 0.0),
        ("Is Ann Lee married?", "Ann Lee", 0.0),
        ("Who leads Aurora Works and Aurora Labs?", "Aurora", 0.5),
        # A kind in small letters, or small words between: one name all the same.
        ("Who runs the Ghent warehouse?", "the Basel warehouse", 0.5),
        ("Who runs the Ghent warehouse?", "the Ghent warehouse", 0.0),
        ("Who runs the warehouse?", "the Basel warehouse", 0.0),
        ("Who runs the warehouse in Ghent?", "the Basel warehouse", 0.5),
        ("Who runs the warehouse in Ghent?", "the Ghent warehouse", 0.0),
        ("Who runs project Aurora?", "project Borealis", 0.5),
        ("Who runs the University of Ghent?", "University of Basel", 0.5),
        ("Who runs the University of Ghent?", "University of Ghent", 0.0),
        ("Does Ann Lee run the warehouse?", "the Basel warehouse", 0.0),
        ("Who runs the warehouse? Is it Ann Lee?", "the Basel warehouse", 0.0),
        ("Is the Basel warehouse nearer than the Ghent warehouse?", "the Basel warehouse", 0.0),
        ("Who runs Basel? And which warehouse has Ghent?", "the Basel warehouse", 0.0),
        # Without capitals, a name of the same form.
        ("What opens the south gate?", "the north gate", 0.5),
        ("What opens the north gate?", "the north gate", 0.0),
        ("What opens the gate?", "the north gate", 0.0),
        ("who runs the university of ghent", "University of Basel", 0.5),
        ("what is the email of karl meier", "Anna Meier", 0.5),
        ("is karl meier married?", "Anna Meier", 0.5),
        ("is doctor meier married?", "Anna Meier", 0.0),
        ("who married meier?", "Anna Meier", 0.0),
        ("where was anna born?", "Anna Meier", 0.0),
        ("what is the email of karl meier", "Karl Meier", 0.0),
        ("what is the office meier uses?", "Anna Meier", 0.0),
        ("what is the email of karl?", "Anna Meier", 0.0),
        ("Ist das die Bank of Åland?", "bank of aland", 0.0),
        ("东京的市长是谁\uff1f", "东京", 0.0),
    ],
)
def test_how_much_of_the_name_asked_for_a_fact_lacks(
    question: str, entity: str, share: float
) -> None:
    assert excess(question, entity) == pytest.approx([share, 0.0])
    assert excess("And its budget?", entity, before=question) == pytest.approx([0.0, share])


def test_what_is_a_word_of_the_property_is_none_of_the_name() -> None:
    assert excess("Who is the Aurora CEO?", "Aurora", "CEO") == [0.0, 0.0]
    assert excess("Who is the Aurora CEO?", "Aurora", "budget") == [0.5, 0.0]


def test_the_question_before_is_looked_at_apart() -> None:
    assert named("And its budget?", "Aurora", "Who leads Aurora?") == [0.0, 0.0, 1.0, 1.0]


@pytest.mark.parametrize(
    ("question", "names", "left"),
    [
        ("Who is Ada Lovelace's father?", ["Ada Lovelace"], "Who is 's father?"),
        ("Who leads Aurora and Borealis?", ["aurora", "BOREALIS"], "Who leads and ?"),
        ("Who is it?", [], "Who is it?"),
        ("Wo wohnt José?", ["Jose"], "Wo wohnt ?"),
    ],
)
def test_names_are_taken_out(question: str, names: list[str], left: str) -> None:
    assert without_names(question, names) == left


def test_the_name_that_stands_there_whole_is_taken_out_and_no_other() -> None:
    facts = [Triple("Isabelle Adjani", "father", "x"), Triple("Father Isabelle", "mother", "y")]
    encoder = WordEncoder()
    found = read(["Who is the father of Isabelle Adjani?"], [""], [facts], encoder)
    expected = encoder.encode(["Who is the father of ?", "father", "mother"])
    np.testing.assert_allclose(found.question[0].numpy(), expected[0])
    np.testing.assert_allclose(found.properties[0].numpy(), expected[1:])


def test_without_a_whole_name_the_one_most_alike_is_taken_out() -> None:
    facts = [Triple("Marie Curie", "father", "x"), Triple("Isabelle Anna Huppert", "father", "y")]
    encoder = WordEncoder()
    found = read(["father of Isabelle Huppert?"], [""], [facts], encoder)
    np.testing.assert_allclose(found.question[0].numpy(), encoder.encode(["father of ?"])[0])


def test_places_without_a_fact_tell_nothing() -> None:
    fact = Triple("Aurora", "budget", "x")
    encoder = WordEncoder()
    found = read(
        ["budget of Aurora?", "office of Aurora?"], ["", ""], [[None, fact], [None]], encoder
    )
    assert found.named.shape == (2, 2, 4)
    assert found.named[0, 0].sum() == found.named[1].sum() == 0.0
    assert found.excess.shape == (2, 2, 2)
    # Hidden names are not taken out of the question either.
    np.testing.assert_allclose(found.question[1].numpy(), encoder.encode(["office of Aurora?"])[0])


@given(st.text(max_size=40), st.text(min_size=1, max_size=20).filter(str.strip))
def test_any_text_will_do(question: str, entity: str) -> None:
    try:
        fact = Triple(entity, "p", "v")
    except ValueError:
        return
    found = read([question], [question], [[fact]], WordEncoder())
    assert ((found.named >= 0.0) & (found.named <= 1.0)).all()
    assert ((found.excess >= 0.0) & (found.excess <= 1.0)).all()
    assert torch.equal(found.repeat(3).question, found.question.expand(3, -1))


def test_verbs_are_told_from_nouns() -> None:
    facts = [Triple("Oslo", name, "Norway") for name in ("country", "LOCATED_IN", "part of")]
    evidence = read(["Where is Oslo?"], [""], [[*facts, None]], WordEncoder())
    assert evidence.verbs.tolist() == [[False, True, True, False]]
    assert evidence.repeat(2).verbs.tolist() == evidence.verbs.tolist() * 2
