"""Callers who may see a part of the facts, or none of them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tiny_kblam import FACTS

from kblam.config import GenerationOptions
from kblam.errors import ConfigError, PromptTooLongError
from kblam.knowledge import KnowledgeStore, View
from kblam.model import KBLaM

SHORT = GenerationOptions(max_new_tokens=4)
QUESTION = "What is the office of Project Heron?"
NOTHING = View.build(entity="Nobody")


@pytest.fixture
def forwards(copying: KBLaM) -> Iterator[list[None]]:
    """Forward passes of the base model."""
    calls: list[None] = []
    hook = copying.base.register_forward_hook(lambda *_: calls.append(None))
    yield calls
    hook.remove()


def test_who_sees_no_fact_is_refused(copying: KBLaM, forwards: list[None]) -> None:
    answer = copying.ask(QUESTION, view=NOTHING)
    assert answer.text == copying.refusal
    assert (answer.refused, answer.finish_reason) == (True, "refusal")
    assert (answer.citations, answer.facts) == ((), ())
    assert answer.usage.input_tokens == copying.count_tokens(QUESTION)
    assert answer.kb_fingerprint not in (None, copying.store.fingerprint)
    assert answer.model_name == copying.model_name
    stream = copying.stream(QUESTION, view=NOTHING)
    assert "".join(stream) == copying.refusal
    assert stream.answer.refused
    together = copying.ask_batch([QUESTION, "Hello."], view=NOTHING)
    assert [a.text for a in together] == [copying.refusal] * 2
    assert together[1].usage.input_tokens == copying.count_tokens("Hello.")
    assert copying.ask(QUESTION, GenerationOptions(num_beams=2), view=NOTHING).refused
    assert copying.select(QUESTION, view=NOTHING) == []
    assert not forwards  # nothing is generated that could tell what the base model knows


def test_the_sentence_is_the_configured_one_whatever_the_threshold(copying: KBLaM) -> None:
    model = copying.with_options(refusal="No idea.", refusal_threshold=1.0, grounding="off")
    assert model.ask(QUESTION, view=NOTHING).text == "No idea."


def test_two_views_that_together_show_nothing(load, store: KnowledgeStore) -> None:
    model = load("copying").attach(store, view=store.view(entity="Aurora"))
    assert model.ask("What is the launch code of Aurora?").text == "QX-7719"
    assert model.ask(QUESTION, view=store.view(entity="Project Heron")).refused
    model.attach(store, view=NOTHING)
    assert model.ask(QUESTION).refused
    assert model.ask(QUESTION, view=store.view(entity="Project Heron")).refused


def test_facts_that_come_later_are_seen(copying: KBLaM, store: KnowledgeStore) -> None:
    assert copying.ask(QUESTION, view=NOTHING).refused
    store.add([("Nobody", "office", "Trieste")])
    assert copying.ask("What is the office of Nobody?", view=NOTHING).text == "Trieste"


def test_a_view_of_an_empty_store_shows_nothing(load) -> None:
    with KnowledgeStore() as empty:
        model = load().attach(empty)
        assert model.ask("What is it?", SHORT, view=empty.view(team="red")).refused
        # Without a view nothing is kept from the caller: the base model answers.
        assert not model.ask("What is it?", SHORT).refused


def test_without_a_store_a_view_says_nothing(load) -> None:
    model = load()
    assert (
        model.ask("What is it?", SHORT, view=NOTHING).text == model.ask("What is it?", SHORT).text
    )


def test_a_prompt_too_long_is_an_error_all_the_same(copying: KBLaM) -> None:
    with pytest.raises(PromptTooLongError):
        copying.ask("why " * copying.context_window, view=NOTHING)
    assert len(copying.store) == len(FACTS)


AURORA, HERON = View.build(entity="Aurora"), View.build(entity="Project Heron")


def test_callers_with_views_of_their_own_in_one_batch(copying: KBLaM) -> None:
    code = "What is the launch code of Aurora?"
    prompts = [code, QUESTION, QUESTION, code, QUESTION]
    answers = copying.ask_batch(prompts, views=[AURORA, HERON, AURORA, NOTHING, None])
    assert [a.text for a in answers[:2]] == ["QX-7719", "Ljubljana"]
    assert {f.fact.entity for f in answers[2].facts} == {"Aurora"}
    assert (answers[3].refused, answers[3].facts) == (True, ())
    assert answers[4].text == "Ljubljana"
    narrow = copying.ask_batch([code, QUESTION], view=AURORA, views=[None, HERON])
    assert [a.text for a in narrow] == ["QX-7719", copying.refusal]
    assert copying.ask_batch([], views=[]) == []


@pytest.mark.parametrize("views", [[None], [None] * 3, {}, AURORA, "ab", [None, {}]])
def test_one_view_for_each_prompt(copying: KBLaM, views: object) -> None:
    with pytest.raises(ConfigError, match=r"one view for each of 2 prompts|a view of the facts"):
        copying.ask_batch([QUESTION, QUESTION], views=views)  # type: ignore[arg-type]


@pytest.mark.parametrize("view", [{}, {"team": "red"}, "", "red", [], False, 0, View])
def test_what_is_no_view_shows_nothing(load, copying: KBLaM, view: object) -> None:
    calls = (copying.ask, copying.stream, copying.select)
    for call in calls:
        with pytest.raises(ConfigError, match="Expected a view of the facts"):
            list(call(QUESTION, view=view))  # type: ignore[call-overload]
    with pytest.raises(ConfigError, match="Expected a view of the facts"):
        copying.ask_batch([QUESTION], view=view)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="Expected a view of the facts"):
        load().attach(copying.store, view=view)
