"""Copying values in batches and beams, and what is told of it."""

from __future__ import annotations

import gc
import tracemalloc

import pytest
import torch
from tiny_copying import END, PROMPT, SPACE, copying
from tiny_decoders import make_model
from transformers import PreTrainedModel

from kblam.config import COPY_PARTS
from kblam.decoder.spans import SpanLookup, SpanTokens, Spelling
from kblam.decoder.tap import HiddenTap


@pytest.fixture(scope="module")
def model() -> PreTrainedModel:
    return make_model("llama")


def test_beams_may_be_reordered_copied_and_dropped(model) -> None:
    values = [[(50, 51, 52), (60, 61), (50, 53)]]
    steps = [[[50], [60], [7]], [[50, 51], [60, 61], [50, 53]]]
    with copying(model, values, gate=0.5) as copy:
        copy([[], [], []])
        copy(steps[0])
        straight = copy(steps[1])
    with copying(model, values, gate=0.5) as copy:
        copy([[], [], []])
        copy([steps[0][i] for i in (2, 0, 1)])
        shuffled = copy([steps[1][i] for i in (1, 2, 0)])
    torch.testing.assert_close(shuffled, straight[[1, 2, 0]], rtol=1e-4, atol=1e-4)
    with copying(model, values, gate=0.5) as copy:
        copy([[], [], []])
        copy(steps[0])
        copied = copy([steps[1][0]] * 3)
    torch.testing.assert_close(copied, straight[:1].expand(3, -1), rtol=1e-4, atol=1e-4)


def test_prompts_of_a_batch_copy_their_own_values(model) -> None:
    prompts = torch.cat([PROMPT, PROMPT.flip(1)])
    values = [[(50, 51), (60, 61)], [(70, 71), (80, 81, 82)]]
    with copying(model, values, gate=20.0) as copy:
        # Two beams each, in one batch.
        start = copy([[]] * 4, prompts).exp()
        assert (start[:2, [50, 60]].sum(-1) > 0.999).all()
        assert (start[2:, [70, 80]].sum(-1) > 0.999).all()
        following = copy([[50], [60], [80], [70]], prompts).exp()
        assert (following[range(4), [51, 61, 81, 71]] > 0.999).all()


def test_rows_that_ended_earlier_keep_their_spans(model) -> None:
    """Rows of a batch end at different times, and go on as padding."""
    prompts = torch.cat([PROMPT, PROMPT.flip(1)])
    values = [[(50, 51)], [(70, 71, 72)]]
    with copying(model, values, gate=0.0) as copy:
        texts = [[50, 51, END, 0, 0], [8, 70, 71, 72, 9]]
        for length in range(len(texts[0])):
            copy([text[:length] for text in texts], prompts)
        (first,) = copy.processor.spans(0, 2, (50, 51, END))
        (second,) = copy.processor.spans(1, 2, tuple(texts[1]))
        assert (first.start, first.end) == (0, 2)
        assert (second.start, second.end) == (1, 4)


def test_beams_that_ended_earlier_keep_their_spans(model) -> None:
    """A finished beam is set aside: the processor never sees it with its end."""
    with copying(model, [[(50, 51), (60, 61)]], gate=0.0) as copy:
        for texts in ([[], []], [[50], [7]], [[50, 51], [7, 8]], [[7, 8, 9], [7, 8, 60]]):
            copy(texts)
        (span,) = copy.processor.spans(0, 1, (50, 51, END))
        assert (span.start, span.end) == (0, 2)


def test_hidden_facts_are_not_copied(model) -> None:
    mask = torch.tensor([[True, False]])
    with copying(model, [[(50, 51), (60, 61)]], gate=20.0, mask=mask) as copy:
        assert copy([[]])[0].exp()[50] > 0.999
    with copying(model, [[(50, 51), (60, 61)]], gate=20.0, mask=torch.zeros_like(mask)) as copy:
        # No fact at all: the words are the model's own.
        torch.testing.assert_close(copy([[]])[0].exp(), copy.words[()], rtol=1e-4, atol=1e-6)


def test_after_a_facts_names_comes_its_own_value(model) -> None:
    """Who leads Aurora, and who leads Borealis? Each value follows its own fact's name."""
    texts = [(50,), (60,), (70,), (80,), (90,), (95,)]
    with copying(model, [texts], gate=20.0, copied=COPY_PARTS, used_penalty=20.0) as copy:
        copy.adapter.pointer.named_bonus.fill_(20.0)
        for name, value, other in ((60, 50, 80), (95, 80, 50)):
            copy([[]])
            after = copy([[name]])[0].exp()
            assert after[value] > 0.3
            assert after[other] < 0.01


def test_a_span_tells_which_text_of_which_fact_it_is(model) -> None:
    texts = [(50, 51), (60, 61), (70,), (80, 81), (90,), (95,)]
    with copying(model, [texts], gate=20.0, copied=COPY_PARTS, used_penalty=20.0) as copy:
        written: list[int] = []
        for token in (60, 61, 95, 50, 51):
            copy([written])
            written.append(token)
        copy([written])
        spans = copy.processor.spans(0, 1, (*written, END))
        order = copy.order
        found = [(order[span.fact], COPY_PARTS[span.part]) for span in spans]
        assert found == [(0, "entity"), (1, "property"), (0, "value")]
        assert [(span.start, span.end) for span in spans] == [(0, 2), (2, 3), (3, 5)]
        # What is read is told by fact, whichever of its texts it is.
        reading = copy.processor.reading(tuple(written))
        assert len(reading[0]) == 2
        assert reading[1][order.index(0)] == pytest.approx(1.0, abs=1e-3)


