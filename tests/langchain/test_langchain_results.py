"""Answers as messages: citations in both forms, through chunks, blocks and serialisation."""

from __future__ import annotations

import json

import pytest
from langchain_core.load import dumps, loads
from langchain_core.messages import AIMessage, message_chunk_to_message

from kblam.answer import Answer, Citation, Usage
from kblam.config import GenerationOptions
from kblam.knowledge import Fact
from kblam_integrations.langchain._pieces import Pieces
from kblam_integrations.langchain._request import Reply, Request
from kblam_integrations.langchain._results import (
    final_chunk,
    register_citations,
    to_generation,
)

TEXT = "The birthplace of Ada Lovelace is London."
register_citations()


def make_answer(text: str = TEXT, **changes) -> Answer:
    fact = Fact("Ada Lovelace", "birthplace", "London", id="f1", metadata={"url": "https://x.org"})
    settings = {
        "citations": (Citation(fact, 0.75, 34, 40), Citation(fact, 0.75)),
        "refused": False,
        "finish_reason": "stop",
        "usage": Usage(30, 9),
        "facts": (),
        "kb_fingerprint": "abc-1",
        "model_name": "a-model",
        "seconds": 0.2,
        "time_to_first_token": 0.1,
    }
    return Answer(text, **{**settings, **changes})


def reply(answer: Answer) -> Reply:
    return Reply(answer, answer.text)


def stream(answer: Answer) -> list:
    words = [word + " " for word in answer.text.split(" ")]
    words[-1] = words[-1].removesuffix(" ")
    shown = Pieces(answer.model_name, Request([], GenerationOptions()))
    chunks = [chunk for word in words for chunk in shown.add(word)]
    return [chunk.message for chunk in (*chunks, final_chunk(reply(answer), first=False))]


def test_message():
    message = to_generation(reply(make_answer())).message
    assert message.content == TEXT
    assert message.usage_metadata == {"input_tokens": 30, "output_tokens": 9, "total_tokens": 39}
    metadata = message.response_metadata
    assert metadata["model_name"] == "a-model"
    assert metadata["kb_fingerprint"] == "abc-1"
    assert metadata["finish_reason"] == "stop"
    assert metadata["refused"] is False
    assert metadata["citations"][0] == {
        "id": "f1",
        "entity": "Ada Lovelace",
        "property": "birthplace",
        "value": "London",
        "score": 0.75,
        "start": 34,
        "end": 40,
        "metadata": {"url": "https://x.org"},
    }
    json.dumps(metadata)


def test_content_blocks_carry_citations_as_annotations():
    message = to_generation(reply(make_answer())).message
    (block,) = message.content_blocks
    assert block["type"] == "text"
    assert block["text"] == TEXT
    copied, read = block["annotations"]
    assert copied["type"] == "citation"
    assert TEXT[copied["start_index"] : copied["end_index"]] == copied["cited_text"] == "London"
    assert copied["title"] == "Ada Lovelace: birthplace"
    assert copied["url"] == "https://x.org"
    assert copied["extras"] == {
        "fact_id": "f1",
        "entity": "Ada Lovelace",
        "property": "birthplace",
        "score": 0.75,
    }
    assert "start_index" not in read
    assert copied["id"] != read["id"]
    assert message.content_blocks == message.content_blocks


def test_chunks_add_up_to_the_message():
    chunks = stream(make_answer())
    assert [chunk.chunk_position for chunk in chunks] == [None] * (len(chunks) - 1) + ["last"]
    whole = message_chunk_to_message(sum(chunks[1:], start=chunks[0]))
    message = to_generation(reply(make_answer())).message
    assert whole.content == message.content
    assert whole.usage_metadata == message.usage_metadata
    assert whole.response_metadata == message.response_metadata
    assert whole.content_blocks == message.content_blocks


def test_an_answer_in_one_chunk_says_who_gave_it():
    chunk = final_chunk(reply(make_answer("", citations=())), first=True).message
    assert chunk.response_metadata["model_name"] == "a-model"
    assert chunk.content_blocks == []


def test_a_refusal_has_no_annotations():
    answer = make_answer("I am sorry.", citations=(), refused=True, finish_reason="refusal")
    message = to_generation(reply(answer)).message
    assert message.response_metadata["refused"] is True
    assert message.content_blocks == [{"type": "text", "text": "I am sorry."}]


@pytest.mark.filterwarnings("ignore:The function `loads` is in beta")
def test_citations_survive_serialisation():
    message = to_generation(reply(make_answer())).message
    again = loads(dumps(message), allowed_objects="messages")
    assert isinstance(again, AIMessage)
    assert again.response_metadata == message.response_metadata
    assert again.content_blocks == message.content_blocks
