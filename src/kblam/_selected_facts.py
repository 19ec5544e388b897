"""The facts that the prompts of a generation selected, read from the store."""

from __future__ import annotations

import json
from collections.abc import Sequence

from torch import Tensor

from kblam._engine import Engine
from kblam._knowledge_base import EncodedFacts
from kblam.decoder import Selection
from kblam.decoder.spans import SpanLookup, SpanTokens
from kblam.encoding import Evidence, read_evidence
from kblam.knowledge import Fact

__all__ = ["SelectedFacts"]

_NOTHING = SpanTokens((), ())


class SelectedFacts:
    """Reads what is selected, each fact once.

    Args:
        engine: The weights.
        encoded: The facts of a store, or None.
        asked: What each of B prompts asks.
        before: What was asked before, or an empty text.

    Attributes:
        found: The facts that each prompt selected, once selection has run; a place that holds
            no fact is None.
    """

    def __init__(
        self,
        engine: Engine,
        encoded: EncodedFacts | None,
        asked: Sequence[str],
        before: Sequence[str],
    ) -> None:
        self._engine = engine
        self._encoded = encoded
        self._asked = asked
        self._before = before
        self._known: dict[int, Fact | None] = {}
        self.found: list[list[Fact | None]] = []

    def of(self, selection: Selection) -> list[list[Fact | None]]:
        """The facts that each prompt selected."""
        if not self.found:
            repeats = selection.index.shape[0] // len(self._asked)
            self.found = self._read(selection.index[:: max(1, repeats)].tolist())
        return self.found

    def lookup(self, selection: Selection, *, in_json: bool = False) -> SpanLookup:
        """The texts that each prompt may copy, with the escapes of a JSON string where wanted."""
        assert self._engine.decoder is not None
        parts = self._engine.decoder.adapter.config.copied
        tokens = self._engine.span_tokens
        texts = [
            [
                tokens(_text(fact, part, in_json)) if fact else _NOTHING
                for fact in row
                for part in parts
            ]
            for row in self.of(selection)
        ]
        return SpanLookup(texts, self._engine.opens)

    def evidence(self, index: Tensor, visible: Tensor) -> Evidence:
        """What the words of the prompts say about facts.

        Args:
            index: Places among the encoded facts, (B times repeats, k).
            visible: Which of them may be seen, of the same shape.
        """
        repeats = max(1, index.shape[0] // len(self._asked))
        facts = [
            [fact if seen else None for fact, seen in zip(row, shown, strict=True)]
            for row, shown in zip(
                self._read(index[::repeats].tolist()), visible[::repeats].tolist(), strict=True
            )
        ]
        found = read_evidence(self._asked, self._before, facts, self._engine.encoder)
        return found.repeat(repeats).to(index.device)

    def _read(self, indices: list[list[int]]) -> list[list[Fact | None]]:
        """Facts by their place among the encoded ones."""
        if self._encoded is None:
            return []
        missing = sorted({index for row in indices for index in row} - self._known.keys())
        self._known.update(zip(missing, self._encoded.facts(missing), strict=True))
        return [[self._known[index] for index in row] for row in indices]


def _text(fact: Fact, part: str, in_json: bool) -> str:
    text: str = getattr(fact, f"{part}_text")
    return json.dumps(text, ensure_ascii=False)[1:-1] if in_json else text
