"""The training loop: both stages, checkpoints, the learning curve, the finished adapter."""

from __future__ import annotations

import hashlib
import json
import logging
import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from tqdm import tqdm

from kblam import adapter as adapters
from kblam._digest import weights_digest
from kblam._engine import Engine, load_base_model
from kblam.config import DEFAULT_REFUSAL
from kblam.decoder import AttachedDecoder, KnowledgeAdapter, attach, attention_layout
from kblam.errors import KBLaMError
from kblam.training.batches import question_example
from kblam.training.calibrate import calibrate
from kblam.training.config import TrainingConfig
from kblam.training.corpus import Corpus, build_corpus
from kblam.training.curve import plot_curve
from kblam.training.general import general_prompts
from kblam.training.retrieval import cache_hidden, train_selection
from kblam.training.trainer import Trainer, knowledge_config

__all__ = ["train"]

_log = logging.getLogger(__name__)
_MAX_NORM = 1.0
_VALIDATION_QUESTIONS = 1_500
_VALIDATION_FACTS = 10_000
_VALIDATION_BATCHES = 2


def train(config: TrainingConfig) -> Path:
    """Train an adapter; a run that was cut off goes on where its last checkpoint stands.

    Args:
        config: The settings.

    Returns:
        The adapter's folder, ``output_dir/adapter``.

    Raises:
        WeightsNotFoundError: The base model or encoder is nowhere to be found.
        KBLaMError: The base model changed while it was trained on, which must never be.
    """
    accelerator = Accelerator(cpu=config.device == "cpu")
    output = Path(config.output_dir)
    output.mkdir(parents=True, exist_ok=True)
    (output / "training_config.json").write_text(json.dumps(config.to_dict(), indent=2) + "\n")
    device = accelerator.device
    # Half the bytes and, where the machine multiplies bfloat16 natively, a third of the time;
    # the adapter itself is trained in float32.
    model, tokenizer = load_base_model(config.base_model, device=device, dtype=torch.bfloat16)
    engine = Engine(model, tokenizer, config.base_model, None, config.encoder)
    before = weights_digest(model)
    torch.manual_seed(config.seed)
    adapter = KnowledgeAdapter(
        knowledge_config(config, model, engine.encoder), attention_layout(model)
    ).to(device)
    if config.init_from is not None:
        adapters.start_from(adapter, config.init_from, model)
    cache = output / "cache" / config.data_key()
    trainer, validation = _prepare(config, engine, adapter, cache)
    curve = _Curve(output / "curve.json")
    _recover(output / "checkpoint")
    if not (output / "checkpoint").exists():
        curve.rows.clear()
        _first_stage(config, trainer, cache, curve)
    _second_stage(config, accelerator, trainer, validation, curve, output)
    trainer.decoder.detach()
    if weights_digest(model) != before:
        raise KBLaMError("The base model's weights changed in training. Report this as a bug.")
    if accelerator.is_main_process:
        calibrated = calibrate(engine, adapter, validation, seed=config.seed)
        adapter.config = calibrated.config
        (output / "calibration.json").write_text(json.dumps(calibrated.report, indent=2) + "\n")
        adapters.save_pretrained(adapter, output / "adapter", model, base_model=config.base_model)
        plot_curve(curve.rows, output / "curve.png")
    return output / "adapter"


def _prepare(
    config: TrainingConfig, engine: Engine, adapter: KnowledgeAdapter, cache: Path
) -> tuple[Trainer, Corpus]:
    corpus = build_corpus(
        engine.encoder,
        num_facts=config.num_facts,
        num_questions=config.num_questions,
        seed=config.seed,
        cache=cache / "train.safetensors",
    )
    validation = build_corpus(
        engine.encoder,
        num_facts=min(_VALIDATION_FACTS, config.num_facts),
        num_questions=min(_VALIDATION_QUESTIONS, config.num_questions),
        seed=config.seed + 1_000,
        cache=cache / "validation.safetensors",
        split="validation",
    )
    general = general_prompts(engine, config.num_instructions, config.seed, cache / "general.json")
    decoder: AttachedDecoder = attach(engine.model, adapter)
    return Trainer(config, engine, decoder, corpus, general), validation


def _first_stage(config: TrainingConfig, trainer: Trainer, cache: Path, curve: _Curve) -> None:
    if config.retrieval_steps == 0:
        return
    corpus, engine = trainer.corpus, trainer.engine
    count = min(config.retrieval_questions, len(corpus.questions))
    examples = [
        question_example(engine, corpus.facts, question, DEFAULT_REFUSAL)
        for question in corpus.questions[:count]
    ]
    selection = trainer.decoder.adapter.config.selection
    assert selection is not None
    name = hashlib.sha256(corpus.made_of.encode()).hexdigest()[:16]
    path = cache / f"hidden-{name}.safetensors"
    hidden = cache_hidden(engine, examples, selection.layer, path)
    for row in train_selection(
        trainer.decoder.adapter,
        engine.encoder,
        corpus,
        hidden,
        steps=config.retrieval_steps,
        learning_rate=config.retrieval_learning_rate,
        seed=config.seed,
    ):
        curve.add({"stage": "selection", **row})
    curve.write()


