"""Attention over facts, as pure functions of tensors."""

from kblam.attention.absorbed import absorb_query, absorbed_fact_attention, key_norm_scale
from kblam.attention.merge import merge_attention
from kblam.attention.rectangular import (
    attention_with_lse,
    fact_attention,
    grouped_scores,
    grouped_values,
    length_bias,
    rectangular_attention,
)
from kblam.attention.selection import gather_facts, pool_tokens, score_facts, select_top_k

__all__ = [
    "absorb_query",
    "absorbed_fact_attention",
    "attention_with_lse",
    "fact_attention",
    "gather_facts",
    "grouped_scores",
    "grouped_values",
    "key_norm_scale",
    "length_bias",
    "merge_attention",
    "pool_tokens",
    "rectangular_attention",
    "score_facts",
    "select_top_k",
]
