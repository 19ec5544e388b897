"""From prompts and facts to answers, by one ``generate`` call per batch."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from typing import Any

import torch
from transformers import GenerationConfig, LogitsProcessorList, StoppingCriteriaList

from kblam._bare_config import bare_generation_config
from kblam._engine import Engine
from kblam._finished import AnswerMaker, Timing
from kblam._form_values import FormValues
from kblam._knowledge_base import KnowledgeBase, SeenFacts
from kblam._prompt import PaddedPrompts, asked_before, pad_prompts, question_of
from kblam._refusal_words import SPELLINGS
from kblam._request import Request
from kblam._seeded import seeded
from kblam._selected_facts import SelectedFacts
from kblam.answer import Answer
from kblam.decoder import Candidates, FactInput, FactSession, Selection
from kblam.decoder.constrain import ConstraintProcessor
from kblam.decoder.drafts import drafted
from kblam.decoder.grounding import CopyProcessor
from kblam.decoder.refusal import OwnRefusal, RefusalProcessor
from kblam.decoder.speculative import SpeculativeDecoding
from kblam.decoder.watch import GenerationWatch
from kblam.encoding import (
    CachedEmbedder,
    TrainedEncoder,
    encode_or_zero,
    guessed_without_name,
    names_something,
)

__all__ = ["Generation"]

# Tokens that are guessed at once. So many take a decoder two to three times as long as one (CPU).
_DRAFT = 32


class Generation:
    """One ``generate`` call. Made under the engine's lock and used once.

    Args:
        engine: The weights.
        request: What to generate, tokenized; all answers have the same room.
        base: The store, or None.
        seen: What each prompt may see of its facts, or None.

    Attributes:
        contradicted: The prompts whose answers refuse in the model's own words, though they name
            nothing and the estimate found no reason to, once it has run.
    """

    def __init__(
        self,
        engine: Engine,
        request: Request,
        base: KnowledgeBase | None,
        seen: SeenFacts | None,
    ) -> None:
        self._engine = engine
        self._request = request
        self._base = base
        self._seen = seen
        self._asked = [question_of(messages) for messages in request.prompts]
        self._before = [asked_before(messages) for messages in request.prompts]
        self._facts = SelectedFacts(engine, seen, self._asked, self._before)
        self._copy: CopyProcessor | None = None
        self._refuse: RefusalProcessor | None = None
        self._session: FactSession | None = None
        self._forms: list[ConstraintProcessor] = []
        self._told: list[tuple[int, ...]] | None = None
        self.contradicted: list[int] = []

    @torch.no_grad()
    def run(self) -> list[Answer]:
        """Generate.

        Raises:
            PromptTooLongError: A prompt leaves no room for an answer.
        """
        engine, request = self._engine, self._request
        started = time.perf_counter() - request.tokenizing
        prompts = pad_prompts(request.tokens, engine.pad_token, engine.context, engine.model.device)
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
                stack.enter_context(seeded(request.options.seed, engine.model.device))
            stack.enter_context(bare_generation_config(engine.model))
            generate: Any = engine.model.generate
            output = generate(
                input_ids=prompts.input_ids,
                attention_mask=prompts.attention_mask,
                generation_config=self._config(length),
                logits_processor=processors,
                stopping_criteria=StoppingCriteriaList([watch]),
                custom_generate=self._speculative(),
            )
            texts = [engine.up_to_end(row) for row in output[:, length:].tolist()]
            timing = Timing(started, watch.first_token_at)
            made = AnswerMaker(
                engine,
                request,
                self._seen,
                self._facts,
                self._session,
                self._copy,
                self._refuse,
            )
            answers = [
                made.answer(row, ids, tokens, timing)
                for row, (ids, tokens) in enumerate(zip(texts, prompts.lengths, strict=True))
            ]
            self.contradicted = [
                row
                for row, given in enumerate(answers)
                if given.refused and not made.refuses(row) and not self._names_something(row)
            ]
            return answers

    def _names_something(self, row: int) -> bool:
        """Whether a prompt, or what was asked before, may be about a fact after all."""
        facts = self._facts.found[row] if self._facts.found else []
        return any(names_something(text, facts) for text in (self._asked[row], self._before[row]))

    def _enter(self, stack: ExitStack, prompts: PaddedPrompts) -> LogitsProcessorList:
        """Give the decoder its facts for the time of the generation."""
        engine, seen = self._engine, self._seen
        held = self._forms = self._held(prompts.input_ids.shape[1])
        processors = LogitsProcessorList()
        decoder, tap = engine.decoder, engine.tap
        if seen is None or len(seen.facts) == 0 or decoder is None or tap is None:
            processors.extend(held)
            return processors
        self._embed_together()
        places, mask = seen.narrowing()
        device = engine.model.device
        facts = FactInput(
            seen.facts.keys,
            seen.facts.values,
            places=None if places is None else places.to(device),
            mask=None if mask is None else mask.to(device),
            encoder_query=encode_or_zero(engine.encoder, self._asked).to(device),
            context_query=encode_or_zero(engine.encoder, self._before).to(device),
            prompt_mask=prompts.attention_mask.bool(),
            evidence=self._facts.evidence,
            candidates=self._candidates(seen),
        )
        session = stack.enter_context(decoder.facts(facts, trace=self._request.trace))
        self._session = session
        adapter = decoder.adapter
        own = self._own_refusal() if held else None
        if own is not None:
            processors.append(own)
        if self._request.grounding == "copy" and adapter.pointer is not None:
            values = self._form_values()
            self._copy = CopyProcessor(
                session,
                adapter.pointer,
                tap,
                partial(self._facts.lookup, in_json=values is not None),
                prompts.input_ids.shape[1],
                {"word": engine.vocabulary.continuations} if values is None else values.endings,
                # A form says by itself where it ends.
                None if held else lambda: engine.vocabulary.closers,
                None if held else lambda: engine.vocabulary.list_marks,
                None if values is None else values.opening,
                # In JSON, words that go on with a sentence are none of the form's.
                partial(adapter.pointer.coverage_logits, engine.model) if values is None else None,
            )
            processors.append(self._copy)
            if values is not None:
                length, count = prompts.input_ids.shape[1], len(self._request.prompts)
                processors.extend(values.lists.processors(length, count))
        processors.extend(held)
        # After the form: a refusal has none.
        if adapter.refusal is not None and engine.end_tokens:
            self._refuse = RefusalProcessor(
                session,
                adapter.refusal,
                tap,
                self._request.refusal.threshold,
                engine.end_tokens[0],
                only_facts=self._request.options.only_facts,
                own=own,
            )
            processors.append(self._refuse)
        return processors

    def _own_refusal(self) -> OwnRefusal | None:
        """What tells that the model would refuse by itself, where its answers have a form."""
        request, vocabulary = self._request, self._engine.vocabulary
        # A tool may be called for what no fact says, and who never refuses wants the form filled.
        if request.tools or request.refusal.threshold >= 1.0:
            return None
        beginnings = {vocabulary.at_start(words)[0] for words in SPELLINGS}
        rows = range(len(request.prompts))
        return OwnRefusal(beginnings, lambda: [self._names_something(row) for row in rows])

    def _speculative(self) -> SpeculativeDecoding | None:
        """Decoding with drafts, where one prompt has facts to make them of."""
        options, tap = self._request.options, self._engine.tap
        if len(self._request.prompts) > 1 or options.num_beams > 1 or not options.speculative:
            return None
        if self._copy is None or tap is None or not self._engine.can_guess:
            return None
        return SpeculativeDecoding(tap, self._drafted)

    def _drafted(self, written: Sequence[int], room: int) -> list[int]:
        """What an answer may go on with: what its form wants, or what the facts would say."""
        room = min(room, _DRAFT)
        forced = [token for form in self._forms for token in form.forced(tuple(written))]
        if forced:
            return forced[:room]
        if self._told is None:
            self._told = self._facts.told(self._selection())
        return drafted(written, self._told, room)

    def _held(self, length: int) -> list[ConstraintProcessor]:
        """What holds the answers to a form, if one is wanted; prompts have that many tokens."""
        constraint = self._request.options.constraint
        if constraint is None:
            return []
        tokenizer = self._engine.grammar_tokenizer
        return [ConstraintProcessor(constraint.grammar, tokenizer, length, self._room(length))]

    def _room(self, length: int) -> int:
        """How many tokens an answer may have after a prompt of that many."""
        return min(self._request.options.max_new_tokens, self._engine.context - length)

    def _form_values(self) -> FormValues | None:
        """What fills the answers' form, where it is one of JSON."""
        form = self._request.options.constraint
        if form is None or not form.is_json:
            return None
        engine, facts, is_call = self._engine, self._facts, bool(self._request.tools)
        return FormValues(engine, facts, form, self._forms[0], self._selection, is_call=is_call)

    def _selection(self) -> Selection:
        assert self._session is not None
        assert self._session.selection is not None
        return self._session.selection

    def _candidates(self, seen: SeenFacts) -> Candidates | None:
        if (
            self._base is None
            or self._request.exact
            or any(view is not None for view in seen.views)
        ):
            return None
        return self._base.candidates(seen.facts)

    def _embed_together(self) -> None:
        """Embed all that will be asked for of the prompts at once, if the encoder remembers it."""
        decoder, encoder = self._engine.decoder, self._engine.encoder
        if decoder is None or decoder.adapter.match is None:
            return
        if not isinstance(encoder, CachedEmbedder):
            return
        guesses = [guessed_without_name(question) for question in self._asked]
        texts, reader = [*self._asked, *self._before], self._engine.reader
        if isinstance(reader, TrainedEncoder) and reader.encoder is encoder:
            reader.encode_beside(guesses, texts)
        elif reader is encoder:
            encoder.encode(list(filter(None, (*texts, *guesses))))

    def _config(self, length: int) -> GenerationConfig:
        options = self._request.options
        config = GenerationConfig(
            max_new_tokens=self._room(length),
            num_beams=options.num_beams,
            do_sample=options.temperature > 0.0,
            pad_token_id=self._engine.pad_token,
            eos_token_id=self._engine.end_tokens or None,
            use_cache=True,
        )
        if options.num_beams > 1 and options.constraint is not None:
            # The likeliest text of that form: by the mean of its tokens, the longest would win.
            config.length_penalty = 0.0
        if options.temperature > 0.0:
            config.temperature = options.temperature
            config.top_p = options.top_p
            config.top_k = options.top_k  # 0 is all; None would be the library's own default.
        return config
