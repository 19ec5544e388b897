"""Guessed tokens change how long an answer takes, and nothing else."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
import torch
from observing import passes_of
from tiny_decoders import FAMILIES, attached, make_adapter, make_facts, make_model
from torch import Tensor
from transformers import (
    LogitsProcessor,
    LogitsProcessorList,
    PreTrainedModel,
    StoppingCriteria,
    StoppingCriteriaList,
)

from kblam.decoder import FactInput, speculative
from kblam.decoder.drafts import drafted
from kblam.decoder.speculative import SpeculativeDecoding, can_take_back
from kblam.decoder.tap import HiddenTap

RECURRENT = {"lfm2", "qwen3_5_text"}
NEW_TOKENS = 40  # past the sliding windows of those that have some

Draft = Callable[[list[int], int], Sequence[int]]


class Watched(LogitsProcessor, StoppingCriteria):
    """Notes what it is called with."""

    def __init__(self, tap: HiddenTap) -> None:
        self.tap = tap
        self.scored: list[tuple[int, ...]] = []
        self.stopped: list[tuple[int, ...]] = []
        self.hidden: list[Tensor] = []

    def __call__(self, input_ids: Tensor, scores: Tensor | None = None) -> Tensor:
        text = tuple(input_ids[0].tolist())
        if scores is None:
            self.stopped.append(text)
            return torch.zeros(1, dtype=torch.bool)
        assert self.tap.last is not None
        self.hidden.append(self.tap.last)
        self.scored.append(text)
        return scores


def _generated(
    model: PreTrainedModel, draft: Draft | None, **options: Any
) -> tuple[list[int], Watched, list[int]]:
    """The answer, what watched it, and how many tokens each pass had."""
    prompt = torch.randint(3, 128, (1, 9), generator=torch.Generator().manual_seed(7))
    facts = make_facts(6)
    facts = FactInput(
        facts.keys, facts.values, prompt_mask=torch.ones_like(prompt, dtype=torch.bool)
    )
    tap = HiddenTap(model)
    watched = Watched(tap)
    settings = {"max_new_tokens": NEW_TOKENS, "do_sample": False, "eos_token_id": None, **options}
    torch.manual_seed(5)
    try:
        with (
            attached(model, make_adapter(model)) as decoder,
            decoder.facts(facts),
            passes_of(model) as passes,
        ):
            output = model.generate(  # type: ignore[operator]
                prompt,
                attention_mask=torch.ones_like(prompt),
                pad_token_id=0,
                logits_processor=LogitsProcessorList([watched]),
                stopping_criteria=StoppingCriteriaList([watched]),
                custom_generate=None if draft is None else SpeculativeDecoding(tap, draft),
                **settings,
            )
    finally:
        tap.remove()
    return output[0, prompt.shape[1] :].tolist(), watched, passes


def _mixed(answer: Sequence[int]) -> Draft:
    """Guesses that are right, wrong, right at first, or none."""
    chance = random.Random(1)

    def draft(written: list[int], room: int) -> list[int]:
        assert written == answer[: len(written)]
        right = list(answer[len(written) :][: chance.choice((0, 1, 3, 6))])
        wrong = [chance.randrange(3, 128) for _ in range(chance.choice((0, 1, 4)))]
        return [*right, *wrong][:room]

    return draft


@pytest.fixture(scope="module", params=sorted({*FAMILIES} - RECURRENT))
def model(request: pytest.FixtureRequest) -> PreTrainedModel:
    return make_model(request.param)


@torch.no_grad()
@pytest.mark.parametrize("do_sample", [False, True])
def test_the_answer_is_the_same(model: PreTrainedModel, do_sample: bool) -> None:
    plain, expected, singly = _generated(model, None, do_sample=do_sample)
    guessed, found, passes = _generated(model, _mixed(plain), do_sample=do_sample)
    assert guessed == plain
    assert len(singly) == NEW_TOKENS
    assert len(passes) < NEW_TOKENS
    # Whoever looks at each token sees each once, with its own hidden state.
    assert (found.scored, found.stopped) == (expected.scored, expected.stopped)
    torch.testing.assert_close(torch.cat(found.hidden), torch.cat(expected.hidden))


def test_which_decoders_can_take_back() -> None:
    assert {family for family in FAMILIES if not can_take_back(make_model(family))} == RECURRENT


@pytest.fixture(scope="module")
def llama() -> PreTrainedModel:
    return make_model("llama")


@torch.no_grad()
def test_right_guesses_save_passes(llama: PreTrainedModel) -> None:
    plain, _, _ = _generated(llama, None)
    guessed, _, passes = _generated(llama, lambda text, room: plain[len(text) :][: min(room, 7)])
    assert guessed == plain
    assert passes == [9, 8, 8, 8, 8, 7]


@torch.no_grad()
def test_caches_of_earlier_releases(
    llama: PreTrainedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(speculative, "_RECORDS", False)
    assert can_take_back(llama)
    assert not can_take_back(make_model("gemma2"))
    plain, _, _ = _generated(llama, None)
    guessed, _, passes = _generated(llama, _mixed(plain))
    assert guessed == plain
    assert len(passes) < NEW_TOKENS


@torch.no_grad()
def test_a_family_that_makes_all_logits(
    llama: PreTrainedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, expected, _ = _generated(llama, None)
    forward = llama.forward

    def older(input_ids: Any = None, past_key_values: Any = None, use_cache: Any = None) -> Any:
        return forward(input_ids, past_key_values=past_key_values, use_cache=use_cache)

    monkeypatch.setattr(llama, "forward", older)
    guessed, found, _ = _generated(llama, _mixed(plain))
    assert guessed == plain
    torch.testing.assert_close(torch.cat(found.hidden), torch.cat(expected.hidden))


@torch.no_grad()
def test_guesses_leave_room_for_the_token_after_them(llama: PreTrainedModel) -> None:
    rooms: list[int] = []

    def draft(text: list[int], room: int) -> list[int]:
        rooms.append(room)
        return []

    answer, _, _ = _generated(llama, draft, max_new_tokens=4)
    assert len(answer) == 4
    # Where one token is left, it is the one after none.
    assert rooms == [2, 1]


@torch.no_grad()
def test_an_answer_that_ends_within_guesses_ends_there(llama: PreTrainedModel) -> None:
    plain, _, _ = _generated(llama, None)
    end = next(token for token in plain if 3 < plain.index(token) < 9)
    short = plain[: plain.index(end) + 1]
    guessed, _, passes = _generated(llama, lambda text, _: plain[len(text) :][:9], eos_token_id=end)
    assert guessed == short
    assert len(passes) == 2


class TestDrafts:
    THE, CAPITAL, OF, FRANCE, IS, PARIS, SPAIN, MADRID, AND, END = range(10)
    TEXTS = (
        (THE, CAPITAL, OF, FRANCE, IS, PARIS, END),
        (THE, CAPITAL, OF, SPAIN, IS, MADRID, END),
    )

    @pytest.fixture(params=[3, 99])
    def room(self, request: pytest.FixtureRequest) -> Iterator[int]:
        return request.param  # type: ignore[no-any-return]

    def test_a_beginning_goes_on_as_the_likeliest(self, room: int) -> None:
        found = drafted([self.THE], self.TEXTS, room)
        assert found == [self.CAPITAL, self.OF, self.FRANCE, self.IS, self.PARIS, self.END][:room]

    def test_the_longest_end_counts(self) -> None:
        written = [self.THE, self.CAPITAL, self.OF, self.SPAIN, self.IS]
        assert drafted(written, self.TEXTS, 9) == [self.MADRID, self.END]

    def test_one_token_inside_tells_nothing(self) -> None:
        assert drafted([self.AND, self.IS], self.TEXTS, 9) == []
        assert drafted([self.AND, self.FRANCE, self.IS], self.TEXTS, 9) == [self.PARIS, self.END]

    def test_a_text_that_repeats_itself_is_no_trap(self) -> None:
        text = [*([7] * 20_000), 8]
        assert drafted([7] * 10_000, [text], 3) == [7, 7, 7]
        assert drafted([9, *([7] * 3)], [text], 3) == [7, 7, 7]

    def test_there_may_be_none(self) -> None:
        assert drafted([], self.TEXTS, 9) == []
        assert drafted([self.THE], (), 9) == []
        assert drafted([self.THE], self.TEXTS, 0) == []
        assert drafted(list(self.TEXTS[0]), self.TEXTS, 9) == []
