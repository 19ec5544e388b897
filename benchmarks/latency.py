"""End to end: time to the first token and per new token, as ratios to the base without facts.

    python benchmarks/latency.py --num-facts 1000 10000 100000 --json OUT --plot OUT.png

Several ways to answer one question, in turn, again and again in one process, so that whatever else
the machine does falls on all of them: the base model without facts; kblam with all facts attached,
with guesses at what comes next and singly, without them; retrieval of five facts into the prompt of
the base model (RAG), its retriever's time counted, and the same with guesses from its prompt
(Transformers' prompt lookup); the published form of rectangular attention (``published_form.py``);
and, at the smallest number of facts, as many of them in the prompt as ``--in-context-tokens`` hold,
read anew or from a cache.

Two sorts of questions are asked: some that the facts answer, each about another fact, and one that
they have nothing to do with, whose answer they do not help to guess. Most facts are made up and
have random unit vectors; those that are asked for, and the questions, each another one, are
embedded by the real encoder.

Ratios are medians over the rounds of the time divided by the base's in the same round.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import cycle, product
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from attention_cost import QUESTION, RandomFactVectors, Timing, letters, made_up_facts
from published_form import PublishedForm

from kblam._questions import Question
from kblam.answer import Answer
from kblam.config import GenerationOptions
from kblam.evaluation.config import EvaluationConfig
from kblam.evaluation.methods import build_method
from kblam.evaluation.prompts import WORDINGS, messages
from kblam.evaluation.result import versions
from kblam.evaluation.retrieval import DenseRetriever
from kblam.evaluation.tasks import Task
from kblam.knowledge import KnowledgeStore, TextEmbedder, Triple
from kblam.model import KBLaM
from kblam.weights import DEFAULT_BASE, DEFAULT_ENCODER

_RETRIEVED = 5
_SENTENCE = 12
_LOOKED_UP = 16  # tokens that prompt lookup guesses at
_SINGLY = GenerationOptions(speculative=False)
_PROPERTIES = {"founder": "Who is", "budget": "What is", "headquarters": "Where is"}
_NAMES = ("Amber", "Cedar", "Crimson", "Granite", "Harbour", "Linden", "Meadow", "Silver")
_KINDS = ("Bakery", "Castle", "Foundry", "Gallery", "Ferry", "Orchard", "Theatre", "Vineyard")


def asked_facts() -> list[Triple]:
    """Facts that the questions are about."""
    names = [f"{first} {second}" for first, second in product(_NAMES, _KINDS)]
    return [
        Triple(name, prop, f"{_NAMES[(turn + 3) % 8]} {turn + 1} of {_KINDS[(turn + 5) % 8]}")
        for turn, (name, prop) in enumerate(zip(names, cycle(_PROPERTIES), strict=False))
    ]


def question_about(fact: Triple) -> str:
    """A question that a fact answers."""
    return f"{_PROPERTIES[fact.property]} the {fact.property} of {fact.entity}?"


def timed(
    model: KBLaM,
    question: str,
    new_tokens: int,
    prompt: Callable[[str], Any] = str,
    options: GenerationOptions | None = None,
) -> Timing:
    """Ask once; making the prompt counts as time to the first token."""
    options = replace(options or GenerationOptions(), max_new_tokens=new_tokens)
    return timed_answer(lambda: model.ask(prompt(question), options))


@contextmanager
def looking_up(model: KBLaM) -> Iterator[None]:
    """Let ``generate`` guess that an answer goes on as its prompt does."""
    model.base.generation_config.prompt_lookup_num_tokens = _LOOKED_UP
    try:
        yield
    finally:
        model.base.generation_config.prompt_lookup_num_tokens = None


def timed_answer(ask: Callable[[], Answer]) -> Timing:
    """Ask once."""
    started = time.perf_counter()
    answer = ask()
    total = time.perf_counter() - started
    # The retriever and the reading of the store come before the answer's own clock starts.
    first = total - answer.seconds + answer.time_to_first_token
    return Timing(first, (total - first) / max(answer.usage.output_tokens - 1, 1))


def retrieval(facts: Sequence[Triple], encoder: TextEmbedder) -> Callable[[str], Any]:
    """Make the function that turns a question into a prompt with the facts found for it."""
    retriever = DenseRetriever(facts, encoder)

    def prompt(question: str) -> list[dict[str, str]]:
        found = [fact.statement for fact in retriever.search(question, _RETRIEVED)]
        return messages(WORDINGS["context"], question=question, facts=found, refusal="")

    return prompt


def in_context(
    bare: KBLaM, facts: Sequence[Triple], arguments: argparse.Namespace
) -> dict[str, Callable[[str], Timing]]:
    """As many facts in the prompt as fit, read anew for each question, and from a cache."""
    task = Task(tuple(facts), (Question(QUESTION, ()),), ((),))
    made_up = Path("made up")  # the task is here, not in files
    found: dict[str, Callable[[str], Timing]] = {}
    for name in get_args(Literal["in-context", "cached-prefix"]):
        config = EvaluationConfig(
            facts=made_up,
            questions=made_up,
            method=name,
            context_tokens=arguments.in_context_tokens,
            max_new_tokens=arguments.new_tokens,
        )
        method = build_method(bare, task, config)
        method.prepare()
        found[name] = lambda question, ask=method.ask: timed_answer(lambda: ask(question))
    return found


def measure(
    model: KBLaM, bare: KBLaM, num_facts: int, folder: Path, arguments: argparse.Namespace
) -> dict[str, Any]:
    """Measure one number of facts."""
    asked = asked_facts()
    facts = [*made_up_facts(num_facts - len(asked)), *asked]
    with KnowledgeStore(folder / f"{num_facts}.db") as store:
        if len(store) != num_facts:
            store.add(facts)
        store.encode(model.encoder, batch_size=4096)
        attached = model.with_options().attach(store)
        prompt = retrieval(facts, model.encoder)
        new_tokens = arguments.new_tokens
        ways: dict[str, Callable[[str], Timing]] = {
            "base": lambda question: timed(bare, question, new_tokens),
            "kblam": lambda question: timed(attached, question, new_tokens),
            "kblam, singly": lambda question: timed(
                attached, question, new_tokens, options=_SINGLY
            ),
            "rag": lambda question: timed(bare, question, new_tokens, prompt),
        }

        def ask_looking_up(question: str) -> Timing:
            with looking_up(bare):
                return timed(bare, question, new_tokens, prompt)

        ways["rag, lookup"] = ask_looking_up
        if num_facts <= arguments.published_up_to:
            published = PublishedForm(bare.base, num_facts)

            def ask_published(question: str) -> Timing:
                with published.reading():
                    return timed(bare, question, arguments.published_tokens)

            ways["published"] = ask_published
        if num_facts == min(arguments.num_facts) and arguments.in_context_tokens:
            ways |= in_context(bare, facts, arguments)
        # The encoder remembers what it has embedded: every question is another one.
        rounds: dict[str, list[dict[str, Timing]]] = {"answered": [], "general": []}
        for turn in range(arguments.repeats + 1):
            questions = {"answered": question_about(asked[turn % len(asked)]), "general": QUESTION}
            for kind, question in questions.items():
                mark = letters(num_facts + turn)
                rounds[kind].append(
                    {name: way(f"{question} ({mark}, by {name})") for name, way in ways.items()}
                )
    # The first round warms up.
    return {
        "num_facts": num_facts,
        **{kind: summary(timings[1:]) for kind, timings in rounds.items()},
    }


def summary(rounds: Sequence[dict[str, Timing]]) -> dict[str, Any]:
    """Medians of the times, and of their ratios to the base in the same round."""
    median = statistics.median
    result: dict[str, Any] = {}
    for name in rounds[0]:
        result[name] = {
            "seconds_to_first_token": median(r[name].first for r in rounds),
            "seconds_per_new_token": median(r[name].each for r in rounds),
            "first_token_ratio": median(r[name].first / r["base"].first for r in rounds),
            "new_token_ratio": median(r[name].each / r["base"].each for r in rounds),
            "first_token_over_kblam": median(r[name].first / r["kblam"].first for r in rounds),
            "new_token_over_kblam": median(r[name].each / r["kblam"].each for r in rounds),
            "answer_ratio": median(_whole(r[name]) / _whole(r["base"]) for r in rounds),
            "answer_over_kblam": median(_whole(r[name]) / _whole(r["kblam"]) for r in rounds),
        }
    return result


def _whole(timing: Timing) -> float:
    """Seconds of an answer as long as a sentence that tells a fact."""
    return timing.first + (_SENTENCE - 1) * timing.each


def _table(result: dict[str, Any]) -> str:
    lines = []
    for kind, title in (("answered", "answered by a fact"), ("general", "of something else")):
        lines.append(
            f"{result['num_facts']:,} facts, {title}: to the first token, per new token, "
            f"{_SENTENCE} tokens"
        )
        lines += [
            f"  {name:<14}{1000 * way['seconds_to_first_token']:8.0f} ms"
            f"{way['first_token_ratio']:7.2f} x base{1000 * way['seconds_per_new_token']:9.1f} ms"
            f"{way['new_token_ratio']:7.2f} x base{way['answer_ratio']:9.2f} x base"
            for name, way in result[kind].items()
        ]
    return "\n".join(lines)


def plot(results: Sequence[dict[str, Any]], path: Path) -> None:
    """Draw both ratios over the number of facts, for questions that facts answer."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(9, 4), layout="constrained")
    for axis, name, title in zip(
        axes,
        ("first_token_ratio", "new_token_ratio"),
        ("time to the first token", "time per new token"),
        strict=True,
    ):
        for way in ("kblam", "kblam, singly", "rag", "rag, lookup", "published"):
            found = [(r["num_facts"], r["answered"]) for r in results]
            points = [(count, ways[way][name]) for count, ways in found if way in ways]
            axis.loglog(*zip(*points, strict=True), marker="o", label=way)
        axis.axhline(1.0, color="grey", linewidth=0.8)
        axis.set(title=title, xlabel="facts", ylabel="times the base without facts")
        axis.grid(alpha=0.3)
        axis.legend()
    figure.savefig(path, dpi=150)
    plt.close(figure)


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Latency against the base without facts.")
    parser.add_argument("--num-facts", type=int, nargs="+", default=[1_000, 10_000, 100_000])
    parser.add_argument("--json", type=Path, metavar="OUT", help="write the figures to this file")
    parser.add_argument("--plot", type=Path, metavar="OUT", help="draw the ratios to this file")
    parser.add_argument("--repeats", type=int, default=5, help="rounds that count")
    parser.add_argument("--new-tokens", type=int, default=17, help="length of the timed answers")
    parser.add_argument("--published-tokens", type=int, default=5, help="the published form's")
    parser.add_argument(
        "--published-up-to", type=int, default=100_000, help="its facts take 46 KB each"
    )
    parser.add_argument(
        "--in-context-tokens", type=int, default=2048, help="prompts of the facts themselves"
    )
    parser.add_argument("--stores", type=Path, help="a folder with the stores, made if missing")
    parser.add_argument("--base-model", default=DEFAULT_BASE)
    parser.add_argument("--adapter", default="default")
    parser.add_argument("--encoder", default=DEFAULT_ENCODER, help="the adapter's")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print a table for each number of facts, and write the figures."""
    parsed = parse(arguments)
    model = KBLaM.from_pretrained(
        parsed.base_model,
        adapter=parsed.adapter,
        encoder=RandomFactVectors(parsed.encoder),
        # Made-up facts answer nothing: a refusal would end the answer before it is timed.
        refusal_threshold=1.0,
    )
    bare = KBLaM.from_pretrained(parsed.base_model, adapter=None)
    results = []
    if parsed.stores is not None:
        parsed.stores.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        for num_facts in parsed.num_facts:
            results.append(measure(model, bare, num_facts, parsed.stores or Path(folder), parsed))
            print(_table(results[-1]), flush=True)
    figures = {
        "model": model.model_name,
        "adapter": model.adapter_name,
        "versions": versions(),
        "dtype": str(model.base.dtype).removeprefix("torch."),
        "threads": torch.get_num_threads(),
        "prompt_tokens": model.count_tokens(QUESTION),
        "repeats": parsed.repeats,
        "results": results,
    }
    if parsed.json is not None:
        parsed.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    if parsed.plot is not None:
        plot(results, parsed.plot)


if __name__ == "__main__":
    main()
