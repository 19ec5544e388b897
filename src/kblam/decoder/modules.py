"""The trained parts: query heads, key and value adapters, selection, pointer, refusal."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kblam.attention import pool_tokens
from kblam.config import KnowledgeConfig
from kblam.decoder.query_heads import make_query_head
from kblam.encoding.adapters import LinearAdapter
from kblam.encoding.evidence import NUM_NAMED, Evidence

if TYPE_CHECKING:
    from kblam.decoder.layout import AttentionLayout

__all__ = [
    "KnowledgeAdapter",
    "KnowledgeLayer",
    "MatchHead",
    "PointerHead",
    "RefusalHead",
    "SelectionHead",
]

# A fact that selection is sure to be beside the point still leaves a trace to refuse by.
PRIOR_FLOOR = -5.0


class KnowledgeLayer(nn.Module):
    """What one decoder layer needs to attend to facts.

    Args:
        config: The adapter's shape.
        query: Its query head, or None to use the layer's own queries.
    """

    def __init__(self, config: KnowledgeConfig, query: nn.Module | None) -> None:
        super().__init__()
        size = (config.encoder_dimension, config.num_key_heads, config.head_dim)
        # Unit vectors of E numbers: std 1 gives keys of the size of the base's own; values
        # start small, so that an untrained adapter hardly disturbs the base.
        self.key = LinearAdapter(*size, std=1.0)
        self.value = LinearAdapter(*size, std=0.1)
        self.query = query
        self.prior_scale = nn.Parameter(torch.ones(())) if config.selection else None


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

    Args:
        config: The adapter's shape.
    """

    _WIDTH = 192
    _DROPOUT = 0.2

    def __init__(self, config: KnowledgeConfig) -> None:
        super().__init__()
        scalars = NUM_NAMED + 2
        size = 2 * config.encoder_dimension + scalars
        self.inner = nn.Parameter(torch.randn(self._WIDTH, size) * size**-0.5)
        self.inner_bias = nn.Parameter(torch.zeros(self._WIDTH))
        self.outer = nn.Parameter(torch.zeros(self._WIDTH))
        self.direct = nn.Parameter(torch.zeros(scalars))

    def forward(self, evidence: Evidence, similarity: Tensor) -> Tensor:
        """Score the facts; the scores are added to selection's.

        Args:
            evidence: Of B questions and k facts.
            similarity: The encoder's cosine similarity of question and key, (B, k).

        Returns:
            (B, k), float32.
        """
        asked, told = evidence.question[:, None].float(), evidence.properties.float()
        size = asked.shape[-1]
        # Numbers of unit vectors are about 1 / sqrt(E): brought to about 1 each.
        pairs = torch.cat([asked * told * size, (asked - told) * size**0.5], dim=-1)
        pairs = F.dropout(pairs, self._DROPOUT, self.training)
        scalars = torch.cat(
            [
                2.0 * evidence.named - 1.0,
                3.0 * (asked * told).sum(-1, keepdim=True),
                4.0 * (similarity.float() - 0.5).unsqueeze(-1),
            ],
            dim=-1,
        )
        inner = F.gelu(F.linear(torch.cat([pairs, scalars], -1), self.inner, self.inner_bias))
        return inner @ self.outer + scalars @ self.direct


