"""Checkpoints: what they hold, what they restore, and which of them are refused."""

from __future__ import annotations

import dataclasses
import json
import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tiny_kblam import make_adapter

pytest.importorskip("accelerate")

from kblam._engine import Engine
from kblam.decoder import KnowledgeAdapter
from kblam.errors import ConfigError, KBLaMError
from kblam.training import TrainingConfig
from kblam.training.checkpoint import Checkpoint
from kblam.training.optimisation import make_optimizer

CONFIG = TrainingConfig(steps=9)


class Run:
    """An adapter in training, whose steps each take a gradient of their own."""

    def __init__(self, engine: Engine) -> None:
        self.adapter: KnowledgeAdapter = make_adapter(engine.model, engine.encoder).train()
        self.optimizer, self.schedule = make_optimizer(CONFIG, self.adapter)

    @property
    def state(self):
        return self.adapter, self.optimizer, self.schedule

    def learn(self, *steps: int) -> None:
        for step in steps:
            draw = torch.Generator().manual_seed(step)
            for parameter in self.adapter.parameters():
                parameter.grad = torch.randn(parameter.shape, generator=draw)
            self.optimizer.step()
            self.schedule.step()


@pytest.fixture
def run(engine: Engine) -> Run:
    return Run(engine)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "checkpoint"


def kept(folder: Path, config: TrainingConfig = CONFIG, **base: str) -> Checkpoint:
    found = {"dtype": "torch.bfloat16", "weights": "a", **base}
    return Checkpoint(folder, config.for_checkpoint(), found)


def test_a_restored_run_goes_on_as_if_nothing_had_been(
    engine: Engine, run: Run, folder: Path
) -> None:
    run.learn(0, 1)
    kept(folder).save(2, *run.state)
    run.learn(2, 3)
    resumed = Run(engine)
    assert kept(folder).load(*resumed.state) == 2
    resumed.learn(2, 3)
    expected = run.adapter.state_dict()
    for name, tensor in resumed.adapter.state_dict().items():
        assert torch.equal(tensor, expected[name]), name
    assert resumed.schedule.get_last_lr() == run.schedule.get_last_lr()


def test_it_holds_tensors_and_json_alone(run: Run, folder: Path) -> None:
    run.learn(0)
    kept(folder).save(1, *run.state)
    assert {path.name for path in folder.iterdir()} == {
        "state.safetensors", "state.json", "step.json",
    }  # fmt: skip
    names = load_file(folder / "state.safetensors")
    assert {name.partition(".")[0] for name in names} == {"adapter", "optimizer"}


class _Trap:
    """Unpickled, it leaves a file behind."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_pickles_of_an_earlier_version_are_not_opened(run: Run, folder: Path) -> None:
    folder.mkdir()
    sprung = folder.with_name("sprung")
    (folder / "step.json").write_text(json.dumps({"step": 2}))
    for name in ("custom_checkpoint_0.pkl", "random_states_0.pkl"):
        (folder / name).write_bytes(pickle.dumps(_Trap(sprung)))
    for read in (kept(folder).check, lambda: kept(folder).load(*run.state)):
        with pytest.raises(ConfigError, match=r"another --output-dir.*--init-from \S*adapter"):
            read()
    assert not sprung.exists()
    assert (folder / "custom_checkpoint_0.pkl").exists()


@pytest.mark.parametrize("name", ["state.safetensors", "state.json", "step.json"])
def test_a_damaged_one_is_told(run: Run, folder: Path, name: str) -> None:
    run.learn(0)
    kept(folder).save(1, *run.state)
    file = folder / name
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with pytest.raises(ConfigError, match=r"could not read it.*another --output-dir"):
        kept(folder).load(*run.state)


def test_one_that_cannot_be_written_leaves_the_one_before(
    run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run.learn(0)
    kept(folder).save(1, *run.state)

    def full(_tensors: dict, path: Path) -> None:
        path.write_text("half of")
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("kblam.training.checkpoint.save_file", full)
        with pytest.raises(KBLaMError, match=r"checkpoint, could not: .*No space left"):
            kept(folder).save(2, *run.state)
    assert [path.name for path in folder.parent.iterdir()] == ["checkpoint"]
    assert kept(folder).load(*run.state) == 1


class TestCheck:
    @pytest.fixture(autouse=True)
    def written(self, run: Run, folder: Path) -> None:
        kept(folder).check()  # there is none yet
        run.learn(0)
        kept(folder).save(1, *run.state)

    def test_a_longer_run_may_go_on(self, folder: Path) -> None:
        kept(folder, dataclasses.replace(CONFIG, steps=99, device="cuda")).check()

    def test_other_settings_are_named(self, folder: Path) -> None:
        other = dataclasses.replace(CONFIG, seed=1, learning_rate=1e-5, steps=99)
        with pytest.raises(ConfigError, match=r"differ: learning_rate, seed\. .*--output-dir"):
            kept(folder, other).check()

    def test_other_weights_under_the_same_name_are_refused(self, folder: Path) -> None:
        with pytest.raises(ConfigError, match="differ: the weights of base_model"):
            kept(folder, weights="b").check()
        # In other numbers, the same weights have another digest.
        kept(folder, weights="b", dtype="torch.float32").check()
