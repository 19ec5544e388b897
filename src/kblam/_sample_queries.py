"""Selection queries of questions that nobody asked, to fit an index to what will be asked."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from kblam._engine import Engine
from kblam._prompt import as_messages, pad_prompts, tokenize
from kblam.decoder import FactInput, text_decoder

__all__ = ["selection_queries"]

# Short turns: a caller's question waits for one of them at most.
_TURN = 8


@torch.no_grad()
def selection_queries(engine: Engine, questions: Sequence[str]) -> npt.NDArray[np.float32]:
    """What the facts would be searched for with, if these questions were asked.

    The decoder's hidden states turn a query far from the question's embedding, so that an index
    that is fitted to embeddings finds too little.

    Args:
        engine: With an adapter that selects.
        questions: N questions.

    Returns:
        (N, E).
    """
    decoder, encoder = engine.decoder, engine.encoder
    assert decoder is not None
    seen: list[Tensor] = []

    def keep(query: Tensor) -> None:
        seen.append(query.float().cpu())

    for start in range(0, len(questions), _TURN):
        turn = questions[start : start + _TURN]
        asked = torch.from_numpy(encoder.encode(turn)).to(engine.model.device)
        nothing = torch.zeros(1, encoder.dimension, device=engine.model.device)
        prompts = pad_prompts(
            [tokenize(engine.tokenizer, as_messages(text)) for text in turn],
            engine.pad_token,
            engine.context,
            engine.model.device,
        )
        facts = FactInput(
            nothing,
            nothing,
            encoder_query=asked,
            context_query=torch.zeros_like(asked),
            prompt_mask=prompts.attention_mask.bool(),
            candidates=keep,
        )
        with engine.lock, decoder.facts(facts):
            text_decoder(engine.model)(
                input_ids=prompts.input_ids,
                attention_mask=prompts.attention_mask,
                use_cache=False,
            )
    return torch.cat(seen).numpy()
