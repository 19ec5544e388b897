"""A conversation that outgrows the model's context, as LangChain's middleware takes it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import SummarizationMiddleware
from langchain_core.exceptions import ContextOverflowError
from langchain_core.messages import AIMessage, HumanMessage
from tiny_kblam import FACTS

from kblam.errors import PromptTooLongError
from kblam_integrations.langchain import KBLaMChat

QUESTION = "What is the office of Project Heron?"
TOO_LONG = "word " * 1_500


@pytest.fixture
def chat(make: Callable[..., KBLaMChat]) -> KBLaMChat:
    return make(kb=FACTS, max_tokens=16)


@pytest.mark.parametrize("error", [ContextOverflowError, PromptTooLongError])
async def test_it_goes_by_both_names(chat: KBLaMChat, error: type[Exception]) -> None:
    for settings in ({}, {"timeout": 60}):
        with pytest.raises(error, match="fewer than 1024 tokens"):
            chat.invoke(TOO_LONG, **settings)
    with pytest.raises(error):
        list(chat.stream(TOO_LONG))
    with pytest.raises(error):
        await chat.ainvoke(TOO_LONG)
    with pytest.raises(error):
        [piece async for piece in chat.astream(TOO_LONG)]
    replies = chat.batch([QUESTION, TOO_LONG], return_exceptions=True)
    assert replies[0].content == "Ljubljana"
    assert isinstance(replies[1], error)


def test_a_summary_of_too_much_is_asked_for_again_of_less(chat: KBLaMChat) -> None:
    before = [HumanMessage("tell me " * 60), AIMessage("well " * 120)] * 3
    middleware = SummarizationMiddleware(
        chat,
        trigger=("messages", 3),
        keep=("messages", 1),
        summary_prompt="Sum this up: {messages}",
        trim_tokens_to_summarize=None,
    )
    agent = create_agent(chat, [], middleware=[middleware])
    messages = agent.invoke({"messages": [*before, HumanMessage(QUESTION)]})["messages"]
    assert messages[-1].content == "Ljubljana"
    assert len(messages) == 3
