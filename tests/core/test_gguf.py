"""GGUF weights are converted once, and the copy is what transformers reads from the file."""

from __future__ import annotations

import os
from functools import cache, partial
from pathlib import Path

import gguf
import pytest
import torch
from tiny_decoders import make_model
from transformers import AutoModelForCausalLM, AutoTokenizer

from kblam import _gguf
from kblam._gguf import converted
from kblam._loading import load_base_model, load_tokenizer
from kblam._quiet import quiet_loading
from kblam.weights import DEFAULT_BASE, resolve_base_model

TEXTS = [
    "Who leads Aurora?",
    "  x\n\n\ty ",
    "Österreich 東京 🎉",
    "<|im_start|>user\nhi<|im_end|>",
]


@pytest.fixture
def _read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keeps what transformers reads of a file, walking all of its vocabulary, again and again."""
    for name in ("GGUFReader", "get_tensor_name_map"):
        monkeypatch.setattr(gguf, name, cache(getattr(gguf, name)))


@pytest.mark.weights
@pytest.mark.usefixtures("_read_once")
def test_the_copy_is_what_transformers_reads() -> None:
    """The real weights, by the copy that this machine has."""
    location = resolve_base_model()
    if location.gguf_file is None:
        pytest.skip("the default model's weights are here as safetensors")
    source = {"pretrained_model_name_or_path": location.path, "gguf_file": location.gguf_file}
    with quiet_loading():
        assert converted(Path(location.path, location.gguf_file)) is not None
        expected = AutoModelForCausalLM.from_pretrained(**source, dtype=torch.float32).eval()
        reference = AutoTokenizer.from_pretrained(**source)
    model, tokenizer = load_base_model(
        DEFAULT_BASE, device=torch.device("cpu"), dtype=torch.float32
    )
    weights = expected.state_dict()
    assert model.state_dict().keys() == weights.keys()
    for name, weight in model.state_dict().items():
        assert torch.equal(weight, weights[name]), name
    assert model.generation_config.to_dict() == expected.generation_config.to_dict()
    ids = tokenizer(TEXTS[0], return_tensors="pt").input_ids
    assert torch.equal(model(ids).logits, expected(ids).logits)
    assert tokenizer.chat_template == reference.chat_template
    assert tokenizer.special_tokens_map == reference.special_tokens_map
    assert tokenizer.get_vocab() == reference.get_vocab()
    for text in TEXTS:
        assert tokenizer(text).input_ids == reference(text).input_ids


class TestCopies:
    """Where they are, and when: with weights that take transformers no time to read."""

    @pytest.fixture(autouse=True)
    def _small(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        model, tokenizer = make_model("llama"), load_tokenizer(DEFAULT_BASE)
        self.read: list[str] = []

        def read(_: str, *, gguf_file: str, **__: object) -> object:
            self.read.append(gguf_file)
            return model

        monkeypatch.setattr(_gguf.AutoModelForCausalLM, "from_pretrained", read)
        monkeypatch.setattr(_gguf.AutoTokenizer, "from_pretrained", lambda *_, **__: tokenizer)
        self.cache = tmp_path / "cache"
        monkeypatch.setenv("KBLAM_CACHE", str(self.cache))
        self.file = tmp_path / "small.gguf"
        self.file.write_bytes(b"GGUF of something small")

    def test_a_file_is_converted_once_wherever_it_lies(self, tmp_path: Path) -> None:
        folder = converted(self.file)
        other = self.file.rename(tmp_path / "moved.gguf")
        assert converted(other) == converted(other) == folder
        assert self.read == ["small.gguf"]
        assert list(self.cache.iterdir()) == [folder]
        names = {path.name for path in folder.iterdir()}
        assert {"config.json", "model.safetensors", "tokenizer.json"} <= names

    def test_another_file_has_its_own(self) -> None:
        folder = converted(self.file)
        self.file.write_bytes(b"GGUF of something else")
        assert converted(self.file) != folder
        assert len(self.read) == 2

    def test_another_version_of_transformers_reads_anew(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        folder = converted(self.file)
        monkeypatch.setattr(_gguf.transformers, "__version__", "0.0")
        assert converted(self.file) != folder
        assert len(self.read) == 2

    def test_none_where_none_is_wanted(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("KBLAM_CACHE", "")
        assert converted(self.file) is None
        assert not self.cache.exists()

    def test_none_of_a_large_file(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(_gguf, "_LARGEST", 10)
        assert converted(self.file) is None
        assert not self.cache.exists()

    def test_none_where_nothing_can_be_written(self, caplog: pytest.LogCaptureFixture) -> None:
        self.cache.write_text("a file where the folder should be")
        assert converted(self.file) is None
        assert "KBLAM_CACHE" in caplog.text
        assert str(self.cache) in caplog.text

    def test_whole_or_not_there(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def full(*_: object) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, "fsync", full)
        assert converted(self.file) is None
        assert list(self.cache.iterdir()) == []

    def test_the_file_is_walked_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        walked: list[str] = []
        monkeypatch.setattr(gguf, "GGUFReader", walked.append)
        model, tokenizer = make_model("llama"), load_tokenizer(DEFAULT_BASE)

        def read(folder: str, *, gguf_file: str, made: object, **_: object) -> object:
            gguf.GGUFReader(f"{folder}/{gguf_file}")
            return made

        for kind, made in (("AutoModelForCausalLM", model), ("AutoTokenizer", tokenizer)):
            monkeypatch.setattr(getattr(_gguf, kind), "from_pretrained", partial(read, made=made))
        assert converted(self.file) is not None
        assert walked == [str(self.file)]
        gguf.GGUFReader("as before")
        gguf.GGUFReader("as before")
        assert walked[1:] == ["as before"] * 2

    def test_another_process_may_have_been_first(self) -> None:
        folder = converted(self.file)
        before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
        _gguf._convert(self.file, folder)
        assert len(self.read) == 2
        assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == before
        assert list(self.cache.iterdir()) == [folder]
