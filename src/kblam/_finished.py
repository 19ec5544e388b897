"""From the tokens of a generation to answers: their text, citations, refusal and trace."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch

from kblam._engine import Engine
from kblam._knowledge_base import SeenFacts
from kblam._numbers import numbers_in
from kblam._refusal_words import writes_refusal
from kblam._request import Request
from kblam._selected_facts import SelectedFacts
from kblam.answer import Answer, AttentionTrace, Citation, ScoredFact, Usage
from kblam.config import COPY_PARTS
from kblam.decoder import FactSession
from kblam.decoder.copy_states import CopiedSpan
from kblam.decoder.grounding import CopyProcessor
from kblam.decoder.refusal import RefusalProcessor
from kblam.decoder.watch import cut_at_stop

__all__ = ["AnswerMaker", "Timing"]

# Without copying nothing says which fact was read but selection itself.
_CITE_ABOVE = 0.5
_VALUE = COPY_PARTS.index("value")
# Where the refusal is estimated to be less likely and one fact is selected so clearly, a refusal
# that the model writes is wrong.
_HARDLY_REFUSED = 0.1
_SURELY = 0.9


@dataclass(frozen=True)
class Timing:
    """When answers were made.

    Attributes:
        started: Reading of the clock at the start.
        first_token_at: At the first token, if there was one.
    """

    started: float
    first_token_at: float | None


@dataclass(frozen=True)
class AnswerMaker:
    """Makes answers of a finished generation.

    Args:
        _engine: Its weights.
        _request: What was asked for.
        _seen: The facts, or None.
        _facts: Those that were selected.
        _session: What attention made of them, or None.
        _copy: What was copied of them, or None.
        _refuse: Whether they answer, or None.
    """

    _engine: Engine
    _request: Request
    _seen: SeenFacts | None
    _facts: SelectedFacts
    _session: FactSession | None
    _copy: CopyProcessor | None
    _refuse: RefusalProcessor | None

    def answer(self, row: int, ids: list[int], prompt_tokens: int, timing: Timing) -> Answer:
        """The answer that a row's tokens are.

        Args:
            row: Which of the rows generated.
            ids: Its tokens, up to and including the one that ended it.
            prompt_tokens: Tokens of its prompt.
            timing: When it was made.
        """
        now, written = time.perf_counter(), len(ids)
        text, stopped = cut_at_stop(self._decode(ids), self._request.options.stop)
        refused = self.refuses(row) or (self._refuse is not None and writes_refusal(text))
        told = self._surely_asked(row) if refused else None
        ended = stopped or (bool(ids) and ids[-1] in self._engine.end_tokens)
        reason: Literal["stop", "length", "refusal"] = "stop" if ended else "length"
        citations: tuple[Citation, ...] = ()
        if told is not None:
            # A refusal by habit: what is asked for is there, and what the fact says is known.
            refused, reason, ids = False, "stop", []
            text, citations = told.fact.statement, (_of_statement(told),)
        elif refused:
            text, reason = self._request.refusal.sentence, "refusal"
        else:
            citations = self._citations(row, ids, text)
        leading = len(text) - len(text.lstrip())
        return Answer(
            text=text.strip(),
            citations=tuple(_shifted(c, leading) for c in citations),
            refused=refused,
            finish_reason=reason,
            usage=Usage(prompt_tokens, written),
            facts=self._ranked(row),
            kb_fingerprint=self._seen.fingerprint(row) if self._seen is not None else None,
            model_name=self._engine.name,
            seconds=now - timing.started,
            time_to_first_token=(timing.first_token_at or now) - timing.started,
            attention=self._trace(ids) if self._request.trace and row == 0 else None,
        )

    def _surely_asked(self, row: int) -> ScoredFact | None:
        """The fact that a row's prompt asks for, where estimate and selection leave no doubt."""
        probability = self._refusal(row)
        if self._copy is None or probability is None or probability >= _HARDLY_REFUSED:
            return None
        best = max(self._ranked(row), key=lambda ranked: ranked.score, default=None)
        return best if best and best.score > _SURELY and not self.refuses(row) else None

    def _row_of(self, row: int, total: int) -> int:
        return row * max(1, total // len(self._request.prompts))

    def refuses(self, row: int) -> bool:
        """Whether a row was refused at its first token, not by what the model wrote."""
        refused = self._refuse.refused if self._refuse is not None else []
        return bool(refused) and refused[self._row_of(row, len(refused))]

    def _refusal(self, row: int) -> float | None:
        """How likely it is that the facts do not answer a row's prompt, if that was estimated."""
        if self._refuse is None or self._refuse.probability is None:
            return None
        return self._refuse.probability[self._row_of(row, len(self._refuse.probability))]

    def _ranked(self, row: int) -> tuple[ScoredFact, ...]:
        if self._session is None or self._session.selection is None:
            return ()
        selection = self._session.selection
        facts = self._facts.of(selection)[row]
        scores = selection.log_prob[self._row_of(row, selection.log_prob.shape[0])].exp().tolist()
        return tuple(
            ScoredFact(fact, score) for fact, score in zip(facts, scores, strict=True) if fact
        )

    def _citations(self, row: int, ids: list[int], text: str) -> tuple[Citation, ...]:
        if self._copy is None:
            return self._selected(row)
        facts, found = self._facts.found[row] if self._facts.found else [], []
        batch = len(self._request.prompts)
        for span in self._copy.spans(row, batch, tuple(ids)):
            fact = facts[span.fact]
            if fact is None or span.part != _VALUE:
                continue
            start, end = self._characters(ids, span)
            if end <= len(text):
                found.append(Citation(fact, span.weight, start, end))
        # A form may leave no room for a whole value: the number of "48200 euros".
        if not found and self._request.options.constraint is not None:
            written = numbers_in(text)
            return tuple(c for c in self._selected(row) if _may_be_of(c.fact.value, written))
        return tuple(found)

    def _selected(self, row: int) -> tuple[Citation, ...]:
        return tuple(
            Citation(ranked.fact, ranked.score)
            for ranked in self._ranked(row)
            if ranked.score > _CITE_ABOVE
        )

    def _characters(self, ids: list[int], span: CopiedSpan) -> tuple[int, int]:
        before, through = self._decode(ids[: span.start]), self._decode(ids[: span.end])
        copied = through[len(before) :]
        return len(before) + len(copied) - len(copied.lstrip()), len(through)

    def _trace(self, ids: list[int]) -> AttentionTrace | None:
        session = self._session
        if session is None or session.selection is None or not session.attention:
            return None
        facts = self._facts.of(session.selection)[0]
        known = [position for position, fact in enumerate(facts) if fact is not None]
        layers = tuple(sorted(session.attention))
        by_layer = torch.stack([session.attention[layer][0, known] for layer in layers])
        tokens = [self._decode([token]) for token in ids]
        reading = self._copy.reading(tuple(ids)) if self._copy is not None else []
        by_token = np.zeros((len(tokens), len(known)), dtype=np.float32)
        for position, weights in enumerate(reading):
            by_token[position] = [weights[k] for k in known]
        return AttentionTrace(
            facts=tuple(fact for fact in facts if fact is not None),
            layers=layers,
            tokens=tuple(tokens),
            by_layer=by_layer.float().cpu().numpy(),
            by_token=by_token,
        )

    def _decode(self, ids: Sequence[int]) -> str:
        return str(self._engine.tokenizer.decode(list(ids), skip_special_tokens=True))


def _of_statement(told: ScoredFact) -> Citation:
    start = len(told.fact.lead)
    return Citation(told.fact, told.score, start, start + len(told.fact.value_text))


def _may_be_of(value: str, written: set[float]) -> bool:
    """Whether numbers may have been read from a value: it has none, or one of them."""
    own = numbers_in(value)
    return not own or not written or not own.isdisjoint(written)


def _shifted(citation: Citation, by: int) -> Citation:
    if citation.start is None or citation.end is None or by == 0:
        return citation
    return Citation(citation.fact, citation.score, citation.start - by, citation.end - by)
