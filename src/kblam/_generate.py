"""From prompts and facts to answers, by one ``generate`` call per batch."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from transformers import GenerationConfig, LogitsProcessorList, StoppingCriteriaList

from kblam._engine import Engine
from kblam._knowledge_base import EncodedFacts, KnowledgeBase
from kblam._prompt import (
    Message,
    PaddedPrompts,
    asked_before,
    pad_prompts,
    question_of,
    tokenize,
)
from kblam._selected_facts import SelectedFacts
from kblam.answer import Answer, AttentionTrace, Citation, ScoredFact, Usage
from kblam.config import COPY_PARTS, DEFAULT_REFUSAL, GenerationOptions, RefusalConfig
from kblam.decoder import FactInput, FactSession
from kblam.decoder.grounding import CopiedSpan, CopyProcessor
from kblam.decoder.refusal import RefusalProcessor
from kblam.decoder.watch import GenerationWatch, cut_at_stop
from kblam.encoding import CachedEmbedder, encode_or_zero, guessed_without_name

__all__ = ["Generation", "Request"]

# Without copying nothing says which fact was read but selection itself.
_CITE_ABOVE = 0.5
_VALUE = COPY_PARTS.index("value")


@dataclass(frozen=True)
class Request:
    """What to generate.

    Attributes:
        prompts: Chat messages of each prompt.
        options: How.
        grounding: Whether values are copied.
        refusal: When and how to refuse.
        trace: Keep the fact attention.
        on_text: Called with the text so far, for a single prompt.
        cancelled: Asked after every token.
    """

    prompts: Sequence[Sequence[Message]]
    options: GenerationOptions
    grounding: Literal["copy", "off"]
    refusal: RefusalConfig
    trace: bool = False
    on_text: Callable[[str], None] | None = None
    cancelled: Callable[[], bool] | None = None


class Generation:
    """One ``generate`` call. Made under the engine's lock and used once.

    Args:
        engine: The weights.
        request: What to generate.
        base: The store, or None.
        encoded: Its facts, or None.
    """

    def __init__(
        self,
        engine: Engine,
        request: Request,
        base: KnowledgeBase | None,
        encoded: EncodedFacts | None,
    ) -> None:
        self._engine = engine
        self._request = request
        self._base = base
        self._encoded = encoded
        self._asked = [question_of(messages) for messages in request.prompts]
        self._before = [asked_before(messages) for messages in request.prompts]
        self._facts = SelectedFacts(engine, base, encoded, self._asked, self._before)
        self._copy: CopyProcessor | None = None
        self._refuse: RefusalProcessor | None = None
        self._session: FactSession | None = None

    @torch.no_grad()
    def run(self) -> list[Answer]:
        """Generate.

        Raises:
            PromptTooLongError: A prompt leaves no room for an answer.
        """
        started = time.perf_counter()
        engine, request = self._engine, self._request
        prompts = pad_prompts(
            [tokenize(engine.tokenizer, messages) for messages in request.prompts],
            engine.pad_token,
            engine.context,
            engine.model.device,
        )
        length = prompts.input_ids.shape[1]
        watch = GenerationWatch(
            engine.tokenizer,
            length,
            request.options.stop,
            on_text=request.on_text,
            cancelled=request.cancelled,
        )
        with ExitStack() as stack:
            processors = self._enter(stack, prompts)
            if request.options.seed is not None:
                stack.enter_context(torch.random.fork_rng())
                torch.manual_seed(request.options.seed)
            generate: Any = engine.model.generate
            output = generate(
                input_ids=prompts.input_ids,
                attention_mask=prompts.attention_mask,
                generation_config=self._config(length),
                logits_processor=processors,
                stopping_criteria=StoppingCriteriaList([watch]),
            )
            texts = [self._trim(row[length:].tolist()) for row in output]
            return [
                self._answer(row, ids, prompts, started, watch.first_token_at)
                for row, ids in enumerate(texts)
            ]

    def _enter(self, stack: ExitStack, prompts: PaddedPrompts) -> LogitsProcessorList:
        """Give the decoder its facts for the time of the generation."""
        engine, encoded = self._engine, self._encoded
        processors = LogitsProcessorList()
        decoder, tap = engine.decoder, engine.tap
        if encoded is None or len(encoded) == 0 or decoder is None or tap is None:
            return processors
        self._embed_together()
        facts = FactInput(
            encoded.keys,
            encoded.values,
            encoder_query=encode_or_zero(engine.encoder, self._asked).to(engine.model.device),
            context_query=encode_or_zero(engine.encoder, self._before).to(engine.model.device),
            prompt_mask=prompts.attention_mask.bool(),
            evidence=self._facts.evidence,
            candidates=None if self._base is None else self._base.candidates(encoded),
        )
        session = stack.enter_context(decoder.facts(facts, trace=self._request.trace))
        self._session = session
        adapter = decoder.adapter
        if self._request.grounding == "copy" and adapter.pointer is not None:
            self._copy = CopyProcessor(
                session,
                adapter.pointer,
                tap,
                self._facts.lookup,
                prompts.input_ids.shape[1],
                engine.continuations,
            )
            processors.append(self._copy)
        if adapter.refusal is not None and engine.end_tokens:
            self._refuse = RefusalProcessor(
                session,
                adapter.refusal,
                tap,
                self._request.refusal.threshold,
                engine.end_tokens[0],
            )
            processors.append(self._refuse)
        return processors

    def _embed_together(self) -> None:
        """Embed all that will be asked for of the prompts at once, if the encoder remembers it."""
        decoder, encoder = self._engine.decoder, self._engine.encoder
        if decoder is None or decoder.adapter.match is None:
            return
        if not isinstance(encoder, CachedEmbedder):
            return
        guesses = [guessed_without_name(question) for question in self._asked]
        texts = dict.fromkeys((*self._asked, *self._before, *guesses))
        encoder.encode([text for text in texts if text])

    def _config(self, length: int) -> GenerationConfig:
        options = self._request.options
        config = GenerationConfig(
            max_new_tokens=min(options.max_new_tokens, self._engine.context - length),
            num_beams=options.num_beams,
            do_sample=options.temperature > 0.0,
            pad_token_id=self._engine.pad_token,
            eos_token_id=self._engine.end_tokens or None,
            use_cache=True,
        )
        if options.temperature > 0.0:
            config.temperature = options.temperature
            config.top_p = options.top_p
            config.top_k = options.top_k  # 0 is all; None would be the library's own default.
        return config

    def _trim(self, ids: list[int]) -> list[int]:
        """A row's tokens up to and including the one that ended it."""
        ends = set(self._engine.end_tokens)
        for position, token in enumerate(ids):
            if token in ends:
                return ids[: position + 1]
        return ids

    def _decode(self, ids: Sequence[int]) -> str:
        return str(self._engine.tokenizer.decode(list(ids), skip_special_tokens=True))

    def _answer(
        self,
        row: int,
        ids: list[int],
        prompts: PaddedPrompts,
        started: float,
        first_token_at: float | None,
    ) -> Answer:
        now = time.perf_counter()
        text, stopped = cut_at_stop(self._decode(ids), self._request.options.stop)
        # A trained model also refuses in its own words, which are those it was trained on.
        refused = self._refused(row) or (
            self._refuse is not None and text.strip() == DEFAULT_REFUSAL
        )
        ended = stopped or (bool(ids) and ids[-1] in self._engine.end_tokens)
        reason: Literal["stop", "length", "refusal"] = "stop" if ended else "length"
        citations: tuple[Citation, ...] = ()
        if refused:
            text, reason = self._request.refusal.sentence, "refusal"
        else:
            citations = self._citations(row, ids, text)
        leading = len(text) - len(text.lstrip())
        return Answer(
            text=text.strip(),
            citations=tuple(_shifted(c, leading) for c in citations),
            refused=refused,
            finish_reason=reason,
            usage=Usage(prompts.lengths[row], len(ids)),
            facts=self._ranked(row),
            kb_fingerprint=self._encoded.fingerprint if self._encoded is not None else None,
            model_name=self._engine.name,
            seconds=now - started,
            time_to_first_token=(first_token_at or now) - started,
            attention=self._trace(ids) if self._request.trace and row == 0 else None,
        )

    def _row_of(self, row: int, total: int) -> int:
        return row * max(1, total // len(self._request.prompts))

    def _refused(self, row: int) -> bool:
        if self._refuse is None or self._refuse.probability is None:
            return False
        probability = self._refuse.probability
        first = self._row_of(row, probability.shape[0])
        return float(probability[first]) > self._request.refusal.threshold

    def _ranked(self, row: int) -> tuple[ScoredFact, ...]:
        if self._session is None or self._session.selection is None:
            return ()
        selection = self._session.selection
        facts = self._facts.of(selection)[row]
        scores = selection.log_prob[self._row_of(row, selection.log_prob.shape[0])].exp().tolist()
        return tuple(
            ScoredFact(fact, score) for fact, score in zip(facts, scores, strict=True) if fact
        )

    def _citations(self, row: int, ids: list[int], text: str) -> tuple[Citation, ...]:
        if self._copy is None:
            return tuple(
                Citation(ranked.fact, ranked.score)
                for ranked in self._ranked(row)
                if ranked.score > _CITE_ABOVE
            )
        facts, found = self._facts.found[row] if self._facts.found else [], []
        batch = len(self._request.prompts)
        for span in self._copy.spans(row, batch, tuple(ids)):
            fact = facts[span.fact]
            if fact is None or span.part != _VALUE:
                continue
            start, end = self._characters(ids, span)
            if end <= len(text):
                found.append(Citation(fact, span.weight, start, end))
        return tuple(found)

    def _characters(self, ids: list[int], span: CopiedSpan) -> tuple[int, int]:
        before, through = self._decode(ids[: span.start]), self._decode(ids[: span.end])
        copied = through[len(before) :]
        return len(before) + len(copied) - len(copied.lstrip()), len(through)

    def _trace(self, ids: list[int]) -> AttentionTrace | None:
        session = self._session
        if session is None or session.selection is None or not session.attention:
            return None
        facts = self._facts.of(session.selection)[0]
        known = [position for position, fact in enumerate(facts) if fact is not None]
        layers = tuple(sorted(session.attention))
        by_layer = torch.stack([session.attention[layer][0, known] for layer in layers])
        tokens = [self._decode([token]) for token in ids]
        reading = self._copy.reading[: len(ids)] if self._copy is not None else []
        by_token = np.zeros((len(tokens), len(known)), dtype=np.float32)
        for position, weights in enumerate(reading):
            by_token[position] = [weights[k] for k in known]
        return AttentionTrace(
            facts=tuple(fact for fact in facts if fact is not None),
            layers=layers,
            tokens=tuple(tokens),
            by_layer=by_layer.float().cpu().numpy(),
            by_token=by_token,
        )


def _shifted(citation: Citation, by: int) -> Citation:
    if citation.start is None or citation.end is None or by == 0:
        return citation
    return Citation(citation.fact, citation.score, citation.start - by, citation.end - by)
