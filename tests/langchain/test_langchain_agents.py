"""Inside agents and behind a history: facts answer, tools answer what the facts do not say.

The default model has 135M parameters. It answers from facts, refuses, fills in a call of the tool
that its question is about, and repeats a short result. It does not plan several steps.
"""

from __future__ import annotations

import pytest
from langchain.agents import create_agent
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_core.prompts import ChatPromptTemplate, MessagesPlaceholder
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from pydantic import BaseModel

from kblam_integrations.langchain import KBLaMChat

pytestmark = [pytest.mark.weights, pytest.mark.long]

FACTS = [
    ("Larkspur Instruments", "director", "Ines Okafor"),
    ("Larkspur Instruments", "headquarters", "Tampere"),
    ("Aurora", "launch code", "QX-7719"),
    ("Project Heron", "budget", "48200 euros"),
    ("Ada Lovelace", "birthplace", "London"),
]
FACT = "What is the launch code of Aurora?"
WEATHER = "What is the weather in Paris?"


@tool
def get_weather(city: str) -> str:
    """Get the weather in a city."""
    return f"It is sunny in {city}, 21 degrees."


@tool
def get_time(city: str) -> str:
    """Get the time of day in a city."""
    return f"It is 14:05 in {city}."


@pytest.fixture
def chat() -> KBLaMChat:
    return KBLaMChat(kb=FACTS, max_tokens=48)


def ask(agent, question: str, **config) -> list:
    return agent.invoke({"messages": [HumanMessage(question)]}, config)["messages"]


def test_a_fact_answers_directly_and_a_tool_what_the_facts_do_not_say(chat) -> None:
    agent = create_agent(chat, [get_time, get_weather])
    _, answer = ask(agent, FACT)
    assert answer.content == "The launch code of Aurora is QX-7719."
    assert answer.response_metadata["citations"][0]["value"] == "QX-7719"
    _, call, result, answer = ask(agent, WEATHER)
    assert [(c["name"], c["args"]) for c in call.tool_calls] == [("get_weather", {"city": "Paris"})]
    assert isinstance(result, ToolMessage)
    assert result.tool_call_id == call.tool_calls[0]["id"]
    assert "sunny" in answer.content
    assert answer.tool_calls == []


async def test_asynchronously_and_streamed(chat) -> None:
    agent = create_agent(chat, [get_weather])
    state = await agent.ainvoke({"messages": [HumanMessage(WEATHER)]})
    assert "sunny" in state["messages"][-1].content
    text, calls = "", []
    turn = {"messages": [HumanMessage(WEATHER)]}
    async for message, _ in agent.astream(turn, stream_mode="messages"):
        if isinstance(message, AIMessage):
            text += message.text
            calls += message.tool_call_chunks
    assert "sunny" in text
    assert calls[0]["name"] == "get_weather"


def test_a_view_for_a_run(chat) -> None:
    agent = create_agent(chat, [get_weather])
    hidden = {"kb_view": {"entity": ["Ada Lovelace", "Project Heron"]}}
    for message in ask(agent, FACT, configurable=hidden):
        assert "QX" not in str(message.model_dump())
    bound = create_agent(chat.bind(view={"entity": ["Ada Lovelace", "Project Heron"]}), [])
    assert ask(bound, FACT)[-1].content == chat.kblam.refusal


def test_structured_responses(chat) -> None:
    class Person(BaseModel):
        """Who it is."""

        name: str

    agent = create_agent(chat, [get_weather], response_format=Person)
    state = agent.invoke({"messages": [HumanMessage("Who directs Larkspur Instruments?")]})
    assert state["structured_response"] == Person(name="Ines Okafor")


@pytest.mark.filterwarnings("ignore:create_react_agent has been moved")
def test_the_prebuilt_agent_of_langgraph(chat) -> None:
    from langgraph.prebuilt import create_react_agent

    agent = create_react_agent(chat, [get_weather])
    assert ask(agent, FACT)[-1].content == "The launch code of Aurora is QX-7719."
    _, call, _, answer = ask(agent, WEATHER)
    assert call.tool_calls[0]["args"] == {"city": "Paris"}
    assert "sunny" in answer.content


def test_a_follow_up_question_in_a_thread(chat) -> None:
    agent = create_agent(chat, [get_weather], checkpointer=InMemorySaver())
    thread = {"thread_id": "a"}
    ask(agent, "Who is the director of Larkspur Instruments?", configurable=thread)
    messages = ask(agent, "And where are its headquarters?", configurable=thread)
    assert len(messages) == 4
    assert "Tampere" in messages[-1].content


@pytest.mark.filterwarnings("ignore:RunnableWithMessageHistory is deprecated")
@pytest.mark.filterwarnings("ignore:The class `InMemoryChatMessageHistory` was deprecated")
def test_behind_a_message_history(chat) -> None:
    from langchain_core.chat_history import InMemoryChatMessageHistory
    from langchain_core.runnables.history import RunnableWithMessageHistory

    histories: dict[str, InMemoryChatMessageHistory] = {}
    prompt = ChatPromptTemplate.from_messages(
        [MessagesPlaceholder("history"), ("human", "{question}")]
    )
    chain = RunnableWithMessageHistory(
        prompt | chat,
        lambda session_id: histories.setdefault(session_id, InMemoryChatMessageHistory()),
        input_messages_key="question",
        history_messages_key="history",
    )
    config = {"configurable": {"session_id": "a"}}
    first = chain.invoke({"question": "Who is the director of Larkspur Instruments?"}, config)
    assert "Ines Okafor" in first.content
    second = chain.invoke({"question": "And where are its headquarters?"}, config)
    assert "Tampere" in second.content
    assert second.response_metadata["citations"][0]["value"] == "Tampere"
    hidden = {"configurable": {"session_id": "a", "kb_view": {"entity": "Aurora"}}}
    third = chain.invoke({"question": "Where was Ada Lovelace born?"}, hidden)
    assert third.content == chat.kblam.refusal
    assert len(histories["a"].messages) == 6
