"""Tools: the facts answer what they say, a tool what they do not, in chats and agents."""

from __future__ import annotations

from typing import Any

import pytest
from llama_index.core.agent.workflow import AgentWorkflow, FunctionAgent, ToolCallResult
from llama_index.core.base.llms.types import MessageRole, ToolCallBlock
from llama_index.core.chat_engine.types import is_function
from llama_index.core.llms import ChatMessage
from llama_index.core.tools import FunctionTool

from kblam.config import DEFAULT_REFUSAL
from kblam.constraint import OutputConstraint
from kblam.errors import ConfigError
from kblam_integrations.llama_index import KBLaMLLM
from kblam_integrations.llama_index._asking import _certain

pytestmark = [
    pytest.mark.weights,
    pytest.mark.long,
    # LlamaIndex's workflows look at every attribute of their model, pydantic's old ones too.
    pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecationWarning"),
]

KNOWN = "Who is the project lead of Aurora?"
UNKNOWN = "What is the budget of Aurora?"
FACTS = [
    ("Aurora", "project lead", "Mirela Osei"),
    ("Aurora", "launch code", "QX-7719"),
    ("Lisbon", "mayor", "Carlos Moedas"),
]


def find_budget(project: str) -> str:
    """Look up the budget of a project."""
    return "48200 euros"


def multiply(a: int, b: int) -> int:
    """Multiply two numbers."""
    return a * b


BUDGET = FunctionTool.from_defaults(find_budget)
MULTIPLY = FunctionTool.from_defaults(multiply)


@pytest.fixture(scope="module")
def shipped() -> KBLaMLLM:
    """The default model over a few facts."""
    return KBLaMLLM(FACTS, max_new_tokens=40)


def called(llm: KBLaMLLM, reply: Any) -> list[tuple[str, dict[str, Any]]]:
    calls = llm.get_tool_calls_from_response(reply, error_on_no_tool_call=False)
    return [(call.tool_name, call.tool_kwargs) for call in calls]


def test_what_the_facts_say_is_answered(shipped: KBLaMLLM) -> None:
    reply = shipped.chat_with_tools([BUDGET], KNOWN)
    assert "Mirela Osei" in reply.message.content
    assert reply.raw["citations"][0]["value"] == "Mirela Osei"
    assert called(shipped, reply) == []
    with pytest.raises(ConfigError, match="tool_required"):
        shipped.get_tool_calls_from_response(reply)


async def test_what_they_do_not_say_is_a_call(shipped: KBLaMLLM) -> None:
    refused = shipped.chat([ChatMessage(role="user", content=UNKNOWN)])
    assert refused.raw["refused"]
    streamed = list(shipped.stream_chat_with_tools([BUDGET], UNKNOWN))
    later = [p async for p in await shipped.astream_chat_with_tools([BUDGET], UNKNOWN)]
    replies = [
        shipped.chat_with_tools([BUDGET], UNKNOWN),
        await shipped.achat_with_tools([BUDGET], UNKNOWN),
        streamed[-1],
        later[-1],
    ]
    for reply in replies:
        ((name, arguments),) = called(shipped, reply)
        assert name == "find_budget"
        assert isinstance(arguments["project"], str)
        assert not reply.message.content  # the refusal was never said
        assert is_function(reply.message)
        # Both attempts are counted.
        assert reply.raw["usage"]["prompt_tokens"] > refused.raw["usage"]["prompt_tokens"]
    assert "".join(piece.delta for piece in streamed) == ""


def test_what_is_wanted_of_the_tools(shipped: KBLaMLLM) -> None:
    tools = [BUDGET, MULTIPLY]
    required = shipped.chat_with_tools(tools, KNOWN, tool_required=True)
    assert len(called(shipped, required)) == 1
    for choice in ("multiply", {"type": "function", "function": {"name": "multiply"}}):
        reply = shipped.chat_with_tools(tools, "How much is 12 times 7?", tool_choice=choice)
        ((name, arguments),) = called(shipped, reply)
        assert name == "multiply"
        assert all(isinstance(arguments[key], int) for key in "ab")
    none = shipped.chat_with_tools(tools, UNKNOWN, tool_choice="none")
    assert none.raw["refused"]
    assert called(shipped, none) == []
    with pytest.raises(ConfigError, match="'divide'"):
        shipped.chat_with_tools(tools, KNOWN, tool_choice="divide")
    with pytest.raises(ConfigError, match="got none"):
        shipped.chat_with_tools([], KNOWN, tool_required=True)
    with pytest.raises(ConfigError, match="'tools'"):
        shipped.complete(KNOWN, tools=[])


