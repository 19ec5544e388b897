"""Run in each of two processes by test_train_processes.py.

Takes the settings as JSON and, for a run that is cut after its first checkpoint, "cut".
"""

from __future__ import annotations

import json
import sys

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
if sys.argv[2:] == ["cut"]:
    save = Checkpoint.save

    def cut(*arguments) -> None:
        save(*arguments)
        raise KeyboardInterrupt

    Checkpoint.save = cut
folder = train(TrainingConfig(**json.loads(sys.argv[1])))
assert (folder / "adapter_model.safetensors").is_file()
# One write, so that the lines of the two are not mixed.
sys.stdout.write(f"process {accelerator.process_index} is done\n")
