"""Tasks as data: which questions are asked, over which facts, and which of those are gold."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from kblam._questions import Question, find_gold, identity
from kblam.knowledge import Triple

__all__ = ["Task", "build_task", "sample_questions"]


@dataclass(frozen=True)
class Task:
    """Questions, the facts they are asked over, and the gold facts of each question.

    Attributes:
        facts: In seeded order.
        questions: In the order in which they are asked.
        gold: Per question, the facts that answer it; none for an unanswerable question and for
            one whose answer no fact holds.
        notes: What a reader of the figures should know about the task.
    """

    facts: tuple[Triple, ...]
    questions: tuple[Question, ...]
    gold: tuple[tuple[Triple, ...], ...]
    notes: tuple[str, ...] = ()


def sample_questions(
    questions: Sequence[Question], limit: int | None, *, seed: int
) -> list[Question]:
    """Draw questions, answerable and unanswerable ones in their shares.

    Files often list all answerable questions first; the first N of them would say nothing about
    refusal. The sample is mixed and depends on the seed alone.

    Returns:
        `limit` questions in random order, or all of them in file order where that is no more.
    """
    if limit is None or limit >= len(questions):
        return list(questions)
    generator = random.Random(seed)
    groups = [[q for q in questions if q.answerable], [q for q in questions if not q.answerable]]
    share = round(limit * len(groups[1]) / len(questions))
    if groups[0] and groups[1] and limit >= 2:
        # One of each at least, however small the sample.
        share = min(max(share, 1), limit - 1)
    drawn = generator.sample(groups[0], limit - share) + generator.sample(groups[1], share)
    generator.shuffle(drawn)
    return drawn


def build_task(
    facts: Sequence[Triple],
    questions: Sequence[Question],
    *,
    num_facts: int | None = None,
    limit: int | None = None,
    seed: int = 0,
) -> Task:
    """Choose the questions, keep their gold facts and fill up with others.

    Args:
        facts: All facts.
        questions: All questions.
        num_facts: How many facts the task has; None takes all.
        limit: How many questions are asked; None asks all.
        seed: Of the draws and of the facts' order.

    Returns:
        The task. Where the gold facts alone are more than `num_facts`, or all facts are fewer, the
        task has as many as those, and a note says so.
    """
    asked = sample_questions(questions, limit, seed=seed)
    gold = find_gold(facts, asked)
    chosen, notes = _choose_facts(facts, gold, num_facts, random.Random(seed))
    unknown = sum(q.answerable and not g for q, g in zip(asked, gold, strict=True))
    if unknown:
        notes.append(
            f"No fact holds the answer of {unknown} answerable questions: "
            "they count in the replies' measures, not in recall."
        )
    return Task(tuple(chosen), tuple(asked), tuple(gold), tuple(notes))


def _choose_facts(
    facts: Sequence[Triple],
    gold: Sequence[Sequence[Triple]],
    num_facts: int | None,
    generator: random.Random,
) -> tuple[list[Triple], list[str]]:
    notes: list[str] = []
    keep = {identity(fact) for group in gold for fact in group}
    kept = [fact for fact in facts if identity(fact) in keep]
    others = [fact for fact in facts if identity(fact) not in keep]
    if num_facts is None or num_facts >= len(facts):
        if num_facts is not None and num_facts > len(facts):
            notes.append(f"{num_facts} facts were asked for; the file has {len(facts)}.")
        chosen = kept + others
    else:
        if num_facts < len(kept):
            notes.append(
                f"{num_facts} facts were asked for; the questions' gold facts alone are "
                f"{len(kept)}. Ask fewer questions (limit) for a smaller knowledge base."
            )
        chosen = kept + generator.sample(others, max(num_facts - len(kept), 0))
    generator.shuffle(chosen)
    return chosen, notes
