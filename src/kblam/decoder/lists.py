"""Where a list of texts in JSON goes on, and where it ends."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import LogitsProcessor

from kblam.decoder.constrain import ConstraintProcessor
from kblam.decoder.grammar import GrammarTokenizer

__all__ = ["ListProcessor", "Next"]


@dataclass(frozen=True)
class Next:
    """What a list is to do.

    Attributes:
        more: Whether to have another item, or else to end.
        inside: Whether an item has a text that belongs there but no quotation mark yet, or else
            none is begun.
        whole: Whether no other such text goes on from there.
    """

    more: bool
    inside: bool
    whole: bool


class ListProcessor(LogitsProcessor):
    """Makes lists have the items that are known to belong there, and no others.

    Comes before what holds answers to their form: it takes from what that allows.

    Args:
        decide: Says of a prompt, and of the tokens of its answer, what a list is to do there;
            None is as the model will.
        held: What holds the answers to their form.
        tokenizer: The model's.
        prompt_length: Tokens of the padded prompt.
        prompts: How many.
    """

    def __init__(
        self,
        decide: Callable[[int, tuple[int, ...]], Next | None],
        held: ConstraintProcessor,
        tokenizer: GrammarTokenizer,
        prompt_length: int,
        prompts: int,
    ) -> None:
        self._decide = decide
        self._held = held
        self._tokens = tokenizer
        self._prompt_length = prompt_length
        self._prompts = prompts

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Take from log-probabilities (B, V) what would end a list too early or too late."""
        repeats = max(1, scores.shape[0] // self._prompts)
        scores = scores.clone()
        for row, tokens in enumerate(input_ids[:, self._prompt_length :].tolist()):
            text = tuple(tokens)
            following = self._decide(row // repeats, text)
            if following is not None:
                self._leave(scores[row], text, following)
        return scores

    def _leave(self, scores: Tensor, text: tuple[int, ...], following: Next) -> None:
        """Change one row's log-probabilities (V,) in place."""
        tokens = self._tokens
        if following.inside:
            # The item ends with its mark; what would follow in the same token does not.
            unwanted = list((tokens.list_ends if following.more else tokens.list_commas).marked)
            mark, begins = tokens.marks[0]
            scores[mark] = scores[[*unwanted, mark]].logsumexp(0)
            scores[unwanted] = -torch.inf
            if following.whole:
                _keep(scores, begins.nonzero()[:, 0].tolist())
            return
        opens = [((mark,), begins.nonzero()[:, 0].tolist()) for mark, begins in tokens.marks]
        goes_on = [(tokens.list_commas.alone, tokens.list_commas.bare), *opens]
        ends = [(tokens.list_ends.alone, tokens.list_ends.bare)]
        for alone, all_of_them in goes_on if following.more else ends:
            # The form may want more items, or no more.
            if any(self._held.takes(text, [token]) for token in alone):
                _keep(scores, all_of_them)
                return


def _keep(scores: Tensor, tokens: Sequence[int]) -> None:
    """Leave some tokens alone; that one of them follows is certain, or other beams would win."""
    kept = scores[list(tokens)]
    scores.fill_(-torch.inf)
    scores[list(tokens)] = kept - kept.logsumexp(0)
