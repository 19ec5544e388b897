"""A caller's turn: what it may see, and the answer, also where that is nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from kblam._engine import Engine
from kblam._generate import Generation
from kblam._knowledge_base import KnowledgeBase, SeenFacts
from kblam._prompt import check_lengths, same_room
from kblam._request import Request
from kblam._stream import StreamClosed
from kblam.answer import Answer, Usage
from kblam.errors import ConfigError
from kblam.knowledge import View

__all__ = ["answer", "narrowed", "views_of"]


def narrowed(attached: View | None, asked: View | None) -> View | None:
    """A call's view narrows the one attached; nothing a caller gives can widen it.

    Raises:
        ConfigError: What was given as a view is none.
    """
    given: object = asked
    if given is not None and not isinstance(given, View):
        # Never taken for "everything", as an empty mapping might be.
        raise ConfigError(
            f"Expected a view of the facts, got {type(given).__name__}. Make one with "
            "store.view(...), as in store.view(team='red'); None is every fact."
        )
    if attached is None or asked is None:
        return attached if asked is None else asked
    return attached & asked


def views_of(
    attached: View | None, asked: View | None, each: Sequence[View | None] | None, count: int
) -> list[View | None]:
    """The view of each prompt of a batch.

    Args:
        attached: That of the model.
        asked: That of the call.
        each: Those of the prompts, or None.
        count: Number of prompts.

    Raises:
        ConfigError: There are more views than prompts, or fewer, or something is no view.
    """
    view = narrowed(attached, asked)
    if each is None:
        return [view] * count
    if not isinstance(each, (list, tuple)) or len(each) != count:
        given = f"{len(each)}" if isinstance(each, (list, tuple)) else type(each).__name__
        raise ConfigError(
            f"Expected one view for each of {count} prompts, in a list, got {given}. "
            "Where a prompt has no view of its own, write None."
        )
    return [narrowed(view, own) for own in each]


def answer(
    engine: Engine, request: Request, base: KnowledgeBase | None, views: Sequence[View | None]
) -> list[Answer]:
    """Answer prompts, in their turn.

    Args:
        engine: The weights.
        request: What to generate.
        base: The store, or None.
        views: Which of its facts, for each prompt.

    Raises:
        ConfigError: The chat template refuses a conversation.
        PromptTooLongError: A prompt leaves no room for an answer; nothing is generated.
        StreamClosed: Nobody waits for it any more.
    """
    with engine.lock:
        if request.cancelled is not None and request.cancelled():
            raise StreamClosed  # while it waited for the lock
        request = request.tokenized(engine.tokenizer)
        check_lengths([len(prompt) for prompt in request.tokens], engine.context)
        if base is None:
            return _in_groups(
                engine,
                request,
                [range(len(views))],
                lambda rows: Generation(engine, request.only(rows), None, None).run(),
            )
        with base.reading(views) as seen:

            def informed(rows: Sequence[int]) -> list[Answer]:
                part, own = request.only(rows), seen.only(rows)
                if own.is_blind(0):
                    return _refuse_unseen(engine, part, own)
                return _answer_informed(engine, part, base, own)

            return _in_groups(engine, request, _together(engine, seen), informed)


def _in_groups(
    engine: Engine,
    request: Request,
    groups: Sequence[Sequence[int]],
    answered: Callable[[Sequence[int]], list[Answer]],
) -> list[Answer]:
    """Answer groups of rows one after the other, those of one room at once."""
    lengths, wanted = [len(p) for p in request.tokens], request.options.max_new_tokens
    answers: dict[int, Answer] = {}
    for group in groups:
        for rows in same_room(group, lengths, wanted, engine.context):
            answers.update(zip(rows, answered(rows), strict=True))
    return [answers[row] for row in range(len(lengths))]


def _answer_informed(
    engine: Engine, request: Request, base: KnowledgeBase, seen: SeenFacts
) -> list[Answer]:
    """Answer with facts, and as the base model does what is no question to them.

    A model that has learned the words of a refusal writes them by itself too. Where the
    calibrated estimate sees no reason to refuse and nothing is named that a fact could be about,
    that is a general request (docs/decisions/beside-general-prompts.md): it is answered as if no
    facts were attached.
    """
    generation = Generation(engine, request, base, seen)
    answers = generation.run()
    if rows := generation.contradicted:
        replies = Generation(engine, request.only(rows), None, None).run()
        for row, reply in zip(rows, replies, strict=True):
            answers[row] = _by_base(reply, answers[row])
    return answers


def _by_base(reply: Answer, refusal: Answer) -> Answer:
    """The base model's reply, in place of a refusal that it took the time of."""
    trace = refusal.attention
    if trace is not None:
        # The prompt looked at facts; the reply was read from none of them.
        trace = replace(trace, tokens=(), by_token=trace.by_token[:0])
    return replace(
        refusal,
        text=reply.text,
        refused=False,
        finish_reason=reply.finish_reason,
        usage=reply.usage,
        seconds=refusal.seconds + reply.seconds,
        time_to_first_token=refusal.seconds + reply.time_to_first_token,
        attention=trace,
    )


def _together(engine: Engine, seen: SeenFacts) -> list[list[int]]:
    """Rows that are answered together: those who see nothing first, then those who see facts."""
    rows = range(len(seen.views))
    blind = [row for row in rows if seen.is_blind(row)]
    sighted = [row for row in rows if not seen.is_blind(row)]
    decoder = engine.decoder
    groups = [blind, sighted]
    if decoder is not None and decoder.adapter.config.selection is None:
        # Every row's tensors would be as wide as the facts that any row may see.
        kinds = dict.fromkeys(seen.views)
        groups = [blind, *([row for row in sighted if seen.views[row] == v] for v in kinds)]
    return [group for group in groups if group]


def _refuse_unseen(engine: Engine, request: Request, seen: SeenFacts) -> list[Answer]:
    """Refuse every prompt of a caller who may see no fact: nothing could be cited.

    Args:
        engine: It is named; nothing is generated.
        request: What was asked.
        seen: Their views, all of them empty.
    """
    return [
        Answer(
            text=request.refusal.sentence,
            citations=(),
            refused=True,
            finish_reason="refusal",
            usage=Usage(len(prompt), 0),
            facts=(),
            kb_fingerprint=seen.fingerprint(row),
            model_name=engine.name,
            seconds=request.tokenizing,
            time_to_first_token=request.tokenizing,
        )
        for row, prompt in enumerate(request.tokens)
    ]
