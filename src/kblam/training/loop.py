"""The training loop: both stages, the learning curve, the finished adapter."""

from __future__ import annotations

import dataclasses
import json
from contextlib import ExitStack, nullcontext
from pathlib import Path

import torch
from accelerate import Accelerator

from kblam import adapter as adapters
from kblam._digest import weights_digest
from kblam._engine import Engine
from kblam._loading import load_base_model
from kblam.config import DEFAULT_REFUSAL
from kblam.decoder import AttachedDecoder, KnowledgeAdapter, attach, attention_layout
from kblam.errors import KBLaMError, require
from kblam.training._files import alone_in, replacing, writing
from kblam.training.batches import question_example
from kblam.training.calibrate import calibrate
from kblam.training.checkpoint import Checkpoint
from kblam.training.compilation import compiled
from kblam.training.config import TrainingConfig
from kblam.training.corpus import Corpus, build_corpus, encoder_identity
from kblam.training.curve import Curve
from kblam.training.general import general_prompts
from kblam.training.joint import train_jointly
from kblam.training.matching import train_matching
from kblam.training.objective import check_head
from kblam.training.optimisation import freeze_others
from kblam.training.own import read_own
from kblam.training.pairs import build_pairs
from kblam.training.processes import (
    base_dtype,
    check_equal,
    make_accelerator,
    quick_products,
    share_weights,
)
from kblam.training.reading import start_as
from kblam.training.recomputation import recomputed
from kblam.training.retrieval import cache_hidden, train_selection
from kblam.training.trainer import Trainer, knowledge_config

__all__ = ["train"]

_ASKINGS = 60
_QUESTIONS_PER_ASKING = 500
# With pairs alone, for each step of selection's.
_MATCHING_STEPS = 4
_VALIDATION_QUESTIONS = 1_500
_VALIDATION_FACTS = 10_000


def train(config: TrainingConfig) -> Path:
    """Train an adapter; a run that was cut off goes on where its last checkpoint stands.

    Started in several processes (``accelerate launch``), all of them train on batches of their
    own; the main process alone makes the data and writes files.

    Args:
        config: The settings.

    Returns:
        The adapter's folder, ``output_dir/adapter``.

    Raises:
        WeightsNotFoundError: The base model or encoder is nowhere to be found.
        ConfigError: The device, a file of one's own facts or questions, or the base's head is not
            as expected; another run is in the folder; or the checkpoint there is of other
            settings, of another base or encoder, or damaged.
        MissingExtraError: A package is not installed that training or a setting needs.
        KBLaMError: The loss became infinite, a file cannot be written, or something changed which
            must never change.
    """
    require("matplotlib", extra="train")  # the curve's picture: better now than after an hour
    output = Path(config.output_dir)
    accelerator = make_accelerator(config, output)
    alone = alone_in(output) if accelerator.is_main_process else nullcontext()
    try:
        with alone, quick_products(accelerator.device):
            _train(config, accelerator, output)
    finally:
        for tracker in accelerator.trackers:
            tracker.finish()
    return output / "adapter"


