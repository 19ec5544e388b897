"""The settings of a training run."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from kblam.errors import ConfigError
from kblam.weights import DEFAULT_BASE, DEFAULT_ENCODER

__all__ = ["TrainingConfig"]

_DATA_SETTINGS = (
    "base_model", "encoder", "seed", "num_facts", "num_questions", "num_instructions",
    "retrieval_questions", "layer_spacing", "first_layer",
)  # fmt: skip
_DEVICE = re.compile(r"cpu|(cuda|mps|xpu|npu)(:\d+)?")
# How long a run is, where, and how often it looks up: a run may go on with others.
_FREE_SETTINGS = (
    "output_dir", "steps", "checkpoint_every", "validation_every", "device", "compile",
    "gradient_checkpointing", "log_with",
)  # fmt: skip
_OWN_SETTINGS = ("facts", "questions", "own_share")
_FROM_ONE = (
    "num_facts", "retrieval_questions", "steps", "batch_size", "candidates", "layer_spacing",
    "pools", "top_k", "checkpoint_every", "validation_every",
)  # fmt: skip
_FROM_ZERO = (
    "seed", "num_instructions", "retrieval_steps", "instructions_per_batch", "first_layer",
    "reader_layers",
    "kl_weight", "selection_weight", "refusal_weight",
)  # fmt: skip


@dataclass(frozen=True)
class TrainingConfig:
    """How an adapter is trained.

    Attributes:
        output_dir: Checkpoints, caches, the learning curve and the adapter go here.
        base_model: Name or folder of the decoder, which stays frozen.
        encoder: Name or folder of the sentence encoder.
        facts: JSONL of facts of your own, as kblam evaluate reads them; they come beside the
            synthetic ones.
        questions: JSONL of questions about them; no answers: a refusal is right.
        own_share: Share of the questions that are those.
        init_from: Adapters to go on training, of the same shape, from the mean of their weights;
            none starts from nothing.
        only: Train the second stage's numbers whose names begin with this alone, such as
            ``pointer.``; needs ``retrieval_steps`` 0. None trains all.
        seed: For data, weights and order.
        num_facts: Facts of the synthetic world.
        num_questions: Questions about them.
        num_instructions: General prompts that must stay as the base answers them.
        retrieval_questions: Questions whose hidden states are cached for the first stage.
        retrieval_steps: Steps of the first stage, selection alone.
        steps: Steps of the second stage, everything together.
        batch_size: Questions a step.
        instructions_per_batch: General prompts a step.
        learning_rate: Peak, of AdamW, in the second stage; query heads and selection take a
            third of it.
        retrieval_learning_rate: Peak in the first stage.
        warmup: Share of the steps in which it rises.
        candidates: Facts offered to selection per question in the second stage.
        first_layer: Selection layer and first knowledge layer; None is two fifths up.
        layer_spacing: Every so-many-th layer from there attends to facts.
        sources: What makes the selection query: ``"both"``, ``"encoder"`` (which needs no hidden
            states, so that any layer can be the first) or ``"decoder"``, the paper's form.
        pools: Heads of the attention that pools the prompt's hidden states for that query; sixteen
            are better where they alone make it (docs/decisions/who-selects.md).
        query_head: ``"full"`` or ``"lora"``.
        top_k: Facts that the layers after selection read.
        reader_layers: Of the encoder's last layers, of how many copies are trained to tell what a
            question asks for (docs/decisions/reading-questions.md); the encoder must be a BERT.
        kl_weight: Of the divergence from the base on general prompts.
        selection_weight: Of selection's cross-entropy in the second stage.
        refusal_weight: Of the refusal estimate's cross-entropy.
        checkpoint_every: Steps between checkpoints.
        validation_every: Steps between looks at held-back questions.
        device: None takes a GPU where there is one.
        compile: Run the base's layers through torch.compile in the second stage.
        gradient_checkpointing: Compute the base's activations again in the backward pass instead
            of keeping them: less memory, more time, the same gradients.
        log_with: Also write the learning curve for TensorBoard, to the folder tensorboard.
    """

    output_dir: str = "runs/kblam"
    base_model: str = DEFAULT_BASE
    encoder: str = DEFAULT_ENCODER
    facts: str | None = None
    questions: str | None = None
    own_share: float = 0.3
    init_from: Sequence[str] = ()
    only: str | None = None
    seed: int = 0
    num_facts: int = 30_000
    num_questions: int = 60_000
    num_instructions: int = 400
    retrieval_questions: int = 20_000
    retrieval_steps: int = 800
    steps: int = 1_500
    batch_size: int = 28
    instructions_per_batch: int = 4
    learning_rate: float = 6e-4
    retrieval_learning_rate: float = 1e-3
    warmup: float = 0.03
    candidates: int = 64
    first_layer: int | None = None
    layer_spacing: int = 3
    sources: Literal["both", "encoder", "decoder"] = "both"
    pools: int = 4
    query_head: Literal["full", "lora"] = "full"
    top_k: int = 16
    reader_layers: int = 0
    kl_weight: float = 1.0
    selection_weight: float = 0.5
    refusal_weight: float = 0.5
    checkpoint_every: int = 100
    validation_every: int = 100
    device: str | None = None
    compile: bool = False
    gradient_checkpointing: bool = False
    log_with: Literal["tensorboard"] | None = None

    def __post_init__(self) -> None:
        if isinstance(self.init_from, str):
            raise ConfigError(
                f"Expected names in init_from, got the text {self.init_from!r}. Give "
                f"({self.init_from!r},)."
            )
        object.__setattr__(self, "init_from", tuple(self.init_from))
        self._check_ranges()
        if self.num_questions < 2:
            raise ConfigError(
                f"Expected num_questions >= 2, got {self.num_questions}: as many held-back ones "
                "are looked at, in two batches."
            )
        if self.instructions_per_batch > self.batch_size:
            raise ConfigError(
                f"Expected at most batch_size = {self.batch_size} general prompts a step, got "
                f"instructions_per_batch = {self.instructions_per_batch}."
            )
        if (self.facts is None) != (self.questions is None):
            missing = "facts" if self.facts is None else "questions"
            raise ConfigError(
                f"Expected facts and questions together, got no {missing}. Give --{missing} too."
            )
        if self.log_with not in (None, "tensorboard"):
            raise ConfigError(f"Expected to log with 'tensorboard' or not, got {self.log_with!r}.")
        if self.device is not None and not _DEVICE.fullmatch(self.device):
            raise ConfigError(
                f"Expected a device such as 'cpu', 'cuda' or 'cuda:1', got {self.device!r}."
            )
        if not 0.0 < self.own_share <= 1.0:
            raise ConfigError(f"Expected own_share above 0 and up to 1, got {self.own_share}.")
        if self.only is not None and self.retrieval_steps > 0:
            raise ConfigError(
                f"Expected retrieval_steps = 0 where only {self.only!r} is trained, got "
                f"{self.retrieval_steps}: the first stage trains selection."
            )
        if self.candidates < self.top_k:
            raise ConfigError(
                f"Expected at least top_k = {self.top_k} candidates, got {self.candidates}."
            )

    def _check_ranges(self) -> None:
        for names, least in ((_FROM_ONE, 1), (_FROM_ZERO, 0)):
            for name in names:
                value = getattr(self, name)
                if value is not None and not least <= value < math.inf:
                    raise ConfigError(f"Expected {name} >= {least}, got {value}.")
        for name in ("learning_rate", "retrieval_learning_rate"):
            if not 0.0 < (value := getattr(self, name)) < math.inf:
                raise ConfigError(f"Expected a {name.replace('_', ' ')} > 0, got {value}.")
        if not 0.0 <= self.warmup <= 1.0:
            raise ConfigError(f"Expected warmup, a share of the steps, got {self.warmup}.")

    def to_dict(self) -> dict[str, Any]:
        """As JSON-able values."""
        return {**dataclasses.asdict(self), "init_from": list(self.init_from)}

    def for_checkpoint(self) -> dict[str, Any]:
        """The settings that a run must keep to go on from its checkpoint."""
        kept = {n: value for n, value in self.to_dict().items() if n not in _FREE_SETTINGS}
        # Files of one's own may move and change, but not come or go.
        return {**kept, "facts": self.facts is not None, "questions": self.questions is not None}

    def data_key(self) -> str:
        """Names the cached data: equal for runs that train on the same."""
        names = _DATA_SETTINGS if self.facts is None else _DATA_SETTINGS + _OWN_SETTINGS
        chosen = {name: getattr(self, name) for name in names}
        return hashlib.sha256(json.dumps(chosen, sort_keys=True).encode()).hexdigest()[:16]
