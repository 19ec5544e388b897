"""Whether guessing ahead pays: the same real questions with and without it, in turn.

    python benchmarks/guesses.py --facts FACTS.jsonl --questions QUESTIONS.jsonl --limit 100

Each question is asked twice over the same facts, one time letting the decoder check what the facts
suggest several tokens at a time, and of the base without facts, which writes as many tokens.
Counted are replies that are the same word for word, passes through the decoder, the tokens that
passes had besides those of the prompt, and the time per token after the first (``latency.py`` has
whole answers). Refusals end with the first token and are left out.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from latency import timed_answer
from tqdm import tqdm

from kblam import KBLaM, KnowledgeStore
from kblam.answer import Answer
from kblam.config import GenerationOptions
from kblam.evaluation import load_facts, load_questions
from kblam.evaluation.result import versions
from kblam.evaluation.tasks import build_task


@dataclass(frozen=True)
class Reply:
    """An answer, and what it took.

    Attributes:
        text: The answer.
        tokens: Those written.
        passes: How often the decoder ran.
        read: Tokens that passed through it after the prompt.
        each: Seconds for each token after the first.
    """

    text: str
    tokens: int
    passes: int
    read: int
    each: float


@contextmanager
def counted(model: KBLaM) -> Iterator[list[int]]:
    """The number of tokens that each pass of the decoder has."""
    passes: list[int] = []
    hook = model.base.register_forward_pre_hook(
        lambda _, __, given: passes.append(given["input_ids"].shape[1]), with_kwargs=True
    )
    try:
        yield passes
    finally:
        hook.remove()


def ask(model: KBLaM, question: str, options: GenerationOptions) -> Reply:
    """Ask once."""
    kept: list[Answer] = []

    def answer() -> Answer:
        kept.append(model.ask(question, options))
        return kept[-1]

    with counted(model) as passes:
        timing = timed_answer(answer)
    written = kept[0].usage.output_tokens
    return Reply(kept[0].text, written, len(passes), sum(passes[1:]), timing.each)


def compare(informed: KBLaM, bare: KBLaM, questions: Sequence[str]) -> list[dict[str, Reply]]:
    """Ask every question in all three ways; the order of the ways goes round."""
    found = []
    for turn, question in enumerate(tqdm(questions, leave=False)):
        replies = {}
        for way in [("guessing", "singly"), ("singly", "guessing")][turn % 2]:
            options = GenerationOptions(speculative=way == "guessing")
            replies[way] = ask(informed, question, options)
        length = max(2, replies["singly"].tokens)
        replies["base"] = ask(bare, question, GenerationOptions(max_new_tokens=length))
        found.append(replies)
    return found


def summary(found: Sequence[dict[str, Reply]]) -> dict[str, Any]:
    """Shares, means, and medians of the ratios to the base."""
    told = [replies for replies in found if replies["singly"].tokens > 1]
    result: dict[str, Any] = {
        "questions": len(found),
        "refused": len(found) - len(told),
        "same": statistics.mean(r["guessing"].text == r["singly"].text for r in found),
    }
    for way in ("singly", "guessing"):
        mine = [replies[way] for replies in told]
        base = [replies["base"] for replies in told]
        result[way] = {
            "tokens": statistics.mean(reply.tokens for reply in mine),
            "passes": statistics.mean(reply.passes for reply in mine),
            "read": statistics.mean(reply.read for reply in mine),
            "new_token_ratio": statistics.median(
                a.each / b.each for a, b in zip(mine, base, strict=True)
            ),
        }
    return result


def main() -> None:
    """Read the arguments, measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--facts", type=Path, required=True)
    parser.add_argument("--questions", type=Path, required=True)
    parser.add_argument("--num-facts", type=int, default=1_000)
    parser.add_argument("--limit", type=int, default=100)
    parser.add_argument("--adapter", default="default")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    task = build_task(
        load_facts(options.facts),
        load_questions(options.questions),
        num_facts=options.num_facts,
        limit=options.limit,
    )
    bare = KBLaM.from_pretrained(adapter=None)
    with KnowledgeStore.from_source(task.facts) as store:
        informed = KBLaM.from_pretrained(adapter=options.adapter).attach(store)
        for model in (informed, bare):
            model.ask("Who are you?", GenerationOptions(max_new_tokens=3))
        found = compare(informed, bare, [question.text for question in task.questions])
    result = summary(found)
    for way in ("singly", "guessing"):
        row = result[way]
        print(
            f"{way:<9}{row['tokens']:6.1f} tokens in {row['passes']:5.2f} passes, "
            f"{row['new_token_ratio']:.2f} times the base's time per new token"
        )
    print(f"the same reply: {result['same']:.3f} of {result['questions']}")
    if options.json is not None:
        replies = [{way: asdict(reply) for way, reply in each.items()} for each in found]
        written = {"versions": versions(), **result, "replies": replies}
        options.json.write_text(json.dumps(written, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
