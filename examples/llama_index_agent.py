"""A LlamaIndex agent: what the facts say is answered, what they do not say a tool looks up."""

from __future__ import annotations

import asyncio
from typing import Any

from llama_index.core.agent.workflow import FunctionAgent

from kblam_integrations.llama_index import KBLaMLLM

FACTS = [
    ("Aurora", "project lead", "Mirela Osei"),
    ("Aurora", "launch code", "QX-7719"),
    ("Halden Optics", "headquarters", "Ghent"),
]
BUDGETS = {"Aurora": "48200 euros"}
QUESTIONS = ["Who is the project lead of Aurora?", "What is the budget of Aurora?"]


def find_budget(project: str) -> str:
    """Look up the budget of a project."""
    return BUDGETS.get(project, "unknown")


async def main() -> None:
    """Ask for what the facts say, and for what only the tool knows."""
    agent = FunctionAgent(tools=[find_budget], llm=KBLaMLLM(kb=FACTS, max_new_tokens=48))
    for question in QUESTIONS:
        output: Any = await agent.run(question)
        called = [f"{call.tool_name}({call.tool_kwargs})" for call in output.tool_calls]
        print(f"> {question}\n{output}\n  tools called: {called or 'none'}")


if __name__ == "__main__":
    asyncio.run(main())
