"""LangChain messages as prompts: what is read, and what is refused with a clear error."""

from __future__ import annotations

import pytest
from langchain_core.messages import (
    AIMessage,
    ChatMessage,
    FunctionMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)

from kblam.errors import UnsupportedMessageError
from kblam_integrations.langchain._messages import to_prompt


def test_roles_and_turns():
    prompt = to_prompt(
        [
            SystemMessage("Be brief."),
            HumanMessage("Who?", name="ann"),
            AIMessage("She."),
            HumanMessage("And"),
            HumanMessage("where?"),
        ]
    )
    assert prompt == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Who?"},
        {"role": "assistant", "content": "She."},
        {"role": "user", "content": "And"},
        {"role": "user", "content": "where?"},
    ]


@pytest.mark.parametrize(
    ("role", "expected"),
    [("user", "user"), ("assistant", "assistant"), ("system", "system"), ("developer", "system")],
)
def test_chat_message_roles(role, expected):
    assert to_prompt([ChatMessage("Hello", role=role)]) == [{"role": expected, "content": "Hello"}]


def test_text_blocks_are_read_and_thoughts_left_out():
    reply = AIMessage(
        [
            {"type": "reasoning", "reasoning": "Hm."},
            {"type": "text", "text": "First."},
            "Second.",
        ]
    )
    assert to_prompt([reply])[0]["content"] == "First.\nSecond."


@pytest.mark.parametrize(
    "block",
    [
        {"type": "image", "url": "https://example.com/cat.png"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}},
        {"type": "audio", "base64": "AA==", "mime_type": "audio/wav"},
        {"type": "file", "base64": "AA==", "mime_type": "application/pdf"},
        {"type": "tool_use", "name": "f", "id": "1", "input": {}},
        {"text": "no type"},
    ],
    ids=lambda block: str(block.get("type")),
)
def test_what_is_not_text_is_an_error_that_names_it(block):
    with pytest.raises(UnsupportedMessageError, match=f"type {block.get('type')!r}"):
        to_prompt([HumanMessage([{"type": "text", "text": "What is this?"}, block])])


def test_calls_of_tools_and_their_results():
    call = {"name": "get_weather", "args": {"city": "Paris"}, "id": "1"}
    used = {"type": "tool_use", "name": "get_weather", "id": "1", "input": {"city": "Paris"}}
    prompt = to_prompt(
        [
            HumanMessage("What is the weather in Paris?"),
            AIMessage([{"type": "text", "text": "Let me see."}, used], tool_calls=[call]),
            ToolMessage([{"type": "text", "text": "Sunny."}], tool_call_id="1"),
            ToolMessage("Rain.", tool_call_id="2", name="get_rain"),
            FunctionMessage("Old.", name="get_old"),
        ]
    )
    assert prompt[1:] == [
        {
            "role": "assistant",
            "content": "Let me see.",
            "tool_calls": [
                {
                    "id": "1",
                    "type": "function",
                    "function": {"name": "get_weather", "arguments": {"city": "Paris"}},
                }
            ],
        },
        {"role": "tool", "content": "Sunny.", "tool_call_id": "1", "name": "get_weather"},
        {"role": "tool", "content": "Rain.", "tool_call_id": "2", "name": "get_rain"},
        {"role": "tool", "content": "Old.", "name": "get_old"},
    ]


def test_a_call_that_could_not_be_made_is_what_was_said():
    bad = {"name": None, "args": '{"name": "f"', "id": "1", "error": "Expected JSON."}
    (turn,) = to_prompt([AIMessage("Well.", invalid_tool_calls=[bad])])
    assert turn == {"role": "assistant", "content": 'Well.\n{"name": "f"'}


def test_unknown_roles_are_errors():
    with pytest.raises(UnsupportedMessageError, match="'oracle'"):
        to_prompt([HumanMessage("Hello"), ChatMessage("42", role="oracle")])


def test_no_message_is_an_error():
    with pytest.raises(UnsupportedMessageError, match="at least one message"):
        to_prompt([])
