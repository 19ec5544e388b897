"""The facade: a tiny decoder that answers from a store."""

from __future__ import annotations

import pytest
from tiny_kblam import FACTS, WordEncoder

from kblam.config import GenerationOptions
from kblam.errors import ConfigError, FactError, PromptTooLongError
from kblam.knowledge import KnowledgeStore, Triple
from kblam.model import KBLaM

SHORT = GenerationOptions(max_new_tokens=12)
QUESTIONS = {f"What is the {p} of {e}?": (e, p, v) for e, p, v in FACTS}


def _cited(answer) -> list[tuple[str, str, str]]:
    return [(c.fact.entity, c.fact.property, c.fact.value) for c in answer.citations]


@pytest.mark.parametrize("question", QUESTIONS)
def test_an_answer_is_the_stores_value_and_says_so(copying: KBLaM, question: str) -> None:
    answer = copying.ask(question)
    fact = QUESTIONS[question]
    assert answer.text == fact[2]
    assert _cited(answer) == [fact]
    (citation,) = answer.citations
    assert answer.text[citation.start : citation.end] == fact[2]
    assert 0.5 < citation.score <= 1.0
    assert answer.facts[0].fact == citation.fact
    assert answer.finish_reason == "stop"
    assert not answer.refused
    assert str(answer) == answer.text
    assert answer.kb_fingerprint == copying.store.fingerprint
    assert answer.seconds >= answer.time_to_first_token > 0


def test_answers_as_json_name_their_facts(copying: KBLaM) -> None:
    answer = copying.ask("What is the office of Project Heron?")
    data = answer.to_dict()
    (citation,) = data["citations"]
    assert citation["id"] == answer.citations[0].fact.id
    assert (citation["entity"], citation["value"]) == ("Project Heron", "Ljubljana")
    assert (citation["start"], citation["end"]) == (0, len("Ljubljana"))
    assert data["facts"][0]["id"] == citation["id"]
    assert data["usage"]["input_tokens"] == copying.count_tokens(
        "What is the office of Project Heron?"
    )
    assert data["usage"]["output_tokens"] == answer.usage.output_tokens > 0


@pytest.mark.parametrize(
    "facts",
    [
        FACTS,
        [Triple(*fact) for fact in FACTS],
        [dict(zip(("entity", "property", "value"), fact, strict=True)) for fact in FACTS],
        iter(FACTS),
    ],
    ids=["tuples", "triples", "mappings", "iterator"],
)
def test_anything_that_holds_triples_attaches(load, facts) -> None:
    model = load("copying")
    assert model.attach(facts) is model
    assert len(model.store) == len(FACTS)
    assert model.ask("What is the office of Project Heron?").text == "Ljubljana"


def test_a_malformed_triple_is_refused(load) -> None:
    with pytest.raises(FactError):
        load().attach([("Aurora", "", "QX-7719")])


def test_a_path_is_not_attached(load) -> None:
    with pytest.raises(FactError, match="as_store"):
        load().attach("facts.csv")


def test_without_facts_it_is_the_base_model(load, folders, store) -> None:
    bare = KBLaM.from_pretrained(folders.base, adapter=None)
    expected = bare.ask("What is it?", SHORT)
    assert (expected.facts, expected.citations, expected.kb_fingerprint) == ((), (), None)
    model = load()
    assert model.ask("What is it?", SHORT).text == expected.text
    with KnowledgeStore() as empty:
        answer = model.attach(empty).ask("What is it?", SHORT)
        assert (answer.text, answer.facts) == (expected.text, ())
        # Facts written later are read later.
        empty.add(FACTS)
        filled = model.ask("What is it?", SHORT)
    assert filled.facts
    assert filled.text != expected.text
    assert model.detach() is model
    assert model.store is None
    assert model.ask("What is it?", SHORT).text == expected.text


def test_a_bare_base_model_reads_no_facts(folders) -> None:
    bare = KBLaM.from_pretrained(folders.base, adapter=None)
    assert bare.adapter_name is None
    with pytest.raises(ConfigError, match="adapter=None"):
        bare.attach(FACTS)


def test_a_change_is_in_the_next_answer_and_embeds_one_text(
    copying: KBLaM, store: KnowledgeStore, encoder: WordEncoder
) -> None:
    question = "What is the project lead of Aurora?"
    assert copying.ask(question).text == "Mirela Osei"
    encoder.seen.clear()
    store.upsert([("Aurora", "project lead", "Bilal Haddad")])
    answer = copying.ask(question)
    assert answer.text == "Bilal Haddad"
    # The key is as before, so only the new value is embedded, and the question itself.
    assert sorted(encoder.seen) == sorted([question, "Bilal Haddad"])
    encoder.seen.clear()
    store.remove(entity="Aurora", property="project lead")
    assert "Bilal Haddad" not in copying.ask(question).text
    store.add([("Aurora", "sponsor", "Nordlicht")])
    assert copying.ask("What is the sponsor of Aurora?").text == "Nordlicht"
    assert [text for text in encoder.seen if "?" not in text] == [
        "the sponsor of Aurora",
        "Nordlicht",
    ] or sorted(text for text in encoder.seen if "?" not in text) == [
        "Nordlicht",
        "the sponsor of Aurora",
    ]


def test_another_process_that_writes_is_heard(load, tmp_path) -> None:
    with KnowledgeStore.from_source(FACTS, tmp_path / "facts.db") as store:
        model = load("copying").attach(store)
        model.ask("What is the office of Project Heron?")
        with KnowledgeStore(tmp_path / "facts.db") as other:
            other.upsert([("Project Heron", "office", "Trieste")])
        assert model.ask("What is the office of Project Heron?").text == "Trieste"


