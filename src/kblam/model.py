"""The facade: a language model that answers from a knowledge store."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from typing_extensions import Self

from kblam._answering import answer, narrowed, views_of
from kblam._counting import count_tokens
from kblam._engine import Engine
from kblam._engines import load_engine
from kblam._knowledge_base import KnowledgeBase
from kblam._loading import as_dtype
from kblam._prompt import Prompt, as_messages
from kblam._request import Request
from kblam._shared import adapter_fingerprint, shared_knowledge
from kblam._stream import AnswerStream
from kblam.answer import Answer, ScoredFact
from kblam.config import GenerationOptions, RefusalConfig
from kblam.errors import ConfigError
from kblam.knowledge import KnowledgeStore, TextEmbedder, View
from kblam.tools import Tool, tool_names
from kblam.weights import DEFAULT_BASE

__all__ = ["KBLaM"]


class KBLaM:
    """A frozen decoder, a knowledge adapter, and the facts that it reads.

    Make one with :meth:`from_pretrained`. Weights are shared between instances that ask for
    the same ones, encoded facts between those that read the same store.

    A caller whose view shows no fact is refused, whatever the question and the threshold: an
    answer could cite nothing. Without a store, or with an empty one and no view, the base model
    answers by itself.

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
        # Together, so that a call in another thread reads no store with another's view.
        self._attached: tuple[KnowledgeBase | None, View | None, bool] = (None, None, False)

    @classmethod
    def from_pretrained(
        cls,
        base_model: str | Path | PreTrainedModel = DEFAULT_BASE,
        *,
        adapter: str | Path | None = "default",
        encoder: str | Path | TextEmbedder | None = None,
        tokenizer: PreTrainedTokenizerBase | None = None,
        device: str | torch.device | None = None,
        dtype: torch.dtype | str | None = None,
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
            dtype: A floating-point format or its name; None takes bfloat16 on a GPU and
                float32 on a CPU.
            grounding: As for :class:`KBLaM`, and so are the two that follow.
            refusal: None keeps the adapter's.
            refusal_threshold: None keeps the adapter's.

        Raises:
            ConfigError: A setting is out of range.
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
            dtype=as_dtype(dtype),
        )
        return cls(
            engine, grounding=grounding, refusal=refusal, refusal_threshold=refusal_threshold
        )

    def attach(
        self, kb: KnowledgeStore | Iterable[Any], *, view: View | None = None, exact: bool = False
    ) -> Self:
        """Read facts from a store from now on, in place of any attached before.

        Args:
            kb: A store, or triples.
            view: Which of its facts. Calls can narrow it, never widen it; where no fact is
                left, they are refused.
            exact: Score every fact for every question. Otherwise an index finds those worth
                scoring where they are very many, if its package is installed.

        Raises:
            FactError: A triple is malformed, or ``kb`` is a path, which is to be opened first.
            ConfigError: This is a base model without an adapter, or the view is none.
        """
        if self._engine.decoder is None:
            raise ConfigError(
                "Expected a model with an adapter to read facts, got one loaded with adapter=None."
            )
        view = narrowed(None, view)  # before a store is made of what may be much
        store = kb if isinstance(kb, KnowledgeStore) else KnowledgeStore.from_source(kb)
        self._attached = shared_knowledge(store, self._engine), view, exact
        return self

    def detach(self) -> Self:
        """Read no facts any more: the base model, as before."""
        self._attached = None, None, False
        return self

    @property
    def store(self) -> KnowledgeStore | None:
        """The store attached, or None."""
        return None if self._attached[0] is None else self._attached[0].store

    @property
    def view(self) -> View | None:
        """What of the store was attached; every call is narrowed to it. None is everything."""
        return self._attached[1]

    @property
    def model_name(self) -> str:
        """The base model's name."""
        return self._engine.name

    @property
    def adapter_name(self) -> str | None:
        """The adapter's name, or None for a bare base model."""
        return self._engine.adapter_name

    @property
    def adapter_fingerprint(self) -> str | None:
        """Changes with the adapter's numbers and settings, whatever its name; None without one."""
        decoder = self._engine.decoder
        return None if decoder is None else adapter_fingerprint(decoder.adapter)

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
    def refusal_threshold(self) -> float:
        """Above which estimated probability that the facts do not answer a question is refused."""
        return self._refusal.threshold

    @property
    def grounding(self) -> str:
        """``"copy"`` or ``"off"``."""
        return self._grounding

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
        tools: Sequence[Tool] = (),
        trace: bool = False,
    ) -> Answer:
        """Answer one prompt.

        Args:
            prompt: A question, or chat messages with ``role`` and ``content``.
            options: How to generate.
            view: Which facts, for this call only; it narrows the view attached, if any.
            tools: Those that the model is shown, as OpenAI describes them. Its calls are read
                with :func:`kblam.tools.parse_tool_calls`, and can be forced with
                :meth:`kblam.OutputConstraint.tool_call`.
            trace: Keep the fact attention in the answer.

        Raises:
            ConfigError: The prompt is empty or malformed, or what was given as a view or a
                tool is none.
            ConstraintError: No answer can be held to the form wanted.
            PromptTooLongError: It leaves no room for an answer.
        """
        return self._generate([prompt], options, view=view, tools=tools, trace=trace)[0]

    def ask_batch(
        self,
        prompts: Sequence[Prompt],
        options: GenerationOptions | None = None,
        *,
        view: View | None = None,
        views: Sequence[View | None] | None = None,
        tools: Sequence[Tool] = (),
        cancelled: Callable[[], bool] | None = None,
    ) -> list[Answer]:
        """Answer prompts together, as one padded batch; arguments and errors as of :meth:`ask`.

        A prompt so long that its answer may meet the end of the context is answered apart, with
        those of its length: it would take room from the others. One without any room is an error
        before anything is generated.

        ``views`` are the prompts' own, one each, for callers who may see different facts; each
        narrows ``view``. ``cancelled`` is asked when the batch's turn comes, which then ends in
        :class:`StreamClosed`, and after every token; what was written is then the answer.
        """
        return self._generate(
            prompts, options, view=view, views=views, tools=tools, cancelled=cancelled
        )

    def stream(
        self,
        prompt: Prompt,
        options: GenerationOptions | None = None,
        *,
        view: View | None = None,
        tools: Sequence[Tool] = (),
    ) -> AnswerStream:
        """Answer one prompt piece by piece; arguments and errors as of :meth:`ask`."""
        options = options or GenerationOptions()
        messages = as_messages(prompt)

        def run(on_text: Any, cancelled: Any) -> Answer:
            # Beams may still change any word: their text is sent at the end.
            steps = on_text if options.num_beams == 1 else None
            return self._generate(
                [messages], options, view=view, tools=tools, on_text=steps, cancelled=cancelled
            )[0]

        return AnswerStream(run, options.stop)

    def select(
        self,
        question: str,
        k: int = 5,
        *,
        view: View | None = None,
        cancelled: Callable[[], bool] | None = None,
    ) -> list[ScoredFact]:
        """The facts that a question is about, best first, without an answer.

        Args:
            question: What is asked.
            k: At most so many; no more than the adapter reads.
            view: Which facts.
            cancelled: As of :meth:`ask_batch`.

        Raises:
            ConfigError: No store is attached, or ``k`` is negative.
        """
        if k < 0:
            raise ConfigError(f"Expected k >= 0 facts, got {k}.")
        if self.store is None:
            raise ConfigError("Expected a store to select from, none is attached. Call attach().")
        options = GenerationOptions(max_new_tokens=1)
        found = self._generate([question], options, view=view, cancelled=cancelled)[0]
        return list(found.facts[:k])

    def count_tokens(self, prompt: Prompt, tools: Sequence[Tool] = ()) -> int:
        """Tokens of a prompt as the model reads it; of a part of a conversation, too.

        Raises:
            ConfigError: A message lacks a role or text, or a tool is malformed.
        """
        tool_names(tools)
        return count_tokens(self._engine.tokenizer, prompt, tools)

    def _generate(
        self,
        prompts: Sequence[Prompt],
        options: GenerationOptions | None,
        *,
        view: View | None = None,
        views: Sequence[View | None] | None = None,
        tools: Sequence[Tool] = (),
        **extra: Any,
    ) -> list[Answer]:
        tool_names(tools)  # which also checks them
        if isinstance(prompts, str):
            raise ConfigError(
                "Expected a list of prompts. Wrap a single one in a list, or ask() it."
            )
        base, attached, exact = self._attached
        seen = views_of(attached, view, views, len(prompts))
        request = Request(
            prompts=[as_messages(prompt) for prompt in prompts],
            options=options or GenerationOptions(),
            grounding=self._grounding,
            refusal=self._refusal,
            exact=exact,
            tools=tools,
            **extra,
        )
        return answer(self._engine, request, base, seen) if prompts else []

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
        other._attached = self._attached
        return other

    def __repr__(self) -> str:
        base, view, _ = self._attached
        facts = "no facts" if base is None else f"{base.store.count(view)} facts"
        settings = dataclasses.asdict(self._refusal)
        return f"KBLaM({self.model_name!r}, adapter={self.adapter_name!r}, {facts}, {settings})"
