"""The logits that training computes by itself, beside the model's own."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tiny_decoders import FAMILIES, make_model

from kblam.errors import ConfigError
from kblam.training.objective import check_head, head_logits, last_hidden

# Their scales and caps at other values than the defaults, which change little.
SETTINGS: dict[str, dict[str, Any]] = {
    "cohere": {"logit_scale": 0.25},
    "falcon_h1": {"lm_head_multiplier": 3.0, "mamba_chunk_size": 16, "mamba_d_state": 16},
    "gemma2": {"final_logit_softcapping": 0.5},
    "granite": {"logits_scaling": 8.0},
    "recurrent_gemma": {"logits_soft_cap": 0.5},
}


@torch.no_grad()
@pytest.mark.parametrize("family", sorted({*FAMILIES, *SETTINGS, "llama4_text"}))
def test_logits_are_the_models_own(family: str) -> None:
    model = make_model(family, **SETTINGS.get(family, {}))
    ids = torch.arange(3, 12)[None]
    mask = torch.ones_like(ids)
    expected = model(input_ids=ids, attention_mask=mask).logits
    assert torch.allclose(head_logits(model, last_hidden(model, ids, mask)), expected, atol=1e-5)
    check_head(model)


def test_a_head_that_does_more_than_is_known_is_refused() -> None:
    model = make_model("hyperclovax", logits_scaling=2.0)  # multiplies where others divide
    with pytest.raises(ConfigError, match=r"HyperCLOVAXForCausalLM.*another base"):
        check_head(model)
