"""One set of weights in memory: base model, tokenizer, adapter, encoder, and a lock."""

from __future__ import annotations

import threading
import weakref
from collections import OrderedDict
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import Any

from transformers import (
    GenerationConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from kblam import adapter as adapters
from kblam._vocabulary import Vocabulary
from kblam.decoder import AttachedDecoder, KnowledgeAdapter, attach
from kblam.decoder.grammar import GrammarTokenizer
from kblam.decoder.spans import SpanTokens
from kblam.decoder.speculative import can_take_back
from kblam.decoder.tap import HiddenTap
from kblam.encoding import SentenceEncoder, TrainedEncoder, as_embedder
from kblam.errors import AdapterMismatchError
from kblam.knowledge import TextEmbedder
from kblam.weights import DEFAULT_ENCODER

__all__ = ["Engine", "question_reader"]

_SPAN_CACHE = 65_536
_LOCKS: weakref.WeakKeyDictionary[PreTrainedModel, threading.RLock] = weakref.WeakKeyDictionary()


class Engine:
    """Weights, shared by every :class:`kblam.KBLaM` that asks for the same ones.

    Args:
        model: The base model.
        tokenizer: Its tokenizer.
        name: Its name.
        adapter: A folder or name, or None for the base model alone.
        encoder: The sentence encoder; None takes the one that the adapter was trained with.

    Raises:
        AdapterMismatchError: The encoder is not the adapter's.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        name: str,
        adapter: str | Path | None,
        encoder: str | Path | TextEmbedder | None,
    ) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.name = name
        self.adapter_name = None if adapter is None else str(adapter)
        # Engines over one model, with an adapter and without, take turns.
        self.lock = _LOCKS.setdefault(model, threading.RLock())
        self.decoder: AttachedDecoder | None = None
        self.tap: HiddenTap | None = None
        self._encoder: TextEmbedder | None = None
        self._reader: TextEmbedder | None = None
        self._encoder_name: Any = encoder
        self._spans: OrderedDict[str, SpanTokens] = OrderedDict()
        self._vocabulary: Vocabulary | None = None
        self._grammar_tokenizer: GrammarTokenizer | None = None
        if adapter is not None:
            loaded = adapters.from_pretrained(adapter, model)
            if encoder is None:
                self._encoder_name = loaded.config.encoder
            self._check_encoder(loaded.config.encoder, loaded.config.encoder_dimension)
            self.decoder = attach(model, loaded)
            self.tap = HiddenTap(model)
            # A model that somebody handed in is as before once nobody asks it for facts.
            weakref.finalize(self, _release, self.decoder, self.tap).atexit = False

    @property
    def encoder(self) -> TextEmbedder:
        """The sentence encoder, loaded when first needed."""
        if self._encoder is None:
            with self.lock:
                if self._encoder is None:
                    self._encoder = as_embedder(self._encoder_name or DEFAULT_ENCODER)
        return self._encoder

    @property
    def reader(self) -> TextEmbedder:
        """What embeds questions without their names: the encoder, or by the adapter's own layers.

        Raises:
            WeightsNotFoundError: The encoder is another framework's, and its weights are not to
                be found for those layers.
        """
        if self._reader is None:
            with self.lock:
                if self._reader is None:
                    adapter = self.decoder.adapter if self.decoder is not None else None
                    self._reader = question_reader(self.encoder, adapter)
        return self._reader

    @property
    def property_reader(self) -> TextEmbedder:
        """What embeds properties to compare with questions: either of the two."""
        selection = self.decoder.adapter.config.selection if self.decoder is not None else None
        own = selection is not None and selection.reads_properties
        return self.reader if own else self.encoder

    def _check_encoder(self, name: str, dimension: int) -> None:
        wanted, encoder = name.rsplit("/", 1)[-1], self.encoder
        if encoder.name.rsplit("/", 1)[-1] != wanted or encoder.dimension != dimension:
            raise AdapterMismatchError(
                f"The adapter was trained with the encoder {name!r} of {dimension} dimensions, got "
                f"{encoder.name!r} of {encoder.dimension}. Use that encoder, or train an adapter "
                "for this one: kblam train --encoder ..."
            )

    @cached_property
    def can_guess(self) -> bool:
        """Whether the model can check guessed tokens, and take them back."""
        return can_take_back(self.model)

    @property
    def context(self) -> int:
        """Tokens that the model can read and write."""
        config = self.model.config.get_text_config(decoder=True)
        return int(getattr(config, "max_position_embeddings", 0) or 2**31)

    @property
    def end_tokens(self) -> list[int]:
        """Tokens that end an answer."""
        generation: GenerationConfig | None = self.model.generation_config
        ends = None if generation is None else generation.eos_token_id
        if ends is None:
            ends = self.tokenizer.eos_token_id
        if ends is None:
            return []
        return [int(end) for end in ends] if isinstance(ends, (list, tuple)) else [int(ends)]

    def up_to_end(self, ids: list[int]) -> list[int]:
        """The generated tokens of a row, up to and including the one that ended it."""
        ends = set(self.end_tokens)
        cut = next((place + 1 for place, token in enumerate(ids) if token in ends), len(ids))
        return ids[:cut]

    @property
    def pad_token(self) -> int:
        """What prompts are padded with; masked, so any token does."""
        pad = self.tokenizer.pad_token_id
        return int(pad) if pad is not None else next(iter(self.end_tokens), 0)

    def span_tokens(self, text: str) -> SpanTokens:
        """The tokens of a text to copy, right behind other text and after a space."""
        if text not in self._spans:
            self.learn_spans([text])
        return self._spans[text]

    def learn_spans(self, texts: Iterable[str]) -> None:
        """Make the tokens of texts to copy, all of those that were not asked for before at once."""
        new = [text for text in dict.fromkeys(texts) if text not in self._spans]
        tokens = self.vocabulary.behind_each([form for text in new for form in (text, f" {text}")])
        for text, first, later in zip(new, tokens[::2], tokens[1::2], strict=True):
            self._spans[text] = SpanTokens(tuple(first), tuple(later), text[-1:].isalnum())
            if len(self._spans) > _SPAN_CACHE:
                self._spans.popitem(last=False)

    @property
    def vocabulary(self) -> Vocabulary:
        """The tokenizer as answers are put together with it, made when first needed."""
        if self._vocabulary is None:
            size = int(self.model.get_output_embeddings().weight.shape[0])
            self._vocabulary = Vocabulary(self.tokenizer, size, self.end_tokens, self.model.device)
        return self._vocabulary

    @property
    def grammar_tokenizer(self) -> GrammarTokenizer:
        """The tokenizer as grammars are followed with it, made when first needed.

        Raises:
            ConstraintError: The tokenizer or the model cannot be used for that.
            MissingExtraError: llguidance is not installed.
        """
        if self._grammar_tokenizer is None:
            size = int(self.model.get_output_embeddings().weight.shape[0])
            self._grammar_tokenizer = GrammarTokenizer(self.tokenizer, size, self.end_tokens)
        return self._grammar_tokenizer


def question_reader(encoder: TextEmbedder, adapter: KnowledgeAdapter | None) -> TextEmbedder:
    """What embeds questions without their names, as an adapter reads them.

    Args:
        encoder: The adapter's.
        adapter: Whose layers read; they are copied.

    Returns:
        The encoder itself where the adapter has no layers of its own.
    """
    if adapter is None or adapter.reader is None:
        return encoder
    if not isinstance(encoder, SentenceEncoder) or encoder.layers is None:
        # Run as a whole, by another framework or on a GPU: its layers once more, here.
        encoder = SentenceEncoder(adapter.config.encoder)
    return TrainedEncoder(encoder, adapter.reader)


def _release(decoder: AttachedDecoder, tap: HiddenTap) -> None:
    decoder.detach()
    tap.remove()
