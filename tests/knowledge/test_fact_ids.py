"""Packed identifiers behave as the tuple of them."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from kblam.knowledge._fact_ids import FactIds

TEXTS = st.lists(st.text(min_size=1, max_size=6), max_size=50, unique=True)


@given(TEXTS, TEXTS, st.data())
def test_they_are_a_tuple(texts: list[str], more: list[str], data: st.DataObject) -> None:
    ids = FactIds.of(texts)
    assert ids == tuple(texts)
    assert len(ids) == len(texts)
    assert list(ids) == texts == [ids[i] for i in range(len(ids))]
    assert ids[1:-1] == tuple(texts[1:-1])
    assert ids.extended(more) == (*texts, *more)
    wanted = data.draw(st.lists(st.sampled_from(texts + more))) if texts + more else []
    assert ids.positions(wanted).tolist() == sorted(
        {texts.index(text) for text in wanted if text in texts}
    )
    positions = data.draw(st.lists(st.sampled_from(range(len(texts))))) if texts else []
    assert ids.take(np.array(positions, np.int64)) == tuple(texts[i] for i in positions)


def test_many_are_found_at_once() -> None:
    texts = [f"id{i}" for i in range(500)]
    wanted = [*texts[::7], "nowhere"]
    assert FactIds.of(texts).positions(wanted).tolist() == list(range(0, 500, 7))


def test_what_differs_is_unequal() -> None:
    assert FactIds.of(["ab", "c"]) != FactIds.of(["a", "bc"])
    assert FactIds.of(["a"]) != ["a"]
    assert hash(FactIds.of(["a"])) == hash(("a",))
    assert "'a'" in repr(FactIds.of(["a"]))
    assert "c" in FactIds.of(["ab", "c"])
