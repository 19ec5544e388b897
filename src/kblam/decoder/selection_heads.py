"""The trained parts that choose facts: by embeddings and hidden states, then by words."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kblam.attention import pool_tokens
from kblam.config import KnowledgeConfig
from kblam.encoding.evidence import NUM_EXCESS, NUM_NAMED, Evidence

__all__ = ["MatchHead", "SelectionHead"]


class SelectionHead(nn.Module):
    """Makes one selection query, a vector in encoder space, of a prompt.

    ``query = s e + A e + sum_i W_i pool_i(hidden)``, ``e = e_q + c e_p``: the encoder's
    embedding of the question, and what the decoder's hidden states say, pooled over the prompt.
    To a question that leans on the one before it ("and its mayor?") the embedding of that one
    is added, as much as c, a sigmoid over the same pooled states, tells. A and W start at zero
    and c small, so an untrained head is plain dense retrieval. A learned score for "none of them"
    stands beside the facts' scores.

    Args:
        config: The adapter's shape.
    """

    def __init__(self, config: KnowledgeConfig) -> None:
        super().__init__()
        assert config.selection is not None
        width, pools = config.encoder_dimension, config.selection.pools
        self.sources = config.selection.sources
        self.scale = nn.Parameter(torch.tensor(20.0))
        self.metric = nn.Parameter(torch.zeros(width, width))
        self.pooling = nn.Parameter(torch.randn(pools, config.hidden_size) * 0.02)
        self.maps = nn.Parameter(torch.zeros(width, pools * config.hidden_size))
        self.none_bias = nn.Parameter(torch.tensor(14.0))
        self.none_map = nn.Parameter(torch.zeros(width))
        self.context_map = nn.Parameter(torch.zeros(pools * config.hidden_size))
        self.context_bias = nn.Parameter(torch.tensor(-2.0))

    def forward(
        self,
        hidden: Tensor,
        mask: Tensor | None,
        encoder_query: Tensor | None,
        context_query: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Make the query.

        Args:
            hidden: Input of the selection layer on the prompt's tokens, (B, T, D).
            mask: True on the prompt's tokens, (B, T).
            encoder_query: The encoder's embedding of the question, (B, E), or None.
            context_query: Its embedding of the question before it, (B, E), zero where there is
                none, or None.

        Returns:
            Query (B, E) and the score of "none of them" (B,), float32.
        """
        # Root-mean-square normalised: the weights of a layer's norm vary much by family.
        hidden = F.rms_norm(hidden.float(), (hidden.shape[-1],))
        pooled = pool_tokens(hidden, hidden @ self.pooling.T, mask).flatten(1)
        query = hidden.new_zeros((hidden.shape[0], self.metric.shape[0]))
        if encoder_query is not None and self.sources != "decoder":
            encoded = encoder_query.float()
            if context_query is not None:
                leans = torch.sigmoid(pooled @ self.context_map + self.context_bias)
                encoded = encoded + leans[:, None] * context_query.float()
            query = query + self.scale * encoded + encoded @ self.metric.T
        if self.sources != "encoder":
            query = query + pooled @ self.maps.T
        return query, self.none_bias + query @ self.none_map


class MatchHead(nn.Module):
    """Judges whether a selected fact is the one asked for, by the words of the question.

    The property tells which of an entity's facts it is. A verb alone often does not (``part of``),
    but with its value ("part of Asia"). So a verb is judged alone and together with the value, by
    a sum of their embeddings, and the better score counts.

    Args:
        config: The adapter's shape.
    """

    _WIDTH = 192
    _DROPOUT = 0.2
    # Of the value beside a verb (docs/decisions/names-and-properties.md).
    _VALUE_WEIGHT = 0.5

    def __init__(self, config: KnowledgeConfig) -> None:
        super().__init__()
        scalars = NUM_NAMED + 2
        size = 2 * config.encoder_dimension + scalars
        self.inner = nn.Parameter(torch.randn(self._WIDTH, size) * size**-0.5)
        self.inner_bias = nn.Parameter(torch.zeros(self._WIDTH))
        self.outer = nn.Parameter(torch.zeros(self._WIDTH))
        self.direct = nn.Parameter(torch.zeros(scalars))
        self.excess_inner = nn.Parameter(torch.zeros(self._WIDTH, NUM_EXCESS))
        self.excess_direct = nn.Parameter(torch.zeros(NUM_EXCESS))

    def forward(self, evidence: Evidence, similarity: Tensor, values: Tensor) -> Tensor:
        """Score the facts; the scores are added to selection's.

        Args:
            evidence: Of B questions and k facts.
            similarity: The encoder's cosine similarity of question and key, (B, k).
            values: The facts' values, embedded, (B, k, E); zero where there is nothing to see.

        Returns:
            (B, k), float32.
        """
        told = evidence.properties.float()
        verbs = evidence.verbs.nonzero(as_tuple=True)
        asked = evidence.question[:, None].float().expand_as(told)
        words = (evidence.named.float(), evidence.excess.float(), similarity.float())
        alone = self._judge(asked, told, *words)
        phrases = F.normalize(told[verbs] + self._VALUE_WEIGHT * values[verbs].float(), dim=-1)
        together = self._judge(asked[verbs], phrases, *(part[verbs] for part in words))
        return alone.index_put(verbs, torch.maximum(alone[verbs], together))

    def _judge(
        self, asked: Tensor, told: Tensor, named: Tensor, excess: Tensor, similarity: Tensor
    ) -> Tensor:
        size = asked.shape[-1]
        # Numbers of unit vectors are about 1 / sqrt(E): brought to about 1 each.
        pairs = torch.cat([asked * told * size, (asked - told) * size**0.5], dim=-1)
        pairs = F.dropout(pairs, self._DROPOUT, self.training)
        scalars = torch.cat(
            [
                2.0 * named - 1.0,
                3.0 * (asked * told).sum(-1, keepdim=True),
                4.0 * (similarity - 0.5).unsqueeze(-1),
            ],
            dim=-1,
        )
        inner = F.linear(torch.cat([pairs, scalars], -1), self.inner, self.inner_bias)
        excess = 4.0 * excess
        inner = inner + excess @ self.excess_inner.T
        direct = scalars @ self.direct + excess @ self.excess_direct
        return F.gelu(inner) @ self.outer + direct
