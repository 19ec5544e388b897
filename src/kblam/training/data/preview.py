"""Samples of the training data for people to read."""

from __future__ import annotations

from collections import Counter

from kblam.training.data._index import WorldIndex
from kblam.training.data.instructions import general_instructions
from kblam.training.data.questions import TrainingQuestion, generate_questions
from kblam.training.data.world import generate_world

__all__ = ["preview"]


def preview(num: int = 20, seed: int = 0, *, num_facts: int = 2000) -> str:
    """Return samples of a world, of questions and of general instructions as text.

    Args:
        num: How many questions to show.
        seed: The seed of the world and the questions.
        num_facts: How many facts the world has.
    """
    world = generate_world(num_facts, seed)
    questions = generate_questions(world, max(num, 500), seed)
    counts = Counter(question.kind for question in questions)
    shares = ", ".join(f"{kind} {n / len(questions):.0%}" for kind, n in counts.most_common())
    lines = [
        f"{len(world.facts)} facts of {len(world.entity_kinds)} entities, "
        f"{len({relation.id for relation in world.relations})} relations",
        f"Kinds of questions: {shares}",
        "",
        "Facts",
        *(f"  {fact.entity} | {fact.property} | {fact.value}" for fact in world.facts[:num]),
        "",
        "Questions",
    ]
    index = WorldIndex(world)
    for question in questions[:num]:
        lines.extend(_show(index, question))
    lines += ["", "General instructions"]
    lines.extend(f"  {text}" for text in general_instructions(max(3, num // 4), seed))
    return "\n".join(lines)


def _show(index: WorldIndex, question: TrainingQuestion) -> list[str]:
    lines = [f"  [{question.kind}] {question.question}"]
    if question.system is not None:
        lines.append(f"      system: {question.system}")
    lines.extend(f"      {role}: {text}" for role, text in question.history)
    lines.append(f"      -> {index.text(question.answer) or '(refuse)'}")
    for number in question.near[:2]:
        fact = index.world.facts[number]
        lines.append(f"      near: {fact.entity} | {fact.property} | {fact.value}")
    return lines