class PointerHead(nn.Module):
    """Says when a text of a fact starts, and which (pointer-generator, See et al., ACL 2017).

    There are P texts of each fact that may be copied: its value, and in most adapters its entity
    and its property too, so that an answer names them as the store does.

    Args:
        config: The adapter's shape.
    """

    def __init__(self, config: KnowledgeConfig) -> None:
        super().__init__()
        self.num_parts = len(config.copied)
        self.map = nn.Parameter(torch.zeros(config.encoder_dimension, config.hidden_size))
        self.gate = nn.Parameter(torch.zeros(config.hidden_size))
        self.gate_bias = nn.Parameter(torch.tensor(-2.0))
        self.selection_scale = nn.Parameter(torch.ones(()))
        self.used_penalty = nn.Parameter(torch.tensor(4.0))
        if self.num_parts > 1:
            self.part_map = nn.Parameter(torch.zeros(self.num_parts, config.hidden_size))
            # Not every property is a noun that fits into a sentence: its key tells.
            self.part_key = nn.Parameter(torch.zeros(self.num_parts, config.encoder_dimension))
            self.part_bias = nn.Parameter(torch.tensor([4.0] + [0.0] * (self.num_parts - 1)))

    def forward(
        self,
        hidden: Tensor,
        keys: Tensor,
        log_prior: Tensor,
        log_none: Tensor,
        mask: Tensor,
        used: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Score the facts for copying.

        Args:
            hidden: Last hidden states, (B, T, D).
            keys: Encoded keys of the selected facts, (B, k, E).
            log_prior: Their selection log-probabilities, (B, k).
            log_none: Selection's log-probability of "none of them", (B,): a prompt that is not
                about the facts starts no value.
            mask: True where a fact exists, (B, k).
            used: How often each text was copied before, (B, T, k * P).

        Returns:
            Gate logits (B, T) and log-weights of the texts (B, T, k * P), float32; a fact's P
            texts stand together.
        """
        # Normalised, so that the gate does not depend on the size of a family's last norm.
        hidden = F.rms_norm(hidden.float(), (hidden.shape[-1],))
        scores = (hidden @ self.map.T) @ keys.float().transpose(1, 2)
        scores = scores + self.selection_scale * log_prior[:, None, :]
        scores = scores.masked_fill(~mask[:, None, :], torch.finfo(torch.float32).min)
        if self.num_parts > 1:
            parts = hidden @ self.part_map.T + self.part_bias
            parts = parts[:, :, None, :] + (keys.float() @ self.part_key.T)[:, None]
            scores = (scores.unsqueeze(-1) + parts.log_softmax(-1)).flatten(2)
        total = scores.logsumexp(-1)
        # A value is told once: what points at one that was told closes the gate, rather than
        # going over to another fact's.
        scores = scores - self.used_penalty * used.float()
        opened = F.logsigmoid(hidden @ self.gate + self.gate_bias)
        fresh = (scores.logsumexp(-1) - total).clamp_max(0.0)
        about_facts = 1.0 - log_none.float().exp()[:, None]
        gate = torch.logit((opened + fresh).exp() * about_facts, eps=1e-6)
        return gate, scores.log_softmax(-1)


class RefusalHead(nn.Module):
    """Estimates that the facts do not answer a question that is about them.

    Args:
        config: The adapter's shape.
    """

    NUM_FEATURES = 5

    def __init__(self, config: KnowledgeConfig) -> None:
        super().__init__()
        self.hidden = nn.Parameter(torch.zeros(config.hidden_size))
        self.features = nn.Parameter(torch.zeros(self.NUM_FEATURES))
        self.bias = nn.Parameter(torch.tensor(-1.0))

    def forward(self, hidden: Tensor, features: Tensor) -> Tensor:
        """The logit of refusing.

        Args:
            hidden: Last hidden state at the prompt's last token, (B, D).
            features: What selection and attention say, (B, NUM_FEATURES).

        Returns:
            (B,), float32.
        """
        hidden = F.rms_norm(hidden.float(), (hidden.shape[-1],))
        return hidden @ self.hidden + features.float() @ self.features + self.bias


class KnowledgeAdapter(nn.Module):
    """All trained parts for one decoder. Its state is what an adapter file holds.

    Args:
        config: The adapter's shape.
        layout: The decoder's attention, to shape query heads after; None where they are
            loaded or shared.
    """

    def __init__(self, config: KnowledgeConfig, layout: AttentionLayout | None = None) -> None:
        super().__init__()
        self.config = config
        self.layers = nn.ModuleDict(
            {
                str(layer): KnowledgeLayer(
                    config,
                    make_query_head(config, layout.modules[layer] if layout else None),
                )
                for layer in config.knowledge_layers
            }
        )
        # The published layout can have a block of keys that no layer reads but that takes
        # part in the LayerNorm over the whole row.
        self.spare_key: LinearAdapter | None = None
        self.selection = SelectionHead(config) if config.selection else None
        matching = config.selection is not None and config.selection.matching
        self.match = MatchHead(config) if matching else None
        self.pointer = PointerHead(config) if config.grounded else None
        self.refusal = RefusalHead(config) if config.grounded else None

    def layer(self, index: int) -> KnowledgeLayer:
        """The parts of one decoder layer."""
        layer = self.layers[str(index)]
        assert isinstance(layer, KnowledgeLayer)
        return layer

    def key_blocks(self) -> list[LinearAdapter]:
        """The key adapters of all layers, in order, the spare one last."""
        blocks = [self.layer(index).key for index in self.config.knowledge_layers]
        return blocks + ([self.spare_key] if self.spare_key is not None else [])

    def num_parameters(self) -> int:
        """Trained numbers."""
        return sum(p.numel() for p in self.parameters() if p.requires_grad)
