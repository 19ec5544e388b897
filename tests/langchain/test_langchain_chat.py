"""KBLaMChat as a person uses it: chains, options, conversations, citations, errors."""

from __future__ import annotations

import subprocess
import sys

import pytest
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, trim_messages
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import ConfigurableField
from pydantic import ValidationError

from kblam.errors import (
    ConfigError,
    GenerationTimeoutError,
    PromptTooLongError,
    UnsupportedMessageError,
    UnsupportedSourceError,
)
from kblam_integrations.langchain import KBLaMChat

pytestmark = [pytest.mark.weights, pytest.mark.long]

QUESTION = "Where was Ada Lovelace born?"


def add_up(chunks):
    chunks = list(chunks)
    return sum(chunks[1:], start=chunks[0])


class TestReply:
    def test_content_is_a_string_with_its_metadata(self, chat, store):
        reply = chat.invoke(QUESTION)
        assert isinstance(reply, AIMessage)
        assert isinstance(reply.content, str)
        assert reply.content
        metadata = reply.response_metadata
        assert metadata["model_name"] == chat.kblam.model_name
        assert metadata["kb_fingerprint"] == store.fingerprint
        assert metadata["refused"] in (True, False)
        assert metadata["finish_reason"] in ("stop", "length", "refusal")
        assert isinstance(metadata["citations"], list)
        usage = reply.usage_metadata
        assert usage["input_tokens"] == chat.get_num_tokens_from_messages([HumanMessage(QUESTION)])
        assert usage["output_tokens"] > 0
        assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"]

    def test_stream_adds_up_to_invoke(self, chat):
        reply = chat.invoke(QUESTION)
        whole = add_up(chat.stream(QUESTION))
        assert whole.content == reply.content
        assert whole.usage_metadata == reply.usage_metadata
        assert whole.response_metadata == reply.response_metadata
        assert whole.content_blocks == reply.content_blocks
        assert whole.chunk_position == "last"

    def test_v1_content_is_blocks_with_the_same_text(self, store, chat):
        v1 = KBLaMChat(kb=store, max_tokens=16, output_version="v1")
        reply, plain = v1.invoke(QUESTION), chat.invoke(QUESTION)
        assert reply.content == plain.content_blocks
        assert reply.text == plain.content
        assert add_up(v1.stream(QUESTION)).text == reply.text
        # Its reply can be part of the next turn.
        turns = [HumanMessage(QUESTION), reply, HumanMessage("Sure?")]
        assert v1.invoke(turns, max_tokens=1).text

    def test_without_facts(self):
        reply = KBLaMChat(max_tokens=4).invoke("Say hello.")
        assert reply.content
        assert reply.response_metadata["citations"] == []
        assert reply.response_metadata["kb_fingerprint"] is None


class TestKnowledge:
    """Whether the answers are right depends on the shipped adapter."""

    def test_the_fact_is_answered_and_cited(self, chat):
        reply = chat.invoke(QUESTION)
        assert "London" in reply.content
        citation = reply.response_metadata["citations"][0]
        assert (citation["entity"], citation["value"]) == ("Ada Lovelace", "London")
        assert citation["score"] > 0
        annotation = reply.content_blocks[0]["annotations"][0]
        assert annotation["cited_text"] == "London"
        span = slice(annotation["start_index"], annotation["end_index"])
        assert reply.content[span] == "London"

    @pytest.mark.filterwarnings("ignore:.*is in beta")
    def test_protocol_events_carry_the_citations(self, chat):
        events = chat.stream_events(QUESTION, version="v3")
        (finished,) = [event for event in events if event["event"] == "content-block-finish"]
        assert finished["content"]["annotations"][0]["cited_text"] == "London"

    def test_what_the_facts_do_not_say_is_refused(self, chat):
        reply = chat.invoke("What is the population of Brazil?")
        assert reply.content == chat.kblam.refusal
        assert reply.response_metadata["refused"] is True
        assert reply.response_metadata["finish_reason"] == "refusal"
        assert reply.response_metadata["citations"] == []
        assert add_up(chat.stream("What is the population of Brazil?")).content == reply.content

    def test_a_changed_fact_is_in_the_next_reply(self, chat, store):
        assert "London" in chat.invoke(QUESTION).content
        store.upsert([("Ada Lovelace", "birthplace", "Reykjavik")])
        assert "Reykjavik" in chat.invoke(QUESTION).content
        assert "Reykjavik" in add_up(chat.stream(QUESTION)).content
        store.remove(entity="Ada Lovelace")
        assert chat.invoke(QUESTION).response_metadata["refused"]

    # Nobody but the store knows this value, so where it shows it was read.
    SECRET = ("What is the launch code of Aurora?", "QX-7719")
    OTHERS = ("Ada Lovelace", "Project Heron", "Monell Chemical Senses Center")

    def test_a_view_hides_facts(self, chat, store):
        question, secret = self.SECRET
        assert secret in chat.invoke(question).content
        assert secret in chat.invoke(question, view={"entity": "Aurora"}).content
        reply = chat.bind(view=store.view(entity=self.OTHERS)).invoke(question)
        assert secret not in reply.content
        assert reply.response_metadata["refused"]

    def test_a_calls_view_cannot_widen_the_models(self, store):
        question, secret = self.SECRET
        restricted = KBLaMChat(kb=store, max_tokens=16, view={"entity": self.OTHERS})
        for view in (store.view(), {"entity": "Aurora"}, None):
            reply = restricted.invoke(question, view=view)
            assert secret not in reply.content
            assert reply.response_metadata["citations"] == []


