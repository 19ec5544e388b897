"""The trained parts that read facts into an answer, or say that it is not there."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import PreTrainedModel

from kblam.config import KnowledgeConfig
from kblam.decoder.changes import state_of

__all__ = ["PointerFacts", "PointerHead", "RefusalHead"]

# Words are moved by tens of logits, which steps of the size that suits the rest would not reach.
_COVERAGE_SCALE = 64.0


@dataclass(frozen=True)
class PointerFacts:
    """What a pointer needs of the k facts of B prompts, made once for all tokens.

    All that is asked of a hidden state is one product: of each fact whether it is the one, whether
    a text of it starts, and which of its P texts that is.

    Attributes:
        maps: In the space of hidden states, (B, k + k + k * P, D).
        bias: What is known beforehand, the least number for what is no fact, (B, k + k + k * P).
        alike: True where two facts state the same property of the same entity, (B, k, k).
    """

    maps: Tensor
    bias: Tensor
    alike: Tensor

    @property
    def count(self) -> int:
        """The facts of each prompt, k."""
        return self.alike.shape[1]


class PointerHead(nn.Module):
    """Says when a text of a fact starts, and which (pointer-generator, See et al., ACL 2017).

    There are P texts of each fact that may be copied: its value, and in most adapters its entity
    and its property too, so that an answer names them as the store does. What is copied where
    depends on the sentence that a fact asks for: "The employer of Ann is Acme" begins with a
    word, "Ann works at Acme" with a name.

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
        # What words follow a value, while there is more to tell and when there is not.
        self.coverage = (
            nn.Parameter(torch.zeros(2, config.hidden_size)) if config.coverage else None
        )
        self._coverage_logits: tuple[object, Tensor] | None = None
        if self.num_parts > 1:
            self.part_map = nn.Parameter(torch.zeros(self.num_parts, config.hidden_size))
            # Not every property is a noun that fits into a sentence: its key tells.
            self.part_key = nn.Parameter(torch.zeros(self.num_parts, config.encoder_dimension))
            self.part_bias = nn.Parameter(torch.tensor([4.0] + [0.0] * (self.num_parts - 1)))
            self.named_bonus = nn.Parameter(torch.tensor(1.0))
        self.has_verbs = config.verbs and self.num_parts > 1
        if self.has_verbs:
            # How sentences with verbs differ from the others.
            self.verb_gate = nn.Parameter(torch.zeros(config.hidden_size))
            self.verb_gate_bias = nn.Parameter(torch.zeros(()))
            self.verb_part_map = nn.Parameter(torch.zeros(self.num_parts, config.hidden_size))
            self.verb_part_bias = nn.Parameter(torch.zeros(self.num_parts))

    def forward(
        self,
        hidden: Tensor,
        keys: Tensor,
        log_prior: Tensor,
        log_none: Tensor,
        mask: Tensor,
        used: Tensor,
        verbs: Tensor,
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
            verbs: True where a fact's property is a verb, (B, k).

        Returns:
            Gate logits (B, T) and log-weights of the texts (B, T, k * P), float32; a fact's P
            texts stand together.
        """
        return self.score(hidden, self.prepare(keys, log_prior, mask, verbs), log_none, used)

    def prepare(self, keys: Tensor, log_prior: Tensor, mask: Tensor, verbs: Tensor) -> PointerFacts:
        """What scoring needs of the facts, whatever the hidden states; as for :meth:`forward`."""
        keys = keys.float()
        shape = keys.shape[:2]
        prior = self.selection_scale * log_prior
        gate, gate_bias = self.gate.expand(*shape, -1), self.gate_bias.expand(shape)
        if self.num_parts > 1:
            parts = self.part_map.expand(*shape, -1, -1)
            part_bias = keys @ self.part_key.T + self.part_bias
        else:
            # Of a single text it does not matter.
            parts, part_bias = gate.unsqueeze(2), gate_bias.unsqueeze(2)
        if self.has_verbs:
            verb = verbs.float()
            gate = gate + verb.unsqueeze(-1) * self.verb_gate
            gate_bias = gate_bias + verb * self.verb_gate_bias
            parts = parts + verb[..., None, None] * self.verb_part_map
            part_bias = part_bias + verb.unsqueeze(-1) * self.verb_part_bias
        prior = prior.masked_fill(~mask, torch.finfo(torch.float32).min)
        return PointerFacts(
            torch.cat([keys @ self.map, gate, parts.flatten(1, 2)], 1),
            torch.cat([prior, gate_bias, part_bias.flatten(1)], 1),
            # Equal texts have equal vectors; what may not be seen must not matter.
            (keys.unsqueeze(2) == keys.unsqueeze(1)).all(-1)
            & mask.unsqueeze(2)
            & mask.unsqueeze(1),
        )

    def score(
        self, hidden: Tensor, facts: PointerFacts, log_none: Tensor, used: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Score prepared facts; as :meth:`forward`.

        Args:
            hidden: As there.
            facts: Of :meth:`prepare`.
            log_none: As there.
            used: As there, or None where nothing was copied.
        """
        # Normalised, so that the gate does not depend on the size of a family's last norm.
        hidden = F.rms_norm(hidden.float(), (hidden.shape[-1],))
        found = torch.baddbmm(facts.bias.unsqueeze(1), hidden, facts.maps.transpose(1, 2))
        sizes = [facts.count, facts.count, facts.count * self.num_parts]
        scores, gate, parts = found.split(sizes, -1)  # type: ignore[no-untyped-call]
        if used is not None and self.num_parts > 1:
            scores = scores + self.named_bonus * _named_so_far(used, self.num_parts)
        parts = parts.unflatten(-1, (facts.count, self.num_parts)).log_softmax(-1)
        scores = (scores.unsqueeze(-1) + parts).flatten(2)
        weights = scores - scores.logsumexp(-1, keepdim=True)
        # A value is told once: what points at one that was told closes the gate, rather than
        # going over to another fact's. So does a fact in whose sentence words come next.
        if used is not None:
            weights = self._without_used(weights, used, facts.alike)
        weights = weights + F.logsigmoid(gate).repeat_interleave(self.num_parts, -1)
        share = weights.logsumexp(-1).clamp_max(0.0)
        about_facts = 1.0 - log_none.float().exp()[:, None]
        return torch.logit(share.exp() * about_facts, eps=1e-6), weights.log_softmax(-1)

    def _without_used(self, weights: Tensor, used: Tensor, alike: Tensor) -> Tensor:
        """Take off what was copied before; another value of the same property inherits its share.

        Args:
            weights: Log-weights of the texts, (B, T, k * P).
            used: How often each was copied, (B, T, k * P).
            alike: Which facts state the same property of the same entity, (B, k, k).
        """
        size = (*weights.shape[:-1], weights.shape[-1] // self.num_parts, self.num_parts)
        before, counts = weights.reshape(size), used.float().reshape(size)
        together = alike[:, None, :, :, None]
        # Of facts that are alike, entity and property are the same texts.
        names = (counts.unsqueeze(2) * together).amax(3)[..., 1:]
        counts = torch.cat([counts[..., :1], names], -1)
        after = before - self.used_penalty * counts
        values = torch.stack([before[..., 0], after[..., 0]])
        # The least number rather than none, for the gradient's sake.
        shared = values.unsqueeze(-2).masked_fill(~alike[None, :, None], -1e4).logsumexp(-1)
        left = (alike[:, None] & (counts[..., 0] == 0).unsqueeze(-2)).any(-1)
        inherited = torch.where(left, shared[0] - shared[1], 0.0)
        return torch.cat([(after[..., 0] + inherited).unsqueeze(-1), after[..., 1:]], -1).flatten(2)

    def told(self, used: Tensor, log_prob: Tensor) -> Tensor:
        """How much of what was selected is still to tell, and how much is told.

        A coverage feature (See et al., ACL 2017, section 2.3), of whole facts. Before a first value
        both are 0.

        Args:
            used: How often each text was copied, (B, T, k * P).
            log_prob: Selection's log-probabilities of the facts, (B, k).

        Returns:
            (B, T, 2), from 0 to 1.
        """
        told = used.reshape(*used.shape[:-1], -1, self.num_parts)[..., 0] > 0
        left = (log_prob.exp()[:, None] * ~told).sum(-1)
        return torch.stack([left, 1.0 - left], -1) * told.any(-1).unsqueeze(-1)

    def coverage_logits(self, model: PreTrainedModel) -> Tensor:
        """What it does to the words that there is more to tell, or that all is told.

        Outside of training it is made once, and again when something was changed.

        Args:
            model: The base, whose output embeddings turn vectors into words.

        Returns:
            Logits (2, V), float32, for what :meth:`told` counts.
        """
        assert self.coverage is not None
        weight = model.get_output_embeddings().weight
        if torch.is_grad_enabled():
            return _words(weight, self.coverage)
        state = state_of((weight, self.coverage))
        if self._coverage_logits is None or self._coverage_logits[0] != state:
            self._coverage_logits = (state, _words(weight, self.coverage))
        return self._coverage_logits[1]


def _words(weight: Tensor, vectors: Tensor) -> Tensor:
    """The logits (2, V) of vectors (2, D) under output embeddings (V, D), without their bias."""
    return F.linear(_COVERAGE_SCALE * vectors.to(weight.dtype), weight).float()


def _named_so_far(used: Tensor, num_parts: int) -> Tensor:
    """How many names of a fact stand there while its value does not.

    After "the leader of Aurora is" comes what Aurora's fact says, not another one's.

    Args:
        used: How often each text was copied, (B, T, k * P).
        num_parts: P; the value is the first of them.

    Returns:
        (B, T, k).
    """
    told = used.reshape(*used.shape[:-1], -1, num_parts).clamp_max(1).float()
    return told[..., 1:].sum(-1) * (1.0 - told[..., 0])


class RefusalHead(nn.Module):
    """Estimates that the facts do not answer a question that is about them.

    Args:
        config: The adapter's shape.
    """

    NUM_FEATURES = 6

    def __init__(self, config: KnowledgeConfig) -> None:
        super().__init__()
        self.hidden = nn.Parameter(torch.zeros(config.hidden_size))
        self.features = nn.Parameter(torch.zeros(self.NUM_FEATURES - 1))
        # By itself, as adapters of the first releases lack it.
        self.judged = nn.Parameter(torch.zeros(1))
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
        weights = torch.cat([self.features, self.judged])
        return hidden @ self.hidden + features.float() @ weights + self.bias