def test_a_refusal_in_the_models_own_words_is_a_call(shipped: KBLaMLLM) -> None:
    form = OutputConstraint.choice([DEFAULT_REFUSAL])
    pieces = list(
        shipped.with_kb(FACTS, refusal_threshold=1.0, refusal="No idea.").stream_chat_with_tools(
            [BUDGET], UNKNOWN, constraint=form
        )
    )
    assert [name for name, _ in called(shipped, pieces[-1])] == ["find_budget"]
    assert not any(piece.message.content for piece in pieces)


async def test_predict_and_call(shipped: KBLaMLLM) -> None:
    for response in (
        shipped.predict_and_call([BUDGET], UNKNOWN),
        await shipped.apredict_and_call([BUDGET], UNKNOWN),
    ):
        assert response.response == "48200 euros"
        assert response.sources[0].tool_name == "find_budget"
    told = shipped.predict_and_call([BUDGET], KNOWN, error_on_no_tool_call=False)
    assert "Mirela Osei" in told.response


def conversation(result: str) -> list[ChatMessage]:
    call = ToolCallBlock(
        tool_call_id="c1", tool_name="find_budget", tool_kwargs={"project": "Aurora"}
    )
    return [
        ChatMessage(role=MessageRole.USER, content=UNKNOWN),
        ChatMessage(role=MessageRole.ASSISTANT, blocks=[call]),
        ChatMessage(
            role=MessageRole.TOOL, content=result, additional_kwargs={"tool_call_id": "c1"}
        ),
    ]


def test_what_a_tool_returned_is_read(shipped: KBLaMLLM) -> None:
    reply = shipped.chat_with_tools([BUDGET], chat_history=conversation("48200 euros"))
    assert "48200" in reply.message.content
    assert called(shipped, reply) == []
    assert not reply.raw["refused"]
    store = shipped.kblam.store
    nothing = store.view(entity="Nobody")  # whoever sees no fact has the tool's result all the same
    reply = shipped.chat(conversation("48200 euros"), view=nothing)
    assert "48200" in reply.message.content
    assert reply.raw["citations"] == []
    call = shipped.chat_with_tools([BUDGET], KNOWN, view=nothing)
    assert [name for name, _ in called(shipped, call)] == ["find_budget"]


@pytest.mark.parametrize("streaming", [False, True])
async def test_an_agent(shipped: KBLaMLLM, streaming: bool) -> None:
    agent = FunctionAgent(tools=[find_budget], llm=shipped, streaming=streaming)
    assert "Mirela Osei" in str(await agent.run(KNOWN))
    handler = agent.run(UNKNOWN)
    results = [
        event async for event in handler.stream_events() if isinstance(event, ToolCallResult)
    ]
    assert [result.tool_name for result in results] == ["find_budget"]
    assert "48200" in str(await handler)


async def test_an_agent_workflow(shipped: KBLaMLLM) -> None:
    workflow = AgentWorkflow.from_tools_or_functions([find_budget], llm=shipped)
    assert "Mirela Osei" in str(await workflow.run(KNOWN))
    output = await workflow.run(UNKNOWN)
    assert "48200" in str(output)
    assert [call.tool_name for call in output.tool_calls] == ["find_budget"]


@pytest.mark.parametrize(
    ("text", "certain"),
    [
        ("The sum is [1] here", "The sum is [1] here"),
        ('{"name": "add"', ""),
        ("Let me look. <tool_c", "Let me look."),
        ("Let me look.\n<tool_call>{", "Let me look."),
        ("a < b", "a < b"),
        ("See [TOOL_CALLS] x", "See"),
    ],
)
def test_text_that_may_be_a_call_is_held_back(text: str, certain: str) -> None:
    assert _certain(text) == certain
