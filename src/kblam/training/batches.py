"""Training examples as tensors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from kblam._engine import Engine
from kblam._prompt import tokenize
from kblam.knowledge import Triple
from kblam.training.data import TrainingQuestion
from kblam.training.spans import Span, answer_spans

__all__ = ["IGNORED", "Batch", "Example", "collate", "question_example", "text_example"]

IGNORED = -100
_MAX_TOKENS = 256


@dataclass(frozen=True)
class Example:
    """One prompt and the answer to learn.

    Attributes:
        prompt: Tokens up to where the answer begins.
        answer: Tokens of the answer.
        labels: Per answer token, the token to be written by the language model, or IGNORED
            inside what is copied.
        starts: Per answer token, the fact (an index into the corpus) of which a text starts
            there, or IGNORED.
        parts: Which text that is, a position in :data:`~kblam.config.COPY_PARTS`, or IGNORED.
        kind: ``"answer"``, ``"refuse"`` or ``"general"``.
    """

    prompt: list[int]
    answer: list[int]
    labels: list[int]
    starts: list[int]
    parts: list[int]
    kind: str


@dataclass(frozen=True)
class Batch:
    """B examples, padded on the right.

    Attributes:
        input_ids: (B, T).
        attention_mask: (B, T).
        prompt_mask: True on the prompts' tokens, (B, T).
        last: Position of each prompt's last token, (B,).
        labels: Token that the language model should write next, (B, T), or IGNORED.
        starts: Fact of which a text should start next, (B, T), or IGNORED.
        parts: Which of its texts, (B, T), or IGNORED.
        refuse: 1 where a refusal is right, (B,).
        general: True on general prompts, (B,).
    """

    input_ids: Tensor
    attention_mask: Tensor
    prompt_mask: Tensor
    last: Tensor
    labels: Tensor
    starts: Tensor
    parts: Tensor
    refuse: Tensor
    general: Tensor


def question_example(
    engine: Engine, facts: Sequence[Triple], question: TrainingQuestion, refusal: str
) -> Example:
    """The tokens of a question and of its answer, what is copied marked as such."""
    messages = [{"role": role, "content": text} for role, text in question.history]
    if question.system is not None:
        messages.insert(0, {"role": "system", "content": question.system})
    messages.append({"role": "user", "content": question.question})
    prompt = tokenize(engine.tokenizer, messages)
    spans = answer_spans(facts, question) if question.gold else [Span(refusal)]
    answer = _Answer(engine)
    for span in spans:
        answer.write(span)
    answer.finish()
    kind = "answer" if question.gold else "refuse"
    return Example(prompt, answer.tokens, answer.labels, answer.starts, answer.parts, kind)


class _Answer:
    """An answer as it is put together, as a generation does it: piece by piece.

    Args:
        engine: Encodes the pieces.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._space = ""  # the last words' own, which a copied text brings along
        self.tokens: list[int] = []
        self.labels: list[int] = []
        self.starts: list[int] = []
        self.parts: list[int] = []

    def write(self, span: Span) -> None:
        """Add a piece: copied, unless a generation would not write the space before it so."""
        if span.fact is not None:
            if self.labels[-1:] == [IGNORED]:
                self._space = self._space or " "  # between two copied texts it goes without saying
            if tokens := self._copied(span.text):
                rest = [IGNORED] * (len(tokens) - 1)
                self._add(tokens, [IGNORED, *rest], [span.fact, *rest], [span.part, *rest])
                self._space = ""
                return
        text = self._space + span.text
        words = text.rstrip(" ")
        self._space = text[len(words) :]
        self._learn(words)

    def finish(self) -> None:
        """Add the end of the answer."""
        self._learn(self._space)
        self._learn_tokens(self._engine.end_tokens[:1])

    def _copied(self, text: str) -> tuple[int, ...]:
        """The tokens of a text to copy here; none where they would say something else."""
        vocabulary, span = self._engine.vocabulary, self._engine.span_tokens(text)
        if not self.tokens and not self._space:
            return span.later if vocabulary.starts_spaced else span.first
        opened = bool(self.tokens) and vocabulary.opens(self.tokens[-1])
        if self._space != ("" if opened else " "):
            return ()
        return span.first if opened else span.later

    def _learn(self, words: str) -> None:
        vocabulary = self._engine.vocabulary
        self._learn_tokens(vocabulary.behind(words) if self.tokens else vocabulary.at_start(words))

    def _learn_tokens(self, tokens: list[int]) -> None:
        nothing = [IGNORED] * len(tokens)
        self._add(tokens, tokens, nothing, nothing)

    def _add(
        self, tokens: Sequence[int], labels: list[int], starts: list[int], parts: list[int]
    ) -> None:
        self.tokens += tokens
        self.labels += labels
        self.starts += starts
        self.parts += parts


def text_example(prompt: list[int], continuation: list[int]) -> Example:
    """A general prompt with the base's own continuation: nothing to learn but to stay."""
    nothing = [IGNORED] * len(continuation)
    return Example(prompt, continuation, nothing, nothing, nothing, "general")


def collate(examples: Sequence[Example], pad_token: int, device: torch.device) -> Batch:
    """Pad examples on the right; very long ones are cut."""
    longest = min(_MAX_TOKENS, max(len(e.prompt) + len(e.answer) for e in examples))
    shape = (len(examples), longest)
    ids = torch.full(shape, pad_token)
    attention, prompts = torch.zeros(shape, dtype=torch.long), torch.zeros(shape, dtype=torch.bool)
    labels, starts = torch.full(shape, IGNORED), torch.full(shape, IGNORED)
    parts = torch.full(shape, IGNORED)
    last = torch.zeros(len(examples), dtype=torch.long)
    for row, example in enumerate(examples):
        tokens = (example.prompt + example.answer)[:longest]
        begin = min(len(example.prompt), longest)
        ids[row, : len(tokens)] = torch.tensor(tokens)
        attention[row, : len(tokens)] = 1
        prompts[row, :begin] = True
        last[row] = begin - 1
        # The token before predicts: labels stand one place to the left.
        room = len(tokens) - begin
        labels[row, begin - 1 : begin - 1 + room] = torch.tensor(example.labels[:room])
        starts[row, begin - 1 : begin - 1 + room] = torch.tensor(example.starts[:room])
        parts[row, begin - 1 : begin - 1 + room] = torch.tensor(example.parts[:room])
    kinds = [example.kind for example in examples]
    return Batch(
        input_ids=ids.to(device),
        attention_mask=attention.to(device),
        prompt_mask=prompts.to(device),
        last=last.to(device),
        labels=labels.to(device),
        starts=starts.to(device),
        parts=parts.to(device),
        refuse=torch.tensor([float(kind == "refuse") for kind in kinds], device=device),
        general=torch.tensor([kind == "general" for kind in kinds], device=device),
    )
