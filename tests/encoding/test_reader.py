"""Questions read by layers of the adapter's own, above the real encoder's first ones."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from kblam.encoding import BertSentences, QuestionReader, SentenceEncoder, TrainedEncoder
from kblam.errors import ConfigError
from kblam.training.reading import by_layers, start_as

pytestmark = pytest.mark.weights

TEXTS = [
    "Who is the mother of?",
    "?",
    "Against whom does it fight most bitterly, and since when, if you know that at all?",
    "Who is the mother of?",
    "capital",
]


@pytest.fixture(scope="module")
def encoder() -> SentenceEncoder:
    return SentenceEncoder(precision="float32")


@pytest.fixture
def reader(encoder: SentenceEncoder) -> QuestionReader:
    found = QuestionReader(encoder.dimension, 2)
    start_as(found, encoder)
    return found


def changed(reader: QuestionReader) -> QuestionReader:
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in reader.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
    return reader


def test_layers_that_nothing_was_taught_read_as_the_encoder(
    encoder: SentenceEncoder, reader: QuestionReader
) -> None:
    expected = encoder.encode(TEXTS)
    np.testing.assert_allclose(TrainedEncoder(encoder, reader).encode(TEXTS), expected, atol=1e-6)
    read = by_layers(encoder, reader)(TEXTS)
    np.testing.assert_allclose(read.detach(), expected, atol=1e-6)


@pytest.mark.parametrize("layers", [1, 3, 6])
def test_any_number_of_layers_can_be_trained(encoder: SentenceEncoder, layers: int) -> None:
    reader = QuestionReader(encoder.dimension, layers)
    start_as(reader, encoder)
    read = by_layers(encoder, reader)(TEXTS)
    np.testing.assert_allclose(read.detach(), encoder.encode(TEXTS), atol=1e-6)


def test_what_was_taught_is_read_the_same_in_use_and_in_training(
    encoder: SentenceEncoder, reader: QuestionReader
) -> None:
    before = encoder.encode(TEXTS)
    vectors = TrainedEncoder(encoder, changed(reader)).encode(TEXTS)
    assert (vectors * before).sum(1).max() < 0.99
    np.testing.assert_allclose(by_layers(encoder, reader)(TEXTS).detach(), vectors, atol=1e-5)
    # The encoder that it stands on reads as before, not from a cache.
    encoder.forget()
    np.testing.assert_array_equal(encoder.encode(TEXTS), before)


def test_only_the_layers_learn(encoder: SentenceEncoder, reader: QuestionReader) -> None:
    reader.requires_grad_(True)
    target = torch.from_numpy(encoder.encode(["archnemesis"]))
    loss = -(by_layers(encoder, reader)(TEXTS) @ target.T).sum()
    loss.backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in reader.parameters())


def test_in_bfloat16_it_reads_nearly_the_same(reader: QuestionReader) -> None:
    half = SentenceEncoder(precision="bfloat16")
    vectors = TrainedEncoder(half, changed(reader)).encode(TEXTS)
    whole = TrainedEncoder(SentenceEncoder(precision="float32"), reader).encode(TEXTS)
    assert (vectors * whole).sum(1).min() > 0.998


def test_in_bfloat16_it_is_trained_as_it_is_used(reader: QuestionReader) -> None:
    half = SentenceEncoder(precision="bfloat16")
    used = TrainedEncoder(half, changed(reader)).encode(TEXTS)
    trained = by_layers(half, reader)(TEXTS).detach()
    assert trained.dtype == torch.float32
    assert (used * trained.numpy()).sum(1).min() > 0.999


def test_texts_beside_it_change_nothing(encoder: SentenceEncoder, reader: QuestionReader) -> None:
    read = by_layers(encoder, changed(reader))
    alone = torch.cat([read([text]) for text in TEXTS])
    torch.testing.assert_close(read(TEXTS), alone, atol=1e-6, rtol=0)


def test_an_encoder_that_is_run_as_a_whole_is_refused(
    encoder: SentenceEncoder, reader: QuestionReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(encoder, "_sentences", lambda texts: torch.zeros(len(texts), 384))
    with pytest.raises(ConfigError, match="run as a whole"):
        TrainedEncoder(encoder, reader)


def test_the_encoder_tells_whether_its_layers_are_of_the_usual_shape(
    encoder: SentenceEncoder,
) -> None:
    assert isinstance(encoder.layers, BertSentences)
    assert encoder.layers.is_usual
    assert len(encoder.layers) == 6


@pytest.mark.parametrize(("own", "below"), [(1, 1), (2, 3), (5, 1)])
def test_both_read_at_once_what_each_reads_alone(
    reader: QuestionReader, own: int, below: int
) -> None:
    encoder = SentenceEncoder(precision="float32")
    trained = TrainedEncoder(encoder, changed(reader))
    expected = trained.encode(TEXTS[:own]), encoder.encode(TEXTS[-below:])
    encoder.forget()
    trained.forget()
    trained.encode_beside(["", *TEXTS[:own]], [*TEXTS[-below:], ""])
    assert not trained.unknown(TEXTS[:own])
    assert not encoder.unknown(TEXTS[-below:])
    np.testing.assert_allclose(trained.encode(TEXTS[:own]), expected[0], atol=1e-6)
    np.testing.assert_allclose(encoder.encode(TEXTS[-below:]), expected[1], atol=1e-6)


def test_what_is_known_is_not_read_again(reader: QuestionReader) -> None:
    encoder = SentenceEncoder(precision="float32")
    trained = TrainedEncoder(encoder, reader)
    trained.encode_beside(TEXTS[:1], TEXTS[:1])
    kept = trained.encode(TEXTS[:1]).copy()
    trained.encode_beside(TEXTS, TEXTS[:1])  # nothing is new to the encoder below
    assert trained.unknown(TEXTS)
    np.testing.assert_array_equal(trained.encode(TEXTS[:1]), kept)
