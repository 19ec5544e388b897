"""Tools: shown to a model, called by it, and what they returned told in a conversation."""

from __future__ import annotations

from typing import Any

import pytest
from tiny_kblam import make_decoder, make_tokenizer
from transformers import PreTrainedTokenizerFast

from kblam import GenerationOptions
from kblam._prompt import as_messages, tokenize
from kblam.errors import ConfigError
from kblam.model import KBLaM
from kblam.tools import InvalidToolCall, ToolCall, parse_tool_calls

WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather in a city.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}
CALL = {
    "id": "1",
    "type": "function",
    "function": {"name": "weather", "arguments": {"city": "Ulm"}},
}
ASKED = {"role": "user", "content": "Is it raining in Ulm?"}
CALLED = [
    ASKED,
    {"role": "assistant", "content": None, "tool_calls": [CALL]},
    {"role": "tool", "name": "weather", "tool_call_id": "1", "content": "rain"},
]
PLAIN = "{% for m in messages %}<{{ m['role'] }}>{{ m['content'] }}{% endfor %}"
KNOWING = (
    "{% if tools %}{% for t in tools %}[{{ t.function.name }}]{% endfor %}{% endif %}"
    "{% for m in messages %}<{{ m.role }}>{{ m.content }}"
    "{% for c in m.tool_calls or [] %}!{{ c.function.name }}{{ c.function.arguments.city }}"
    "{% endfor %}{% endfor %}"
)


def shown(template: str | None, messages: Any, tools: Any = ()) -> str:
    tokenizer: PreTrainedTokenizerFast = make_tokenizer()
    tokenizer.chat_template = template
    return tokenizer.decode(tokenize(tokenizer, as_messages(messages), tools))


def test_a_template_that_knows_tools_is_given_them() -> None:
    assert shown(KNOWING, CALLED, [WEATHER]) == (
        "[weather]<user>Is it raining in Ulm?<assistant>!weatherUlm<tool>rain"
    )
    assert shown(KNOWING, [ASKED]) == "<user>Is it raining in Ulm?"


@pytest.mark.parametrize("template", [PLAIN, None])
def test_others_are_told_in_words(template: str | None) -> None:
    text = shown(template, CALLED, [WEATHER])
    assert "The weather in a city." in text
    assert '{"name": "weather", "arguments": {"city": "Ulm"}}' in text
    assert text.count("Is it raining in Ulm?") == 2  # asked again beside what the tool returned
    assert "The tool weather returned: rain" in text


def test_tools_join_a_system_message() -> None:
    text = shown(PLAIN, [{"role": "system", "content": "Be brief."}, ASKED], [WEATHER])
    assert text.count("<system>") == 1
    assert text.startswith("<system>Be brief.")
    assert "The weather in a city." in text


def test_without_tools_a_prompt_is_as_it_was() -> None:
    assert shown(PLAIN, [ASKED]) == "<user>Is it raining in Ulm?"


@pytest.mark.parametrize(
    "message",
    [
        {"role": "assistant", "content": None},
        {"role": "assistant", "content": "", "tool_calls": [{"name": "weather"}]},
        {"role": "user", "content": "x", "tool_calls": [CALL]},
        {"role": "tool", "content": {"rain": True}},
        "x",
    ],
)
def test_malformed_messages(message: Any) -> None:
    with pytest.raises(ConfigError, match="Expected"):
        as_messages([ASKED, message])


@pytest.mark.parametrize("tools", [["weather"], [{"name": "x"}], [WEATHER, WEATHER]])
def test_malformed_tools(rambling: KBLaM, tools: Any) -> None:
    with pytest.raises(ConfigError, match="Expected"):
        rambling.ask("Is it raining?", tools=tools)
    with pytest.raises(ConfigError, match="Expected"):
        parse_tool_calls("{}", tools)


def test_a_conversation_with_tools_is_answered_and_counted() -> None:
    tokenizer = make_tokenizer()
    model = KBLaM.from_pretrained(
        make_decoder(tokenizer, context=1024), tokenizer=tokenizer, adapter=None
    )
    answer = model.ask(CALLED, GenerationOptions(max_new_tokens=4), tools=[WEATHER])
    assert answer.usage.input_tokens == model.count_tokens(CALLED, [WEATHER])
    assert model.count_tokens(CALLED) < answer.usage.input_tokens


ULM = ToolCall("weather", {"city": "Ulm"})


@pytest.mark.parametrize(
    ("text", "rest", "calls"),
    [
        ('{"name": "weather", "arguments": {"city": "Ulm"}}', "", [ULM]),
        (' [{"name": "weather", "parameters": {"city": "Ulm"}}]\n', "", [ULM]),
        ('Wait.\n<tool_call>\n{"name": "weather", "arguments": {"city": "Ulm"}}\n</tool_call>',
         "Wait.", [ULM]),
        ('<tool_call>{"name": "weather", "arguments": "{\\"city\\": \\"Ulm\\"}"}', "", [ULM]),
        ('[TOOL_CALLS] [{"name": "weather", "arguments": {"city": "Ulm"}}]', "", [ULM]),
        ('<|python_tag|>{"name": "weather", "parameters": {"city": "Ulm"}}', "", [ULM]),
        ("It rains.", "It rains.", []),
        ('{"city": "Ulm"}', '{"city": "Ulm"}', []),
        ("[]", "[]", []),
    ],
)  # fmt: skip
def test_calls_are_read(text: str, rest: str, calls: list[ToolCall]) -> None:
    assert parse_tool_calls(text, [WEATHER]) == (rest, calls, [])


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("<tool_call>{nonsense</tool_call>", "JSON"),
        ('<tool_call>["weather"]</tool_call>', "name"),
        ('{"name": "hammer", "arguments": {}}', "hammer"),
        ('{"name": "weather", "arguments": ["Ulm"]}', "object"),
        ('{"name": "weather", "arguments": "Ulm"}', "object"),
    ],
)
def test_calls_that_cannot_be_made(text: str, error: str) -> None:
    rest, calls, (invalid,) = parse_tool_calls(text, [WEATHER])
    assert (rest, calls) == ("", [])
    assert isinstance(invalid, InvalidToolCall)
    assert error in invalid.error


def test_without_tools_nothing_is_a_call() -> None:
    text = '{"name": "weather", "arguments": {}}'
    assert parse_tool_calls(text, []) == (text, [], [])
