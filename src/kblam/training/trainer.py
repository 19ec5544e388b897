"""One training step: a batch of questions and general prompts, and its losses."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedModel

from kblam._engine import Engine, question_reader
from kblam.config import COPY_PARTS, DEFAULT_REFUSAL, KnowledgeConfig, SelectionConfig
from kblam.decoder import AttachedDecoder, FactInput, attention_layout
from kblam.encoding import CachedEmbedder, SentenceEncoder
from kblam.errors import ConfigError
from kblam.knowledge import TextEmbedder
from kblam.training.batches import collate, question_example
from kblam.training.candidates import choose_candidates
from kblam.training.config import TrainingConfig
from kblam.training.corpus import Corpus, Singly, corpus_evidence
from kblam.training.data import TrainingQuestion
from kblam.training.general import General
from kblam.training.matching import matching_loss
from kblam.training.objective import Losses, base_log_probs, compute_losses, last_hidden
from kblam.training.pairs import MatchingPairs

__all__ = ["Trainer", "knowledge_config"]


# Batches whose questions are sorted by length together.
_STRETCH = 32


def _length(question: TrainingQuestion) -> int:
    texts = [question.question, question.system or "", *(text for _, text in question.history)]
    return sum(map(len, texts)) + 20 * len(question.gold)


def knowledge_config(
    config: TrainingConfig, model: PreTrainedModel, encoder: TextEmbedder
) -> KnowledgeConfig:
    """The adapter's shape for a base model: which layers read, and where selection stands.

    Raises:
        ConfigError: The first layer asked for is past the base's last one, or layers to read
            questions are asked for that the encoder does not have.
    """
    _check_reader(config, encoder)
    layout = attention_layout(model)
    first = config.first_layer
    wanted = round(0.4 * layout.num_layers) if first is None else first
    layers = [index for index in layout.modules if index >= wanted]
    if not layers:
        raise ConfigError(
            f"Expected first_layer at or below {max(layout.modules)}, the base's last layer with "
            f"attention, got {first}."
        )
    return KnowledgeConfig(
        encoder=encoder.name,
        encoder_dimension=encoder.dimension,
        knowledge_layers=tuple(layers[:: config.layer_spacing]),
        hidden_size=layout.hidden_size,
        num_heads=layout.num_heads,
        num_key_heads=layout.num_key_value_heads,
        head_dim=layout.head_dim,
        query_head=config.query_head,
        selection=SelectionConfig(
            layer=layers[0],
            top_k=config.top_k,
            sources=config.sources,
            pools=config.pools,
            matching=config.sources != "decoder",
            reader_layers=config.reader_layers,
            reads_properties=config.reader_layers > 0,
        ),
        grounded=True,
        copied=COPY_PARTS,
        verbs=True,
        coverage=True,
    )


def _check_reader(config: TrainingConfig, encoder: TextEmbedder) -> None:
    """See that as many of the encoder's layers can be trained to read questions as are wanted."""
    layers = encoder.layers if isinstance(encoder, SentenceEncoder) else None
    known = len(layers) if layers is not None and layers.is_usual else 0
    if config.reader_layers > known:
        raise ConfigError(
            f"Expected at most {known} reader_layers with the encoder {encoder.name!r}, got "
            f"{config.reader_layers}. Layers can be copied of a BERT on the CPU that is four times "
            "as wide inside. Leave --reader-layers out, or give another --encoder."
        )
    if config.reader_layers and config.sources == "decoder":
        raise ConfigError(
            "Expected sources 'both' or 'encoder' with reader_layers, got 'decoder', where no "
            "question is read without its names. Leave --reader-layers out."
        )


