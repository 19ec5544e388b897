"""Attention over facts, as pure functions of tensors."""

from kblam.attention._gathering import Int8Facts, as_tensor, gather_facts
from kblam.attention.absorbed import absorb_query, absorbed_fact_attention, key_norm_scale
from kblam.attention.joint import fused_attention_with_lse, joint_attention, prompt_scores
from kblam.attention.merge import merge_attention
from kblam.attention.rectangular import (
    attention_with_lse,
    fact_attention,
    grouped_scores,
    grouped_values,
    length_bias,
    rectangular_attention,
)
from kblam.attention.selection import pool_tokens, score_facts, select_among, select_top_k

__all__ = [
    "Int8Facts",
    "absorb_query",
    "absorbed_fact_attention",
    "as_tensor",
    "attention_with_lse",
    "fact_attention",
    "fused_attention_with_lse",
    "gather_facts",
    "grouped_scores",
    "grouped_values",
    "joint_attention",
    "key_norm_scale",
    "length_bias",
    "merge_attention",
    "pool_tokens",
    "prompt_scores",
    "rectangular_attention",
    "score_facts",
    "select_among",
    "select_top_k",
]
