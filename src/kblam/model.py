"""The facade: a language model that answers from a knowledge store."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from typing_extensions import Self

from kblam._engine import Engine, load_engine
from kblam._generate import Generation, Request
from kblam._knowledge_base import EncodedFacts, KnowledgeBase
from kblam._prompt import Prompt, as_messages, tokenize
from kblam._stream import AnswerStream
from kblam.answer import Answer, ScoredFact
from kblam.config import GenerationOptions, RefusalConfig
from kblam.errors import ConfigError
from kblam.knowledge import KnowledgeStore, TextEmbedder, View
from kblam.weights import DEFAULT_BASE

__all__ = ["KBLaM"]


class KBLaM:
    """A frozen decoder, a knowledge adapter, and the facts that it reads.

    Make one with :meth:`from_pretrained`. Weights are shared between instances that ask for
    the same ones; each has its own store.

    Args:
        engine: The weights.
        grounding: ``"copy"`` copies values as they stand in the store; ``"off"`` leaves
            every word to the language model.
        refusal: The sentence that refuses; None keeps the adapter's.
        refusal_threshold: Refuse above this probability; None keeps the adapter's.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        grounding: Literal["copy", "off"] = "copy",
        refusal: str | None = None,
        refusal_threshold: float | None = None,
    ) -> None:
        if grounding not in ("copy", "off"):
            raise ConfigError(f"Expected grounding 'copy' or 'off', got {grounding!r}.")
        self._engine = engine
        self._grounding: Literal["copy", "off"] = grounding
        own = engine.decoder.adapter.config.refusal if engine.decoder else RefusalConfig()
        self._refusal = RefusalConfig(
            own.sentence if refusal is None else refusal,
            own.threshold if refusal_threshold is None else refusal_threshold,
        )
        self._base: KnowledgeBase | None = None
        self._view: View | None = None

    @classmethod
    def from_pretrained(
        cls,
        base_model: str | Path | PreTrainedModel = DEFAULT_BASE,
        *,
        adapter: str | Path | None = "default",
        encoder: str | Path | TextEmbedder | None = None,
        tokenizer: PreTrainedTokenizerBase | None = None,
        device: str | torch.device | None = None,
        dtype: torch.dtype | None = None,
        grounding: Literal["copy", "off"] = "copy",
        refusal: str | None = None,
        refusal_threshold: float | None = None,
    ) -> KBLaM:
        """Load a model.

        Args:
            base_model: A name, a folder, or a loaded model (then give its tokenizer too).
            adapter: ``"default"`` for the one that kblam ships, a folder, a name, or None for
                the base model alone.
            encoder: The sentence encoder; None takes the adapter's.
            tokenizer: The base model's tokenizer, where it is not beside its weights.
            device: None takes a GPU where there is one.
            dtype: None takes bfloat16 on a GPU and float32 on a CPU.
            grounding: See :class:`KBLaM`.
            refusal: See :class:`KBLaM`.
            refusal_threshold: See :class:`KBLaM`.

        Raises:
            WeightsNotFoundError: No weights under that name.
            AdapterError: The adapter cannot be found or read.
            AdapterMismatchError: It was trained for another base model or encoder.
        """
        engine = load_engine(
            base_model,
            adapter=adapter,
            encoder=encoder,
            tokenizer=tokenizer,
            device=device,
            dtype=dtype,
        )
        return cls(
            engine, grounding=grounding, refusal=refusal, refusal_threshold=refusal_threshold
        )

    def attach(self, kb: KnowledgeStore | Iterable[Any], *, view: View | None = None) -> Self:
        """Read facts from a store from now on, in place of any attached before.

        Args:
            kb: A store, or triples.
            view: Which of its facts.

        Raises:
            FactError: A triple is malformed.
            ConfigError: This is a base model without an adapter.
        """
        if self._engine.decoder is None:
            raise ConfigError(
                "Expected a model with an adapter to read facts, got one loaded with adapter=None."
            )
        store = kb if isinstance(kb, KnowledgeStore) else KnowledgeStore.from_source(kb)
        self._base = KnowledgeBase(store, self._engine.encoder, self._engine.model.device)
        self._view = view
        return self

    def detach(self) -> Self:
        """Read no facts any more: the base model, as before."""
        self._base = None
        self._view = None
        return self

    @property
    def store(self) -> KnowledgeStore | None:
        """The store attached, or None."""
        return self._base.store if self._base is not None else None

    @property
    def model_name(self) -> str:
        """The base model's name."""
        return self._engine.name

    @property
    def adapter_name(self) -> str | None:
        """The adapter's name, or None for a bare base model."""
        return self._engine.adapter_name

    @property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """The base model's tokenizer."""
        return self._engine.tokenizer

    @property
    def base(self) -> PreTrainedModel:
        """The base model itself."""
        return self._engine.model

    @property
    def encoder(self) -> TextEmbedder:
        """The sentence encoder."""
        return self._engine.encoder

    @property
    def refusal(self) -> str:
        """The sentence that refuses."""
        return self._refusal.sentence

    @property
    def context_window(self) -> int:
        """Tokens that the base model can read and write."""
        return self._engine.context

    def ask(
        self,
        prompt: Prompt,
        options: GenerationOptions | None = None,
        *,
        view: View | None = None,
        trace: bool = False,
    ) -> Answer:
        """Answer one prompt.

        Args:
            prompt: A question, or chat messages with ``role`` and ``content``.
            options: How to generate.
            view: Which facts, for this call only; it narrows the view attached, if any.
            trace: Keep the fact attention in the answer.

        Raises:
            ConfigError: The prompt is empty or malformed.
            PromptTooLongError: It leaves no room for an answer.
        """
        return self._generate([prompt], options, view=view, trace=trace)[0]

    def ask_batch(
        self,
        prompts: Sequence[Prompt],
        options: GenerationOptions | None = None,
        *,
        view: View | None = None,
    ) -> list[Answer]:
        """Answer several prompts together, as one padded batch.

        Args:
            prompts: Questions or chat messages.
            options: How to generate.
            view: Which facts, for this call only.

        Raises:
            ConfigError: A prompt is empty or malformed.
            PromptTooLongError: One leaves no room for an answer.
        """
        return self._generate(prompts, options, view=view) if prompts else []

    def stream(
        self,
        prompt: Prompt,
        options: GenerationOptions | None = None,
        *,
        view: View | None = None,
    ) -> AnswerStream:
        """Answer one prompt piece by piece; arguments and errors as of :meth:`ask`."""
        options = options or GenerationOptions()
        messages = as_messages(prompt)

        def run(on_text: Any, cancelled: Any) -> Answer:
            # Beams may still change any word: their text is sent at the end.
            steps = on_text if options.num_beams == 1 else None
            return self._generate(
                [messages], options, view=view, on_text=steps, cancelled=cancelled
            )[0]

        return AnswerStream(run, options.stop)

    def select(self, question: str, k: int = 5, *, view: View | None = None) -> list[ScoredFact]:
        """The facts that a question is about, best first, without an answer.

        Args:
            question: What is asked.
            k: At most so many; no more than the adapter reads.
            view: Which facts.

        Raises:
            ConfigError: No store is attached.
        """
        if self._base is None:
            raise ConfigError("Expected a store to select from, none is attached. Call attach().")
        answer = self._generate([question], GenerationOptions(max_new_tokens=1), view=view)[0]
        return list(answer.facts[:k])

    def count_tokens(self, prompt: Prompt) -> int:
        """Tokens of a prompt as the model reads it."""
        return len(tokenize(self._engine.tokenizer, as_messages(prompt)))

    def _generate(
        self,
        prompts: Sequence[Prompt],
        options: GenerationOptions | None,
        *,
        view: View | None = None,
        **extra: Any,
    ) -> list[Answer]:
        request = Request(
            prompts=[as_messages(prompt) for prompt in prompts],
            options=options or GenerationOptions(),
            grounding=self._grounding,
            refusal=self._refusal,
            **extra,
        )
        base = self._base
        with self._engine.lock:
            encoded: EncodedFacts | None = None
            if base is not None:
                encoded = base.read(_narrowed(self._view, view))
            return Generation(self._engine, request, base, encoded).run()

    def with_options(self, **changes: Any) -> KBLaM:
        """A model on the same weights and store with other settings.

        Args:
            **changes: ``grounding``, ``refusal`` or ``refusal_threshold``.
        """
        settings = {
            "grounding": self._grounding,
            "refusal": self._refusal.sentence,
            "refusal_threshold": self._refusal.threshold,
        }
        other = KBLaM(self._engine, **{**settings, **changes})
        other._base, other._view = self._base, self._view
        return other

    def __repr__(self) -> str:
        facts = "no facts" if self._base is None else f"{len(self._base.store)} facts"
        settings = dataclasses.asdict(self._refusal)
        return f"KBLaM({self.model_name!r}, adapter={self.adapter_name!r}, {facts}, {settings})"


def _narrowed(attached: View | None, asked: View | None) -> View | None:
    """A call's view narrows the one attached; nothing a caller gives can widen it."""
    if attached is None or asked is None:
        return attached if asked is None else asked
    return attached & asked
