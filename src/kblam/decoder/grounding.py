r"""Grounded decoding: a pointer over the selected facts' texts, as a logits processor.

Writing a text of a fact (its value, its entity, its property) is a segment that starts with
probability :math:`g_t` (the gate) at text m with probability :math:`a_{t,m}` (the pointer), and
then runs through the text's tokens. The next-token distribution is the exact mixture over all
segments that agree with the tokens written so far (a pointer-generator, See et al., ACL 2017, with
whole texts for tokens):

.. math::
    p(y) = \sum_{s} w_s\, p(y \mid s), \qquad
    p(y \mid \text{free}) = (1 - g_t)\, p_{LM}(y) + g_t \sum_m a_{t,m} [y = v_{m,0}], \qquad
    p(y \mid (m, i)) = [y = v_{m,i}]

and the weights :math:`w_s` follow from Bayes' rule as tokens are chosen. State is kept by
the text written, not by the row, so beams may be reordered, dropped and copied freely.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import torch
from torch import Tensor
from transformers import LogitsProcessor

from kblam.decoder.answer_heads import PointerFacts, PointerHead
from kblam.decoder.closing import has_one_more, has_told_all
from kblam.decoder.copy_history import CopyHistory
from kblam.decoder.copy_states import CopiedSpan, CopyState, CopyStep, likeliest
from kblam.decoder.facts import Selection, rows
from kblam.decoder.opening import Opening, opened
from kblam.decoder.session import FactSession
from kblam.decoder.spans import Ending, SpanLookup
from kblam.decoder.tap import HiddenTap

__all__ = ["CopyProcessor"]

_MAX_STATES = 16
_SMALLEST = 1e-12


class CopyProcessor(LogitsProcessor):
    """Mixes copying from selected facts into the next-token distribution.

    Args:
        session: The generation's facts, after its first forward pass.
        head: The trained gate and pointer.
        tap: The last hidden states.
        lookup: Makes the selected facts' texts of the selection, once it is known.
        prompt_length: Tokens of the padded prompt.
        continuations: By what a value ends in, True on tokens that would go on with it, (V,): none
            may follow ("Tampere" must not become "Tampereville"). None forbids nothing.
        closers: Tells which tokens end a sentence, (V,): nothing else follows where all is told.
            Asked for only then, after the first token. None lets the model go on.
        list_marks: Tells which tokens announce several more items of a list, (V,), and which one
            the last: it stands for them where one value is left. None changes nothing.
        opens_value: Tells of a prompt and the tokens written so far whether a value is all that can
            follow, as in a form to be filled in. The gate then stands open as far as the facts
            answer.
        coverage: Makes the logits (2, V) that are added once something was told: for what is left
            to tell, and for what is not.
    """

    def __init__(
        self,
        session: FactSession,
        head: PointerHead,
        tap: HiddenTap,
        lookup: Callable[[Selection], SpanLookup],
        prompt_length: int,
        continuations: Mapping[Ending, Tensor] | None = None,
        closers: Callable[[], Tensor] | None = None,
        list_marks: Callable[[], tuple[Tensor, int]] | None = None,
        opens_value: Callable[[int, tuple[int, ...]], Opening | None] | None = None,
        coverage: Callable[[], Tensor] | None = None,
    ) -> None:
        self._session = session
        self._head = head
        self._tap = tap
        self._make_lookup = lookup
        self._lookup: SpanLookup | None = None
        self._prompt_length = prompt_length
        self._continuations = continuations or {}
        self._closers = closers
        self._list_marks = list_marks
        self._opens_value = opens_value
        self._make_coverage = coverage
        self._coverage: Tensor | None = None
        self._steps: dict[tuple[int, tuple[int, ...]], CopyStep] = {}
        self._history = CopyHistory()
        self._facts: PointerFacts | None = None
        self._sees = torch.ones(())

    @property
    def _texts(self) -> SpanLookup:
        if self._lookup is None:
            if self._session.selection is None:
                raise RuntimeError("The pointer was asked before the first forward pass.")
            self._lookup = self._make_lookup(self._session.selection)
        return self._lookup

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Replace scores (B, V) by the log-probabilities of the mixture."""
        batch = scores.shape[0]
        texts = [tuple(row) for row in input_ids[:, self._prompt_length :].tolist()]
        groups = [self._texts.row(index, batch) for index in range(batch)]
        states = [self._follow(g, text) for g, text in zip(groups, texts, strict=True)]
        if self._facts is None or self._facts.maps.shape[0] != batch:
            self._facts, self._sees = self._prepared(self._selected, batch)
        gates, pointers, told = self._point(self._facts, self._used(states, self._facts))
        probs = self._covered(scores.float(), told).softmax(-1)
        self._close(states, texts, told, gates, probs)
        openings = [self._open(group, text) for group, text in zip(groups, texts, strict=True)]
        answered = self._answered(batch) if any(openings) else []
        mixed = torch.empty_like(probs)
        steps: dict[tuple[int, tuple[int, ...]], CopyStep] = {}
        for index, (group, text) in enumerate(zip(groups, texts, strict=True)):
            spelling = self._texts.after(text)
            step = CopyStep(
                states[index],
                gates[index],
                pointers[index],
                self._texts.offered(group, spelling, len(pointers[index])),
                probs[index],
                self._probs_after(states[index], probs[index]),
                spelling,
            )
            opening = openings[index]
            if opening is not None:
                step = opened(step, opening, answered[index])
            steps[group, text] = step
            # Traces are of the first prompt alone.
            reading = step.reading(self._head.num_parts) if group == 0 else None
            self._history.keep(group, text, states[index], reading)
            mixed[index] = step.log_probs()
        # A step follows from the one before: older ones are never asked for again.
        self._steps = steps
        return mixed.to(scores.dtype)

    def _open(self, group: int, text: tuple[int, ...]) -> Opening | None:
        return None if self._opens_value is None else self._opens_value(group, text)

    def _answered(self, batch: int) -> list[float]:
        """How far the facts may answer, (B,): the root, since vague prompts fill forms too."""
        none = rows(self._selected.log_none, batch).exp()
        found: list[float] = (1.0 - none).clamp_min(0.0).sqrt().tolist()
        return found

    def _probs_after(self, states: list[CopyState], probs: Tensor) -> dict[Ending, Tensor]:
        """The probabilities (V,) without tokens that would go on with a finished value."""
        endings = {state.ended for state in states if state.ended is not None}
        return {
            ending: _only(probs, ~self._continuations[ending])
            for ending in endings & self._continuations.keys()
        }

    def spans(self, row: int, batch: int, text: tuple[int, ...]) -> tuple[CopiedSpan, ...]:
        """The facts' texts copied into a finished answer, by its likeliest reading.

        Args:
            row: In the batch.
            batch: Rows in the batch.
            text: The generated tokens, the last of which the processor has not seen.
        """
        states = self._finished(self._texts.row(row, batch), text)
        return likeliest(states).finished

    def reading(self, text: tuple[int, ...]) -> list[list[float]]:
        """How much each fact was read for each token of the first prompt's answer, (T, k).

        Args:
            text: The generated tokens; what the processor had no part in is left out at the end.
        """
        return self._history.readings(0, text)

    def _finished(self, group: int, text: tuple[int, ...]) -> list[CopyState]:
        """The states after a finished text; what ended a row or beam early is in no value."""
        length, states = self._history.longest(group, text)
        if length < len(text) and (group, text[:length]) in self._steps:
            return self._follow(group, text[: length + 1])
        if length < len(text):
            states = [state for state in states if not state.pending] or states
        return states or [CopyState(1.0)]

    def _follow(self, group: int, text: tuple[int, ...]) -> list[CopyState]:
        """The states after a text, from what was offered before its last token."""
        before = self._steps.get((group, text[:-1])) if text else None
        if before is None:
            return [CopyState(1.0)]
        token, position = text[-1], len(text) - 1
        found: list[CopyState] = []
        for state in before.states:
            if state.pending:
                if state.pending[0] == token:
                    found.append(self._within(group, state.weight, state.spans, state.pending))
                continue
            free = state.weight * (1.0 - before.gate) * float(before.words(state.ended)[token])
            found.append(CopyState(free, state.spans))
            for place, tokens in enumerate(before.texts):
                if tokens and tokens[0] == token:
                    weight = before.pointer[place]
                    fact, part = divmod(place, self._head.num_parts)
                    end = position + len(tokens)
                    span = CopiedSpan(fact, part, position, end, weight, before.spelling)
                    joint = state.weight * before.gate * weight
                    found.append(self._within(group, joint, (*state.spans, span), tokens))
        found = sorted(found, key=lambda state: -state.weight)[:_MAX_STATES]
        total = sum(state.weight for state in found)
        if total <= _SMALLEST:
            # The token was forced from outside the distribution: go on freely from there.
            return [CopyState(1.0, likeliest(before.states).finished)]
        return [replace(state, weight=state.weight / total) for state in found]

    def _within(
        self, group: int, weight: float, spans: tuple[CopiedSpan, ...], tokens: tuple[int, ...]
    ) -> CopyState:
        """The state in which the first of a text's tokens was just written."""
        span, ended = spans[-1], None
        if len(tokens) == 1:
            ended = self._texts.ending(group, self._place(span), span.spelling)
        return CopyState(weight, spans, tokens[1:], ended)

    def _place(self, span: CopiedSpan) -> int:
        """Where the pointer has the text of a span."""
        return span.fact * self._head.num_parts + span.part

    @property
    def _selected(self) -> Selection:
        if self._session.selection is None:
            raise RuntimeError("The pointer was asked before the first forward pass.")
        return self._session.selection

    def _used(self, states: list[list[CopyState]], facts: PointerFacts) -> Tensor | None:
        """How often each text was copied, by the likeliest reading of each row, (B, 1, k * P).

        None where no text was.
        """
        spans = [likeliest(options).spans for options in states]
        if not any(spans):
            return None
        used = [[[0.0] * (facts.count * self._head.num_parts)] for _ in spans]
        for counts, copied in zip(used, spans, strict=True):
            for span in copied:
                counts[0][self._place(span)] += 1.0
        return torch.tensor(used, device=facts.maps.device)

    def _close(
        self,
        states: list[list[CopyState]],
        texts: list[tuple[int, ...]],
        told: list[list[float]],
        gates: list[float],
        probs: Tensor,
    ) -> None:
        """Leave to rows what can follow where all is told, or all but one value, in place."""
        if self._closers is None:
            return
        assert self._facts is not None
        shares = rows(self._selected.log_prob, len(texts)).exp()
        for index, (options, text) in enumerate(zip(states, texts, strict=True)):
            left, alike = told[index][0], self._facts.alike[index]
            stands = (likeliest(options), len(text), left, alike)
            if has_told_all(*stands):
                gates[index] = 0.0
                probs[index] = _only(probs[index], self._closers())
            elif self._list_marks is not None and has_one_more(*stands, shares[index]):
                probs[index] = _moved(probs[index], *self._list_marks())

    def _covered(self, scores: Tensor, told: list[list[float]]) -> Tensor:
        """Scores (B, V) that know whether all is told, (B, 2)."""
        if self._make_coverage is None or self._head.coverage is None:
            return scores
        if not any(map(any, told)):
            return scores
        if self._coverage is None:
            self._coverage = self._make_coverage()
        return scores + torch.tensor(told, device=scores.device) @ self._coverage

    def _point(
        self, facts: PointerFacts, used: Tensor | None
    ) -> tuple[list[float], list[list[float]], list[list[float]]]:
        """For each row the gate, the weights of the texts, (k * P), and what is told, (2)."""
        if self._tap.last is None:
            raise RuntimeError("The pointer was asked before the first forward pass.")
        batch = facts.maps.shape[0]
        log_none = rows(self._selected.log_none, batch)
        gate, pointer = self._head.score(self._tap.last[:, None], facts, log_none, used)
        # A row that may see no fact at all has nothing to copy.
        gates = torch.sigmoid(gate[:, 0]) * self._sees
        if used is None:
            told = pointer.new_zeros(batch, 2)
        else:
            told = self._head.told(used, rows(self._selected.log_prob, batch))[:, 0]
        # Read at once: each reading waits for the device.
        read = torch.cat([gates[:, None], pointer[:, 0].exp(), told], dim=1).tolist()
        return [row[0] for row in read], [row[1:-2] for row in read], [row[-2:] for row in read]

    def _prepared(self, selection: Selection, batch: int) -> tuple[PointerFacts, Tensor]:
        """The facts as the pointer reads them, and which rows see any, (B,)."""
        keys = rows(self._session.keys, batch)
        mask = rows(self._session.mask, batch)
        if mask is None:
            mask = torch.ones(keys.shape[:2], dtype=torch.bool, device=keys.device)
        verbs = torch.tensor(self._texts.verbs(batch, keys.shape[1]), device=keys.device)
        facts = self._head.prepare(keys, rows(selection.log_prob, batch), mask, verbs)
        return facts, mask.any(1)


def _only(probs: Tensor, allowed: Tensor) -> Tensor:
    """Probabilities (V,) where all but some tokens are ruled out."""
    left = probs * allowed
    return left / left.sum().clamp_min(_SMALLEST)


def _moved(probs: Tensor, source: Tensor, target: int) -> Tensor:
    """Probabilities (V,) where those of some tokens are another one's."""
    moved = probs * ~source
    moved[target] += (probs * source).sum()
    return moved