@dataclass
class Trainer:
    """What the second stage needs at every step.

    Attributes:
        config: The settings.
        engine: Base model, tokenizer and encoder.
        decoder: The base with the adapter in training attached.
        corpus: Facts and questions.
        general: General prompts.
        pairs: Questions and properties, where facts are ranked by words.
    """

    config: TrainingConfig
    engine: Engine
    decoder: AttachedDecoder
    corpus: Corpus
    general: list[General]
    pairs: MatchingPairs | None = None
    _reader: TextEmbedder | None = field(default=None, init=False)
    _order: tuple[int, NDArray[np.int64]] | None = field(default=None, init=False)

    def draw(self, step: int) -> tuple[list[int], list[int], np.random.Generator]:
        """The batch of a step: the same after a resumption as without one.

        Returns:
            Indices of questions, indices of general prompts, and the step's randomness.
        """
        config = self.config
        rng = np.random.default_rng((config.seed, 2, step))
        epoch, place = divmod(step, max(1, len(self.corpus.questions) // config.batch_size))
        questions = self._batches(epoch)[place].tolist()
        size = min(config.instructions_per_batch, len(self.general))
        general = rng.choice(len(self.general), size, replace=False).tolist() if size else []
        return questions, general, rng

    def _batches(self, epoch: int) -> NDArray[np.int64]:
        """All batches of an epoch, each of questions of like length, in random order."""
        if self._order is None or self._order[0] != epoch:
            rng = np.random.default_rng((self.config.seed, 3, epoch))
            size = self.config.batch_size
            count = max(1, len(self.corpus.questions) // size)
            order = np.resize(rng.permutation(len(self.corpus.questions)), (count, size))
            lengths = np.array([_length(question) for question in self.corpus.questions])
            # Sorted within stretches of many batches: little padding, nearly random batches.
            for start in range(0, count, _STRETCH):
                stretch = order[start : start + _STRETCH].ravel()
                stretch = stretch[np.argsort(lengths[stretch], kind="stable")]
                order[start : start + _STRETCH] = stretch.reshape(-1, size)
            self._order = (epoch, rng.permutation(order))
        return self._order[1]

    def losses(
        self,
        questions: list[int],
        general: list[int],
        rng: np.random.Generator,
        corpus: Corpus | None = None,
    ) -> Losses:
        """The losses of one batch.

        Args:
            questions: Indices of questions.
            general: Indices of general prompts; they are shown other questions' facts.
            rng: Draws the knowledge bases.
            corpus: Where the questions are from, if not from the training corpus.
        """
        engine, model, corpus = self.engine, self.engine.model, corpus or self.corpus
        encoder, reader = Singly(engine.encoder), Singly(self.reader)
        device = model.device
        examples = [
            question_example(engine, corpus.facts, corpus.questions[q], DEFAULT_REFUSAL)
            for q in questions
        ] + [self.general[index].example for index in general]
        candidates, gold, visible = choose_candidates(
            corpus, questions + questions[: len(general)], self.config.candidates, rng
        )
        gold[len(questions) :] = False
        asked, context = corpus.asked[questions], corpus.context[questions]
        texts = corpus.texts(questions)
        if general:
            prompts = [self.general[index].text for index in general]
            texts += [(text, "") for text in prompts]
            asked = torch.cat([asked, torch.from_numpy(encoder.encode(prompts))])
            context = torch.cat([context, torch.zeros(len(general), context.shape[1])])
        batch = collate(examples, engine.pad_token, device)
        facts = FactInput(
            corpus.keys[candidates].to(device),
            corpus.values[candidates].to(device),
            mask=visible.to(device),
            encoder_query=asked.to(device),
            context_query=context.to(device),
            prompt_mask=batch.prompt_mask,
            evidence=corpus_evidence(reader, corpus, texts, candidates),
        )
        base: Any = base_log_probs(model, batch)
        with self.decoder.facts(facts) as session:
            hidden = last_hidden(model, batch.input_ids, batch.attention_mask)
            return compute_losses(
                model,
                self.decoder.adapter,
                session,
                batch,
                hidden,
                candidates.to(device),
                gold.to(device),
                base,
                corpus.verbs[candidates].to(device),
                self._matching(corpus, rng),
            )

    def forget(self) -> None:
        """Begin a stage with nothing embedded, as a resumed run does.

        A text's last digits depend on the batch that it was embedded in.
        """
        if isinstance(self.engine.encoder, CachedEmbedder):
            self.engine.encoder.forget()
        self._reader = None

    @property
    def reader(self) -> TextEmbedder:
        """Embeds questions and properties; made when its layers are trained or loaded."""
        if self._reader is None:
            self._reader = question_reader(self.engine.encoder, self.decoder.adapter)
        return self._reader

    def _matching(self, corpus: Corpus, rng: np.random.Generator) -> Tensor:
        """Of training's pairs, so that what they taught is not lost; no loss in validation."""
        match = self.decoder.adapter.match
        if match is None or self.pairs is None or corpus is not self.corpus:
            return torch.zeros((), device=self.engine.model.device)
        return matching_loss(match, self.pairs, rng)
