"""Layers that read facts run once: what runs again for its gradients finds other facts, or none."""

from __future__ import annotations

import pytest
import torch
from tiny_kblam import FACTS, WordEncoder, make_adapter, make_decoder, make_tokenizer

from kblam.decoder import FactInput, attach
from kblam.errors import ConfigError


@pytest.mark.filterwarnings("ignore:.gradient_checkpointing_.*able. is deprecated:FutureWarning")
def test_gradient_checkpointing_is_refused_where_it_would_be_wrong() -> None:
    words = WordEncoder()
    decoder = make_decoder(make_tokenizer())
    attached = attach(decoder, make_adapter(decoder, words).train())
    facts = FactInput(
        torch.from_numpy(words.encode([f"the {p} of {e}" for e, p, _ in FACTS])),
        torch.from_numpy(words.encode([value for *_, value in FACTS])),
        encoder_query=torch.from_numpy(words.encode(["the budget of Borealis"])),
    )

    def logits() -> torch.Tensor:
        with attached.facts(facts):
            return decoder(torch.arange(5, 17)[None], use_cache=False).logits

    expected = logits()
    assert expected.requires_grad
    decoder.gradient_checkpointing_enable({"use_reentrant": False})
    # Without gradients, or outside of training, nothing runs again.
    assert torch.equal(logits(), expected)
    decoder.train()
    with torch.no_grad():
        assert torch.equal(logits(), expected)
    with pytest.raises(ConfigError, match=r"gradient_checkpointing_disable\(\)"):
        logits()
    decoder.gradient_checkpointing_disable()
    assert torch.equal(logits(), expected)
