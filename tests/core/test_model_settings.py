"""The facade: refusal, settings, traces, and several models in one process."""

from __future__ import annotations

import threading

import pytest
from tiny_kblam import FACTS, WordEncoder, save_tiny

from kblam.config import DEFAULT_REFUSAL, GenerationOptions
from kblam.errors import ConfigError
from kblam.knowledge import KnowledgeStore
from kblam.model import KBLaM

SHORT = GenerationOptions(max_new_tokens=12)


def test_two_stores_on_the_same_weights_do_not_mix(load) -> None:
    question = "What is the project lead of Aurora?"
    one, two = load("copying"), load("copying")
    assert one.base is two.base
    one.attach([("Aurora", "project lead", "Mirela Osei")])
    two.attach([("Aurora", "project lead", "Bilal Haddad")])
    for _ in range(2):
        assert one.ask(question).text == "Mirela Osei"
        assert two.ask(question).text == "Bilal Haddad"
    two.detach()
    assert one.ask(question).text == "Mirela Osei"


def test_two_models_do_not_mix(load, tmp_path, encoder: WordEncoder) -> None:
    other_folders = save_tiny(tmp_path, encoder, seed=5)
    other = KBLaM.from_pretrained(
        other_folders.base, adapter=other_folders.adapter, encoder=encoder
    )
    one = load("rambling").attach(FACTS)
    alone = [one.ask("What is it?", SHORT).text]
    other.attach(FACTS)
    alone.append(other.ask("What is it?", SHORT).text)
    assert alone[0] != alone[1]
    assert [model.ask("What is it?", SHORT).text for model in (one, other)] == alone


def test_threads_on_the_same_weights_wait_for_each_other(load) -> None:
    question, found = "What is the project lead of Aurora?", {}

    def ask(name: str) -> None:
        model = load("copying").attach([("Aurora", "project lead", name)])
        found[name] = {model.ask(question).text for _ in range(3)}

    names = [f"Person {letter}" for letter in "ABCD"]
    threads = [threading.Thread(target=ask, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {name: {name} for name in names}


class TestRefusal:
    def test_above_the_threshold_the_sentence_is_all(self, load) -> None:
        model = load("copying", refusal_threshold=0.0).attach(FACTS)
        answer = model.ask("What is the office of Project Heron?")
        assert answer.text == model.refusal == DEFAULT_REFUSAL
        assert (answer.refused, answer.finish_reason, answer.citations) == (True, "refusal", ())
        assert answer.usage.output_tokens == 1
        # What selection found is told all the same.
        assert answer.facts[0].fact.value == "Ljubljana"

    def test_the_sentence_is_the_users(self, load) -> None:
        model = load("copying", refusal_threshold=0.0, refusal="No idea.").attach(FACTS)
        question = "What is the office of Project Heron?"
        assert model.ask(question).text == "No idea."
        assert "".join(model.stream(question)) == "No idea."
        assert [a.text for a in model.ask_batch([question] * 2)] == ["No idea."] * 2
        beams = model.ask(question, GenerationOptions(num_beams=3))
        assert (beams.text, beams.refused) == ("No idea.", True)

    def test_without_facts_nothing_is_refused(self, load) -> None:
        model = load("copying", refusal_threshold=0.0)
        assert not model.ask("What is the office of Project Heron?", SHORT).refused

    def test_a_threshold_out_of_range_is_an_error(self, load) -> None:
        with pytest.raises(ConfigError, match="threshold"):
            load(refusal_threshold=2.0)


def test_with_options_changes_settings_and_nothing_else(copying: KBLaM) -> None:
    question = "What is the office of Project Heron?"
    refusing = copying.with_options(refusal="No idea.", refusal_threshold=0.0)
    assert refusing.store is copying.store
    assert refusing.base is copying.base
    assert refusing.ask(question).text == "No idea."
    assert copying.ask(question).text == "Ljubljana"
    plain = copying.with_options(grounding="off")
    answer = plain.ask(question)
    assert "Ljubljana" not in answer.text
    # Without copying, a fact that selection is sure of is cited as a whole.
    (citation,) = answer.citations
    assert citation.fact.value == "Ljubljana"
    assert citation.start is None
    with pytest.raises(ConfigError, match="grounding"):
        copying.with_options(grounding="some")


def test_a_trace_is_as_large_as_what_it_shows(copying: KBLaM, rambling: KBLaM) -> None:
    assert copying.ask("What is the office of Project Heron?").attention is None
    answer = copying.ask("What is the office of Project Heron?", trace=True)
    trace = answer.attention
    facts, tokens = len(trace.facts), answer.usage.output_tokens
    assert [fact.value for fact in trace.facts] == [f.fact.value for f in answer.facts]
    assert trace.layers == (1, 2)
    assert trace.by_layer.shape == (2, facts)
    assert trace.by_token.shape == (tokens, facts)
    assert len(trace.tokens) == tokens
    assert ((trace.by_layer >= 0) & (trace.by_layer <= 1)).all()
    assert (trace.by_layer.sum(1) <= 1 + 1e-5).all()
    assert (trace.by_token.sum(1) <= 1 + 1e-5).all()
    # Every token of the value is read from its fact, the end from none.
    assert (trace.by_token[:-1, 0] > 0.5).all()
    assert trace.by_token[-1].sum() < 1e-3
    # More tokens than facts, fewer facts than are read at most.
    with KnowledgeStore.from_source(FACTS[:2]) as two:
        trace = rambling.attach(two).ask("Who?", SHORT, trace=True).attention
    assert trace.by_layer.shape == (2, 2)
    assert trace.by_token.shape == (12, 2)


def test_it_shows_what_it_is(rambling: KBLaM, folders) -> None:
    shown = repr(rambling)
    assert str(folders.base) in shown
    assert f"{len(FACTS)} facts" in shown
    assert rambling.model_name == str(folders.base)
    assert rambling.adapter_name == str(folders.adapter)
    rambling.detach()
    assert "no facts" in repr(rambling)
