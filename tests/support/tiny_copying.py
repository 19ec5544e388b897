"""A tiny decoder that may copy values, driven text by text."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from tiny_decoders import attached, make_adapter, make_facts
from torch import Tensor
from transformers import PreTrainedModel

from kblam.config import COPY_PARTS
from kblam.decoder import FactInput, KnowledgeAdapter
from kblam.decoder.grounding import CopyProcessor
from kblam.decoder.opening import Opening
from kblam.decoder.spans import SpanLookup, SpanTokens
from kblam.decoder.tap import HiddenTap

PROMPT = torch.tensor([[5, 9, 17, 23]])
SPACE = 100  # ends a word: a value after it has no space of its own
END = 2
Values = list[tuple[int, ...]]


class Copying:
    """A tiny decoder with a processor, and what the processor made of each text."""

    def __init__(
        self, model: PreTrainedModel, adapter: KnowledgeAdapter, processor: CopyProcessor
    ) -> None:
        self.model = model
        self.adapter = adapter
        self.processor = processor
        self.gates: dict[tuple[int, ...], float] = {}
        self.pointers: dict[tuple[int, ...], list[float]] = {}
        self.words: dict[tuple[int, ...], Tensor] = {}

    @property
    def order(self) -> list[int]:
        """The fact at each place of the first prompt's selection."""
        return self.processor._session.selection.index[0].tolist()

    def __call__(self, texts: list[list[int]], prompts: Tensor = PROMPT) -> Tensor:
        """Log-probabilities of the next token after each text, (B, V)."""
        prompts = prompts.repeat_interleave(len(texts) // len(prompts), 0)
        written = torch.tensor(texts, dtype=torch.long).reshape(len(texts), len(texts[0]))
        ids = torch.cat([prompts, written], 1)
        logits = self.model(ids).logits[:, -1]
        for row, text in enumerate(texts):
            self.words[tuple(text)] = logits[row].log_softmax(-1).exp()
        return self.processor(ids, logits)


@contextmanager
def copying(
    model: PreTrainedModel,
    values: list[Values],
    *,
    gate: float,
    used_penalty: float = 4.0,
    uniform: bool = True,
    later: Callable[[tuple[int, ...]], tuple[int, ...]] = lambda value: value,
    mask: Tensor | None = None,
    continuations: Tensor | None = None,
    ends_in_word: bool = True,
    copied: tuple[str, ...] = COPY_PARTS[:1],
    coverage: Callable[[], Tensor] | None = None,
    opens_value: Callable[[int, tuple[int, ...]], Opening | None] | None = None,
    number: Callable[[tuple[int, ...]], tuple[int, ...]] | None = None,
) -> Iterator[Copying]:
    """A processor over values.

    Args:
        model: The decoder.
        values: Texts of each prompt's facts, a fact's one after the other.
        gate: Logit of the gate, everywhere.
        used_penalty: Off the score of a fact for each time it was copied.
        uniform: Point at all facts alike, rather than as an untrained head does.
        later: What a value is after other text.
        mask: Which facts exist, (1, M).
        continuations: Tokens that go on with a word, (V,).
        ends_in_word: Whether the values end in one.
        copied: Which texts of a fact they are.
        coverage: Makes what is added to the logits once something was told, (2, V).
        opens_value: Where a form asks for a value.
        number: What a value is as a number.
    """
    parts = len(copied)
    count = len(values[0]) // parts
    adapter = make_adapter(model, top_k=count, copied=copied, coverage=coverage is not None)
    with torch.no_grad():
        adapter.pointer.gate_bias.fill_(gate)
        adapter.pointer.used_penalty.fill_(used_penalty)
        adapter.selection.none_bias.fill_(-100.0)  # every prompt is about the facts
        if uniform:
            adapter.pointer.map.zero_()
            adapter.pointer.selection_scale.zero_()
        if len(copied) > 1 and (uniform or used_penalty == 0.0):
            # It too makes the pointer depend on what was copied before.
            adapter.pointer.named_bonus.zero_()
    facts = make_facts(count)
    facts = FactInput(
        facts.keys, facts.values, mask=mask, prompt_mask=torch.ones(len(values), 4).bool()
    )

    def lookup(selection) -> SpanLookup:
        rows = selection.index[:: len(selection.index) // len(values)].tolist()
        chosen = [
            [
                SpanTokens(
                    text,
                    later(text),
                    ends_in_word,
                    None if number is None else SpanTokens(number(text), number(text)),
                )
                for i in row
                for text in own[parts * i : parts * (i + 1)]
            ]
            for own, row in zip(values, rows, strict=True)
        ]
        return SpanLookup(chosen, lambda token: token == SPACE)

    tap = HiddenTap(model)
    try:
        with torch.no_grad(), attached(model, adapter) as decoder, decoder.facts(facts) as session:
            processor = CopyProcessor(
                session,
                adapter.pointer,
                tap,
                lookup,
                PROMPT.shape[1],
                None if continuations is None else {"word": continuations},
                opens_value=opens_value,
                coverage=coverage,
            )
            yield Copying(model, adapter, processor)
    finally:
        tap.remove()
