"""How well replies read: what the base model alone makes of them, given the fact.

A reply can hold the right value in a sentence that nobody would write. With the gold fact in its
prompt, the base model gives such a reply a low likelihood, whichever method wrote it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from kblam._prompt import Prompt, as_messages, tokenize
from kblam.errors import PromptTooLongError
from kblam.evaluation.bootstrap import Parts, ratios
from kblam.evaluation.prompts import DEFAULT_WORDINGS, WORDINGS, messages
from kblam.knowledge import Triple
from kblam.model import KBLaM

__all__ = ["GoldPrompt", "compare_likelihoods", "gold_prompt", "reply_log_likelihoods"]

GoldPrompt = list[dict[str, str]]


@dataclass(frozen=True)
class _Row:
    """The tokens of a prompt and its reply, of which the last `reply` ones are scored."""

    tokens: list[int]
    reply: int


def gold_prompt(
    question: str, gold: Iterable[Triple], *, refusal: str, wording: str | None = None
) -> GoldPrompt:
    """The prompt of `rag` with exactly the gold facts in it.

    Args:
        question: The question.
        gold: The facts that answer it.
        refusal: The sentence to refuse with, where the wording has it.
        wording: Name of the prompt; None takes that of `rag`.
    """
    chosen = WORDINGS[wording or DEFAULT_WORDINGS["rag"]]
    facts = [fact.statement for fact in gold]
    return messages(chosen, question=question, facts=facts, refusal=refusal)


def reply_log_likelihoods(
    model: KBLaM,
    prompts: Sequence[Prompt],
    replies: Sequence[str],
    *,
    batch_size: int = 8,
    advance: Callable[[], None] = lambda: None,
) -> list[float]:
    """The mean log-likelihood per token that the base model alone gives to replies.

    The end token counts as one of the reply's tokens: a reply that stops where a sentence does
    is better than one that breaks off.

    Args:
        model: Its base model is asked; facts that are attached to it are not read.
        prompts: What each reply is the answer to.
        replies: The replies, as many.
        batch_size: Replies scored together.
        advance: Called after each reply.

    Returns:
        Nats per token, at most 0, in the order of the replies.

    Raises:
        ConfigError: A prompt is empty or malformed.
        PromptTooLongError: A prompt with its reply is longer than the model's context.
    """
    rows = [_tokens(model, *pair) for pair in zip(prompts, replies, strict=True)]
    scores = [0.0] * len(rows)
    # Rows of like length together: less padding.
    order = sorted(range(len(rows)), key=lambda i: len(rows[i].tokens))
    for start in range(0, len(order), batch_size):
        batch = order[start : start + batch_size]
        for i, score in zip(batch, _score(model, [rows[i] for i in batch]), strict=True):
            scores[i] = score
            advance()
    return scores


def _tokens(model: KBLaM, prompt: Prompt, reply: str) -> _Row:
    tokenizer, vocabulary = model.tokenizer, model._engine.vocabulary
    # Where no chat template opens the reply, it stands behind "Answer:" and a space.
    opened = bool(tokenizer.chat_template)
    written = vocabulary.at_start(reply) if opened else vocabulary.behind(f" {reply}")
    scored = written + model._engine.end_tokens[:1]
    tokens = tokenize(tokenizer, as_messages(prompt)) + scored
    if len(tokens) > model.context_window:
        raise PromptTooLongError(
            f"Expected a prompt and a reply of at most {model.context_window} tokens together, the "
            f"model's context, got {len(tokens)}. Leave that question out."
        )
    return _Row(tokens, len(scored))


@torch.no_grad()
def _score(model: KBLaM, rows: Sequence[_Row]) -> list[float]:
    """Score one batch, padded on the right, where nothing that counts can see it."""
    device = model.base.device
    ids = pad_sequence(
        [torch.tensor(row.tokens) for row in rows],
        batch_first=True,
        padding_value=model._engine.pad_token,
    )  # (B, T)
    lengths = torch.tensor([len(row.tokens) for row in rows])
    mask = torch.arange(ids.shape[1]) < lengths[:, None]
    # No logits of prompts: a token's are many times its hidden state.
    first = min(len(row.tokens) - row.reply for row in rows)
    base: Any = model.base
    with model._engine.lock:
        output = base(
            input_ids=ids.to(device),
            attention_mask=mask.long().to(device),
            use_cache=False,
            logits_to_keep=ids.shape[1] - first + 1,
        )
    # The token before predicts: (B, T - first, V) of the tokens from `first` on.
    log_probs: Tensor = output.logits[:, :-1].float().log_softmax(-1)
    taken = log_probs.gather(2, ids[:, first:, None].to(device))[..., 0]
    means = []
    for row, values in zip(rows, taken, strict=True):
        stop = len(row.tokens) - first
        means.append(float(values[stop - row.reply : stop].mean()))
    return means


def compare_likelihoods(
    likelihoods: Mapping[str, Mapping[int, float]], *, bootstrap: int = 1000, seed: int = 0
) -> dict[str, Any]:
    """Average two methods' likelihoods, and the difference where both have one.

    Args:
        likelihoods: By method, two of them, the log-likelihood per token by question.
        bootstrap: Resamples for the intervals over the questions; 0 leaves them out.
        seed: Of the resamples.

    Returns:
        ``methods``: by name ``num_replies``, ``log_likelihood`` (a mean over replies) and its
        ``interval``. ``both``: ``num_questions``, each method's mean on the questions both have,
        the ``difference`` (the first's minus the second's) and its ``interval``; JSON-able.
    """
    (one, first), (other, second) = likelihoods.items()
    common = sorted(first.keys() & second.keys())
    figures: dict[str, Parts] = {name: _mean(list(v.values())) for name, v in likelihoods.items()}
    figures["difference"] = _mean([first[i] - second[i] for i in common])
    means, intervals = ratios(figures, resamples=bootstrap, seed=seed)
    on_both = {n: _mean([v[i] for i in common]) for n, v in likelihoods.items()}
    return {
        "methods": {
            name: {
                "num_replies": len(likelihoods[name]),
                "log_likelihood": means[name],
                "interval": _listed(intervals.get(name)),
            }
            for name in (one, other)
        },
        "both": {
            "num_questions": len(common),
            "log_likelihood": ratios(on_both, resamples=0, seed=seed)[0],
            "difference": means["difference"],
            "interval": _listed(intervals.get("difference")),
        },
    }


def _mean(values: Sequence[float]) -> Parts:
    return values, [1.0] * len(values)


def _listed(ends: tuple[float, float] | None) -> list[float] | None:
    return None if ends is None else list(ends)