def test_a_view_restricts_what_is_read(load) -> None:
    facts = [
        Triple("Aurora", "project lead", "Mirela Osei", metadata={"tenant": "north"}),
        Triple("Aurora", "project lead", "Bilal Haddad", metadata={"tenant": "south"}),
        Triple("Borealis", "budget", "48200 euros", metadata={"tenant": "south"}),
    ]
    question = "What is the project lead of Aurora?"
    with KnowledgeStore.from_source(facts) as store:
        north, south = store.view(tenant="north"), store.view(tenant="south")
        model = load("copying").attach(store)
        assert model.ask(question, view=north).text == "Mirela Osei"
        answer = model.ask(question, view=south)
        assert answer.text == "Bilal Haddad"
        assert {f.fact.metadata["tenant"] for f in answer.facts} == {"south"}
        assert [a.text for a in model.ask_batch([question] * 2, view=south)] == ["Bilal Haddad"] * 2
        assert "".join(model.stream(question, view=south)) == "Bilal Haddad"
        assert [f.fact.value for f in model.select(question, view=north)] == ["Mirela Osei"]
        # A call's own view was for that call only.
        assert len(model.ask(question).facts) == 3


def test_a_calls_view_narrows_the_one_attached(load) -> None:
    facts = [
        Triple("Aurora", "budget", "1 euro", metadata={"tenant": "north", "year": "2030"}),
        Triple("Aurora", "budget", "2 euros", metadata={"tenant": "north", "year": "2031"}),
        Triple("Aurora", "budget", "3 euros", metadata={"tenant": "south", "year": "2031"}),
    ]
    question = "What is the budget of Aurora?"
    with KnowledgeStore.from_source(facts) as store:
        model = load("copying").attach(store, view=store.view(tenant="north"))
        assert len(model.ask(question).facts) == 2
        assert model.ask(question, view=store.view(year="2031")).text == "2 euros"
        assert model.ask(question, SHORT, view=store.view(tenant="south")).facts == ()


def test_select_ranks_facts_without_an_answer(copying: KBLaM, load) -> None:
    ranked = copying.select("What is the budget of Borealis?", 3)
    assert ranked[0].fact.value == "48200 euros"
    assert len(ranked) == 3
    scores = [f.score for f in ranked]
    assert scores == sorted(scores, reverse=True)
    assert 0.5 < scores[0] <= 1.0
    assert len(copying.select("Aurora", 99)) == 4  # what the adapter reads
    with pytest.raises(ConfigError, match="attach"):
        load().select("Aurora")
    with pytest.raises(ConfigError, match="k >= 0"):
        copying.select("Aurora", -1)


def test_a_batch_is_its_prompts_one_by_one(copying: KBLaM, rambling: KBLaM) -> None:
    # Of different lengths, with answers of different lengths.
    prompts = [*QUESTIONS, "And Aurora?"]
    for model in (copying, rambling):
        together = model.ask_batch(prompts, SHORT)
        for prompt, answer in zip(prompts, together, strict=True):
            alone = model.ask(prompt, SHORT)
            assert answer.text == alone.text
            assert answer.finish_reason == alone.finish_reason
            assert answer.usage == alone.usage
            assert _cited(answer) == _cited(alone)
            assert [(c.start, c.end) for c in answer.citations] == [
                (c.start, c.end) for c in alone.citations
            ]
            assert [f.fact for f in answer.facts] == [f.fact for f in alone.facts]
    assert copying.ask_batch([]) == []


@pytest.mark.parametrize("beams", [2, 4])
def test_beams_copy_and_cite_as_well(copying: KBLaM, beams: int) -> None:
    options = GenerationOptions(num_beams=beams, max_new_tokens=24)
    questions = list(QUESTIONS)
    for question, answer in zip(questions, copying.ask_batch(questions, options), strict=True):
        assert answer.text == QUESTIONS[question][2]
        assert _cited(answer) == [QUESTIONS[question]]


@pytest.mark.parametrize("prompt", ["", [], [{"role": "system", "content": "Be brief."}]])
def test_an_empty_prompt_is_an_error(rambling: KBLaM, prompt) -> None:
    for call in (rambling.ask, rambling.stream):
        with pytest.raises(ConfigError, match="empty prompt"):
            call(prompt)
    with pytest.raises(ConfigError, match="empty prompt"):
        rambling.ask_batch(["Who?", prompt])


def test_a_prompt_too_long_is_an_error(rambling: KBLaM) -> None:
    prompt = "why " * rambling.context_window
    for call in (
        rambling.ask,
        lambda p: list(rambling.stream(p)),
        lambda p: rambling.ask_batch([p]),
    ):
        with pytest.raises(PromptTooLongError, match=f"fewer than {rambling.context_window}"):
            call(prompt)
    assert rambling.ask("Who?", SHORT).text  # and it goes on


def test_an_answer_ends_with_the_context(rambling: KBLaM) -> None:
    prompt = "why " * 400
    while rambling.count_tokens(prompt) > rambling.context_window - 5:
        prompt = prompt[:-1]
    answer = rambling.ask(prompt, GenerationOptions(max_new_tokens=100))
    room = rambling.context_window - rambling.count_tokens(prompt)
    assert answer.usage.output_tokens == room
    assert answer.finish_reason == "length"


def test_several_turns_are_answered_from_the_last_question(copying: KBLaM) -> None:
    turns = [
        {"role": "system", "content": "Answer briefly."},
        {"role": "user", "content": "What is the budget of Borealis?"},
        {"role": "assistant", "content": "48200 euros"},
        {"role": "user", "content": "What is the office of Project Heron?"},
    ]
    assert copying.ask(turns).text == "Ljubljana"
