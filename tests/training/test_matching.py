"""Judging whether a property is the one asked for, with the real encoder."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from tiny_kblam import make_adapter

from kblam._engine import Engine
from kblam.config import COPY_PARTS
from kblam.decoder.selection_heads import MatchHead
from kblam.encoding import (
    CachedEmbedder,
    Evidence,
    QuestionReader,
    TrainedEncoder,
    as_embedder,
)
from kblam.training.data import generate_askings, is_verb
from kblam.training.data.world import relations_by_kind
from kblam.training.matching import matching_loss, train_matching
from kblam.training.pairs import MatchingPairs, build_pairs
from kblam.training.reading import start_as

pytestmark = pytest.mark.long

#: Questions without their names, the property that each asks for, and others.
ASKED = {
    "Who is the mother of?": ["mother", "father", "native language"],
    "Who is's dad?": ["father", "mother", "native language"],
    "When was born?": ["date of birth", "date of death", "place of birth"],
    "Where was born?": ["place of birth", "date of birth", "place of death"],
    "Which city is the capital of?": ["capital", "largest city", "population"],
    "How many people live in?": ["population", "area", "capital"],
    "Who founded?": ["founder", "chief executive", "headquarters"],
    "What does do for a living?": ["occupation", "spouse", "nationality"],
    "Who is married to?": ["spouse", "mother", "occupation"],
    "Which languages does speak?": ["languages spoken", "nationality", "occupation"],
    "What is the price of?": ["price", "weight", "manufacturer"],
    "Who makes?": ["manufacturer", "price", "weight"],
}


@pytest.fixture(scope="module")
def encoder() -> CachedEmbedder:
    return as_embedder()


@pytest.fixture(scope="module")
def pairs(encoder: CachedEmbedder, tmp_path_factory: pytest.TempPathFactory) -> MatchingPairs:
    path = tmp_path_factory.mktemp("pairs") / "pairs.safetensors"
    return build_pairs(encoder, seed=0, cache=path, each=2)


@pytest.fixture
def match(engine: Engine, encoder: CachedEmbedder) -> MatchHead:
    return untrained(engine, encoder)


@pytest.fixture(scope="module")
def taught(
    engine: Engine, encoder: CachedEmbedder, pairs: MatchingPairs
) -> tuple[MatchHead, list[dict[str, float]]]:
    """A judgement after a few steps, and its learning curve."""
    match = untrained(engine, encoder)
    return match, train_matching(match, pairs, steps=1000, learning_rate=4e-3, seed=0, groups=2)


def drawn(pairs: MatchingPairs) -> list[torch.Tensor]:
    groups = pairs.draw(3, np.random.default_rng(0))
    return [part for group in groups for part in vars(group).values()]


def untrained(engine: Engine, encoder: CachedEmbedder) -> MatchHead:
    torch.manual_seed(0)
    config = make_adapter(engine.model, engine.encoder, copied=COPY_PARTS).config
    return MatchHead(replace(config, encoder_dimension=encoder.dimension)).train()


def judged(
    match: MatchHead,
    encoder: CachedEmbedder,
    question: str,
    names: list[str],
    *,
    named: tuple[float, float] = (1.0, 1.0),
    excess: float = 0.0,
    values: list[str] | None = None,
) -> list[float]:
    """The scores of properties of an entity that is named, as far as said."""
    words = torch.tensor([*named, 0.0, 0.0]).expand(1, len(names), 4)
    evidence = Evidence(
        words,
        torch.tensor([excess, 0.0]).expand(1, len(names), 2),
        torch.from_numpy(encoder.encode([question])),
        torch.from_numpy(encoder.encode(names))[None],
        torch.tensor([[is_verb(name) for name in names]]),
    )
    told = torch.zeros_like(evidence.properties)
    if values is not None:
        told = torch.from_numpy(encoder.encode(values))[None]
    with torch.no_grad():
        return match.eval()(evidence, torch.full((1, len(names)), 0.9), told)[0].tolist()


class TestAskings:
    def test_what_does_not_answer_is_none_of_what_does(self) -> None:
        askings, stored = generate_askings(0, 8)
        relations = {one.id: one for found in relations_by_kind("train").values() for one in found}
        assert len(askings) > 2_000
        overviews = [asking for asking in askings if not asking.others]
        assert 0 < len(overviews) < 0.1 * len(askings)
        for asking in askings:
            assert not set(asking.wanted) & set(asking.others)
            assert {*asking.wanted, *asking.others} <= stored.keys()
            kinds = {one.partition("/")[0] for one in (*asking.wanted, *asking.others)}
            assert len(kinds) == 1
            for one in asking.wanted:
                for other in asking.others:
                    if one in relations and other in relations:
                        assert not relations[one].overlaps(relations[other])

    def test_an_overview_asks_for_all_of_a_kind(self) -> None:
        askings, stored = generate_askings(0, 4)
        kinds: dict[str, set[str]] = defaultdict(set)
        for one in stored:
            kinds[one.partition("/")[0]].add(one)
        overviews = [asking for asking in askings if not asking.others]
        assert {asking.wanted[0].partition("/")[0] for asking in overviews} == set(kinds)
        for asking in overviews:
            assert set(asking.wanted) == kinds[asking.wanted[0].partition("/")[0]]

    def test_relations_that_validation_keeps_are_not_asked_for(self) -> None:
        _, stored = generate_askings(0, 2)
        held = {
            one.id
            for found in relations_by_kind("validation").values()
            for one in found
            if one.held_back
        }
        assert held
        assert not held & stored.keys()

    def test_every_relation_has_values_to_show(self) -> None:
        _, stored = generate_askings(0, 12)
        assert all(forms.names and forms.values for forms in stored.values())
        assert len(stored["person/mother"].values) == 12
        assert generate_askings(0, 12)[1] == stored != generate_askings(1, 12)[1]

    def test_equal_seeds_ask_alike(self) -> None:
        assert generate_askings(3, 3)[0] == generate_askings(3, 3)[0]
        assert generate_askings(3, 3)[0] != generate_askings(4, 3)[0]


class TestMatching:
    def test_the_property_drawn_at_its_place_is_the_one_asked_for(
        self, pairs: MatchingPairs, encoder: CachedEmbedder
    ) -> None:
        groups = pairs.draw(12, np.random.default_rng(0))
        assert len(groups) == 12
        nearer = []
        for group in groups:
            count = len(group.questions)
            assert 20 <= count <= 64
            assert group.questions.shape == group.properties.shape == group.values.shape
            assert group.questions.shape == (count, encoder.dimension)
            assert group.right.diagonal().all()
            assert not (group.right & group.wrong).any()
            nearness = group.questions @ group.properties.T
            told_apart = group.wrong.any(1)
            others = (nearness * group.wrong).sum(1) / group.wrong.sum(1)
            nearer += (nearness.diagonal() > others)[told_apart].tolist()
        # Kinds differ in how many verbs they have: a few groups may be of one.
        many = pairs.draw(60, np.random.default_rng(0))
        assert 0.05 < torch.cat([group.verbs for group in many]).float().mean() < 0.4
        # A few questions ask for whatever is known.
        every = torch.cat([group.right.all(1) for group in groups]).float().mean()
        assert 0.005 < every < 0.1
        # Most ways of asking avoid the property's own words: to the encoder alone some are far off.
        assert np.mean(nearer) > 0.85

    def test_relations_most_like_each_other_are_told_apart_together(
        self, pairs: MatchingPairs
    ) -> None:
        def nearest(properties: torch.Tensor) -> torch.Tensor:
            nearness = properties @ properties.T
            return nearness.fill_diagonal_(-1.0).max(1).values.mean()

        groups = [one for one in pairs.draw(200, np.random.default_rng(0)) if len(one.verbs) == 64]
        assert len(groups) > 5
        together = torch.stack([nearest(group.properties) for group in groups]).mean()
        all_of_them = torch.cat([group.properties for group in groups])
        order = torch.randperm(len(all_of_them), generator=torch.Generator().manual_seed(0))
        by_chance = torch.stack([nearest(part) for part in all_of_them[order].split(64)]).mean()
        assert together > by_chance + 0.05

    def test_a_mother_is_no_father_after_a_few_steps(
        self, encoder: CachedEmbedder, match: MatchHead, taught
    ) -> None:
        before = judged(match, encoder, "Who is the mother of?", ["mother", "father"])
        assert before[0] - before[1] < 1.0
        match, curve = taught
        assert np.mean([row["loss"] for row in curve[-20:]]) < 0.4 * curve[0]["loss"]
        ahead, wrong = [], []
        for question, names in ASKED.items():
            right, *others = judged(match, encoder, question, names)
            assert right > 0
            assert right > max(others)
            if "mother" in names and "father" in names:
                assert max(others) < 0
            ahead.append(right - max(others))
            wrong += others
        # So few steps do not tell all of them, and which they miss is chance.
        assert np.mean(ahead) > 4.0
        assert np.mean(np.array(wrong) < 0) > 0.8

    def test_whatever_is_known_answers_who_asks_for_no_property(
        self, encoder: CachedEmbedder, taught
    ) -> None:
        match, _ = taught
        names = ["mother", "occupation", "native language"]
        assert min(judged(match, encoder, "Tell me about.", names)) > 0
        (stranger,) = judged(match, encoder, "Tell me about.", ["mother"], named=(0.0, 0.0))
        assert stranger < 0

    def test_what_a_verb_tells_of_shows_what_it_tells(
        self, encoder: CachedEmbedder, taught
    ) -> None:
        match, _ = taught
        asked, verbs = "In which country is?", ["part of", "part of"]
        country, person = judged(match, encoder, asked, verbs, values=["Norway", "Ann Lee"])
        assert country > person + 1.0
        # A noun says it by itself.
        nouns = ["country", "country"]
        first, second = judged(match, encoder, asked, nouns, values=["Norway", "Ann Lee"])
        assert first == pytest.approx(second)

    def test_nor_is_the_mother_of_somebody_else(self, encoder: CachedEmbedder, taught) -> None:
        match, _ = taught

        def right(**words: Any) -> np.ndarray:
            return np.array(
                [
                    judged(match, encoder, asked, names[:1], **words)[0]
                    for asked, names in ASKED.items()
                ]
            )

        half, unnamed = right(named=(0.6, 0.0)), right(named=(0.0, 0.0))
        namesake, longer = right(named=(0.5, 0.0), excess=0.5), right(excess=0.5)
        assert max(*namesake, *longer) < 0
        assert (half > np.maximum(unnamed, np.maximum(namesake, longer)) + 2.0).all()
        assert unnamed[0] < 0
        # So few steps do not tell all of them, and which they miss is chance.
        assert np.mean(half > 0) > 0.6
        assert np.mean(unnamed < 0) > 0.6

    def test_equal_seeds_give_equal_losses(self, pairs: MatchingPairs, match: MatchHead) -> None:
        # An untrained judgement scores everything alike.
        torch.nn.init.normal_(match.outer)

        def loss(seed: int) -> float:
            torch.manual_seed(0)
            return matching_loss(match, pairs, np.random.default_rng(seed), groups=2).item()

        assert loss(1) == loss(1)
        assert loss(1) != loss(2)

    def test_layers_that_read_the_questions_learn_too(
        self, encoder: CachedEmbedder, match: MatchHead, tmp_path
    ) -> None:
        reader = QuestionReader(encoder.dimension, 1)
        start_as(reader, encoder)
        before = {name: value.clone() for name, value in reader.state_dict().items()}
        path = tmp_path / "pairs.safetensors"
        pairs = build_pairs(encoder, seed=0, cache=path, each=1, reader=reader)
        curve = train_matching(match, pairs, steps=40, learning_rate=4e-3, seed=0)
        losses = [row["loss"] for row in curve]
        assert np.mean(losses[-8:]) < 0.8 * np.mean(losses[:4])
        for name, value in reader.state_dict().items():
            assert not torch.equal(value, before[name])
        assert not any(parameter.requires_grad for parameter in reader.parameters())
        asked = TrainedEncoder(encoder, reader).encode(["Who is the mother of?"])[0]
        assert asked @ encoder.encode(["Who is the mother of?"])[0] < 0.999

    def test_its_embeddings_are_kept(self, encoder: CachedEmbedder, tmp_path) -> None:
        path = tmp_path / "pairs.safetensors"
        first = build_pairs(encoder, seed=1, cache=path, each=1)
        written = path.stat().st_mtime_ns
        again = build_pairs(encoder, seed=1, cache=path, each=1)
        assert path.stat().st_mtime_ns == written
        for one, two in zip(drawn(first), drawn(again), strict=True):
            assert torch.equal(one, two)
        other = build_pairs(encoder, seed=2, cache=path, each=1)
        assert path.stat().st_mtime_ns != written
        assert len(other) > 0
