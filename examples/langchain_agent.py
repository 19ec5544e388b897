"""An agent that answers from its facts, and calls a tool for what they do not say."""

from __future__ import annotations

from langchain.agents import create_agent
from langchain_core.messages import HumanMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver

from kblam_integrations.langchain import KBLaMChat

FACTS = [
    ("Larkspur Instruments", "director", "Ines Okafor"),
    ("Larkspur Instruments", "headquarters", "Tampere"),
    ("Aurora", "launch code", "QX-7719"),
    ("Project Heron", "budget", "48200 euros"),
    ("Ada Lovelace", "birthplace", "London"),
]


@tool
def get_weather(city: str) -> str:
    """Get the weather in a city."""
    return f"It is sunny in {city}, 21 degrees."


@tool
def get_time(city: str) -> str:
    """Get the time of day in a city."""
    return f"It is 14:05 in {city}."


def main() -> None:
    """Ask for a fact, for another in the same conversation, and for what only tools know."""
    chat = KBLaMChat(kb=FACTS)
    agent = create_agent(chat, [get_weather, get_time], checkpointer=InMemorySaver())
    for thread, question in (
        ("a", "Who is the director of Larkspur Instruments?"),
        ("a", "And where are its headquarters?"),
        ("b", "What is the weather in Paris?"),
        ("c", "What time is it in Tokyo?"),
    ):
        print(question)
        config: RunnableConfig = {"configurable": {"thread_id": thread}}
        state = agent.invoke({"messages": [HumanMessage(question)]}, config)
        asked = max(i for i, m in enumerate(state["messages"]) if m.type == "human")
        for message in state["messages"][asked + 1 :]:
            for call in getattr(message, "tool_calls", ()):
                print(f"  calls {call['name']} with {call['args']}")
            for citation in message.response_metadata.get("citations", ()):
                print(f"  read {citation['entity']}: {citation['property']}")
        print(" ", state["messages"][-1].content)


if __name__ == "__main__":
    main()