def _optimizer(config: TrainingConfig, adapter: KnowledgeAdapter) -> torch.optim.Optimizer:
    slow: list[torch.nn.Parameter] = []
    fast: list[torch.nn.Parameter] = []
    scalars: list[torch.nn.Parameter] = []
    for name, parameter in adapter.named_parameters():
        if not parameter.requires_grad:
            continue
        # Query heads and selection start from trained weights; matrices decay, scalars do not.
        trained = ".query." in name or name.startswith(("selection.", "match."))
        group = slow if trained else fast if parameter.dim() > 1 else scalars
        group.append(parameter)
    rate = config.learning_rate
    groups: list[dict[str, Any]] = [
        {"params": fast, "lr": rate, "weight_decay": 0.01},
        {"params": scalars, "lr": 3 * rate, "weight_decay": 0.0},
        {"params": slow, "lr": rate / 3, "weight_decay": 0.01},
    ]
    return torch.optim.AdamW(groups, betas=(0.9, 0.98))


def _second_stage(
    config: TrainingConfig,
    accelerator: Accelerator,
    trainer: Trainer,
    validation: Corpus,
    curve: _Curve,
    output: Path,
) -> None:
    adapter = trainer.decoder.adapter
    optimizer = _optimizer(config, adapter)
    warmup = max(1, round(config.warmup * config.steps))
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: _rate(step, warmup, config.steps)
    )
    accelerator.register_for_checkpointing(_Module(adapter), _Module(optimizer), _Module(schedule))
    checkpoint, first = output / "checkpoint", 0
    if checkpoint.exists():
        accelerator.load_state(str(checkpoint))
        first = json.loads((checkpoint / "step.json").read_text())["step"]
        curve.cut(first)
        _log.info("Going on from step %d.", first)
    started = time.perf_counter()
    bar = tqdm(range(first, config.steps), initial=first, total=config.steps, desc="joint")
    for step in bar:
        # Each process takes its own share of the steps' batches.
        place = step * accelerator.num_processes + accelerator.process_index
        losses = trainer.losses(*trainer.draw(place))
        total = losses.total(config.kl_weight, config.selection_weight, config.refusal_weight)
        optimizer.zero_grad()
        accelerator.backward(total)
        if accelerator.num_processes > 1:
            for parameter in adapter.parameters():
                if parameter.grad is not None:
                    parameter.grad = accelerator.reduce(parameter.grad, reduction="mean")
        norm = torch.nn.utils.clip_grad_norm_(adapter.parameters(), _MAX_NORM)
        optimizer.step()
        schedule.step()
        numbers = losses.numbers()
        seconds = time.perf_counter() - started
        curve.add(
            {"stage": "joint", "step": step, "norm": float(norm), "seconds": seconds, **numbers}
        )
        bar.set_postfix({name: f"{value:.2f}" for name, value in numbers.items()})
        done = step + 1
        if done % config.validation_every == 0 or done == config.steps:
            curve.add(
                {"stage": "validation", "step": step, **_validate(trainer, validation, config)}
            )
        if done % config.checkpoint_every == 0 or done == config.steps:
            _save(accelerator, checkpoint, done, curve)


def _rate(step: int, warmup: int, steps: int) -> float:
    if step < warmup:
        return (step + 1) / warmup
    progress = (step - warmup) / max(1, steps - warmup)
    return 0.02 + 0.98 * 0.5 * (1.0 + math.cos(math.pi * min(1.0, progress)))


class _Module:
    """Gives accelerate the state of something without handing over the thing itself."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def state_dict(self) -> dict[str, Any]:
        """The inner state."""
        return dict(self._inner.state_dict())

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the inner state."""
        self._inner.load_state_dict(state)


def _save(accelerator: Accelerator, checkpoint: Path, step: int, curve: _Curve) -> None:
    if not accelerator.is_main_process:
        return
    fresh, old = _beside(checkpoint)
    accelerator.save_state(str(fresh))
    (fresh / "step.json").write_text(json.dumps({"step": step}))
    curve.write()
    # A cut while writing leaves the old checkpoint whole.
    _remove(old)
    if checkpoint.exists():
        checkpoint.rename(old)
    fresh.rename(checkpoint)
    _remove(old)


def _beside(checkpoint: Path) -> tuple[Path, Path]:
    """Where a checkpoint is written, and where the one before it waits meanwhile."""
    return checkpoint.with_name("checkpoint.new"), checkpoint.with_name("checkpoint.old")


def _recover(checkpoint: Path) -> None:
    """Put back the checkpoint that a cut between two renames left aside."""
    _, old = _beside(checkpoint)
    if old.exists() and not checkpoint.exists():
        old.rename(checkpoint)


def _remove(folder: Path) -> None:
    if folder.exists():
        for path in sorted(folder.rglob("*"), reverse=True):
            path.unlink() if path.is_file() else path.rmdir()
        folder.rmdir()


@torch.no_grad()
def _validate(trainer: Trainer, validation: Corpus, config: TrainingConfig) -> dict[str, float]:
    rng = np.random.default_rng((config.seed, 4))
    size = min(48, len(validation.questions) // _VALIDATION_BATCHES)
    sums: dict[str, float] = {}
    trainer.decoder.adapter.eval()
    for index in range(_VALIDATION_BATCHES):
        questions = list(range(index * size, (index + 1) * size))
        for name, value in trainer.losses(questions, [], rng, validation).numbers().items():
            sums[name] = sums.get(name, 0.0) + value / _VALIDATION_BATCHES
    trainer.decoder.adapter.train()
    return sums


class _Curve:
    """The learning curve, kept as JSON."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.rows: list[dict[str, Any]] = json.loads(path.read_text()) if path.exists() else []

    def add(self, row: dict[str, Any]) -> None:
        """Append one step."""
        self.rows.append(row)

    def cut(self, step: int) -> None:
        """Forget joint steps from ``step`` on: they are about to be taken again."""
        self.rows = [r for r in self.rows if r["stage"] == "selection" or r["step"] < step]

    def write(self) -> None:
        """Write the file."""
        self._path.write_text(json.dumps(self.rows) + "\n")
