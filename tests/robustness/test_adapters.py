"""Folders of adapters that are damaged, or whose settings and weights are nonsense."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from malformed import PLANNED, attempt, damaged, damaged_text, judge, many, nonsense
from safetensors.torch import load_file, save_file
from tiny_kblam import (
    WordEncoder,
    logits_with_facts,
    make_adapter,
    make_decoder,
    make_tokenizer,
)

from kblam import adapter as adapters
from kblam.decoder import KnowledgeAdapter
from kblam.errors import KBLaMError

WEIGHTS, SETTINGS = "adapter_model.safetensors", "adapter_config.json"


class Folder:
    """An adapter's folder, its base model, and what the model says with it."""

    def __init__(self, path: Path) -> None:
        self.words = WordEncoder()
        self.decoder = make_decoder(make_tokenizer())
        self.path = path
        adapter = make_adapter(self.decoder, self.words)
        adapters.save_pretrained(adapter, path, self.decoder, base_model="tiny")
        self.weights = (path / WEIGHTS).read_bytes()
        self.settings = (path / SETTINGS).read_bytes()

    def restore(self) -> None:
        for name, content in ((WEIGHTS, self.weights), (SETTINGS, self.settings)):
            file = self.path / name
            if file.is_dir():
                shutil.rmtree(file)
            file.write_bytes(content)

    def load(self) -> KnowledgeAdapter:
        return adapters.from_pretrained(self.path, self.decoder)

    def check(self) -> None:
        """What is loaded makes the model say something; all else is refused."""
        outcome = attempt(self.load)
        if not isinstance(outcome, KBLaMError):
            assert logits_with_facts(self.decoder, outcome, self.words).isfinite().all()
        self.restore()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Folder]:
    return Folder(tmp_path_factory.mktemp("adapter"))


def wrong_tensors(given: bytes, path: Path, chance: random.Random) -> bytes:
    """Return weights that safetensors can read, but that are not this adapter's."""
    path.write_bytes(given)
    tensors = load_file(path)
    name = chance.choice(sorted(tensors))
    one = tensors[name].clone()
    ways: list[Callable[[], dict[str, Any]]] = [
        dict,
        lambda: {name: one},
        lambda: {key: value for key, value in tensors.items() if key != name},
        lambda: {**tensors, "more": torch.ones(3)},
        lambda: {**tensors, name: one.reshape(-1)[:-1].clone() if one.dim() else one.reshape(1)},
        lambda: {**tensors, name: one.unsqueeze(0)},
        lambda: {**tensors, name: one.fill_(float("nan"))},
        lambda: {**tensors, name: one.fill_(float("inf"))},
        lambda: {**tensors, name: torch.full_like(one, 3e38, dtype=torch.float32)},
        lambda: {**tensors, name: one.to(torch.int64)},
        lambda: {**tensors, name: one.to(torch.bool)},
        lambda: {**tensors, name: one.to(torch.complex64)},
        lambda: {**tensors, name: torch.empty(0)},
    ]
    save_file(chance.choice(ways)(), path)
    return path.read_bytes()


def test_weights(folder: Folder, tmp_path: Path) -> None:
    def make(chance: random.Random) -> bytes:
        if chance.random() < 0.4:
            return wrong_tensors(folder.weights, tmp_path / "wrong.safetensors", chance)
        if chance.random() < 0.5:  # where the layout is told
            return damaged(folder.weights[:400], chance) + folder.weights[400:]
        return damaged(folder.weights, chance)

    def check(given: bytes) -> None:
        (folder.path / WEIGHTS).write_bytes(given)
        folder.check()

    judge("weights of adapters", many(PLANNED["weights of adapters"], make), check)


@pytest.mark.parametrize("name", [WEIGHTS, SETTINGS])
def test_what_is_no_file(name: str, folder: Folder) -> None:
    (folder.path / name).unlink()
    assert isinstance(attempt(folder.load), KBLaMError)
    (folder.path / name).mkdir()
    assert isinstance(attempt(folder.load), KBLaMError)
    folder.restore()


def test_settings(folder: Folder) -> None:
    whole = json.loads(folder.settings)

    def place(chance: random.Random, data: dict[str, Any]) -> tuple[dict[str, Any], str]:
        """Choose a setting, however deep."""
        key = chance.choice(sorted(data))
        if isinstance(data[key], dict) and chance.random() < 0.9:
            return place(chance, data[key])
        return data, key

    def make(chance: random.Random) -> bytes:
        if chance.random() < 0.25:
            return damaged_text(folder.settings, chance)
        changed = json.loads(folder.settings)
        data, key = place(chance, changed)
        kind = chance.randrange(4)
        if kind == 0:
            del data[key]
        elif kind == 1:
            data[f"{key}_"] = 1
        elif kind == 2 and isinstance(data[key], (int, float)):
            data[key] = chance.choice([0, -1, 1 << 40, 0.5, 1e300, data[key] + 1, str(data[key])])
        else:
            data[key] = nonsense(chance)
        return json.dumps(changed, default=str).encode("utf-8", "surrogatepass")

    def check(given: bytes) -> None:
        (folder.path / SETTINGS).write_bytes(given)
        folder.check()

    assert whole["knowledge"]["selection"]
    judge("settings of adapters", many(PLANNED["settings of adapters"], make), check)