class TestChain:
    def test_prompt_chat_parser(self):
        store = [
            ("Monell Chemical Senses Center", "director", "Benjamin Smith"),
            ("Monell Chemical Senses Center", "headquarters", "Philadelphia"),
        ]
        prompt = ChatPromptTemplate.from_messages([("human", "{question}")])
        parser = StrOutputParser()

        chat = KBLaMChat(kb=store)
        chain = prompt | chat | parser
        reply = chat.invoke("Who runs Monell Chemical Senses Center?", max_tokens=8)
        assert isinstance(reply.response_metadata["citations"], list)

        chain = prompt | chat.bind(max_tokens=8) | parser
        question = {"question": "Who runs Monell Chemical Senses Center?"}
        assert chain.invoke(question) == reply.content
        assert "".join(chain.stream(question)) == reply.content
        assert chain.batch([question, question]) == [reply.content] * 2

    def test_configurable_fields_share_the_store(self):
        chat = KBLaMChat(kb=[("Ada Lovelace", "birthplace", "London")])
        tuned = chat.configurable_fields(max_tokens=ConfigurableField(id="length"))
        chat.kb.add([("Ada Lovelace", "field", "mathematics")])
        short = tuned.with_config(configurable={"length": 1}).invoke("Say hello.")
        assert short.usage_metadata["output_tokens"] == 1
        assert short.response_metadata["kb_fingerprint"] == chat.kb.fingerprint


class TestConversation:
    TURNS = [
        SystemMessage("You are a helpful assistant."),
        HumanMessage("Hello, my name is Zebulon."),
        AIMessage("Hello Zebulon, how can I help you?"),
        HumanMessage("What is my name?"),
    ]

    def test_every_turn_reaches_the_model(self, bare):
        counts = [bare.get_num_tokens_from_messages(self.TURNS[:n]) for n in range(1, 5)]
        assert counts == sorted(set(counts))
        reply = bare.invoke(self.TURNS)
        assert reply.usage_metadata["input_tokens"] == counts[-1]
        assert reply.content != bare.invoke(self.TURNS[2:]).content
        assert reply.content != bare.invoke(self.TURNS[3:]).content

    def test_the_system_prompt_reaches_the_model(self, bare):
        pirate = SystemMessage("You are a pirate. Speak like a pirate.")
        asked = HumanMessage("Who are you?")
        assert bare.invoke([pirate, asked]).content != bare.invoke([asked]).content

    def test_a_question_in_a_conversation_is_answered_from_the_facts(self, chat):
        reply = chat.invoke(
            [
                SystemMessage("You answer questions about people."),
                HumanMessage("What is the budget of Project Heron?"),
                AIMessage("The budget of Project Heron is 48200 euros."),
                HumanMessage(QUESTION),
            ]
        )
        assert "London" in reply.content


