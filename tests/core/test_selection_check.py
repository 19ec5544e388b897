"""Facts that a model would never read are found by asking for each."""

from __future__ import annotations

import json

import pytest
from tiny_kblam import FACTS

from kblam.errors import ConfigError
from kblam.knowledge import KnowledgeStore
from kblam.model import KBLaM
from kblam.selection_check import check_selection


def test_facts_of_their_own_are_all_selected_first(rambling: KBLaM) -> None:
    check = check_selection(rambling)
    assert (check.asked, check.first) == (len(FACTS), len(FACTS))
    assert check.later == check.never == ()
    assert "6 were selected first" in str(check)


def test_one_value_of_several_is_enough(rambling: KBLaM) -> None:
    rambling.attach([("Aurora", "lead", "Mirela Osei"), ("Aurora", "lead", "Tomas Lindqvist")])
    assert check_selection(rambling).first == 2


def test_what_others_stand_before_is_told(rambling: KBLaM) -> None:
    # Five facts of one name: four places are read, and to the encoder they are all alike.
    twins = [(f"Aurora{' ' * n}".strip() + "." * n, "lead", f"nobody {n}") for n in range(6)]
    rambling.attach(twins)
    check = check_selection(rambling)
    assert check.asked == 6
    assert check.first < 6
    assert check.first + len(check.later) + len(check.never) == 6
    assert check.never
    for fact, other in (*check.later, *check.never):
        assert other is not None
        assert other.id != fact.id
        assert fact.statement in str(check)
    assert json.loads(json.dumps(check.to_dict()))["asked"] == 6
    assert "Aurora" in check._repr_html_()


def test_a_draw_and_a_view(rambling: KBLaM, store: KnowledgeStore) -> None:
    assert check_selection(rambling, limit=2).asked == 2
    assert check_selection(rambling, view=store.view(entity="Aurora")).asked == 2


def test_nothing_to_ask_for(rambling: KBLaM, store: KnowledgeStore) -> None:
    with pytest.raises(ConfigError, match="fact"):
        check_selection(rambling, view=store.view(entity="Nobody"))
    with pytest.raises(ConfigError, match="attach"):
        check_selection(rambling.detach())


def test_what_the_attached_view_hides_is_not_asked_for(
    rambling: KBLaM, store: KnowledgeStore
) -> None:
    rambling.attach(store, view=store.view(entity="Aurora"))
    check = check_selection(rambling)
    assert (check.asked, check.first) == (2, 2)
    with pytest.raises(ConfigError, match="fact"):
        check_selection(rambling, view=store.view(entity="Borealis"))


@pytest.mark.parametrize("limit", [0, -1])
def test_a_limit_is_at_least_one(rambling: KBLaM, limit: int) -> None:
    with pytest.raises(ConfigError, match=f"1 or more facts, got {limit}"):
        check_selection(rambling, limit=limit)
