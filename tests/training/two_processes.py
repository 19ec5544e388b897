"""Run in each of two processes by test_train_processes.py.

Takes the settings as JSON, of a run and of the same run in another folder. The first goes to its
end; the other is cut after its first checkpoint, and ends both processes.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import torch
from accelerate import Accelerator

from kblam.errors import KBLaMError
from kblam.training import TrainingConfig, train
from kblam.training.checkpoint import Checkpoint
from kblam.training.processes import check_equal, share_gradients, share_weights


def differs(accelerator: Accelerator, module: torch.nn.Module) -> bool:
    try:
        check_equal(accelerator, module)
    except KBLaMError:
        return True
    return False


def check_sharing(accelerator: Accelerator) -> None:
    rank = accelerator.process_index
    torch.manual_seed(rank)
    module = torch.nn.Linear(3, 2)
    assert differs(accelerator, module)
    share_weights(accelerator, module)
    assert not differs(accelerator, module)
    torch.manual_seed(0)
    assert torch.equal(module.weight, torch.nn.Linear(3, 2).weight)
    module.weight.grad = torch.full((2, 3), float(rank))
    if rank == 0:  # the other process had no use for it
        module.bias.grad = torch.ones(2)
    share_gradients(accelerator, module)
    for parameter in module.parameters():
        assert torch.equal(parameter.grad, torch.full_like(parameter, 0.5))


accelerator = Accelerator(cpu=True)
assert accelerator.num_processes == 2
check_sharing(accelerator)
config, cut = (TrainingConfig(**json.loads(settings)) for settings in sys.argv[1:])
folder = train(config)
assert (folder / "adapter_model.safetensors").is_file()
# One write, so that the lines of the two are not mixed.
sys.stdout.write(f"process {accelerator.process_index} is done\n")
sys.stdout.flush()

if accelerator.is_main_process:
    shutil.copytree(Path(config.output_dir, "cache"), Path(cut.output_dir, "cache"))
accelerator.wait_for_everyone()
save = Checkpoint.save


def save_and_end(*arguments) -> None:
    save(*arguments)
    raise KeyboardInterrupt


Checkpoint.save = save_and_end
train(cut)
