"""Tools in a conversation, for models whose chat template has never heard of them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

from kblam.tools import Tool

__all__ = ["in_plain_turns", "knows_tools"]

_INSTRUCTIONS = (
    "You may call tools. To call one, reply with nothing but one line of JSON: "
    '{"name": "the tool", "arguments": {...}}. The tools, as JSON schemas:'
)


def knows_tools(chat_template: Any) -> bool:
    """Whether a chat template (or one of several) shows tools to its model."""
    return "tools" in str(chat_template)


def in_plain_turns(
    messages: Sequence[Mapping[str, Any]], tools: Sequence[Tool]
) -> list[dict[str, str]]:
    """Return a conversation as turns of text only.

    Tools are described in the system message, and calls are the JSON that asks for them. What
    tools returned is told by the user; where the conversation ends with it, the user asks the
    question once more, since a small model would otherwise go on writing calls.

    Args:
        messages: Checked messages of every role.
        tools: Those that may be called.
    """
    turns: list[dict[str, str]] = []
    for is_result, group in groupby(messages, lambda message: message["role"] == "tool"):
        if is_result:
            turns.append({"role": "user", "content": "\n".join(map(_result, group))})
        else:
            turns.extend(map(_turn, group))
    if messages[-1]["role"] == "tool":
        asked = [message["content"] for message in messages if message["role"] == "user"]
        told = turns[-1]["content"]
        turns[-1]["content"] = f"{asked[-1]}\n\n{told}\nAnswer in one sentence." if asked else told
    if tools:
        _describe(tools, turns)
    return turns


def _describe(tools: Sequence[Tool], turns: list[dict[str, str]]) -> None:
    functions = (json.dumps(tool["function"], ensure_ascii=False, sort_keys=True) for tool in tools)
    text = "\n".join([_INSTRUCTIONS, *functions])
    if turns and turns[0]["role"] == "system":
        turns[0] = {"role": "system", "content": f"{turns[0]['content']}\n\n{text}"}
    else:
        turns.insert(0, {"role": "system", "content": text})


def _turn(message: Mapping[str, Any]) -> dict[str, str]:
    calls = [
        json.dumps({"name": call["function"]["name"], "arguments": call["function"]["arguments"]})
        for call in message.get("tool_calls", ())
    ]
    text = "\n".join([message["content"], *calls]).strip() if calls else message["content"]
    return {"role": message["role"], "content": text}


def _result(message: Mapping[str, Any]) -> str:
    tool = f"The tool {message['name']}" if message.get("name") else "A tool"
    return f"{tool} returned: {message['content']}"
