"""What a training step sees: tokens, labels, candidates."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kblam._engine import Engine
from kblam._prompt import tokenize
from kblam.config import COPY_PARTS, DEFAULT_REFUSAL
from kblam.knowledge import Triple
from kblam.training import candidates
from kblam.training.batches import IGNORED, Example, collate, question_example, text_example
from kblam.training.candidates import choose_candidates
from kblam.training.corpus import Corpus
from kblam.training.data import TrainingQuestion

CPU = torch.device("cpu")
FACTS = (
    Triple("Aurora", "project lead", "Mirela Osei"),
    Triple("Aurora", "launch code", "QX-7719"),
)


def _question(*answer: str | int, gold: tuple[int, ...] = (0,), **more) -> TrainingQuestion:
    return TrainingQuestion("Who leads Aurora?", gold, answer, "single", **more)


class TestQuestionExample:
    def test_words_are_learnt_and_values_are_copied(self, engine: Engine) -> None:
        question = _question("The lead is ", 0, ", code ", 1, ".", gold=(0, 1))
        example = question_example(engine, FACTS, question, DEFAULT_REFUSAL)
        decode = engine.tokenizer.decode
        assert decode(example.answer[:-1]) == "The lead is Mirela Osei, code QX-7719."
        assert example.answer[-1] == engine.tokenizer.eos_token_id
        learnt = [label for label in example.labels if label != IGNORED]
        assert decode(learnt[:-1]) == "The lead is, code."
        assert learnt[-1] == engine.tokenizer.eos_token_id
        begins = {place: fact for place, fact in enumerate(example.starts) if fact != IGNORED}
        assert list(begins.values()) == [0, 1]
        for place, fact in begins.items():
            value = engine.span_tokens(FACTS[fact].value).later
            assert tuple(example.answer[place : place + len(value)]) == value
            # A value is either learnt as a whole by pointing, or not at all.
            assert example.labels[place : place + len(value)] == [IGNORED] * len(value)
        assert len(example.answer) == len(example.labels) == len(example.starts)
        assert example.kind == "answer"

    def test_names_are_copied_where_they_stand_as_in_the_store(self, engine: Engine) -> None:
        question = _question("The launch code of Aurora is ", 1, " and it is Aurora's.", gold=(1,))
        example = question_example(engine, FACTS, question, DEFAULT_REFUSAL)
        decode = engine.tokenizer.decode
        text = decode(example.answer[:-1])
        assert text == "The launch code of Aurora is QX-7719 and it is Aurora's."
        learnt = [label for label in example.labels[:-1] if label != IGNORED]
        assert decode(learnt) == "The of is and it is Aurora's."
        begins = [
            (fact, COPY_PARTS[part])
            for fact, part in zip(example.starts, example.parts, strict=True)
            if fact != IGNORED
        ]
        assert begins == [(1, "property"), (1, "entity"), (1, "value")]

    def test_a_value_at_the_beginning_has_no_space_before_it(self, engine: Engine) -> None:
        example = question_example(engine, FACTS, _question(0, "."), DEFAULT_REFUSAL)
        value = engine.span_tokens("Mirela Osei").first
        assert tuple(example.answer[: len(value)]) == value
        assert example.starts[0] == 0

    def test_an_unanswerable_question_learns_the_refusal(self, engine: Engine) -> None:
        example = question_example(engine, FACTS, _question(gold=()), DEFAULT_REFUSAL)
        assert engine.tokenizer.decode(example.answer[:-1]) == DEFAULT_REFUSAL
        assert example.labels == example.answer
        assert set(example.starts) == {IGNORED}
        assert example.kind == "refuse"

    def test_the_prompt_is_what_a_user_would_send(self, engine: Engine) -> None:
        turns = (("user", "What is Aurora?"), ("assistant", "A project."))
        question = _question("It is ", 0, system="Be brief.", history=turns)
        example = question_example(engine, FACTS, question, DEFAULT_REFUSAL)
        messages = [
            {"role": "system", "content": "Be brief."},
            *({"role": role, "content": text} for role, text in turns),
            {"role": "user", "content": "Who leads Aurora?"},
        ]
        assert example.prompt == tokenize(engine.tokenizer, messages)


def test_a_generated_row_goes_up_to_its_end(engine: Engine) -> None:
    end = engine.tokenizer.eos_token_id
    assert engine.up_to_end([5, 6, end, 7, end]) == [5, 6, end]
    assert engine.up_to_end([end]) == [end]
    assert engine.up_to_end([5, 6]) == [5, 6]
    assert engine.up_to_end([]) == []


def test_general_prompts_teach_nothing_but_to_stay() -> None:
    example = text_example([1, 2], [3, 4, 5])
    assert example.labels == example.starts == example.parts == [IGNORED] * 3
    assert example.kind == "general"


tokens = st.integers(1, 50)


@st.composite
def examples(draw) -> Example:
    prompt = draw(st.lists(tokens, min_size=1, max_size=8))
    answer = draw(st.lists(tokens, min_size=1, max_size=8))
    kind = draw(st.sampled_from(["answer", "refuse", "general"]))
    labels = [draw(st.sampled_from([IGNORED, token])) for token in answer]
    starts = [draw(st.sampled_from([IGNORED, 0, 7])) for _ in answer]
    if kind == "general":
        labels = starts = [IGNORED] * len(answer)
    parts = [IGNORED if start == IGNORED else draw(st.integers(0, 2)) for start in starts]
    return Example(prompt, answer, labels, starts, parts, kind)


@settings(max_examples=60, deadline=None)
@given(st.lists(examples(), min_size=1, max_size=4))
def test_each_label_stands_before_its_token_and_only_in_the_answer(batch: list[Example]) -> None:
    got = collate(batch, 0, CPU)
    longest = max(len(e.prompt) + len(e.answer) for e in batch)
    assert got.input_ids.shape == got.labels.shape == got.starts.shape == (len(batch), longest)
    for row, example in enumerate(batch):
        size, begin = len(example.prompt) + len(example.answer), len(example.prompt)
        assert got.input_ids[row, :size].tolist() == example.prompt + example.answer
        assert got.attention_mask[row].tolist() == [1] * size + [0] * (longest - size)
        assert got.prompt_mask[row].tolist() == [True] * begin + [False] * (longest - begin)
        assert got.last[row] == begin - 1
        # The loss covers the answer: the token before each one predicts it.
        inside = slice(begin - 1, size - 1)
        assert got.labels[row, inside].tolist() == example.labels
        assert got.starts[row, inside].tolist() == example.starts
        assert got.parts[row, inside].tolist() == example.parts
        for outside in (got.labels, got.starts, got.parts):
            rest = torch.cat([outside[row, : begin - 1], outside[row, size - 1 :]])
            assert (rest == IGNORED).all()
        learnt = (got.labels[row] != IGNORED).nonzero()[:, 0]
        assert torch.equal(got.labels[row, learnt], got.input_ids[row, learnt + 1])
    assert got.refuse.tolist() == [float(e.kind == "refuse") for e in batch]
    assert got.general.tolist() == [e.kind == "general" for e in batch]


@pytest.mark.parametrize("prompt", [250, 256, 300])
def test_very_long_examples_are_cut(prompt: int) -> None:
    nothing = [IGNORED] * 20
    example = Example([1] * prompt, [2] * 20, [2] * 20, nothing, nothing, "answer")
    got = collate([example, Example([1], [2], [2], [3], [1], "answer")], 0, CPU)
    assert got.input_ids.shape == (2, 256)
    assert (got.labels[0] != IGNORED).sum() == max(0, 256 - prompt)
    assert got.last[0] == min(prompt, 256) - 1
    assert (got.starts[1, 0], got.parts[1, 0]) == (3, 1)


class TestChooseCandidates:
    @pytest.fixture(params=range(5))
    def rng(self, request: pytest.FixtureRequest) -> np.random.Generator:
        return np.random.default_rng(request.param)

    @pytest.mark.parametrize("count", [4, 12, 40, 99])
    def test_gold_is_always_inside_and_nothing_twice(
        self, corpus: Corpus, rng: np.random.Generator, count: int
    ) -> None:
        asked = list(range(len(corpus.questions)))
        chosen, gold, visible = choose_candidates(corpus, asked, count, rng)
        size = min(count, len(corpus.facts))
        assert chosen.shape == gold.shape == visible.shape == (len(asked), size)
        assert visible[gold].all()
        for row, question in enumerate(asked):
            facts = chosen[row].tolist()
            assert len(set(facts)) == size
            marked = [fact for fact, right in zip(facts, gold[row], strict=True) if right]
            assert sorted(marked) == sorted(corpus.questions[question].gold)

    def test_what_else_is_known_of_the_entity_is_there(
        self, corpus: Corpus, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """One property asked for is easily found unless the others are in the base as well."""
        # A few bases are drawn without regard to what is asked; here, none.
        monkeypatch.setattr(candidates, "_ALONE", 0.0)
        monkeypatch.setattr(candidates, "_FEW", 0.0)
        asked = list(range(len(corpus.questions)))
        chosen, gold, visible = choose_candidates(corpus, asked, 12, rng)
        similarity = corpus.asked @ corpus.keys.T
        for row, question in enumerate(asked):
            offered = chosen[row][visible[row]].tolist()
            others = similarity[question, chosen[row][visible[row] & ~gold[row]]]
            missing = set(corpus.questions[question].near) - set(offered)
            # Left out only for facts that are more like the question.
            assert all((others >= similarity[question, fact] - 1e-6).all() for fact in missing)

    def test_a_handful_of_facts_is_about_what_is_asked(
        self, corpus: Corpus, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A first try of anybody: a fact or two, and the question about them."""
        monkeypatch.setattr(candidates, "_FEW", 1.0)
        asked = list(range(len(corpus.questions)))
        chosen, gold, visible = choose_candidates(corpus, asked, 40, rng)
        sizes = []
        for row, question in enumerate(asked):
            seen = chosen[row][visible[row]]
            entity = corpus.entity_of[corpus.questions[question].near[0]]
            assert (corpus.entity_of[seen] != entity).sum() <= 3
            assert gold[row].any() == bool(corpus.questions[question].gold)
            sizes.append(len(seen))
        assert min(sizes) <= 2
        assert max(sizes) > 3

    def test_small_bases_leave_places_empty(self, corpus: Corpus) -> None:
        """A store of a handful of facts is offered as such, not filled up from elsewhere."""
        asked = list(range(len(corpus.questions)))
        sizes = []
        for seed in range(5):
            rng = np.random.default_rng(seed)
            _, _, visible = choose_candidates(corpus, asked, 40, rng)
            sizes += visible.sum(1).tolist()
        assert min(sizes) <= 2
        assert max(sizes) == 40
        assert len(set(sizes)) > 10

    def test_gold_facts_stand_anywhere(self, corpus: Corpus, rng: np.random.Generator) -> None:
        _, gold, _ = choose_candidates(corpus, list(range(40)), 12, rng)
        places = gold.float().argmax(1)
        assert len(set(places.tolist())) > 6

    def test_equal_seeds_choose_alike(self, corpus: Corpus) -> None:
        def choose(seed: int) -> torch.Tensor:
            return choose_candidates(corpus, [3, 5, 41], 12, np.random.default_rng(seed))[0]

        assert torch.equal(choose(1), choose(1))
        assert not torch.equal(choose(1), choose(2))
