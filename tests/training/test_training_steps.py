"""Steps of the two stages: what is drawn, what is lost, what is left alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tiny_kblam import make_adapter

from kblam._digest import weights_digest
from kblam._engine import Engine
from kblam.config import COPY_PARTS
from kblam.decoder import KnowledgeAdapter, attach
from kblam.training import TrainingConfig
from kblam.training.batches import IGNORED, Example, question_example
from kblam.training.corpus import Corpus
from kblam.training.general import General
from kblam.training.objective import head_logits, last_hidden
from kblam.training.trainer import Trainer

CONFIG = TrainingConfig(batch_size=8, candidates=16, top_k=4, instructions_per_batch=2)


@pytest.fixture
def adapter(engine: Engine) -> KnowledgeAdapter:
    return make_adapter(
        engine.model, engine.encoder, copied=COPY_PARTS, verbs=True, coverage=True
    ).train()


@pytest.fixture
def trainer(engine: Engine, corpus: Corpus, adapter: KnowledgeAdapter):
    texts = ["Write a poem.", "Count to three.", "Say hello."]
    general = [
        General(
            text,
            Example(
                engine.tokenizer.encode(text),
                [5, 6, 7],
                *([IGNORED] * 3 for _ in range(3)),
                "general",
            ),
        )
        for text in texts
    ]
    decoder = attach(engine.model, adapter)
    yield Trainer(CONFIG, engine, decoder, corpus, general)
    decoder.detach()


class TestDraw:
    def test_a_step_draws_the_same_whatever_was_drawn_before(self, trainer: Trainer) -> None:
        drawn = {}
        for step in (0, 1, 2, 17, 40):
            questions, general, rng = trainer.draw(step)
            drawn[step] = (questions, general, rng.random())
        resumed = Trainer(
            trainer.config, trainer.engine, trainer.decoder, trainer.corpus, trainer.general
        )
        for step in (40, 2, 17, 0, 1):
            questions, general, rng = resumed.draw(step)
            assert (questions, general, rng.random()) == drawn[step]

    def test_an_epoch_asks_every_question_once(self, trainer: Trainer) -> None:
        steps = len(trainer.corpus.questions) // CONFIG.batch_size
        for epoch in range(2):
            asked = [q for s in range(steps) for q in trainer.draw(epoch * steps + s)[0]]
            assert len(asked) == len(set(asked)) == steps * CONFIG.batch_size
        first, second = trainer.draw(0)[0], trainer.draw(steps)[0]
        assert first != second

    def test_general_prompts_are_not_drawn_twice_in_a_step(self, trainer: Trainer) -> None:
        for step in range(20):
            general = trainer.draw(step)[1]
            assert len(general) == len(set(general)) == 2

    def test_fewer_questions_than_a_batch_are_asked_again(self, trainer: Trainer) -> None:
        config = TrainingConfig(batch_size=99, candidates=16, top_k=4)
        other = Trainer(config, trainer.engine, trainer.decoder, trainer.corpus, [])
        questions, general, _ = other.draw(3)
        assert len(questions) == 99
        assert set(questions) == set(range(50))
        assert general == []


OTHERS = ("selection", "matching", "refusal", "divergence")


class TestLosses:
    def test_only_the_adapter_learns(self, trainer: Trainer, engine: Engine) -> None:
        before = weights_digest(engine.model)
        losses = trainer.losses(*trainer.draw(0))
        numbers = losses.numbers()
        assert list(numbers) == ["words", "gate", "copy", *OTHERS]
        assert all(np.isfinite(value) and value >= 0 for value in numbers.values())
        losses.total(1.0, 0.5, 0.5).backward()
        assert all(parameter.grad is None for parameter in engine.model.parameters())
        without = [n for n, p in trainer.decoder.adapter.named_parameters() if p.grad is None]
        assert without == []
        assert weights_digest(engine.model) == before

    def test_the_total_is_the_weighted_sum(self, trainer: Trainer) -> None:
        losses = trainer.losses(*trainer.draw(0))
        n = losses.numbers()
        expected = n["words"] + 2 * n["gate"] + n["copy"] + 2 * n["divergence"]
        expected += 3 * (n["selection"] + n["matching"]) + 5 * n["refusal"]
        assert losses.total(2.0, 3.0, 5.0).detach().item() == pytest.approx(expected, rel=1e-5)

    def test_a_step_is_the_same_after_a_resumption(self, trainer: Trainer) -> None:
        one = trainer.losses(*trainer.draw(5)).numbers()
        trainer.losses(*trainer.draw(6))
        assert trainer.losses(*trainer.draw(5)).numbers() == one

    def test_words_and_values_are_scored_token_by_token(
        self, trainer: Trainer, engine: Engine, corpus: Corpus
    ) -> None:
        """The two main parts of the loss, written out for one question."""
        trainer.losses([7], [], np.random.default_rng(0))  # as below, for its session
        seen = {}
        original = trainer.decoder.facts

        def facts(given):
            seen["facts"] = given
            return original(given)

        trainer.decoder.facts = facts
        pointer_head = trainer.decoder.adapter.pointer
        with torch.no_grad():
            pointer_head.coverage.normal_(std=0.05)
        losses = trainer.losses([7], [], np.random.default_rng(0))
        del trainer.decoder.facts
        example = question_example(engine, corpus.facts, corpus.questions[7], "-")
        ids = torch.tensor([example.prompt + example.answer])
        words, gates, copies = [], [], []
        with torch.no_grad(), trainer.decoder.facts(seen["facts"]) as session:
            hidden = last_hidden(engine.model, ids, torch.ones_like(ids))
            used = torch.zeros(1, 1, session.keys.shape[1] * pointer_head.num_parts)
            selection, mask = session.selection, session.mask
            key = corpus.keys[7]
            place = int((session.keys[0] @ key).argmax())
            verbs = corpus.verbs[(session.keys @ corpus.keys.T).argmax(-1)]
            logits = head_logits(engine.model, hidden)[0]
            shift = pointer_head.coverage_logits(engine.model)
            for offset, (label, start, part) in enumerate(
                zip(example.labels, example.starts, example.parts, strict=True)
            ):
                at = len(example.prompt) - 1 + offset
                gate, pointer = pointer_head(
                    hidden[:, at : at + 1],
                    session.keys,
                    selection.log_prob,
                    selection.log_none,
                    mask,
                    used,
                    verbs,
                )
                opened = float(torch.sigmoid(gate))
                if label != IGNORED:
                    told = used[0, 0, place * pointer_head.num_parts] > 0
                    left = selection.log_prob[0].exp().sum() - selection.log_prob[0, place].exp()
                    log_probs = (
                        logits[at] + told * (left * shift[0] + (1 - left) * shift[1])
                    ).log_softmax(-1)
                    words.append(-float(log_probs[label]))
                    gates.append(-np.log(1 - opened))
                if start != IGNORED:
                    text = place * pointer_head.num_parts + part
                    copies.append(-float(pointer[0, 0, text]))
                    gates.append(-np.log(opened))
                    used[0, 0, text] += 1
        assert losses.words.item() == pytest.approx(np.mean(words), rel=1e-4)
        assert losses.gate.item() == pytest.approx(np.mean(gates), rel=1e-4)
        assert losses.copy.item() == pytest.approx(np.mean(copies), rel=1e-4)
        # Property, entity and value.
        assert len(copies) == 3

    def test_general_prompts_do_not_thin_out_what_the_gate_learns(self, trainer: Trainer) -> None:
        """A gate that opens wrongly in an answer costs as much beside long general prompts."""
        alone = trainer.losses([0, 1], [], np.random.default_rng(0)).numbers()["gate"]
        beside = trainer.losses([0, 1], [0, 1], np.random.default_rng(0)).numbers()["gate"]
        assert beside > alone

    def test_facts_without_pull_leave_general_prompts_alone(
        self, engine: Engine, corpus: Corpus, trainer: Trainer
    ) -> None:
        rng = np.random.default_rng
        near = trainer.losses([0, 1], [0, 1], rng(0)).numbers()["divergence"]
        assert near > 0
        trainer.decoder.detach()
        weak = make_adapter(engine.model, engine.encoder, scale_factor=1e-30, copied=COPY_PARTS)
        decoder = attach(engine.model, weak)
        try:
            far = Trainer(CONFIG, engine, decoder, corpus, trainer.general)
            numbers = far.losses([0, 1], [0, 1], rng(0)).numbers()
            assert numbers["divergence"] == pytest.approx(0, abs=1e-5)
        finally:
            decoder.detach()

    def test_without_general_prompts_nothing_diverges(self, trainer: Trainer) -> None:
        numbers = trainer.losses([0, 1], [], np.random.default_rng(0)).numbers()
        assert numbers["divergence"] == 0.0
