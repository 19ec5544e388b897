"""Refusing what the facts do not answer."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

import torch
from torch import Tensor
from transformers import LogitsProcessor

from kblam.decoder.answer_heads import RefusalHead
from kblam.decoder.session import FactSession
from kblam.decoder.tap import HiddenTap

__all__ = ["OwnRefusal", "RefusalProcessor", "refusal_features"]

# Of the selection's weight, on "none of them".
_NONE = 0.5


def refusal_features(session: FactSession, last: Tensor | None = None) -> Tensor:
    """What selection and fact attention say about a prompt.

    Args:
        session: After its first forward pass.
        last: Position of each prompt's last token, (B,); None is the last one.

    Returns:
        (B, RefusalHead.NUM_FEATURES): log-probabilities of "none of them" and of the best
        fact, its lead over the second, its similarity to the question, the facts' mean
        share of the attention at the prompt's last token, and how much the best fact is asked
        for by the question's words.
    """
    selection = session.selection
    if selection is None:
        raise RuntimeError("Refusal was asked before the first forward pass.")
    best = selection.log_prob[:, 0].clamp(-10.0, 0.0)
    if selection.log_prob.shape[1] > 1:
        lead = (selection.log_prob[:, 0] - selection.log_prob[:, 1]).clamp(0.0, 10.0)
    else:
        lead = torch.full_like(best, 10.0)
    shares = torch.stack([share.float() for share in session.fact_share.values()]).mean(0)
    share = shares[:, -1] if last is None else shares.gather(1, last[:, None])[:, 0]
    similarity = selection.similarity[:, 0] - 0.5
    none = selection.log_none.clamp(-10.0, 0.0)
    judged = selection.judged[:, 0].clamp(-10.0, 10.0)
    return torch.stack([none, best, lead, 10.0 * similarity, 10.0 * share, judged], dim=1)


class OwnRefusal(LogitsProcessor):
    """Whether a model would begin a refusal by itself, where a form leaves it no room for one.

    Goes before the form: it looks at the first token's scores as they are.

    Args:
        beginnings: Tokens that a refusal begins with.
        may_be_told: Of each prompt, whether it may be about a fact, once facts are selected.
    """

    def __init__(
        self, beginnings: Collection[int], may_be_told: Callable[[], Sequence[bool]]
    ) -> None:
        self._beginnings = torch.tensor(sorted(beginnings))
        self._may_be_told = may_be_told
        self._begins: Tensor | None = None

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Leave scores (B, V) alone."""
        if self._begins is None:
            self._begins = torch.isin(scores.argmax(-1), self._beginnings.to(scores.device))
        return scores

    def rows(self) -> Tensor:
        """Which rows would, of prompts that may be about a fact, (B,)."""
        if self._begins is None:
            raise RuntimeError("A refusal was looked for before the first token.")
        told = torch.tensor(self._may_be_told(), device=self._begins.device)
        return self._begins & told.repeat_interleave(len(self._begins) // len(told))


class RefusalProcessor(LogitsProcessor):
    """Ends a generation at its first token where the facts do not answer.

    Args:
        session: The generation's facts.
        head: The trained estimate.
        tap: The last hidden states.
        threshold: Refuse above this probability.
        end_token: What a refused row is made to write.
        only_facts: Refuse also where "none of them" is likelier than all facts together.
        own: Refuse also where the model would and "none of them" is likelier, or None.

    Attributes:
        probability: That the facts do not answer, of each row, once the first token is made.
        refused: Which rows are, once it is made.
    """

    def __init__(
        self,
        session: FactSession,
        head: RefusalHead,
        tap: HiddenTap,
        threshold: float,
        end_token: int,
        *,
        only_facts: bool = False,
        own: OwnRefusal | None = None,
    ) -> None:
        self._session = session
        self._head = head
        self._tap = tap
        self._threshold = threshold
        self._end = end_token
        self._only_facts = only_facts
        self._own = own
        self.probability: list[float] | None = None
        self.refused: list[bool] = []

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Leave scores (B, V) alone except for refused rows at their first token."""
        if self.probability is not None:
            return scores
        if self._tap.last is None:
            raise RuntimeError("Refusal was asked before the first forward pass.")
        features = refusal_features(self._session)
        logit = self._head(self._tap.last, features)
        probability = torch.sigmoid(logit)
        refused = probability > self._threshold
        none = features[:, 0].exp() > _NONE
        if self._only_facts:
            refused = refused | none
        if self._own is not None:
            refused = refused | (none & self._own.rows())
        # Read at once: each reading waits for the device.
        read = torch.stack([probability, refused.to(probability.dtype)]).tolist()
        self.probability, self.refused = read[0], [bool(one) for one in read[1]]
        ended = torch.full_like(scores, -torch.inf)
        ended[:, self._end] = 0.0
        return torch.where(refused[:, None], ended, scores)
