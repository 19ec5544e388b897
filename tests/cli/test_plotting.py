"""Attention pictures, from traces made by hand."""

from __future__ import annotations

import numpy as np
import pytest

from kblam.answer import Answer, AttentionTrace, Usage
from kblam.errors import ConfigError
from kblam.knowledge import Fact
from kblam.plotting import draw_attention, save_attention


def make_answer(num_facts=3, num_tokens=4, trace=True):
    facts = tuple(
        Fact(entity=f"Project {n}", property="cost in $", value=f"${n}", id=str(n))
        for n in range(num_facts)
    )
    # Fact 1 is read most, then fact 0.
    weights = np.full(num_facts, 0.02)
    weights[:2] = [0.1, 0.8]
    attention = AttentionTrace(
        facts=facts,
        layers=(3, 6),
        by_layer=np.tile(weights, (2, 1)),
        tokens=tuple("$ab\n"[:num_tokens]),
        by_token=np.tile(weights, (num_tokens, 1)),
    )
    return Answer(
        text="It costs $1.",
        citations=(),
        refused=False,
        finish_reason="stop",
        usage=Usage(input_tokens=3, output_tokens=num_tokens),
        facts=(),
        kb_fingerprint=None,
        model_name="tiny",
        seconds=0.1,
        time_to_first_token=0.1,
        attention=attention if trace else None,
    )


def test_draws_facts_by_how_much_they_were_read():
    figure = draw_attention(make_answer())
    layers, tokens = figure.axes[:2]
    assert [label.get_text() for label in layers.get_yticklabels()] == [
        r"Project 1 · cost in \$",
        r"Project 0 · cost in \$",
        r"Project 2 · cost in \$",
    ]
    assert [label.get_text() for label in layers.get_xticklabels()] == ["3", "6"]
    assert [label.get_text() for label in tokens.get_xticklabels()] == [r"\$", "a", "b", "⏎"]
    drawn = layers.images[0].get_array()
    assert drawn.shape == (3, 2)
    np.testing.assert_allclose(drawn[:, 0], [0.8, 0.1, 0.02])


def test_keeps_the_most_read_facts_only():
    figure = draw_attention(make_answer(num_facts=30), max_facts=5)
    assert len(figure.axes[0].get_yticklabels()) == 5


def test_refused_answers_have_no_tokens_to_draw():
    figure = draw_attention(make_answer(num_tokens=0))
    assert len(figure.axes) == 2  # the layers and the colour bar


@pytest.mark.parametrize("ending", ["png", "svg"])
def test_writes_a_picture(tmp_path, ending):
    path = save_attention(make_answer(), tmp_path / f"attention.{ending}")
    assert path.stat().st_size > 1000


@pytest.mark.parametrize(
    ("answer", "name", "message"),
    [
        (make_answer(trace=False), "a.png", "trace=True"),
        (make_answer(num_facts=2), "a.docx", r"got 'a.docx'. Use, for example, a.png"),
    ],
)
def test_says_what_is_wrong(tmp_path, answer, name, message):
    with pytest.raises(ConfigError, match=message):
        save_attention(answer, tmp_path / name)


def test_asks_for_at_least_one_fact():
    with pytest.raises(ConfigError, match="at least 1, got 0"):
        draw_attention(make_answer(), max_facts=0)
