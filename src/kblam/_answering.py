"""A caller's turn: what it may see, and the answer, also where that is nothing."""

from __future__ import annotations

import time

import torch

from kblam._engine import Engine
from kblam._generate import Generation
from kblam._knowledge_base import EncodedFacts, KnowledgeBase
from kblam._prompt import pad_prompts, tokenize
from kblam._request import Request
from kblam._stream import StreamClosed
from kblam.answer import Answer, Usage
from kblam.knowledge import View

__all__ = ["answer", "narrowed"]


def narrowed(attached: View | None, asked: View | None) -> View | None:
    """A call's view narrows the one attached; nothing a caller gives can widen it."""
    if attached is None or asked is None:
        return attached if asked is None else asked
    return attached & asked


def answer(
    engine: Engine, request: Request, base: KnowledgeBase | None, view: View | None
) -> list[Answer]:
    """Answer prompts, in their turn.

    Args:
        engine: The weights.
        request: What to generate.
        base: The store, or None.
        view: Which of its facts.

    Raises:
        PromptTooLongError: A prompt leaves no room for an answer.
        StreamClosed: Nobody waits for it any more.
    """
    with engine.lock:
        if request.cancelled is not None and request.cancelled():
            raise StreamClosed  # while it waited for the lock
        encoded = None if base is None else base.read(view)
        if view is not None and encoded is not None and len(encoded) == 0:
            return _refuse_unseen(engine, request, encoded)
        return Generation(engine, request, base, encoded).run()


def _refuse_unseen(engine: Engine, request: Request, seen: EncodedFacts) -> list[Answer]:
    """Refuse every prompt of a caller who may see no fact: nothing could be cited.

    Args:
        engine: Its tokenizer counts the prompts; nothing is generated.
        request: What was asked.
        seen: The empty view.

    Raises:
        PromptTooLongError: A prompt leaves no room for an answer.
    """
    started = time.perf_counter()
    tokens = [tokenize(engine.tokenizer, messages) for messages in request.prompts]
    # For its check: what is too long is an error, whatever the caller may see.
    prompts = pad_prompts(tokens, engine.pad_token, engine.context, torch.device("cpu"))
    seconds = time.perf_counter() - started
    return [
        Answer(
            text=request.refusal.sentence,
            citations=(),
            refused=True,
            finish_reason="refusal",
            usage=Usage(length, 0),
            facts=(),
            kb_fingerprint=seen.fingerprint,
            model_name=engine.name,
            seconds=seconds,
            time_to_first_token=seconds,
        )
        for length in prompts.lengths
    ]
