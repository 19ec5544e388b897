"""What the words of a question say about facts, beside the embedding of the whole.

An embedding of "the mother of Isabelle Adjani" is mostly Isabelle Adjani: her father's is
nearly the same, and another Isabelle's is near. So the two things that make a fact the right
one are looked at apart: whether its entity is the one that is named, by words; and whether its
property is the one asked for, by embedding the question without the name.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from kblam.encoding._naming import LINKS, WORD, AskedNames, folded
from kblam.knowledge import TextEmbedder, Triple

__all__ = [
    "NUM_EXCESS",
    "NUM_NAMED",
    "Evidence",
    "encode_or_zero",
    "guessed_without_name",
    "names_something",
    "read_evidence",
    "without_names",
]

NUM_NAMED = 4
NUM_EXCESS = 2
_SPACES = re.compile(r"\s+")
# Of the words of a name that must be there for them to be taken for the name.
_ENOUGH = 0.5


@dataclass(frozen=True)
class Evidence:
    """What is known of k facts for each of B questions.

    Attributes:
        named: Share of the entity's words that the question has, whether it has the whole name
            in one piece, and both for the question before it; from 0 to 1, (B, k, NUM_NAMED).
        excess: Share of the name in the question that the entity has not, and the same for the
            question before it; from 0 to 1, (B, k, NUM_EXCESS).
        question: The question without the names, read, (B, E).
        properties: The facts' properties, read, (B, k, E).
        verbs: True where the property is a verb, (B, k).
    """

    named: Tensor
    excess: Tensor
    question: Tensor
    properties: Tensor
    verbs: Tensor

    def repeat(self, times: int) -> Evidence:
        """Every row so many times, for beams or several answers to a question."""
        if times == 1:
            return self
        return Evidence(
            self.named.repeat_interleave(times, 0),
            self.excess.repeat_interleave(times, 0),
            self.question.repeat_interleave(times, 0),
            self.properties.repeat_interleave(times, 0),
            self.verbs.repeat_interleave(times, 0),
        )

    def to(self, device: torch.device) -> Evidence:
        """The same on a device."""
        return Evidence(
            self.named.to(device),
            self.excess.to(device),
            self.question.to(device),
            self.properties.to(device),
            self.verbs.to(device),
        )


def encode_or_zero(encoder: TextEmbedder, texts: Sequence[str]) -> Tensor:
    """Embed N texts, (N, E); an empty one is zero, as it says nothing."""
    found = torch.zeros(len(texts), encoder.dimension)
    places = [place for place, text in enumerate(texts) if text]
    if places:
        found[places] = torch.from_numpy(encoder.encode([texts[place] for place in places]))
    return found


def without_names(question: str, names: Sequence[str]) -> str:
    """A question without the words of some names.

    Args:
        question: The text.
        names: Folded or not.
    """
    gone = {word for name in names for word in WORD.findall(folded(name))}
    left = WORD.sub(lambda match: "" if folded(match[0]) in gone else match[0], question)
    return _SPACES.sub(" ", left).strip()


def guessed_without_name(question: str) -> str:
    """A question without what looks like the name in it, before it is known what it names.

    What :func:`read_evidence` embeds is known only once facts are selected. Where this guess is
    the same, it can be embedded together with the question, which takes hardly longer than the
    question alone.
    """
    best, run = "", ""
    end = 0
    for position, match in enumerate(WORD.finditer(question)):
        word, between = match[0], question[end : match.start()]
        end = match.end()
        names = position > 0 and (word[0].isupper() or word[0].isdigit())
        if names or (run and word in LINKS):
            run += between + word if run else word
        else:
            run = ""
        if names and len(run) > len(best):
            best = run
    return without_names(question, [best])


def names_something(question: str, facts: Sequence[Triple | None]) -> bool:
    """Whether a question names one of some facts' entities, or whatever capitals show.

    Args:
        question: The text.
        facts: Those that it may be about; None where there is none.
    """
    if any(_is_capitalised(question, match) for match in WORD.finditer(question)):
        return True
    asked = AskedNames(question)
    return any(asked.has(folded(f.entity_text))[0] == 1.0 for f in facts if f is not None)


def _is_capitalised(text: str, word: re.Match[str]) -> bool:
    """Whether a word inside a sentence has a capital and is more than an initial or "I"."""
    before = text[max(0, word.start() - 2) : word.start()]
    inside = before[1:] == " " and (before[0] in ",;" or before[0].islower() or before[0].isdigit())
    return inside and len(word[0]) > 1 and any(sign.isupper() for sign in word[0])


def read_evidence(
    questions: Sequence[str],
    before: Sequence[str],
    facts: Sequence[Sequence[Triple | None]],
    reader: TextEmbedder,
    property_reader: TextEmbedder,
) -> Evidence:
    """Read what the words of questions say about facts.

    Args:
        questions: B questions.
        before: What was asked before each, or an empty text.
        facts: Per question, k facts; None where there is none.
        reader: Embeds the questions without their names: the encoder, or with trained layers.
        property_reader: Embeds properties: either of them, as the adapter was trained. It should
            cache, as they come again and again.
    """
    width = max(map(len, facts))
    named = np.zeros((len(questions), width, NUM_NAMED), dtype=np.float32)
    excess = np.zeros((len(questions), width, NUM_EXCESS), dtype=np.float32)
    verbs = torch.zeros(len(questions), width, dtype=torch.bool)
    bare, properties = [], []
    for row, (question, earlier, candidates) in enumerate(
        zip(questions, before, facts, strict=True)
    ):
        asked, context = AskedNames(question), AskedNames(earlier)
        for place, fact in enumerate(candidates):
            if fact is not None:
                name = folded(fact.entity_text)
                named[row, place] = (*asked.has(name), *context.has(name))
                told = folded(fact.property_text)
                excess[row, place] = asked.excess(name, told), context.excess(name, told)
                verbs[row, place] = fact.verb_text is not None
        _leave_out_parts_of_names(candidates, named[row], excess[row], (asked, context))
        bare.append(without_names(question, _mentioned(candidates, named[row])))
        texts = [fact.property_text if fact is not None else "" for fact in candidates]
        properties += texts + [""] * (width - len(texts))
    asked_for, told_of = reader.encode(bare), property_reader.encode(properties)
    return Evidence(
        torch.from_numpy(named),
        torch.from_numpy(excess),
        torch.from_numpy(asked_for),
        torch.from_numpy(told_of).view(len(bare), width, -1),
        verbs,
    )


def _leave_out_parts_of_names(
    facts: Sequence[Triple | None],
    named: np.ndarray,
    excess: np.ndarray,
    asked: Sequence[AskedNames],
) -> None:
    """Words of a name that stands in a question whole are no mention of another name.

    Where "George H. W. Bush" stands, neither George W. Bush is named nor Kate Bush; where "Ember
    Stove" does, no "Ember Stove Pro"; nor is, where only "Ember Stove Pro" does, "Ember Stove".

    Args:
        facts: k facts.
        named: What :class:`Evidence` has of one question, (k, NUM_NAMED); changed in place.
        excess: The same, (k, NUM_EXCESS): all of the name that is there is another's.
        asked: The question, and the one before it.
    """
    for turn, names in enumerate(asked):
        share, whole = 2 * turn, 2 * turn + 1
        standing = {
            place: fact
            for place in np.flatnonzero(named[:, whole] == 1.0).tolist()
            if (fact := facts[place]) is not None
        }
        for place in (*_spelled_otherwise(standing, names), *_within_others(standing, names)):
            named[place, [share, whole]], excess[place, turn] = 0.0, 1.0
        there = {_words(facts[place]) for place in np.flatnonzero(named[:, whole] == 1.0).tolist()}
        for place in np.flatnonzero((named[:, share] > 0.0) & (named[:, whole] == 0.0)).tolist():
            found = names.words_of(_words(facts[place]))
            if any(found <= other for other in there):
                named[place, share], excess[place, turn] = 0.0, 1.0


def _spelled_otherwise(facts: Mapping[int, Triple], names: AskedNames) -> list[int]:
    """Of facts whose names stand there, those of a name beside which another is spelled right.

    Jose Nunez is not meant where José Núñez is written, if both are known.
    """
    exact = {place for place, fact in facts.items() if names.spells(fact.entity_text)}
    right = {folded(facts[place].entity_text) for place in exact}
    return [
        place
        for place, fact in facts.items()
        if place not in exact and folded(fact.entity_text) in right
    ]


def _within_others(facts: Mapping[int, Triple], names: AskedNames) -> list[int]:
    """Of facts whose names stand there, those of a name that stands in longer ones alone."""
    known = {place: folded(fact.entity_text) for place, fact in facts.items()}
    within = names.within_others(set(known.values()))
    return [place for place, name in known.items() if name in within]


def _words(fact: Triple | None) -> frozenset[str]:
    return frozenset(WORD.findall(folded(fact.entity_text)) if fact is not None else ())


def _mentioned(facts: Sequence[Triple | None], named: np.ndarray) -> list[str]:
    """The entities that a question names: all that stand there whole, or the most alike one."""
    present = [(fact, row) for fact, row in zip(facts, named, strict=False) if fact is not None]
    whole = [fact.entity_text for fact, row in present if row[1] == 1.0]
    if whole:
        return whole
    best = max(present, key=lambda pair: (pair[1][0], len(pair[0].entity_text)), default=None)
    return [best[0].entity_text] if best is not None and best[1][0] >= _ENOUGH else []
