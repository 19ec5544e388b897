"""LangChain messages as prompts: what is read, and what is refused with a clear error."""

from __future__ import annotations

import pytest
from langchain_core.messages import (
    AIMessage,
    ChatMessage,
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


@pytest.mark.parametrize(
    ("message", "named"),
    [
        (ToolMessage("42", tool_call_id="1"), "ToolMessage"),
        (ChatMessage("42", role="oracle"), "'oracle'"),
        (AIMessage("", tool_calls=[{"name": "f", "args": {}, "id": "1"}]), "tool calls"),
    ],
)
def test_messages_of_tools_and_unknown_roles_are_errors(message, named):
    with pytest.raises(UnsupportedMessageError, match=named):
        to_prompt([HumanMessage("Hello"), message])


def test_no_message_is_an_error():
    with pytest.raises(UnsupportedMessageError, match="at least one message"):
        to_prompt([])
