"""The short way to run a sentence encoder gives sentence-transformers' own vectors."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
from tiny_kblam import make_tokenizer
from torch.nn import functional as F
from transformers import GPT2Config, GPT2Model

from kblam.encoding import SentenceEncoder, _bert, _bert_layers
from kblam.encoding._bert import BertSentences
from kblam.encoding._sentences import Padded, fast_bfloat16, sentences
from kblam.errors import ConfigError
from kblam.weights import resolve_encoder

pytestmark = pytest.mark.weights

TEXTS = [
    "",
    " ",
    "?",
    "Ljubljana",
    "the capital of Slovenia",
    "the native language of Zoë Müller-Ångström",
    "столица Словении",
    "斯洛文尼亚的首都是哪里?",
    "عاصمة سلوفينيا",
    "สโลวีเนีย 🇸🇮 👩‍👩‍👧",
    "line\nbreaks\tand  spaces ",
    "[SEP] [MASK] [CLS] in a text",
    "x" * 500,
    *(" ".join(["budget"] * words) for words in (1, 13, 14, 15, 100, 253, 254, 255, 256, 2000)),
]


@pytest.fixture(scope="module")
def model() -> SentenceTransformer:
    return SentenceTransformer(resolve_encoder().path, device="cpu")


@pytest.fixture(scope="module")
def expected(model: SentenceTransformer) -> np.ndarray:
    return _plainly(model, TEXTS)


@pytest.fixture(scope="module", params=["float32", "bfloat16"])
def encoder(request: pytest.FixtureRequest) -> SentenceEncoder:
    return SentenceEncoder(precision=request.param)


def _plainly(model: SentenceTransformer, texts: list[str]) -> np.ndarray:
    return model.encode(texts, normalize_embeddings=True, show_progress_bar=False)


def _is_half(way: object) -> bool:
    return isinstance(way, BertSentences) and way.dtype == torch.bfloat16


def _assert_same(rows: np.ndarray, others: np.ndarray, *, half: bool) -> None:
    assert rows.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1.0, atol=1e-5)
    if half:
        assert (rows * others).sum(1).min() >= 0.9995
    else:
        np.testing.assert_allclose(rows, others, atol=1e-5)


def test_together_they_are_sentence_transformers_own(
    encoder: SentenceEncoder, expected: np.ndarray
) -> None:
    assert isinstance(encoder._sentences, BertSentences)
    encoder.forget()
    _assert_same(encoder.encode(TEXTS), expected, half=_is_half(encoder._sentences))


def test_alone_they_are_too(encoder: SentenceEncoder, expected: np.ndarray) -> None:
    encoder.forget()
    rows = np.concatenate([encoder.encode([text]) for text in TEXTS])
    _assert_same(rows, expected, half=_is_half(encoder._sentences))


def test_every_number_of_tokens_is_right(model: SentenceTransformer) -> None:
    texts = [" ".join(["budget"] * words) for words in range(40)]
    encoder = SentenceEncoder(precision="float32")
    alone = np.concatenate([encoder.encode([text]) for text in texts])
    _assert_same(alone, _plainly(model, texts), half=False)


def test_parts_of_few_tokens_change_nothing(
    encoder: SentenceEncoder, expected: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_bert, "_TOKENS", 50)  # less than one of the longer texts
    encoder.forget()
    _assert_same(encoder.encode(TEXTS), expected, half=_is_half(encoder._sentences))


def test_the_same_batch_gives_the_same_bits(encoder: SentenceEncoder) -> None:
    encoder.forget()
    once = encoder.encode(TEXTS)
    encoder.encode(["something", "else in between"])
    encoder.forget()
    assert np.array_equal(encoder.encode(TEXTS), once)


def test_threads_share_an_encoder(encoder: SentenceEncoder, expected: np.ndarray) -> None:
    found: dict[int, np.ndarray] = {}

    def work(turn: int) -> None:
        encoder.forget()
        found[turn] = encoder.encode(TEXTS[turn : turn + 8])

    threads = [threading.Thread(target=work, args=(turn,)) for turn in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for turn, rows in found.items():
        half = _is_half(encoder._sentences)
        _assert_same(rows, expected[turn : turn + 8], half=half)


def test_auto_is_bfloat16_where_the_cpu_multiplies_it(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = SentenceEncoder()
    assert _is_half(encoder._sentences) == fast_bfloat16(torch.device("cpu"))
    assert not fast_bfloat16(torch.device("cuda"))
    for capabilities in ({"amx_bf16": True}, {"avx512_bf16": True}, {}):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda c=capabilities: c, raising=False)
        assert fast_bfloat16(torch.device("cpu")) == bool(capabilities)
        assert _is_half(SentenceEncoder()._sentences) == bool(capabilities)
    monkeypatch.delattr(torch.cpu, "get_capabilities")
    assert not fast_bfloat16(torch.device("cpu"))


def test_an_unknown_precision_is_an_error() -> None:
    with pytest.raises(ConfigError, match=r"'auto', 'float32' or 'bfloat16'.*'int8'"):
        SentenceEncoder(precision="int8")


class TestOtherForms:
    """What is not just a BERT and its pooled tokens is left to sentence-transformers."""

    @pytest.fixture
    def own(self) -> SentenceTransformer:
        return SentenceTransformer(resolve_encoder().path, device="cpu")

    def test_the_first_tokens_vector_is_taken_where_it_is_the_texts(
        self, own: SentenceTransformer
    ) -> None:
        pooling = type(own[1])(own.get_embedding_dimension(), pooling_mode="cls")
        cls = SentenceTransformer(modules=[own[0], pooling], device="cpu")
        way = sentences(cls, "float32", 8)
        assert isinstance(way, BertSentences)
        _assert_same(way(TEXTS).numpy(), _plainly(cls, TEXTS), half=False)

    @pytest.mark.parametrize("change", ["pooling", "dense", "prompt", "activation", "class"])
    def test_they_run_as_they_always_did(self, own: SentenceTransformer, change: str) -> None:
        model = _changed(own, change)
        way = sentences(model, "auto", 8)
        assert isinstance(way, Padded)
        _assert_same(way(TEXTS).numpy(), _plainly(model, TEXTS), half=False)

    def test_in_bfloat16_where_asked(self, own: SentenceTransformer, expected: np.ndarray) -> None:
        way = sentences(_changed(own, "class"), "bfloat16", 8)
        assert isinstance(way, Padded)
        _assert_same(way(TEXTS).numpy(), expected, half=True)

    def test_long_texts_come_in_small_batches(
        self, own: SentenceTransformer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        sizes = []
        embed = type(own).encode

        def watch(self, texts, **options):
            sizes.append(options["batch_size"])
            return embed(self, texts, **options)

        monkeypatch.setattr(type(own), "encode", watch)
        way = Padded(own, 200)
        way(["short", "texts"])
        way(["short", "and long " * 500])
        assert sizes == [200, 64]


def _changed(model: SentenceTransformer, change: str) -> SentenceTransformer:
    from sentence_transformers.models import Dense

    bert, pooling, _ = model
    width = model.get_embedding_dimension()
    if change == "pooling":
        return SentenceTransformer(
            modules=[bert, type(pooling)(width, pooling_mode="max")], device="cpu"
        )
    if change == "dense":
        return SentenceTransformer(modules=[bert, pooling, Dense(width, 8)], device="cpu")
    if change == "prompt":
        model.prompts = {"query": "query: "}
        model.default_prompt_name = "query"
    elif change == "activation":
        for layer in bert.auto_model.encoder.layer:
            layer.intermediate.intermediate_act_fn = torch.nn.ReLU()
    else:
        # The weights are those of a BERT, but its class is another one that may do anything.
        kind = type(bert.auto_model)
        bert.auto_model.__class__ = type("OtherModel", (kind,), {})
    return model


class TestPackedWeights:
    @pytest.mark.parametrize("tokens", [1, 13, 200])
    def test_products_are_the_same_to_the_last_bit(self, tokens: int) -> None:
        generator = torch.Generator().manual_seed(tokens)
        weight, bias = torch.randn(96, 48, generator=generator), torch.randn(96)
        states = torch.randn(tokens, 48, generator=generator).bfloat16()
        linear = _bert_layers.Linear(_bert_layers.Affine(weight, bias)).to(torch.bfloat16)
        expected = F.linear(states, weight.bfloat16(), bias.bfloat16())
        assert torch.equal(linear(states), expected)

    def test_without_them_the_weights_are_used_as_they_are(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def missing(*args: object) -> None:
            raise RuntimeError("not in this build")

        monkeypatch.setattr(torch.ops.mkldnn, "_reorder_linear_weight", missing)
        parts = _bert_layers.Affine(torch.randn(8, 8).bfloat16(), torch.randn(8).bfloat16())
        linear = _bert_layers.Linear(parts)
        states = torch.randn(3, 8).bfloat16()
        assert linear._packed is None
        assert torch.equal(linear(states), F.linear(states, *parts))


def test_an_encoder_without_a_token_to_pad_with_pads_all_the_same(tmp_path: Path) -> None:
    tokenizer = make_tokenizer()
    torch.manual_seed(0)
    size = {"n_embd": 16, "n_layer": 1, "n_head": 2, "n_positions": 64}
    GPT2Model(GPT2Config(vocab_size=len(tokenizer), **size)).save_pretrained(tmp_path / "decoder")
    tokenizer.save_pretrained(tmp_path / "decoder")
    parts = [Transformer(str(tmp_path / "decoder"), max_seq_length=64), Pooling(16)]
    assert parts[0].tokenizer.pad_token is None
    SentenceTransformer(modules=parts, device="cpu").save(str(tmp_path / "encoder"))
    encoder = SentenceEncoder(tmp_path / "encoder")
    texts = ["?", "the capital of Slovenia"]
    together = encoder.encode(texts)
    encoder.forget()
    alone = [encoder.encode([text])[0] for text in texts]
    np.testing.assert_allclose(together, alone, atol=1e-5)
