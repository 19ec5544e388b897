"""Parts of a training run: selection's own stage, caches, the threshold, settings."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_kblam import make_adapter

from kblam._digest import weights_digest
from kblam._engine import Engine
from kblam.config import COPY_PARTS
from kblam.decoder import KnowledgeAdapter, attention_layout
from kblam.encoding import SentenceEncoder
from kblam.errors import ConfigError
from kblam.training import TrainingConfig
from kblam.training.batches import collate, question_example
from kblam.training.calibrate import best_threshold, calibrate
from kblam.training.corpus import Corpus, embed
from kblam.training.general import general_prompts
from kblam.training.objective import last_hidden
from kblam.training.retrieval import cache_hidden, retrieval_loss, train_selection
from kblam.training.trainer import knowledge_config


@pytest.fixture
def adapter(engine: Engine) -> KnowledgeAdapter:
    return make_adapter(engine.model, engine.encoder, copied=COPY_PARTS).train()


class TestRetrieval:
    @pytest.fixture
    def hidden(self, engine: Engine, corpus: Corpus, tmp_path):
        examples = [question_example(engine, corpus.facts, q, "-") for q in corpus.questions]
        return cache_hidden(
            engine, examples, 1, tmp_path / "hidden.safetensors", base="a", batch_size=7
        )

    def test_cached_states_are_what_the_layer_sees(
        self, engine: Engine, corpus: Corpus, hidden, tmp_path
    ) -> None:
        assert len(hidden) == len(corpus.questions)
        states, mask = hidden.batch([4, 45, 0])
        module = attention_layout(engine.model).modules[1]
        seen = []
        hook = module.register_forward_pre_hook(
            lambda m, args, kwargs: seen.append(kwargs["hidden_states"][0]), with_kwargs=True
        )
        for question in (4, 45, 0):
            example = question_example(engine, corpus.facts, corpus.questions[question], "-")
            with torch.no_grad():
                engine.model(torch.tensor([example.prompt]))
        hook.remove()
        for row, expected in enumerate(seen):
            torch.testing.assert_close(
                states[row][mask[row]].float(), expected, rtol=1e-2, atol=1e-2
            )

    def test_a_cache_is_read_and_one_of_other_prompts_is_not(
        self, engine: Engine, corpus: Corpus, hidden, tmp_path, caplog
    ) -> None:
        path = tmp_path / "hidden.safetensors"
        written = path.stat().st_mtime_ns
        examples = [question_example(engine, corpus.facts, q, "-") for q in corpus.questions]
        again = cache_hidden(engine, examples, 1, path, base="a")
        assert torch.equal(again.states, hidden.states)
        assert path.stat().st_mtime_ns == written
        assert len(cache_hidden(engine, examples[:9], 1, path, base="a")) == 9
        assert "other prompts" in caplog.text

    def test_a_cache_of_other_prompts_of_that_number_or_of_another_base_is_made_again(
        self, engine: Engine, corpus: Corpus, hidden, tmp_path, caplog
    ) -> None:
        path = tmp_path / "hidden.safetensors"
        examples = [question_example(engine, corpus.facts, q, "-") for q in corpus.questions]
        turned = cache_hidden(engine, examples[::-1], 1, path, base="a")
        assert torch.equal(turned.batch([0])[0], hidden.batch([len(hidden) - 1])[0])
        caplog.clear()
        for base, layer in (("b", 1), ("b", 0)):
            written = path.stat().st_mtime_ns
            cache_hidden(engine, examples[::-1], layer, path, base=base)
            assert path.stat().st_mtime_ns > written
        assert caplog.text.count("another base") == 2

    def test_selection_learns(
        self, engine: Engine, adapter: KnowledgeAdapter, corpus: Corpus, hidden
    ) -> None:
        questions = list(range(len(corpus.questions)))

        def loss() -> float:
            with torch.no_grad():
                rng = np.random.default_rng(0)
                found = retrieval_loss(adapter, engine.encoder, corpus, hidden, questions, rng)
                return float(found[0])

        before = loss()
        words = engine.encoder
        curve = train_selection(
            adapter, corpus, hidden, reader=words, steps=12, learning_rate=0.01, seed=0
        )
        assert loss() < 0.7 * before
        assert [row["step"] for row in curve] == list(range(12))
        assert all(0 <= row["accuracy"] <= 1 for row in curve)

    @pytest.mark.parametrize("steps", [1, 2, 3, 20])
    def test_selection_learns_in_any_number_of_steps(
        self, engine: Engine, adapter: KnowledgeAdapter, corpus: Corpus, hidden, steps: int
    ) -> None:
        words = engine.encoder
        curve = train_selection(
            adapter, corpus, hidden, reader=words, steps=steps, learning_rate=0.01, seed=0
        )
        assert len(curve) == steps


def test_general_prompts_are_the_bases_own_words(engine: Engine, tmp_path) -> None:
    pytest.importorskip("faker")
    made = general_prompts(engine, 3, 0, tmp_path / "general.json", base="a")
    assert len(made) == 3
    example = made[0].example
    ids = torch.tensor([example.prompt])
    expected = engine.model.generate(
        ids, attention_mask=torch.ones_like(ids), max_new_tokens=32, do_sample=False, pad_token_id=0
    )
    assert expected[0, ids.shape[1] :].tolist() == example.answer
    assert general_prompts(engine, 3, 0, tmp_path / "general.json", base="a") == made


def test_another_base_continues_general_prompts_itself(engine: Engine, tmp_path) -> None:
    pytest.importorskip("faker")
    cache = tmp_path / "general.json"
    general_prompts(engine, 2, 0, cache, base="a")
    held = json.loads(cache.read_text())
    cache.write_text(json.dumps({**held, "continuations": [[1], [2]]}))
    assert general_prompts(engine, 2, 0, cache, base="a")[0].example.answer == [1]
    assert general_prompts(engine, 2, 0, cache, base="b")[0].example.answer != [1]


def test_embedding_keeps_the_order_and_repeats_nothing(engine: Engine) -> None:
    encoder = engine.encoder
    encoder.seen.clear()
    texts = ["office", "budget of Aurora", "office", "x"]
    rows = embed(encoder, texts, "texts", batch=2)
    assert sorted(encoder.seen) == sorted(set(texts))
    np.testing.assert_allclose(rows.numpy(), encoder.encode(texts), rtol=1e-6)


class TestThreshold:
    @pytest.mark.parametrize(
        ("probability", "truth", "low", "high"),
        [
            ([0.1, 0.2, 0.8, 0.9], [False, False, True, True], 0.2, 0.8),
            ([0.05, 0.06, 0.1, 0.12], [False, False, True, True], 0.06, 0.1),
        ],
    )
    def test_it_stands_where_the_two_sorts_part(self, probability, truth, low, high) -> None:
        ones = np.ones(len(truth))
        threshold = best_threshold(np.array(probability), np.array(truth), ones)
        assert low <= threshold <= high

    @pytest.mark.parametrize(
        ("probability", "nearest"),
        [
            ([0.1, 0.2, 0.8, 0.9], 0.5),
            ([0.1, 0.2, 0.96, 0.97], 0.5),
            ([0.5, 0.6, 0.9, 0.95], 0.6),
            ([0.01, 0.02, 0.3, 0.4], 0.3),
        ],
    )
    def test_of_equally_good_thresholds_the_nearest_to_half_the_f1_is_taken(
        self, probability, nearest
    ) -> None:
        truth = np.array([False, False, True, True])
        threshold = best_threshold(np.array(probability), truth, np.ones(4))
        assert threshold == pytest.approx(nearest, abs=0.011)

    def test_weights_decide_where_they_overlap(self) -> None:
        probability, truth = np.array([0.3, 0.6]), np.array([True, False])
        eager = best_threshold(probability, truth, np.array([1.0, 0.1]))
        assert eager < 0.3

    def test_calibration_looks_at_every_size_and_leaves_nothing_attached(
        self, engine: Engine, corpus: Corpus, adapter: KnowledgeAdapter
    ) -> None:
        calibration = calibrate(engine, adapter.eval(), corpus, seed=0, sizes=(10, 100))
        assert list(calibration.by_size) == [10, 40]
        assert calibration.truth.sum() == 10
        general = int(calibration.general.sum())
        assert all(len(found) == 50 + general for found in calibration.by_size.values())
        assert calibration.weights.sum() == pytest.approx(1.0)
        assert calibration.weights[calibration.general].sum() == pytest.approx(0.1)
        threshold = calibration.threshold()
        report = calibration.report(threshold)
        assert (report["threshold"], report["num_questions"]) == (threshold, 50)
        assert list(report["by_num_facts"]) == ["10", "40"]
        nobody = calibration.report(1.0)["by_num_facts"]["40"]
        assert (nobody["recall"], nobody["general_refused"]) == (0.0, 0.0)
        assert calibration.report(-1.0)["by_num_facts"]["40"]["recall"] == 1.0
        assert engine.model.config._attn_implementation == "sdpa"


class TestConfiguration:
    def test_the_shape_follows_the_base(self, engine: Engine) -> None:
        config = TrainingConfig(
            first_layer=1, layer_spacing=1, top_k=3, query_head="lora", sources="decoder", pools=7
        )
        shape = knowledge_config(config, engine.model, engine.encoder)
        assert shape.knowledge_layers == (1, 2)
        selection = shape.selection
        assert (selection.layer, selection.top_k, selection.pools) == (1, 3, 7)
        assert (selection.sources, selection.matching) == ("decoder", False)
        assert (shape.encoder, shape.encoder_dimension) == ("words", 48)
        assert (shape.num_heads, shape.num_key_heads, shape.head_dim) == (4, 2, 8)
        assert shape.grounded
        assert knowledge_config(
            TrainingConfig(), engine.model, engine.encoder
        ).knowledge_layers == (1,)

    @pytest.mark.parametrize("layers", [0, 1])
    def test_questions_are_read_by_as_many_layers_as_are_wanted(
        self, engine: Engine, sentence_encoder: Path, layers: int
    ) -> None:
        encoder = SentenceEncoder(sentence_encoder)
        shape = knowledge_config(TrainingConfig(reader_layers=layers), engine.model, encoder)
        assert shape.selection.reader_layers == layers

    def test_more_layers_than_the_encoder_has_are_refused(
        self, engine: Engine, sentence_encoder: Path
    ) -> None:
        encoder, config = SentenceEncoder(sentence_encoder), TrainingConfig(reader_layers=2)
        with pytest.raises(ConfigError, match=r"at most 1 reader_layers.*'letters-16'.*got 2"):
            knowledge_config(config, engine.model, encoder)
        with pytest.raises(ConfigError, match=r"at most 0 reader_layers.*'words'.*got 2"):
            knowledge_config(config, engine.model, engine.encoder)

    def test_where_the_decoder_selects_no_layers_read_questions(
        self, engine: Engine, sentence_encoder: Path
    ) -> None:
        encoder = SentenceEncoder(sentence_encoder)
        config = TrainingConfig(reader_layers=1, sources="decoder")
        with pytest.raises(ConfigError, match="without its names"):
            knowledge_config(config, engine.model, encoder)

    def test_a_first_layer_past_the_last_is_refused(self, engine: Engine) -> None:
        with pytest.raises(ConfigError, match=r"first_layer at or below 2, .*got 3"):
            knowledge_config(TrainingConfig(first_layer=3), engine.model, engine.encoder)

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"steps": 0}, "steps"),
            ({"num_facts": 0}, "num_facts"),
            ({"pools": 0}, "pools"),
            ({"num_questions": 1}, "num_questions >= 2, got 1"),
            ({"retrieval_steps": -1}, "retrieval_steps"),
            ({"learning_rate": 0.0}, "learning rate"),
            ({"learning_rate": float("inf")}, "Expected a learning rate > 0, got inf"),
            ({"retrieval_learning_rate": float("nan")}, "retrieval learning rate > 0, got nan"),
            ({"kl_weight": -1.0}, "kl_weight >= 0, got -1"),
            ({"refusal_weight": float("nan")}, "refusal_weight >= 0, got nan"),
            ({"warmup": 3.0}, "warmup, a share of the steps, got 3"),
            ({"first_layer": -1}, "first_layer >= 0, got -1"),
            ({"seed": -1}, "seed >= 0, got -1"),
            ({"candidates": 8, "top_k": 16}, "candidates"),
            ({"batch_size": 2, "instructions_per_batch": 4}, "batch_size"),
        ],
    )
    def test_settings_out_of_range_are_refused(self, changes: dict, message: str) -> None:
        with pytest.raises(ConfigError, match=message):
            TrainingConfig(**changes)

    def test_data_is_cached_by_what_it_depends_on(self) -> None:
        key = TrainingConfig().data_key()
        assert TrainingConfig(steps=3, output_dir="elsewhere").data_key() == key
        assert TrainingConfig(seed=1).data_key() != key
        assert TrainingConfig(first_layer=3).data_key() != key

    def test_a_checkpoint_depends_on_what_shapes_the_run(self) -> None:
        kept = TrainingConfig().for_checkpoint()
        longer = TrainingConfig(
            output_dir="elsewhere", steps=9_999, checkpoint_every=7, validation_every=7,
            device="cuda", compile=True, log_with="tensorboard",
        )  # fmt: skip
        assert longer.for_checkpoint() == kept
        for changes in ({"learning_rate": 1e-5}, {"num_facts": 9}, {"init_from": ("default",)}):
            assert TrainingConfig(**changes).for_checkpoint() != kept
        own = TrainingConfig(facts="f", questions="q").for_checkpoint()
        assert own != kept
        assert own == TrainingConfig(facts="moved/f", questions="moved/q").for_checkpoint()

    def test_a_digest_of_weights_sees_one_number(self, engine: Engine) -> None:
        before = weights_digest(engine.model)
        weight = next(engine.model.parameters()).data
        old = weight[0, 0].item()
        weight[0, 0] += 1.0
        assert weights_digest(engine.model) != before
        weight[0, 0] = old
        assert weights_digest(engine.model) == before


def test_padding_does_not_change_a_row(engine: Engine, corpus: Corpus) -> None:
    """Batches pad on the right, generation on the left: both must mean the same."""
    examples = [question_example(engine, corpus.facts, corpus.questions[q], "-") for q in (0, 44)]
    together = collate(examples, engine.pad_token, torch.device("cpu"))
    alone = collate(examples[1:], engine.pad_token, torch.device("cpu"))
    with torch.no_grad():
        padded = last_hidden(engine.model, together.input_ids, together.attention_mask)[1]
        own = last_hidden(engine.model, alone.input_ids, alone.attention_mask)[0]
    torch.testing.assert_close(padded[: len(own)], own, rtol=1e-4, atol=1e-5)
