"""How well right replies read: the likelihood that the base model, told the fact, gives them.

    kblam evaluate --facts F.jsonl --questions Q.jsonl --method kblam --resume kblam.jsonl
    kblam evaluate --facts F.jsonl --questions Q.jsonl --method rag --resume rag.jsonl
    python benchmarks/likelihood.py --records kblam.jsonl rag.jsonl --facts F.jsonl --json OUT

Both files hold replies to the same questions. Those that contain the answer are scored by the base
model alone, with the prompt of RAG and the gold fact in it: the mean log-likelihood per token, the
end token counted. Besides each method's mean over its right replies, the difference is given on the
questions that both got right, where the questions' own difficulty cancels out.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kblam._questions import find_gold
from kblam.errors import ConfigError
from kblam.evaluation import Question, QuestionRecord, load_facts, load_questions
from kblam.evaluation._progress import bar
from kblam.evaluation.likelihood import (
    GoldPrompt,
    compare_likelihoods,
    gold_prompt,
    reply_log_likelihoods,
)
from kblam.evaluation.prompts import WORDINGS
from kblam.evaluation.record_file import read_records
from kblam.evaluation.report import share, table
from kblam.evaluation.result import provenance
from kblam.model import KBLaM
from kblam.weights import DEFAULT_BASE

_Records = dict[int, QuestionRecord]


def read(paths: Sequence[Path]) -> tuple[dict[str, _Records], list[dict[str, Any]]]:
    """Read both files.

    Returns:
        By method the records of the questions that both have, and both files' settings.

    Raises:
        ConfigError: A file is no file of records, or they are of different questions.
    """
    files = [read_records(path, QuestionRecord.from_dict) for path in paths]
    settings = [header for header, _ in files]
    names = [str(header.get("method")) for header in settings]
    if names[0] == names[1]:
        names = [path.stem for path in paths]
    if names[0] == names[1]:
        raise ConfigError(f"Expected two files of other names, got {paths[0]} and {paths[1]}.")
    records = [{record.index: record for record in found} for _, found in files]
    common = sorted(records[0].keys() & records[1].keys())
    for index in common:
        one, other = (found[index].asked for found in records)
        if one != other:
            raise ConfigError(
                f"Expected records of the same questions, but number {index} is {one!r:.200} in "
                f"{paths[0]} and {other!r:.200} in {paths[1]}."
            )
    return {
        name: {index: found[index] for index in common}
        for name, found in zip(names, records, strict=True)
    }, settings


def prompts_of(
    records: _Records, arguments: argparse.Namespace, refusal: str
) -> dict[int, GoldPrompt]:
    """Make the prompts of the answerable questions whose gold facts are known.

    Without a file of questions, a gold fact has an answer as its value and an entity that the
    question names; with one, the entity and property asked for are known.
    """
    listed: dict[int, Question] = {}
    if arguments.questions is not None:
        listed = {question.index: question for question in load_questions(arguments.questions)}
    asked = []
    for record in records.values():
        question = listed.get(record.index)
        if question is None or question.text != record.question:
            question = Question(record.question, record.answers, index=record.index)
        asked.append(question)
    gold = find_gold(load_facts(arguments.facts), asked)
    return {
        question.index: gold_prompt(
            question.text, facts, refusal=refusal, wording=arguments.wording
        )
        for question, facts in zip(asked, gold, strict=True)
        if facts
    }


def measure(
    model: KBLaM,
    records: Mapping[str, _Records],
    prompts: Mapping[int, GoldPrompt],
    batch_size: int,
) -> dict[str, dict[int, float]]:
    """Score each method's right replies."""
    likelihoods = {}
    for name, found in records.items():
        right = [i for i, record in found.items() if record.contains and i in prompts]
        with bar(name, len(right), len(right), show=True) as advance:
            scores = reply_log_likelihoods(
                model,
                [prompts[i] for i in right],
                [found[i].reply for i in right],
                batch_size=batch_size,
                advance=advance,
            )
        likelihoods[name] = dict(zip(right, scores, strict=True))
    return likelihoods


def as_table(figures: Mapping[str, Any]) -> str:
    """The figures as a Markdown table, intervals in brackets."""
    both = figures["both"]
    number = f"{both['num_questions']:,}"
    body = [
        [name, f"{row['num_replies']:,}", share(row["log_likelihood"], row["interval"])]
        for name, row in figures["methods"].items()
    ]
    body += [
        [f"{name}, both right", number, share(value, None)]
        for name, value in both["log_likelihood"].items()
    ]
    body.append(["difference, both right", number, share(both["difference"], both["interval"])])
    return table(["right replies of", "replies", "log-likelihood per token"], body)


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--records", type=Path, nargs=2, required=True, metavar=("KBLAM", "RAG"))
    parser.add_argument("--facts", type=Path, required=True)
    parser.add_argument("--questions", type=Path, help="tells entity and property of a question")
    parser.add_argument("--limit", type=int, help="a seeded sample of the questions in both files")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--base-model", help="None is the one that the records' settings name")
    parser.add_argument("--device")
    parser.add_argument("--wording", choices=sorted(WORDINGS), help="None is the one of RAG")
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--bootstrap", type=int, default=1000)
    parser.add_argument("--json", type=Path, metavar="OUT", help="write the figures to this file")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    """Score, print a table and write the figures."""
    parsed = parse(arguments)
    records, settings = read(parsed.records)
    common = sorted(next(iter(records.values())))
    if parsed.limit is not None and parsed.limit < len(common):
        common = sorted(random.Random(parsed.seed).sample(common, parsed.limit))
    records = {name: {i: found[i] for i in common} for name, found in records.items()}
    model = KBLaM.from_pretrained(
        parsed.base_model or settings[0].get("base_model") or DEFAULT_BASE,
        adapter=None,
        device=parsed.device,
    )
    some = next(iter(records.values()))
    prompts = prompts_of(some, parsed, model.refusal)
    likelihoods = measure(model, records, prompts, parsed.batch_size)
    figures = compare_likelihoods(likelihoods, bootstrap=parsed.bootstrap, seed=parsed.seed)
    answerable = sum(record.answerable for record in some.values())
    figures |= {
        "num_questions": len(common),
        "num_answerable": answerable,
        "num_without_gold_fact": answerable - len(prompts),
        **provenance(model),
        "settings": settings,
    }
    print(as_table(figures))
    if figures["num_without_gold_fact"]:
        print(f"No fact holds the answer of {figures['num_without_gold_fact']}: left out.")
    if parsed.json is not None:
        parsed.json.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps(figures, indent=2, ensure_ascii=False) + "\n"
        parsed.json.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
