"""The facts that the prompts of a generation selected, read from the store."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace

from torch import Tensor

from kblam._engine import Engine
from kblam._knowledge_base import SeenFacts
from kblam._numbers import number_in
from kblam.config import DEFAULT_REFUSAL
from kblam.decoder import Selection
from kblam.decoder.spans import SpanLookup, SpanTokens, Spelling
from kblam.encoding import Evidence, encode_or_zero, read_evidence
from kblam.knowledge import Fact, View, verbalise

__all__ = ["SelectedFacts"]

_NOTHING = SpanTokens((), ())
# Names of properties whose cosine is less have nothing to do with each other; the same one is
# raised 20,000-fold.
_ALIKE = 0.5
_FITS = 20.0
# One that is the same in other words.
_SAME = 0.7
# What a form calls an entity.
_NAME = "name"
# Facts with less of the selection are hardly told.
_TOLD = 0.05


class SelectedFacts:
    """Reads what is selected, each fact once.

    Args:
        engine: The weights.
        seen: What each prompt may see of a store, or None.
        asked: What each of B prompts asks.
        before: What was asked before, or an empty text.

    Attributes:
        found: The facts that each prompt selected, once selection has run; a place that holds
            no fact is None.
    """

    def __init__(
        self,
        engine: Engine,
        seen: SeenFacts | None,
        asked: Sequence[str],
        before: Sequence[str],
    ) -> None:
        self._engine = engine
        self._seen = seen
        self._asked = asked
        self._before = before
        self._known: dict[tuple[View | None, int], Fact | None] = {}
        self._lookup: SpanLookup | None = None
        self.found: list[list[Fact | None]] = []

    def of(self, selection: Selection) -> list[list[Fact | None]]:
        """The facts that each prompt selected."""
        if not self.found:
            self.found = self._read(selection.index, selection.visible)
        return self.found

    def lookup(self, selection: Selection, *, in_json: bool = False) -> SpanLookup:
        """The texts that each prompt may copy.

        Args:
            selection: What the prompts selected.
            in_json: Copy names and values only, with the escapes of a JSON string, and the number
                that a value states.
        """
        assert self._engine.decoder is not None
        config = self._engine.decoder.adapter.config
        # In JSON no sentence is made of them.
        with_verbs = config.verbs and not in_json
        copied = [
            [
                _copied(fact, part, in_json, with_verbs) if fact else []
                for fact in row
                for part in config.copied
            ]
            for row in self.of(selection)
        ]
        self._engine.learn_spans(text for row in copied for texts in row for text in texts)
        texts = [[self._span(*texts) if texts else _NOTHING for texts in row] for row in copied]
        verbs = [
            [with_verbs and fact is not None and fact.verb_text is not None for fact in row]
            for row in self.of(selection)
        ]
        vocabulary = self._engine.vocabulary
        self._lookup = SpanLookup(
            texts, vocabulary.opens, verbs, spaced_start=vocabulary.starts_spaced
        )
        return self._lookup

    def _span(self, text: str, number: str | None = None) -> SpanTokens:
        span = self._engine.span_tokens(text)
        if number is None:
            return span
        return replace(span, number=self._engine.span_tokens(number))

    def told(self, selection: Selection) -> list[tuple[int, ...]]:
        """What the answer to the first prompt may repeat: facts as sentences, a refusal, texts.

        Args:
            selection: What the prompts selected.

        Returns:
            The tokens of each, those of the likeliest facts first.
        """
        assert self._lookup is not None
        facts = self.of(selection)[0]
        likely = (selection.log_prob[0].exp() > _TOLD).tolist()
        told = {n: fact for n, fact in enumerate(facts) if fact is not None and likely[n]}
        tokens, end = self._engine.span_tokens, self._engine.end_tokens[:1]
        sentences = [*(fact.statement for fact in told.values()), DEFAULT_REFUSAL]
        self._engine.learn_spans(sentences)
        start = self._lookup.after(())
        whole = [(*tokens(text).spelled(start), *end) for text in sentences]
        later = [tokens(text).later for text in sentences]
        texts = []
        for spelling in (Spelling(spaced=False), Spelling(spaced=True)):
            spelled = self.spelled(0, spelling)
            parts = len(spelled) // len(facts)
            texts += [text for n in told for text in spelled[n * parts : (n + 1) * parts]]
        return [*whole, *later, *texts]

    def spelled(self, prompt: int, spelling: Spelling) -> list[tuple[int, ...]]:
        """The texts that a prompt may copy, as :meth:`lookup` found them, as tokens, (k * P,)."""
        assert self._engine.decoder is not None
        assert self._lookup is not None
        count = len(self.found[prompt]) * len(self._engine.decoder.adapter.config.copied)
        return self._lookup.offered(prompt, spelling, count)

    def fitting(self, prompt: int, name: str, others: Sequence[str] = ()) -> list[float]:
        """How much likelier the facts of a prompt are where a form asks for a property.

        The entity is told only where the form asks for a name, and for the value elsewhere: a
        form of a name alone, asked for a director, takes the director's.

        Args:
            prompt: Which.
            name: The property as the form names it; one that says nothing changes nothing.
            others: What else the form has.

        Returns:
            A factor for each of the texts that may be copied, (k * P,), as :meth:`lookup` has them.
        """
        assert self._engine.decoder is not None
        told = [fact.property_text if fact else "" for fact in self.found[prompt]]
        fields = [verbalise(field) for field in (name, *others)]
        vectors = encode_or_zero(self._engine.encoder, [_NAME, *told, *fields])
        known, asked = vectors[: len(told) + 1], vectors[len(told) + 1 :]
        named, *factors = _raised(known @ asked[0]).tolist()
        elsewhere = (known[1:] @ asked[1:].T > _SAME).any(1).tolist()
        found: list[float] = []
        for factor, is_elsewhere in zip(factors, elsewhere, strict=True):
            parts = {"value": factor, "entity": named - 1.0 if is_elsewhere else 0.0}
            found.extend(parts.get(p, 0.0) for p in self._engine.decoder.adapter.config.copied)
        return found

    def fits(self, prompt: int, fields: Sequence[str]) -> Tensor:
        """How much likelier the facts of a prompt are under fields of a form, by their properties.

        Args:
            prompt: Which.
            fields: F properties as a form names them.

        Returns:
            (k, F), 1 where a field says nothing of a fact.
        """
        told = [fact.property_text if fact else "" for fact in self.found[prompt]]
        vectors = encode_or_zero(self._engine.encoder, [*told, *map(verbalise, fields)])
        return _raised(vectors[: len(told)] @ vectors[len(told) :].T)

    def evidence(self, index: Tensor, visible: Tensor) -> Evidence:
        """What the words of the prompts say about facts.

        Args:
            index: Places among the encoded facts, (B times repeats, k).
            visible: Which of them may be seen, of the same shape.
        """
        facts = self._read(index, visible)
        engine = self._engine
        readers = engine.reader, engine.property_reader
        found = read_evidence(self._asked, self._before, facts, *readers)
        return found.repeat(self._repeats(index)).to(index.device)

    def _repeats(self, index: Tensor) -> int:
        return max(1, index.shape[0] // len(self._asked))

    def _read(self, index: Tensor, visible: Tensor) -> list[list[Fact | None]]:
        """Facts by their place among all, for each prompt; only what the prompt may see."""
        if self._seen is None:
            return []
        step = self._repeats(index)
        views = self._seen.views
        shown = index.masked_fill(~visible, -1)[::step].tolist()
        wanted = [
            [(view, place) if place >= 0 else None for place in row]
            for view, row in zip(views, shown, strict=True)
        ]
        missing = {pair for row in wanted for pair in row if pair is not None} - self._known.keys()
        for view in dict.fromkeys(views):
            places = sorted(place for own, place in missing if own == view)
            if not places:
                continue
            found = self._seen.texts(view, places)
            self._known.update(zip(((view, p) for p in places), found, strict=True))
        return [[None if pair is None else self._known[pair] for pair in row] for row in wanted]


def _raised(similarity: Tensor) -> Tensor:
    return (_FITS * (similarity - _ALIKE).clamp_min(0.0)).exp()


def _copied(fact: Fact, part: str, in_json: bool, with_verbs: bool) -> list[str]:
    """A text of a fact to copy, and the number that stands for it in a form, if there are such."""
    if part == "property":
        if in_json:
            return []  # no sentence is made of it
        return [fact.named_text if with_verbs else fact.property_text]
    text = fact.entity_text if part == "entity" else fact.value_text
    if not in_json:
        return [text]
    number = number_in(text) if part == "value" else None
    return [json.dumps(text, ensure_ascii=False)[1:-1], *([] if number is None else [number])]
