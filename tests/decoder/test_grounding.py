"""Copying values: the exact mixture over all ways of having written a text."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_copying import END, PROMPT, SPACE, Copying, Values, copying
from tiny_decoders import make_model
from torch import Tensor
from transformers import LogitsProcessorList, PreTrainedModel

from kblam.config import COPY_PARTS
from kblam.decoder import grounding


@pytest.fixture(scope="module")
def model() -> PreTrainedModel:
    return make_model("llama")


# Few tokens, so that values begin alike, contain each other and occur by chance.
tokens = st.integers(10, 13)
span = st.lists(tokens, min_size=1, max_size=3).map(tuple)
values_of = st.lists(span, min_size=2, max_size=4)
# Values alone, or the three texts of one or two facts.
texts_of = st.one_of(
    st.tuples(st.just(COPY_PARTS[:1]), values_of),
    st.tuples(
        st.just(COPY_PARTS),
        st.sampled_from((3, 6)).flatmap(lambda n: st.lists(span, min_size=n, max_size=n)),
    ),
)


@settings(max_examples=40, deadline=None)
@given(values_of, st.lists(tokens, max_size=6), st.floats(-4, 4))
def test_the_mixture_sums_to_one(model, values: Values, text: list[int], gate: float) -> None:
    with copying(model, [values], gate=gate, uniform=False) as copy:
        for length in range(len(text) + 1):
            total = copy([text[:length]]).exp().sum(-1)
            assert total.item() == pytest.approx(1.0, abs=1e-4)


@settings(max_examples=40, deadline=None)
@given(texts_of, st.lists(tokens, min_size=1, max_size=6), st.floats(-3, 3))
def test_a_texts_probability_is_the_sum_over_all_its_readings(
    model, copied_texts: tuple[tuple[str, ...], Values], text: list[int], gate: float
) -> None:
    """Every way to cut a text into free tokens and copied ones, each with its own probability."""
    copied, values = copied_texts
    parts = len(copied)

    def later(value: tuple[int, ...]) -> tuple[int, ...]:
        return (*value, 14)

    # Without a penalty for values used, the pointer depends on the text alone.
    with (
        pytest.MonkeyPatch.context() as patch,
        copying(
            model, [values], gate=gate, used_penalty=0.0, uniform=False, later=later, copied=copied
        ) as copy,
    ):
        patch.setattr(grounding, "_MAX_STATES", 10_000)  # otherwise it keeps the likeliest
        product, free, inside = 1.0, [1.0] + [0.0] * len(text), 0.0
        for length in range(len(text) + 1):
            log_probs = copy([text[:length]])
            hidden = copy.processor._tap.last[:, None]
            session = copy.processor._session
            selection = session.selection
            opened, pointer = copy.adapter.pointer(
                hidden,
                session.keys,
                selection.log_prob,
                selection.log_none,
                session.mask,
                torch.zeros(1, 1, len(values)),  # one for each text
                torch.zeros(1, len(values) // parts, dtype=torch.bool),
            )
            g = float(torch.sigmoid(opened))
            if length == len(text):
                break
            free[length + 1] += (
                free[length] * (1 - g) * float(copy.words[tuple(text[:length])][text[length]])
            )
            places = [
                parts * fact + part for fact in selection.index[0].tolist() for part in range(parts)
            ]
            for place, text_of in enumerate(places):
                value = later(values[text_of]) if length else values[text_of]
                weight = free[length] * g * float(pointer[0, 0, place].exp())
                rest = tuple(text[length:])
                if rest[: len(value)] == value:
                    free[length + len(value)] += weight
                elif value[: len(rest)] == rest:
                    inside += weight
            product *= float(log_probs[0, text[length]].exp())
    assert math.log(product) == pytest.approx(math.log(free[-1] + inside), abs=1e-3)


def test_inside_a_value_its_tokens_are_forced(model) -> None:
    with copying(model, [[(50, 51, 52), (60, 61)]], gate=20.0) as copy:
        start = copy([[]])[0].exp()
        assert start[[50, 60]].sum() > 0.999
        assert copy([[50]])[0].exp()[51] > 0.999
        assert copy([[50, 51]])[0].exp()[52] > 0.999
        after = copy([[50, 51, 52]])[0].exp()
        words = copy.words[50, 51, 52]
        # What was copied is unlikely to be copied again. Half of the pointer was on it: that
        # half closes the gate rather than going over to the other value.
        assert after[60] == pytest.approx(0.5 + 0.5 * float(words[60]), abs=0.03)
        assert after[50] == pytest.approx(0.5 * float(words[50]), abs=0.03)
        assert after[51] == pytest.approx(0.5 * float(words[51]), abs=0.03)


def test_no_word_goes_on_where_a_value_ended(model) -> None:
    """ "Tampere" must not become "Tampereville"."""
    continuations = torch.zeros(model.config.vocab_size, dtype=torch.bool)
    continuations[40:90] = True
    values = [[(50, 51, 52)]]
    with copying(model, values, gate=20.0, continuations=continuations) as copy:
        copy([[]])
        assert copy([[50]])[0].exp()[51] > 0.999  # inside a value, everything may follow
        copy([[50, 51]])
        after = copy([[50, 51, 52]])[0].exp()
        assert after.sum().item() == pytest.approx(1.0, abs=1e-4)
        free = ~continuations
        assert float(after[continuations].sum()) < 0.05
        words = copy.words[50, 51, 52] * free
        torch.testing.assert_close(
            after[free], (words / words.sum())[free] * after[free].sum(), rtol=1e-3, atol=1e-5
        )
        # One word later, all is open again.
        later = copy([[50, 51, 52, 7]])[0].exp()
        assert float(later[continuations].sum()) > 0.2


def test_a_value_that_ends_in_no_word_may_be_followed_by_anything(model) -> None:
    continuations = torch.ones(model.config.vocab_size, dtype=torch.bool)
    with copying(
        model, [[(50,)]], gate=20.0, continuations=continuations, ends_in_word=False
    ) as copy:
        copy([[]])
        after = copy([[50]])[0].exp()
        torch.testing.assert_close(after, copy.words[50,], rtol=0.1, atol=0.03)


def test_a_closed_gate_leaves_every_word_to_the_model(model) -> None:
    with copying(model, [[(50, 51)]], gate=-30.0) as copy:
        for text in ([], [50], [7, 8]):
            mixed = copy([text])[0].exp()
            # A gate is never quite shut, so that a value can always have been meant.
            torch.testing.assert_close(mixed, copy.words[tuple(text)], rtol=1e-3, atol=3e-4)


def _generate(copy: Copying, prompts: Tensor = PROMPT, **options) -> list[list[int]]:
    output = copy.model.generate(
        prompts,
        attention_mask=torch.ones_like(prompts),
        logits_processor=LogitsProcessorList([copy.processor]),
        do_sample=False,
        pad_token_id=0,
        **{"eos_token_id": END, **options},
    )
    return output[:, prompts.shape[1] :].tolist()


@settings(max_examples=25, deadline=None)
@given(values_of, st.integers(1, 3))
def test_greedy_writes_whole_values(model, values: Values, beams: int) -> None:
    """Also where values begin alike: what is begun is a value's beginning, to its end."""
    longest = max(map(len, values))
    with copying(model, [values], gate=20.0, used_penalty=0.0) as copy:
        (text,) = _generate(copy, max_new_tokens=3 * longest, num_beams=beams)
        spans = copy.processor.spans(0, 1, tuple(text))
    assert spans
    assert spans[0].start == 0
    for span, following in zip(spans, [*spans[1:], None], strict=True):
        assert tuple(text[span.start : span.end]) == values[copy.order[span.fact]]
        assert 0 < span.weight <= 1
        if following is not None:
            assert following.start == span.end
    # At most the beginning of one more value follows, cut off by the length.
    rest = tuple(text[spans[-1].end :])
    assert any(value[: len(rest)] == rest for value in values)
    assert len(rest) < longest


