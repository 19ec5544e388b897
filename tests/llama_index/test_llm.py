"""``KBLaMLLM`` as LlamaIndex's own parts use a model."""

from __future__ import annotations

import copy
import itertools
import json
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
from llama_index.core import PromptTemplate, Settings
from llama_index.core.base.llms.types import ToolCallBlock
from llama_index.core.callbacks import CallbackManager
from llama_index.core.chat_engine import SimpleChatEngine
from llama_index.core.llms import LLM, ChatMessage, ImageBlock, MessageRole, TextBlock
from llama_index.core.memory import ChatMemoryBuffer

from kblam import KBLaM, KnowledgeStore
from kblam.errors import (
    AdapterError,
    ConfigError,
    KBLaMError,
    PromptTooLongError,
    UnsupportedMessageError,
    UnsupportedSourceError,
)
from kblam_integrations.llama_index import KBLaMLLM

pytestmark = pytest.mark.weights  # of the sentence encoder

FACTS = [
    ("Aurora", "launch code", "QX-7719"),
    ("Ada Lovelace", "birthplace", "London"),
    ("Project Heron", "budget", "48200 euros"),
]
QUESTION = "What is the launch code of Aurora?"


def ask(text: str = QUESTION) -> list[ChatMessage]:
    return [ChatMessage(role=MessageRole.USER, content=text)]


def test_metadata(llm: KBLaMLLM, weights: dict[str, str]) -> None:
    assert isinstance(llm, LLM)
    metadata = llm.metadata
    assert metadata.is_chat_model
    assert metadata.is_function_calling_model
    assert metadata.model_name == weights["model"]
    assert metadata.context_window == 1024
    assert metadata.num_output == 8


def test_chat_and_complete_say_what_the_model_says(llm: KBLaMLLM) -> None:
    expected = llm.kblam.ask(QUESTION, llm._options({}))
    assert expected.text
    reply = llm.chat(ask())
    assert reply.message.role is MessageRole.ASSISTANT
    assert reply.message.content == expected.text
    assert llm.complete(QUESTION).text == expected.text
    assert llm.predict(PromptTemplate("What is the {what} of Aurora?"), what="launch code")


def test_raw_says_where_a_reply_comes_from(llm: KBLaMLLM) -> None:
    for reply in (llm.chat(ask()), llm.complete(QUESTION)):
        raw = reply.raw
        json.dumps(raw)
        prompt, completion = llm.kblam.count_tokens(QUESTION), raw["usage"]["completion_tokens"]
        usage = {
            "prompt_tokens": prompt,
            "completion_tokens": completion,
            "total_tokens": prompt + completion,
        }
        assert 1 <= completion <= 8
        assert raw["usage"] == usage
        assert reply.additional_kwargs == usage
        assert raw["finish_reason"] in ("stop", "length")
        assert raw["refused"] is False
        assert raw["kb_fingerprint"] == llm.kblam.store.fingerprint
        assert 0 < raw["time_to_first_token"] <= raw["seconds"]
        citation = raw["citations"][0]
        assert citation["statement"] == "The launch code of Aurora is QX-7719."
        assert (citation["entity"], citation["value"]) == ("Aurora", "QX-7719")
        assert 0 <= citation["score"] <= 1


def test_pieces_of_a_stream_add_up(llm: KBLaMLLM) -> None:
    whole = llm.complete(QUESTION)
    chat, completion = list(llm.stream_chat(ask())), list(llm.stream_complete(QUESTION))
    assert "".join(piece.delta for piece in chat) == whole.text
    assert "".join(piece.delta for piece in completion) == whole.text
    assert len(chat) > 2
    for before, after in itertools.pairwise(completion):
        assert after.text == before.text + after.delta
    assert [piece.raw is None for piece in chat] == [True] * (len(chat) - 1) + [False]
    assert chat[-1].message.content == whole.text
    assert chat[-1].raw["usage"] == completion[-1].raw["usage"] == whole.raw["usage"]
    assert chat[-1].raw["citations"] == whole.raw["citations"]


def test_arguments_of_a_call_are_honoured(llm: KBLaMLLM) -> None:
    assert llm.complete(QUESTION, max_tokens=2).raw["usage"]["completion_tokens"] == 2
    assert llm.chat(ask(), max_new_tokens=3).raw["usage"]["completion_tokens"] == 3
    assert list(llm.stream_chat(ask(), max_tokens=2))[-1].raw["usage"]["completion_tokens"] == 2
    text = llm.complete(QUESTION).text
    assert llm.complete(QUESTION, stop=text[3:6]).text == text[:3].strip()
    assert llm.complete(QUESTION, stop=[text[3:6], "never"]).text == text[:3].strip()
    warm = {"temperature": 5.0, "seed": 1}
    assert llm.complete(QUESTION, **warm).text == llm.complete(QUESTION, **warm).text
    assert llm.complete(QUESTION, **warm).text != llm.complete(QUESTION, temperature=None).text


