"""What configuration sets: fields, alternatives, and views, which only ever narrow."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from langchain_core.caches import InMemoryCache
from langchain_core.globals import set_llm_cache
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import ConfigurableField, RunnableLambda
from tiny_kblam import FACTS

from kblam.errors import ConfigError, FactError
from kblam.knowledge import KnowledgeStore
from kblam_integrations.langchain import KBLaMChat

AURORA = "What is the launch code of Aurora?"
HERON = "What is the office of Project Heron?"
ANSWERS = {AURORA: "QX-7719", HERON: "Ljubljana"}


def seeing(**view: Any) -> dict[str, Any]:
    return {"configurable": {"kb_view": view}}


@pytest.fixture
def store() -> Iterator[KnowledgeStore]:
    teams = {"Aurora": "red", "Borealis": "red", "Project Heron": "blue"}
    with KnowledgeStore() as store:
        store.add({"entity": e, "property": p, "value": v, "team": teams[e]} for e, p, v in FACTS)
        yield store


@pytest.fixture
def chat(make: Callable[..., KBLaMChat], store: KnowledgeStore) -> KBLaMChat:
    return make(kb=store, max_tokens=16)


class TestFields:
    def test_a_setting_for_a_call(self, chat: KBLaMChat) -> None:
        chat.invoke(HERON)  # LangChain keeps things on a model that has been used
        tuned = chat.configurable_fields(
            max_tokens=ConfigurableField(id="length"),
            temperature=ConfigurableField(id="temperature"),
            refusal_threshold=ConfigurableField(id="threshold"),
        )
        short = tuned.with_config(configurable={"length": 1})
        assert short.invoke(HERON).usage_metadata["output_tokens"] == 1
        assert tuned.invoke(HERON).content == "Ljubljana"
        strict = tuned.invoke(HERON, {"configurable": {"threshold": 0.0}})
        assert strict.response_metadata["refused"]
        with pytest.raises(ConfigError, match="temperature"):
            tuned.invoke(HERON, {"configurable": {"temperature": -1.0}})

    def test_a_setting_of_a_loaded_model_for_a_call(self, chat: KBLaMChat) -> None:
        own = KBLaMChat(model=chat.kblam.with_options(refusal="No."), max_tokens=16)
        tuned = own.configurable_fields(max_tokens=ConfigurableField(id="length"))
        short = tuned.invoke(HERON, {"configurable": {"length": 1}})
        assert short.usage_metadata["output_tokens"] == 1
        assert tuned.with_config(configurable={"length": 9}).invoke(HERON).content == "Ljubljana"
        assert tuned.prepare({"configurable": {"length": 9}})[0].refusal == "No."
        found = own.as_retriever(k=2).configurable_fields(k=ConfigurableField(id="k"))
        assert len(found.invoke(HERON, {"configurable": {"k": 1}})) == 1

    def test_weights_and_facts_are_shared(self, chat: KBLaMChat) -> None:
        tuned = chat.configurable_fields(max_tokens=ConfigurableField(id="length"))
        chat.invoke(HERON)
        other, _ = tuned.with_config(configurable={"length": 1}).prepare()
        assert other is not chat
        assert other.kblam.base is chat.kblam.base
        assert other.kblam._attached[0] is chat.kblam._attached[0]
        assert other.kb is chat.kb

    def test_it_streams_all_the_same(self, chat: KBLaMChat) -> None:
        tuned = chat.configurable_fields(max_tokens=ConfigurableField(id="length"))
        pieces = list(tuned.with_config(configurable={"length": 12}).stream(HERON))
        assert len(pieces) > 2
        assert "".join(piece.content for piece in pieces) == "Ljubljana"

    def test_alternatives(self, make: Callable[..., KBLaMChat], chat: KBLaMChat) -> None:
        other = make(kb=[("Project Heron", "office", "Porto")])
        either = chat.configurable_alternatives(
            ConfigurableField(id="facts"), default_key="ours", theirs=other
        )
        assert either.invoke(HERON).content == "Ljubljana"
        assert either.invoke(HERON, {"configurable": {"facts": "theirs"}}).content == "Porto"

    def test_the_schema_of_the_configuration_names_the_view(self, chat: KBLaMChat) -> None:
        tuned = chat.configurable_fields(max_tokens=ConfigurableField(id="length"))
        assert {spec.id for spec in tuned.config_specs} == {"length", "kb_view"}
        schema = (ChatPromptTemplate.from_template("{q}") | chat).config_schema()
        assert "kb_view" in str(schema.model_json_schema())


class TestViews:
    """``config={"configurable": {"kb_view": ...}}``."""

    @pytest.fixture(params=["invoke", "ainvoke", "stream", "astream", "batch", "abatch", "events"])
    def say(self, request: pytest.FixtureRequest) -> Callable[..., str]:
        """Asks a model in one of the ways there are."""

        async def asynchronously(model: Any, question: str, config: Any) -> str:
            if request.param == "ainvoke":
                return (await model.ainvoke(question, config)).content
            if request.param == "abatch":
                return (await model.abatch([question, question], config))[1].content
            return "".join([piece.content async for piece in model.astream(question, config)])

        def say(model: Any, question: str, config: Any = None) -> str:
            if request.param == "invoke":
                return model.invoke(question, config).content
            if request.param == "batch":
                return model.batch([question, question], config)[1].content
            if request.param == "stream":
                return "".join(piece.content for piece in model.stream(question, config))
            if request.param == "events":
                return model.stream_events(question, config, version="v3").output.text
            return asyncio.run(asynchronously(model, question, config))

        return say

    @pytest.mark.filterwarnings("ignore:.*is in beta")
    def test_a_call_sees_what_its_view_shows(
        self, chat: KBLaMChat, say: Callable[..., str]
    ) -> None:
        assert say(chat, AURORA, seeing(team="red")) == "QX-7719"
        assert say(chat, AURORA, seeing(entity="Aurora")) == "QX-7719"
        assert say(chat, AURORA, seeing(entity="Nobody")) == chat.kblam.refusal
        assert "QX" not in say(chat, AURORA, seeing(team="blue"))

    @pytest.mark.filterwarnings("ignore:.*is in beta")
    def test_it_narrows_what_is_set(
        self, chat: KBLaMChat, make: Callable[..., KBLaMChat], say: Callable[..., str]
    ) -> None:
        restricted = make(kb=chat.kb, max_tokens=16, view={"team": "blue"})
        for model in (
            restricted,
            chat.bind(view={"team": "blue"}),
            chat.bind(view={"team": "blue"}, max_tokens=16),
            chat.with_config(configurable={"kb_view": {"team": "blue"}}, tags=["x"]),
        ):
            assert say(model, HERON, seeing(entity=["Aurora", "Project Heron"])) == "Ljubljana"
            assert say(model, AURORA, seeing(team="red")) == chat.kblam.refusal
            assert say(model, AURORA, {"configurable": {"kb_view": None}}) != "QX-7719"

    def test_of_two_views_both_hold(self, chat: KBLaMChat) -> None:
        reply = chat.invoke(AURORA, seeing(team="red"), view={"entity": "Project Heron"})
        assert reply.content == chat.kblam.refusal

    def test_through_a_chain(self, chat: KBLaMChat) -> None:
        prompt = ChatPromptTemplate.from_messages([("human", "{question}")])
        chain = prompt | chat | StrOutputParser()
        asked = {"question": AURORA}
        refusal = chat.kblam.refusal
        assert chain.invoke(asked, seeing(team="red")) == "QX-7719"
        assert chain.invoke(asked, seeing(entity="Nobody")) == refusal
        assert "".join(chain.stream(asked, seeing(entity="Nobody"))) == refusal
        views = [seeing(team="red"), seeing(entity="Nobody")]
        assert chain.batch([asked, asked], views) == ["QX-7719", refusal]
        assert asyncio.run(chain.abatch([asked, asked], views)) == ["QX-7719", refusal]
        assert chain.with_config(**seeing(entity="Nobody")).invoke(asked) == refusal

    def test_a_call_within_a_call_cannot_widen_it(self, chat: KBLaMChat) -> None:
        def ask(question: str, config: Any = None) -> str:
            return chat.invoke(question, config).content

        inside = RunnableLambda(lambda question: ask(question))
        assert inside.invoke(AURORA, seeing(team="red")) == "QX-7719"
        assert inside.invoke(AURORA, seeing(entity="Nobody")) == chat.kblam.refusal
        wider = RunnableLambda(lambda question: ask(question, seeing(team="red")))
        assert wider.invoke(AURORA, seeing(entity="Nobody")) == chat.kblam.refusal

    def test_what_is_made_of_a_bound_model_keeps_the_view(self, chat: KBLaMChat) -> None:
        bound = chat.bind(view={"entity": "Nobody"})
        assert bound.with_retry().invoke(AURORA).content == chat.kblam.refusal
        assert bound.as_retriever().invoke(AURORA) == []
        tuned = bound.configurable_fields(max_tokens=ConfigurableField(id="length"))
        config = {"configurable": {"length": 9}}
        assert tuned.invoke(AURORA, config).content == chat.kblam.refusal

    def test_a_view_that_comes_after_other_arguments_holds_too(self, chat: KBLaMChat) -> None:
        bound = chat.bind(max_tokens=9).bind(view={"entity": "Nobody"}, stop=["!"])
        assert bound.kwargs == {"max_tokens": 9, "stop": ["!"]}
        configured = chat.bind(max_tokens=9).with_config(**seeing(entity="Nobody"), tags=["x"])
        assert configured.config["tags"] == ["x"]
        retriever = chat.as_retriever().bind(k=1).bind(view={"entity": "Nobody"})
        wider = {"entity": "Aurora"}
        tagged = chat.with_config(tags=["x"]).bind(view={"entity": "Nobody"})
        for model in (bound, configured, tagged):
            assert model.invoke(AURORA, view=wider).content == chat.kblam.refusal
            assert model.invoke(AURORA, seeing(**wider)).content == chat.kblam.refusal
        assert retriever.invoke(AURORA, view=wider) == []
        assert chat.bind(max_tokens=9).invoke(AURORA, view=wider).content == "QX-7719"

    @pytest.mark.parametrize(
        "view", ["red", ["Aurora"], 3, {3: "red"}, {}, {"entity": None}, {"where": {}}]
    )
    def test_a_malformed_view_is_an_error(self, chat: KBLaMChat, view: Any) -> None:
        config = {"configurable": {"kb_view": view}}
        wrong = (ConfigError, FactError)
        with pytest.raises(wrong, match=r"a mapping of what to filter by|must be texts"):
            chat.invoke(AURORA, config)
        with pytest.raises(wrong):
            list(chat.stream(AURORA, config))
        with pytest.raises(wrong):
            chat.as_retriever().invoke(AURORA, config)

    def test_a_filter_that_is_none_is_an_error(self, chat: KBLaMChat) -> None:
        with pytest.raises(FactError, match="filter"):
            chat.invoke(AURORA, seeing(team={"name": "red"}))
        with pytest.raises(FactError, match="texts or lists of texts"):
            chat.invoke(AURORA, seeing(entity=3))

    def test_a_cache_knows_the_view(self, make: Callable[..., KBLaMChat], chat: KBLaMChat) -> None:
        cached = make(kb=chat.kb, max_tokens=16, cache=InMemoryCache())
        assert cached.invoke(AURORA).content == "QX-7719"
        assert cached.invoke(AURORA, seeing(entity="Nobody")).content == chat.kblam.refusal

    def test_a_cache_knows_the_view_around_a_call(self, chat: KBLaMChat) -> None:
        set_llm_cache(InMemoryCache())
        try:
            ask = RunnableLambda(lambda question: chat.generate([question]).generations[0][0].text)
            messages = chat._convert_input(AURORA).to_messages()
            assert ask.invoke(messages) == "QX-7719"
            assert ask.invoke(messages, seeing(entity="Nobody")) == chat.kblam.refusal
        finally:
            set_llm_cache(None)

    def test_without_facts_there_is_nothing_to_hide(self, make: Callable[..., KBLaMChat]) -> None:
        assert (
            not make(max_tokens=3).invoke(AURORA, seeing(team="red")).response_metadata["refused"]
        )
