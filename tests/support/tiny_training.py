"""The settings of a training run that takes seconds, and the decoder that it is for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from tiny_kblam import make_decoder, make_tokenizer

from kblam.training import TrainingConfig

STEPS = 4


def tiny_config(folder: Path, encoder: Path) -> TrainingConfig:
    """Settings to train for a decoder that is written into the folder, on a CPU."""
    tokenizer = make_tokenizer()
    make_decoder(tokenizer, context=2048).save_pretrained(folder / "base")
    tokenizer.save_pretrained(folder / "base")
    return TrainingConfig(
        output_dir=str(folder / "uncut"),
        base_model=str(folder / "base"),
        encoder=str(encoder),
        num_facts=200,
        num_questions=32,
        num_instructions=3,
        retrieval_questions=30,
        retrieval_steps=2,
        steps=STEPS,
        batch_size=4,
        instructions_per_batch=1,
        candidates=8,
        top_k=4,
        reader_layers=1,
        first_layer=1,
        layer_spacing=1,
        checkpoint_every=2,
        validation_every=2,
        device="cpu",
    )


@contextmanager
def other_numbers(weights: Path) -> Iterator[None]:
    """Other weights under the same name, inside the ``with`` block."""
    before = weights.read_bytes()
    torch.manual_seed(7)
    other = {name: torch.randn_like(tensor) for name, tensor in load_file(weights).items()}
    save_file(other, weights, metadata={"format": "pt"})
    try:
        yield
    finally:
        weights.write_bytes(before)