class TestOptions:
    STORY = "Tell me a story about a fox and a crow."

    def test_max_tokens(self, bare):
        reply = bare.invoke(self.STORY, max_tokens=3)
        assert reply.usage_metadata["output_tokens"] == 3
        assert reply.response_metadata["finish_reason"] == "length"
        assert bare.bind(max_tokens=2).invoke(self.STORY).usage_metadata["output_tokens"] == 2

    def test_stop_cuts_before_the_string(self, bare):
        reply = bare.invoke(self.STORY)
        stop = reply.content[len(reply.content) // 2 :][:4]
        expected = reply.content[: reply.content.index(stop)].strip()
        for cut in (
            bare.invoke(self.STORY, stop=[stop]),
            bare.invoke(self.STORY, stop=stop),
            bare.bind(stop=stop).invoke(self.STORY),
            bare.bind(stop=[stop, "never said"]).invoke(self.STORY),
            KBLaMChat(max_tokens=12, stop=[stop]).invoke(self.STORY),
            add_up(bare.stream(self.STORY, stop=[stop])),
        ):
            assert cut.content == expected
            assert cut.response_metadata["finish_reason"] == "stop"

    def test_a_calls_stop_replaces_the_models_own(self, bare):
        stopped = KBLaMChat(max_tokens=12, stop=[" "])
        assert stopped.invoke(self.STORY, stop=[]).content == bare.invoke(self.STORY).content

    def test_sampling_is_repeatable_by_seed(self, bare):
        replies = [
            bare.invoke(self.STORY, temperature=1.5, seed=seed).content for seed in (1, 1, 2)
        ]
        assert replies[0] == replies[1]
        assert replies[0] != replies[2]

    def test_timeout(self, bare):
        with pytest.raises(GenerationTimeoutError, match=r"within 0.05 s"):
            bare.invoke(self.STORY, timeout=0.05, max_tokens=200)
        with pytest.raises(GenerationTimeoutError):
            list(bare.stream(self.STORY, timeout=0.05, max_tokens=200))
        assert bare.invoke(self.STORY, timeout=600).content == bare.invoke(self.STORY).content

    def test_a_stream_that_is_not_read_holds_nobody_up(self, bare):
        stream = bare.stream(self.STORY)
        first = next(stream)
        assert bare.invoke("Hello", max_tokens=1).content
        assert add_up([first, *stream]).content == bare.invoke(self.STORY).content

    def test_a_stream_left_early_stops_generating(self, bare, calls):
        stream = bare.stream(self.STORY, max_tokens=400)
        next(stream)
        stream.close()
        steps = calls.steps
        bare.invoke("Hello", max_tokens=1)
        assert calls.steps <= steps + 8

    def test_tracing_parameters(self, chat):
        params = chat._get_ls_params(stop=["x"], max_tokens=5)
        assert params["ls_provider"] == "kblam"
        assert params["ls_model_name"] == chat.kblam.model_name
        assert params["ls_model_type"] == "chat"
        assert params["ls_max_tokens"] == 5
        assert params["ls_stop"] == ["x"]


class TestErrors:
    def test_without_langchain_the_command_that_installs_it(self):
        program = (
            "import sys; sys.modules['langchain_core'] = None\nimport kblam_integrations.langchain"
        )
        run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
        assert "MissingExtraError" in run.stderr
        assert 'pip install "kblam[langchain]"' in run.stderr

    def test_unsupported_store(self):
        with pytest.raises(UnsupportedSourceError):
            KBLaMChat(kb=object())

    def test_misspelt_setting(self, store):
        with pytest.raises(ValidationError, match="temprature"):
            KBLaMChat(kb=store, temprature=0.5)

    def test_setting_out_of_range(self, store):
        with pytest.raises(ConfigError, match="temperature"):
            KBLaMChat(kb=store, temperature=-1.0)

    def test_unknown_argument_of_a_call(self, chat):
        with pytest.raises(ConfigError, match="temprature"):
            chat.invoke(QUESTION, temprature=0.5)
        with pytest.raises(ConfigError, match="second KBLaMChat"):
            chat.invoke(QUESTION, model="another")

    def test_a_view_needs_facts(self):
        with pytest.raises(ConfigError, match="knowledge base"):
            KBLaMChat(view={"team": "a"})

    def test_images(self, chat):
        image = HumanMessage([{"type": "image", "url": "https://example.com/cat.png"}])
        with pytest.raises(UnsupportedMessageError, match="image"):
            chat.invoke([image])

    def test_a_prompt_longer_than_the_context(self, chat):
        with pytest.raises(PromptTooLongError):
            chat.invoke("word " * 8_500)
        with pytest.raises(PromptTooLongError):
            list(chat.stream("word " * 8_500))


def test_tokens_are_counted_for_trimming(bare):
    turns = [
        SystemMessage("Be brief."),
        HumanMessage("one " * 50),
        AIMessage("two " * 50),
        HumanMessage("Three?"),
    ]
    assert bare.get_num_tokens_from_messages([]) == 0
    trimmed = trim_messages(
        turns, max_tokens=60, token_counter=bare, include_system=True, start_on="human"
    )
    assert trimmed == [turns[0], turns[3]]
    assert bare.get_num_tokens("one two three") == 3
    counting = bare.model_copy(update={"custom_get_token_ids": lambda text: [7] * len(text)})
    assert counting.get_num_tokens("one") == 3
