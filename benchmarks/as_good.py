"""Are replies to general prompts as good with facts attached as without, where they differ?

    kblam evaluate --task preservation --facts F.jsonl --num-facts 1000 --resume kept.jsonl
    python benchmarks/as_good.py kept.jsonl

To the base model its own greedy reply is about the likeliest there is, so that most others lose.
How much is too much is told by what the base itself writes when it samples, at the temperature that
its makers advise and higher. Only prompts count whose greedy reply facts change,
and that are not refused. Beside the likelihood stand the share of word quadruples that a reply
repeats, where small models stumble, and its length.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from kblam import KBLaM
from kblam.config import GenerationOptions
from kblam.evaluation.bootstrap import ratio_interval
from kblam.evaluation.likelihood import reply_log_likelihoods
from kblam.evaluation.preservation_result import PreservationRecord
from kblam.evaluation.record_file import read_records

_BATCH = 16
_WORDS = 4


def sampled(
    model: KBLaM, records: list[PreservationRecord], temperature: float, tokens: int
) -> list[str]:
    """The base's own replies, drawn."""
    options = GenerationOptions(
        max_new_tokens=tokens, temperature=temperature, top_p=0.9, top_k=0, seed=0
    )
    texts = []
    for start in tqdm(range(0, len(records), _BATCH), desc=f"temperature {temperature}"):
        part = [list(record.messages) for record in records[start : start + _BATCH]]
        texts += [answer.text for answer in model.ask_batch(part, options)]
    return texts


def repeated(text: str) -> float:
    """Share of the quadruples of words that stood there before."""
    words = text.split()
    runs = [tuple(words[i : i + _WORDS]) for i in range(len(words) - _WORDS + 1)]
    return 1.0 - len(set(runs)) / len(runs) if runs else 0.0


def describe(lost: list[float], texts: list[str]) -> dict[str, Any]:
    """The figures of one sort of replies."""
    return {
        "lost": float(np.mean(lost)),
        "interval": ratio_interval(lost, [1.0] * len(lost)),
        "repeated": float(np.mean([repeated(text) for text in texts])),
        "words": float(np.mean([len(text.split()) for text in texts])),
    }


def main() -> None:
    """Read the arguments, sample, score, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("records", type=Path, help="what --task preservation --resume wrote")
    parser.add_argument("--temperatures", type=float, nargs="+", default=[0.2, 0.7])
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    settings, records = read_records(options.records, PreservationRecord.from_dict)
    others = [record for record in records if record.differs]
    if not others:
        raise SystemExit(f"No reply in {options.records} differs from the base's: none to judge.")
    model = KBLaM.from_pretrained(adapter=None)
    prompts = [list(record.messages) for record in others]
    own = [record.base_reply for record in others]
    base = reply_log_likelihoods(model, prompts, own)
    rows = {
        "base, greedy": describe([0.0] * len(others), own),
        "with facts, greedy": describe([r.lost for r in others], [r.reply for r in others]),
    }
    for temperature in options.temperatures:
        texts = sampled(model, others, temperature, settings["max_new_tokens"])
        scores = reply_log_likelihoods(model, prompts, texts)
        lost = [mine - theirs for mine, theirs in zip(base, scores, strict=True)]
        rows[f"base, temperature {temperature}"] = describe(lost, texts)
    print(f"{len(others)} of {len(records)} prompts: not refused, and another reply with facts")
    for name, row in rows.items():
        low, high = row["interval"] or (0.0, 0.0)
        print(
            f"{name:24s} less likely by {row['lost']:.3f} [{low:.3f}, {high:.3f}] nats a token, "
            f"repeats {row['repeated']:.3f}, {row['words']:.1f} words"
        )
    if options.json:
        options.json.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