@pytest.mark.parametrize("method", ["chat", "stream_chat"])
def test_an_argument_that_means_nothing_is_an_error(llm: KBLaMLLM, method: str) -> None:
    with pytest.raises(ConfigError, match="'max_token'"):
        list(getattr(llm, method)(ask(), max_token=3))
    with pytest.raises(ConfigError, match="temperature"):
        list(getattr(llm, method)(ask(), temperature=-1.0))


def test_settings_are_checked_when_the_model_is_made(weights: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match="max_new_tokens"):
        KBLaMLLM(FACTS, **weights, max_new_tokens=0)
    with pytest.raises(ValueError, match="temprature"):
        KBLaMLLM(FACTS, **weights, temprature=0.5)
    with pytest.raises(UnsupportedSourceError, match="int"):
        KBLaMLLM(42, **weights)
    with pytest.raises(AdapterError, match="nowhere"):
        KBLaMLLM(FACTS, model=weights["model"], adapter="nowhere")
    with pytest.raises(ConfigError, match="dtype"):
        KBLaMLLM(FACTS, **weights, dtype="sixteen bits")


def test_a_conversation_reaches_the_model_in_its_roles(llm: KBLaMLLM) -> None:
    turns = [
        ChatMessage(role=MessageRole.SYSTEM, content="Be brief."),
        ChatMessage(role=MessageRole.USER, content="Hello."),
        ChatMessage(role=MessageRole.CHATBOT, content="Hello!"),
        ChatMessage(role=MessageRole.USER, blocks=[TextBlock(text="What"), TextBlock(text="now?")]),
    ]
    same = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hello."},
        {"role": "assistant", "content": "Hello!"},
        {"role": "user", "content": "What\nnow?"},
    ]
    assert llm.chat(turns).raw["usage"]["prompt_tokens"] == llm.kblam.count_tokens(same)


def test_messages_that_cannot_be_read(llm: KBLaMLLM) -> None:
    image = ChatMessage(role=MessageRole.USER, blocks=[ImageBlock(url="http://localhost/a.png")])
    with pytest.raises(UnsupportedMessageError, match="ImageBlock"):
        llm.chat([image])
    with pytest.raises(ConfigError, match="question"):
        llm.chat([ChatMessage(role=MessageRole.TOOL, content="42")])
    call = ToolCallBlock(tool_name="add", tool_kwargs="{broken")
    with pytest.raises(UnsupportedMessageError, match="'add'"):
        llm.chat([*ask(), ChatMessage(role=MessageRole.ASSISTANT, blocks=[call])])
    with pytest.raises(UnsupportedMessageError, match="at least one"):
        llm.chat([])
    with pytest.raises(KBLaMError, match="empty"):
        llm.complete("  ")
    with pytest.raises(PromptTooLongError, match="1024"):
        llm.complete("very " * 1200)


def test_a_view_of_a_call_narrows_the_models(weights: dict[str, str]) -> None:
    store = KnowledgeStore.from_source(FACTS)
    code = "The launch code of Aurora is QX-7719."
    aurora, ada = store.view(entity="Aurora"), store.view(entity="Ada Lovelace")
    llm = KBLaMLLM(store, **weights, max_new_tokens=2, view=store.view(entity=["Aurora", "X"]))

    def cited(**arguments: object) -> list[str]:
        return [c["statement"] for c in llm.complete(QUESTION, **arguments).raw["citations"]]

    assert cited() == cited(view=aurora) == [code]
    assert cited(view=ada) == []


def test_a_change_of_the_facts_is_seen_by_the_next_call(weights: dict[str, str]) -> None:
    with KnowledgeStore.from_source(FACTS) as store:
        llm = KBLaMLLM(store, **weights, max_new_tokens=2)
        before = llm.complete(QUESTION).raw
        store.upsert([("Aurora", "launch code", "ZZ-1")])
        after = llm.complete(QUESTION).raw
    assert before["citations"][0]["value"] == "QX-7719"
    assert after["citations"][0]["value"] == "ZZ-1"
    assert before["kb_fingerprint"] != after["kb_fingerprint"]


def test_facts_are_not_shown_with_the_settings(weights: dict[str, str]) -> None:
    shown = repr(KBLaMLLM(kb=[("Aurora", "launch code", "QX-7719")], **weights))
    assert "kblam" in shown.lower()
    assert "QX-7719" not in shown


def test_other_facts_on_the_same_weights(llm: KBLaMLLM) -> None:
    llm.callback_manager = CallbackManager([])
    other = llm.with_kb([("Aurora", "launch code", "ZZ-1")], max_new_tokens=3)
    assert other.callback_manager is llm.callback_manager
    assert other.kblam.base is llm.kblam.base
    assert other.max_new_tokens == 3
    assert other.complete(QUESTION).raw["citations"][0]["value"] == "ZZ-1"
    assert llm.complete(QUESTION).raw["citations"][0]["value"] == "QX-7719"


