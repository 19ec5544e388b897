"""A suite's results as Markdown tables."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

__all__ = ["markdown", "share", "table"]

_Result = Mapping[str, Any]

_SHARES = {
    "recall_at_1": "recall@1",
    "recall_at_5": "recall@5",
    "contains": "contains",
    "value_once": "value once",
    "token_f1": "token F1",
    "refusal_precision": "refusal precision",
    "refusal_recall": "refusal recall",
}
_COSTS = {
    "seconds_per_question": "s/question",
    "time_to_first_token": "first token, s",
    "input_tokens": "prompt tokens",
    "peak_memory_mb": "peak MiB",
}
_PRESERVATION = {
    "kl_per_token": "KL(base ‖ with facts), nats per token",
    "kl_per_token_answered": "the same, without refused prompts",
    "kl_per_token_p95": "the same, 95th percentile of the prompts",
    "refused": "share of the prompts refused",
    "identical": "share of the greedy replies identical",
    "common_prefix": "share of the tokens before the first difference",
    "likelihood_lost": "how much less likely the base finds the replies, nats per token",
}


def markdown(outcome: _Result) -> str:
    """Make the report.

    Args:
        outcome: What `run_suite` has so far.

    Returns:
        A Markdown document: a table per number of facts, one of the costs, the preservation of the
        base, the attention by layer, and notes.
    """
    results: Sequence[_Result] = outcome["questions"]
    parts = ["# Evaluation", _setting(outcome)]
    sizes = dict.fromkeys(r["num_facts"] for r in results if r["method"] != "base")
    for size in sizes or ([results[0]["num_facts"]] if results else []):
        rows = [r for r in results if r["method"] == "base" or r["num_facts"] == size]
        parts += [f"## {size:,} facts", _quality(rows), _costs(rows)]
    if outcome["preservation"] is not None:
        parts += ["## The base model with facts attached", _preservation(outcome["preservation"])]
    if outcome["attention"]:
        parts += ["## Attention by layer", _attention(outcome["attention"])]
    notes = {
        f"{r['label']}, {r['num_facts']:,} facts: {note}": None
        for r in results
        for note in r["notes"]
    }
    if notes:
        parts += ["## Notes", "\n".join(f"- {note}" for note in notes)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _setting(outcome: _Result) -> str:
    results = [
        *outcome["questions"],
        *([outcome["preservation"]] if outcome["preservation"] else []),
    ]
    if not results:
        return ""
    first = results[0]
    adapters = dict.fromkeys(r["adapter"] for r in results if r["adapter"])
    versions = ", ".join(f"{name} {version}" for name, version in first["versions"].items())
    facts, questions = (outcome["settings"][name]["file"] for name in ("facts", "questions"))
    return (
        f"Model {first['model']}, adapter {', '.join(adapters) or 'none'}; facts `{facts}`, "
        f"questions `{questions}`; on {first['device']} with {first['threads']} threads; "
        f"{versions}. In brackets: 95 % bootstrap intervals over the questions."
    )


def _quality(rows: Iterable[_Result]) -> str:
    head = ["method", "questions", *_SHARES.values()]
    body = [
        [
            r["label"],
            f"{r['num_questions']:,}",
            *(share(r[name], r["intervals"].get(name)) for name in _SHARES),
        ]
        for r in rows
    ]
    return table(head, body)


def _costs(rows: Iterable[_Result]) -> str:
    head = ["method", *_COSTS.values()]
    return table(head, [[r["label"], *(_cost(r[name]) for name in _COSTS)] for r in rows])


def _preservation(result: _Result) -> str:
    head = ["measure", f"{result['num_prompts']:,} prompts, {result['num_facts']:,} facts"]
    intervals = result["intervals"]
    body = [
        [text, share(result[name], intervals.get(name))] for name, text in _PRESERVATION.items()
    ]
    kinds = [
        [kind, *(share(figures.get(name), None) for name in _BY_KIND)]
        for kind, figures in result["kinds"].items()
    ]
    return "\n\n".join([table(head, body), table(["kind of prompt", *_BY_KIND.values()], kinds)])


_BY_KIND = {"kl_per_token": "KL per token", "refused": "refused", "identical": "identical"}


def _attention(results: Iterable[_Result]) -> str:
    head = ["facts", "layer", "gold fact's share", "all facts' share", "gold fact first"]
    names = ("gold_share", "fact_share", "recall_at_1")
    body = []
    for result in results:
        for place, layer in enumerate(result["layers"]):
            intervals = result["intervals"]
            cells = [
                share(result[name][place], intervals[name][place] if name in intervals else None)
                for name in names
            ]
            body.append([f"{result['num_facts']:,}", str(layer), *cells])
        selected = share(result["selected_at_1"], None)
        body.append([f"{result['num_facts']:,}", "selection", "-", "-", selected])
    return table(head, body)


def table(head: Sequence[str], body: Iterable[Sequence[str]]) -> str:
    """A Markdown table, its columns but the first aligned to the right."""
    rule = ["---"] + ["---:"] * (len(head) - 1)
    return "\n".join("| " + " | ".join(row) + " |" for row in [head, rule, *body])


def share(value: float | None, ends: Sequence[float] | None, *, digits: int = 3) -> str:
    """A figure and, in brackets, its interval."""
    if value is None:
        return "-"
    text = f"{value:.{digits}f}"
    return text if ends is None else f"{text} [{ends[0]:.{digits}f}, {ends[1]:.{digits}f}]"


def _cost(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
