"""The prompts of the methods that have their facts in the prompt, as data.

Several wordings, because a small model's answers depend on them and a baseline deserves its best
one; `DEFAULT_WORDINGS` names what measured best for each method. Every wording tells the model the
sentence to refuse with, or, for the `plain` ones, leaves refusing to it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["DEFAULT_WORDINGS", "WORDINGS", "Wording", "messages"]


@dataclass(frozen=True)
class Wording:
    """A prompt with places for the facts, the question and the refusal sentence.

    Attributes:
        user: The user message; ``{facts}``, ``{question}`` and ``{refusal}`` are filled in.
        system: The system message, if any, filled in likewise.
    """

    user: str
    system: str | None = None


WORDINGS: dict[str, Wording] = {
    "plain": Wording("{facts}\n\n{question}"),
    "context": Wording(
        "Context:\n{facts}\n\nAnswer the question from the context, in one short sentence.\n"
        "Question: {question}"
    ),
    "context-refuse": Wording(
        "Context:\n{facts}\n\nAnswer the question from the context, in one short sentence. "
        'If the context does not hold the answer, say: "{refusal}"\nQuestion: {question}'
    ),
    "examples": Wording(
        "Answer the question from the context, in one short sentence.\n\n"
        "Context:\nThe tallest peak of Veldania is Mount Orrin.\n"
        "Question: What is the highest mountain in Veldania?\n"
        "Answer: The tallest peak of Veldania is Mount Orrin.\n\n"
        "Context:\nThe tallest peak of Veldania is Mount Orrin.\n"
        "Question: Who is the president of Veldania?\n"
        "Answer: {refusal}\n\n"
        "Context:\n{facts}\nQuestion: {question}\nAnswer:"
    ),
    "refuse": Wording(
        "Facts:\n{facts}\n\nAnswer the question from the facts, in one short sentence. "
        'If the facts do not answer it, reply only: "{refusal}"\n\nQuestion: {question}'
    ),
    "refuse-first": Wording(
        'If the facts below do not answer the question, reply only: "{refusal}"\n'
        "Otherwise answer it in one short sentence.\n\nFacts:\n{facts}\n\nQuestion: {question}"
    ),
    "refuse-system": Wording(
        "Facts:\n{facts}\n\nQuestion: {question}",
        system="You answer questions in one short sentence and only from the facts that you are "
        'given. If they do not hold the answer, you reply: "{refusal}"',
    ),
    "question": Wording("{question}"),
    "question-refuse": Wording(
        "Answer the question in one short sentence. "
        'If you do not know the answer, reply only: "{refusal}"\n\nQuestion: {question}'
    ),
}
DEFAULT_WORDINGS: dict[str, str] = {
    "base": "question",
    "rag": "context",
    "bm25": "context",
    "in-context": "context",
    "cached-prefix": "context",
}


def messages(
    wording: Wording, *, question: str, facts: Sequence[str], refusal: str
) -> list[dict[str, str]]:
    """Fill a wording in.

    Args:
        wording: The prompt.
        question: The question.
        facts: The facts as sentences, one a line in the prompt.
        refusal: The sentence to refuse with.

    Returns:
        Chat messages, the system message first where the wording has one.
    """
    places = {"facts": "\n".join(facts), "question": question, "refusal": refusal}
    filled = [{"role": "user", "content": wording.user.format(**places)}]
    if wording.system is not None:
        filled.insert(0, {"role": "system", "content": wording.system.format(**places)})
    return filled