def test_what_is_read_is_told_by_token(model) -> None:
    with copying(model, [[(50, 51), (60, 61)]], gate=20.0) as copy:
        copy([[]])
        copy([[60]])
        place = copy.order.index(1)
        reading = copy.processor.reading((60, 61))
        assert reading[1][place] == pytest.approx(1.0, abs=1e-3)
        assert sum(reading[0]) == pytest.approx(1.0, abs=1e-3)


def test_what_is_read_is_told_of_the_beam_that_won(model) -> None:
    with copying(model, [[(50, 51), (60, 61)]], gate=20.0) as copy:
        for texts in ([[], []], [[50], [60]], [[60, 61], [50, 51]]):
            copy(texts)
        for written, fact in (((50, 51, END), 0), ((60, 61, END), 1)):
            reading = copy.processor.reading(written)
            assert len(reading) == 3
            assert reading[1][copy.order.index(fact)] == pytest.approx(1.0, abs=1e-3)


def test_a_lookup_knows_its_rows_and_its_bounds() -> None:
    lookup = SpanLookup(
        [[SpanTokens((1,), (2,))], [SpanTokens((), ()), SpanTokens((3,), (4,))]],
        lambda token: token == SPACE,
    )
    assert [lookup.row(index, 6) for index in range(6)] == [0, 0, 0, 1, 1, 1]
    assert [lookup.row(index, 2) for index in range(2)] == [0, 1]
    first, later = Spelling(spaced=False), Spelling(spaced=True)
    assert lookup.tokens(0, 0, first) == (1,)
    assert lookup.tokens(0, 0, later) == (2,)
    assert lookup.tokens(0, 1, first) == ()
    assert lookup.tokens(1, 0, first) == ()
    assert lookup.after(()) == first
    assert lookup.after((7, SPACE)) == first
    assert lookup.after((SPACE, 7)) == later


def test_a_number_is_a_spelling_of_its_own() -> None:
    number = SpanTokens((5,), (6, 5))
    text = SpanTokens((1, 2), (3, 2), ends_in_word=True, number=number)
    assert text.spelled(Spelling(spaced=False, number=True)) == (5,)
    assert text.spelled(Spelling(spaced=True, number=True)) == (6, 5)
    assert text.ending(Spelling(spaced=True)) == "word"
    assert text.ending(Spelling(spaced=True, number=True)) == "number"
    assert number.spelled(Spelling(spaced=False, number=True)) == ()


def test_the_pointer_needs_a_forward_pass_first(model) -> None:
    with (
        copying(model, [[(50, 51)]], gate=0.0) as copy,
        pytest.raises(RuntimeError, match="first forward pass"),
    ):
        copy.processor(PROMPT, torch.zeros(1, 128))


def test_a_tap_that_was_removed_hears_nothing(model) -> None:
    tap = HiddenTap(model)
    with torch.no_grad():
        model(PROMPT)
        heard = tap.last
        assert heard.shape == (1, 64)
        model(PROMPT.flip(1))
        assert not torch.equal(tap.last, heard)
        heard = tap.last
        tap.remove()
        model(PROMPT)
    assert torch.equal(tap.last, heard)


def test_a_prompt_that_is_not_about_the_facts_copies_nothing(model) -> None:
    with copying(model, [[(50, 51), (60, 61)]], gate=20.0) as copy:
        copy.adapter.selection.none_bias.fill_(100.0)
        torch.testing.assert_close(copy([[]])[0].exp(), copy.words[()], rtol=1e-3, atol=1e-5)


def test_what_is_kept_of_an_answer_grows_with_its_length(model) -> None:
    """Not with its square, as the texts of all its beginnings do."""

    def kept(length: int) -> int:
        text = [7, 8, 9, 10] * (length // 4)
        with copying(model, [[(50, 51)]], gate=-30.0) as copy:
            copy([[]])
            logits = torch.zeros(1, model.config.vocab_size)
            gc.collect()
            tracemalloc.start()
            for end in range(1, length + 1):
                copy.processor(torch.cat([PROMPT, torch.tensor([text[:end]])], 1), logits)
            gc.collect()
            size, _ = tracemalloc.get_traced_memory()
            tracemalloc.stop()
        return size

    kept(8)
    assert kept(240) < 2.5 * kept(120)


def test_a_beam_that_ended_early_is_still_known(model) -> None:
    """Its text is no longer among the rows when it turns out to be the best."""
    with copying(model, [[(50, 51), (60, 61)]], gate=20.0) as copy:
        copy([[], []])
        copy([[50], [60]])
        copy([[50, 51], [60, 61]])
        copy([[60, 61, 7], [60, 61, 8]])
        copy([[60, 61, 7, 9], [60, 61, 8, 9]])
        (span,) = copy.processor.spans(0, 2, (50, 51, END))
        assert (copy.order[span.fact], span.start, span.end) == (0, 0, 2)
        assert copy.processor.spans(0, 2, (50, END)) == ()  # it was only begun
        (span,) = copy.processor.spans(1, 2, (60, 61, 8, 9, END))
        assert (copy.order[span.fact], span.start, span.end) == (1, 0, 2)