def _train(config: TrainingConfig, accelerator: Accelerator, output: Path) -> None:
    device = accelerator.device
    model, tokenizer = load_base_model(config.base_model, device=device, dtype=base_dtype(device))
    check_head(model)
    engine = Engine(model, tokenizer, config.base_model, None, config.encoder)
    base = weights_digest(model)
    torch.manual_seed(config.seed)
    adapter = KnowledgeAdapter(
        knowledge_config(config, model, engine.encoder), attention_layout(model)
    ).to(device)
    if adapter.reader is not None:
        start_as(adapter.reader, engine.encoder)
    if config.init_from:
        adapters.start_from(adapter, config.init_from, model)
    if config.only is not None:
        freeze_others(adapter, config.only)
    cache = output / "cache" / config.data_key()
    settings = {
        **config.for_checkpoint(),
        "the weights of encoder": encoder_identity(engine.encoder),
    }
    checkpoint = Checkpoint(
        output / "checkpoint", settings, {"dtype": str(model.dtype), "weights": base}
    )
    # What the main process makes or puts right, the others find.
    with accelerator.main_process_first():
        if accelerator.is_main_process:
            checkpoint.recover()
        checkpoint.check()
        if accelerator.is_main_process:
            with replacing(output / "training_config.json") as path:
                path.write_text(json.dumps(config.to_dict(), indent=2) + "\n")
        trainer, validation = _prepare(config, engine, adapter, cache, base)
    curve = Curve(output, accelerator.log if config.log_with else None)
    if not checkpoint.exists:
        curve.clear()
        if accelerator.is_main_process:
            trainer.forget()
            _first_stage(config, trainer, cache, base, curve)
        share_weights(accelerator, adapter)
    trainer.forget()
    with ExitStack() as stack:
        if config.gradient_checkpointing:
            stack.enter_context(recomputed(trainer.decoder))
        if config.compile:
            stack.enter_context(compiled(trainer.decoder))
        train_jointly(config, accelerator, trainer, validation, curve, checkpoint)
    trainer.decoder.detach()
    if weights_digest(model) != base:
        raise KBLaMError("The base model's weights changed in training. Report this as a bug.")
    check_equal(accelerator, adapter)
    if accelerator.is_main_process:
        trainer.forget()
        calibration = calibrate(engine, adapter, validation, seed=config.seed)
        threshold = calibration.threshold()
        refusal = dataclasses.replace(adapter.config.refusal, threshold=threshold)
        adapter.config = dataclasses.replace(adapter.config, refusal=refusal)
        report = calibration.report(threshold)
        with replacing(output / "calibration.json") as path:
            path.write_text(json.dumps(report, indent=2) + "\n")
        name, folder = config.base_model, output / "adapter"
        with writing(folder):
            adapters.save_pretrained(adapter, folder, model, base_model=name)
        curve.write()
    accelerator.wait_for_everyone()


def _prepare(
    config: TrainingConfig, engine: Engine, adapter: KnowledgeAdapter, cache: Path, base: str
) -> tuple[Trainer, Corpus]:
    own = None
    if config.facts is not None and config.questions is not None:
        own = read_own(config.facts, config.questions)
    corpus = build_corpus(
        engine.encoder,
        num_facts=config.num_facts,
        num_questions=config.num_questions,
        seed=config.seed,
        cache=cache / "train.safetensors",
        own=own,
        own_share=config.own_share,
    )
    validation = build_corpus(
        engine.encoder,
        num_facts=min(_VALIDATION_FACTS, config.num_facts),
        num_questions=min(_VALIDATION_QUESTIONS, config.num_questions),
        seed=config.seed + 1_000,
        cache=cache / "validation.safetensors",
        split="validation",
    )
    general = general_prompts(
        engine, config.num_instructions, config.seed, cache / "general.json", base=base
    )
    decoder: AttachedDecoder = attach(engine.model, adapter)
    pairs = None
    if adapter.match is not None:
        # In proportion to the questions about facts, up to what was enough at full size.
        each = min(max(config.num_questions // _QUESTIONS_PER_ASKING, 2), _ASKINGS)
        path = cache / "pairs.safetensors"
        reader = adapter.reader
        pairs = build_pairs(engine.encoder, seed=config.seed, cache=path, each=each, reader=reader)
    return Trainer(config, engine, decoder, corpus, general, pairs), validation


def _first_stage(
    config: TrainingConfig, trainer: Trainer, cache: Path, base: str, curve: Curve
) -> None:
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
    match, pairs = trainer.decoder.adapter.match, trainer.pairs
    if match is not None and pairs is not None:
        for row in train_matching(
            match,
            pairs,
            steps=_MATCHING_STEPS * config.retrieval_steps,
            learning_rate=config.retrieval_learning_rate,
            seed=config.seed,
        ):
            curve.add("matching", int(row.pop("step")), row)
    path = cache / "hidden.safetensors"
    hidden = cache_hidden(engine, examples, selection.layer, path, base=base)
    for row in train_selection(
        trainer.decoder.adapter,
        corpus,
        hidden,
        reader=trainer.reader,
        pairs=pairs,
        steps=config.retrieval_steps,
        learning_rate=config.retrieval_learning_rate,
        seed=config.seed,
    ):
        curve.add("selection", int(row.pop("step")), row)
    curve.write()