def test_what_it_was_made_with_is_not_changed_in_place(llm: KBLaMLLM) -> None:
    for name, value in {"kb": [("Aurora", "launch code", "ZZ-1")], "refusal": "No."}.items():
        with pytest.raises(ConfigError, match=rf"{name} to stay .* with_kb"):
            setattr(llm, name, value)
        with pytest.raises(ConfigError, match=rf"{name} to stay .* with_kb"):
            llm.model_copy(update={name: value})
    llm.max_new_tokens = 3  # what calls read is a setting as any other
    assert llm.complete(QUESTION).raw["citations"][0]["value"] == "QX-7719"


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda llm: llm.model_copy(deep=True)])
async def test_a_deep_copy_shares_weights_and_facts(
    llm: KBLaMLLM, copied: Callable[[KBLaMLLM], KBLaMLLM]
) -> None:
    await llm.acomplete(QUESTION)
    other = copied(llm)
    other.max_new_tokens = 3
    assert other.kblam is llm.kblam
    assert other.complete(QUESTION).raw["usage"]["completion_tokens"] == 3
    assert llm.complete(QUESTION).raw["usage"]["completion_tokens"] != 3


def test_without_facts_it_is_the_base_model(llm: KBLaMLLM, weights: dict[str, str]) -> None:
    base = KBLaM.from_pretrained(weights["model"], adapter=None)
    reply = llm.with_kb(None).complete(QUESTION)
    assert reply.text == base.ask(QUESTION, llm._options({})).text
    assert reply.raw["citations"] == []
    assert reply.raw["kb_fingerprint"] is None


def test_a_loaded_model_keeps_its_own_facts(llm: KBLaMLLM) -> None:
    kblam = llm.kblam
    other = KBLaMLLM([("Aurora", "launch code", "ZZ-1")], model=kblam, refusal="No.")
    assert other.kblam.refusal == "No."
    assert kblam.refusal != "No."
    assert len(kblam.store) == 5
    assert len(other.kblam.store) == 1
    assert KBLaMLLM(model=kblam).kblam.store is kblam.store
    with pytest.raises(ConfigError, match="encoder"):
        KBLaMLLM(model=kblam, encoder="all-MiniLM-L6-v2")


def test_pickled_by_configuration(weights: dict[str, str], tmp_path: Path) -> None:
    with KnowledgeStore.from_source(FACTS, tmp_path / "facts.db") as store:
        for kb in (FACTS, store, tmp_path / "facts.db"):
            llm = KBLaMLLM(kb, **weights, max_new_tokens=3, temperature=0.0)
            data = pickle.dumps(llm)
            assert len(data) < 5000
            other = pickle.loads(data)
            assert other.max_new_tokens == 3
            assert other.complete(QUESTION).text == llm.complete(QUESTION).text
    with pytest.raises(pickle.PicklingError, match="in memory"):
        pickle.dumps(KBLaMLLM(KnowledgeStore(), **weights))


def test_to_dict_and_back(weights: dict[str, str], tmp_path: Path) -> None:
    with KnowledgeStore.from_source(FACTS, tmp_path / "facts.db") as store:
        view = store.view(entity="Aurora")
        llm = KBLaMLLM(store, **weights, max_new_tokens=3, view=view, dtype="float32", stop="x")
        data = json.loads(llm.to_json())
        assert data["class_name"] == "kblam_llm"
        other = KBLaMLLM.from_dict(data)
        assert other.view == view
        assert other.stop == ("x",)
        assert other.complete(QUESTION).text == llm.complete(QUESTION).text
    memory = KBLaMLLM(FACTS, **weights)
    with pytest.raises(ConfigError, match="kb=store"):
        KBLaMLLM.from_dict(memory.to_dict())
    assert KBLaMLLM.from_dict(memory.to_dict(), kb=FACTS).kb_fingerprint == memory.kb_fingerprint


def test_caches_keyed_by_the_configuration_notice_changed_facts(weights: dict[str, str]) -> None:
    with KnowledgeStore.from_source(FACTS) as store:
        llm = KBLaMLLM(store, **weights)
        before = llm.to_dict()
        assert llm.to_dict() == before
        store.upsert([("Aurora", "launch code", "ZZ-1")])
        assert llm.to_dict() != before


def test_in_a_chat_engine_and_as_the_settings_model(
    llm: KBLaMLLM, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Settings, "_llm", None)
    Settings.llm = llm
    # The default memory leaves its SQLite connection open.
    memory = ChatMemoryBuffer.from_defaults(token_limit=500)
    engine = SimpleChatEngine.from_defaults(system_prompt="Be brief.", memory=memory)
    first = engine.chat("Hello.")
    assert first.response
    streamed = engine.stream_chat(QUESTION)
    assert "".join(streamed.response_gen) == engine.chat_history[-1].content
    assert len(engine.chat_history) == 4