def test_values_that_begin_alike_are_told_apart_by_what_follows(model) -> None:
    with copying(model, [[(50, 51, 52), (50, 51, 53, 54)]], gate=20.0) as copy:
        for length in range(3):
            start = copy([[50, 51, 52][:length]])[0].exp()
        # Both are open until the third token.
        assert start[52] > 0
        assert start[53] > 0
        assert start[[52, 53]].sum() > 0.999
        for text in ([50, 51, 53],):
            assert copy([text])[0].exp()[54] > 0.999
        copy([[50, 51, 53, 54]])
        (span,) = copy.processor.spans(0, 1, (50, 51, 53, 54))
        assert (copy.order[span.fact], span.start, span.end) == (1, 0, 4)


def test_spans_are_where_the_values_stand(model) -> None:
    with copying(model, [[(50, 51), (60, 61, 62)]], gate=0.0) as copy:
        text = [7, 50, 51, 8, 60, 61, 62, 9, 50]
        for length in range(len(text)):
            copy([text[:length]])
        spans = copy.processor.spans(0, 1, tuple(text))
        # The last value was only begun.
        assert [(copy.order[s.fact], s.start, s.end) for s in spans] == [(0, 1, 3), (1, 4, 7)]


def test_a_value_finished_by_the_last_token_is_a_span(model) -> None:
    """The processor never sees an answer's last token."""
    with copying(model, [[(50, 51), (60, 61)]], gate=20.0) as copy:
        copy([[]])
        copy([[60]])
        (span,) = copy.processor.spans(0, 1, (60, 61))
        assert (copy.order[span.fact], span.start, span.end) == (1, 0, 2)
        assert copy.processor.spans(0, 1, (60,)) == ()


def test_a_token_from_outside_goes_on_freely(model) -> None:
    """Prompts with forced tokens and constrained decoding choose what nobody offered."""
    with copying(model, [[(50, 51, 52), (60, 61)]], gate=40.0) as copy:
        copy([[]])
        copy([[50]])
        mixed = copy([[50, 77]])[0].exp()
        assert mixed.sum().item() == pytest.approx(1.0, abs=1e-4)
        assert mixed[52] < 1e-3
        assert copy.processor.spans(0, 1, (50, 77)) == ()
        # A value may start again, and counts.
        copy([[50, 77, 60]])
        (span,) = copy.processor.spans(0, 1, (50, 77, 60, 61))
        assert (span.start, span.end) == (2, 4)


def test_after_an_opening_a_value_has_no_space_before_it(model) -> None:
    def spaced(value: tuple[int, ...]) -> tuple[int, ...]:
        return (value[0] + 20, *value[1:])

    with copying(model, [[(50, 51)]], gate=20.0, later=spaced) as copy:
        assert copy([[]])[0].exp()[50] > 0.999  # at the start of a text
        assert copy([[7]])[0].exp()[70] > 0.999  # after a word
        assert copy([[7, SPACE]])[0].exp()[50] > 0.999  # after a space
