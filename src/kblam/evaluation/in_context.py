"""Facts in the prompt, as many as the window holds: read anew each time, or from a cache."""

from __future__ import annotations

import copy
import dataclasses
import random
from collections.abc import Sequence
from itertools import takewhile
from typing import Any, ClassVar

import torch
from transformers import Cache

from kblam._prompt import as_messages, tokenize
from kblam.answer import Answer
from kblam.errors import ConfigError
from kblam.evaluation._generating import generating_with
from kblam.evaluation.answering import Prompt, Prompted, Reply
from kblam.evaluation.config import MethodName

__all__ = ["CachedPrefix", "InContext"]

# Questions without a word in common: no part of a question is read in advance.
_UNLIKE = ("Who?", "1")
_UNTIMED: dict[str, Any] = {"seconds": None, "time_to_first_token": None}


class InContext(Prompted):
    """As many facts in the prompt as the window holds, the same for all questions.

    The gold facts of all asked questions go in first, then others, in the task's seeded order;
    the facts that fit are mixed, so that gold ones do not stand at the top.
    """

    name: ClassVar[MethodName] = "in-context"

    def prepare(self) -> None:
        """Choose the facts that fit beside the longest question.

        Raises:
            ConfigError: Not even the prompt without facts fits.
        """
        window = self.config.context_tokens or self.model.context_window
        limit = window - self.config.max_new_tokens
        longest = max((q.text for q in self.task.questions), key=self.model.count_tokens)
        room = limit - self.count(longest, [])
        if room < 0:
            raise ConfigError(
                f"Expected a context of at least {window - room} tokens for the prompt without "
                f"facts, got {window}. Give more context_tokens, or a model of a longer window."
            )
        chosen = self._first_that_fit(room)
        # Tokens counted line by line are an estimate: the prompt as a whole decides.
        while chosen and self.count(longest, chosen) > limit:
            del chosen[-max(1, len(chosen) // 100) :]
        random.Random(self.config.seed).shuffle(chosen)
        self.statements = chosen

    def _first_that_fit(self, room: int) -> list[str]:
        gold = dict.fromkeys(fact.statement for group in self.task.gold for fact in group)
        order = gold | dict.fromkeys(fact.statement for fact in self.task.facts)
        chosen: list[str] = []
        for statement in order:
            room -= len(self.model.tokenizer.encode(statement + "\n", add_special_tokens=False))
            if room < 0:
                break
            chosen.append(statement)
        return chosen

    def notes(self) -> tuple[str, ...]:
        """How many facts fit."""
        return (f"{len(self.statements)} of {len(self.task.facts)} facts fit the context.",)

    def prompt(self, question: str) -> Prompt:
        """All facts that fit, and the question."""
        return self.fill(question, self.statements)


class CachedPrefix(InContext):
    """`in-context` whose facts are read once: each question starts from a copy of their cache.

    The prompts are those of `in-context`. What all of them begin with is run through the model
    in advance (cache-augmented generation, Chan et al., 2024); a question then costs the copying
    of the cache and its own tokens.
    """

    name: ClassVar[MethodName] = "cached-prefix"

    def prepare(self) -> None:
        """Choose the facts and read them into a cache."""
        super().prepare()
        texts = {question.text for question in self.task.questions}
        prompts = [self._tokens(text) for text in [*_UNLIKE, *sorted(texts)]]
        shared = min(_shared(prompts[0], other) for other in prompts[1:])
        self._prefix = prompts[0][:shared]
        self._cache = self._read(self._prefix)

    @torch.no_grad()
    def _read(self, tokens: list[int]) -> Cache:
        # The decoder without its output embedding: nobody asks for so many tokens' logits.
        decoder: Any = self.model.base.base_model
        ids = torch.tensor([tokens], device=self.model.base.device)
        cache: Cache = decoder(input_ids=ids, use_cache=True).past_key_values
        return cache

    def _tokens(self, question: str) -> list[int]:
        return tokenize(self.model.tokenizer, as_messages(self.prompt(question)))

    def ask(self, question: str) -> Answer:
        """Ask one question, starting from a copy of the cache."""
        if _shared(self._prefix, self._tokens(question)) < len(self._prefix):
            return super().ask(question)
        cache = copy.deepcopy(self._cache)
        with generating_with(self.model.base, past_key_values=cache):
            return super().ask(question)

    def answer_batch(self, questions: Sequence[str]) -> list[Reply]:
        """Ask one after the other: padding would move the prefix away from its places."""
        return [dataclasses.replace(self.answer(q), **_UNTIMED) for q in questions]


def _shared(one: Sequence[int], other: Sequence[int]) -> int:
    """How many tokens two prompts have in common at their beginning."""
    pairs = zip(one, other, strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
