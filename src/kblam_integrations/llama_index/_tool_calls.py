"""Calling tools, as LlamaIndex's agents and programs want it of a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from llama_index.core.base.llms.types import (
    ChatMessage,
    ChatResponse,
    MessageRole,
    ToolCallBlock,
)
from llama_index.core.llms.llm import ToolSelection
from llama_index.core.tools.types import BaseTool

from kblam._tool_turns import knows_tools
from kblam.errors import ConfigError
from kblam.tools import tool_names
from kblam_integrations._attempts import tool_choice_of
from kblam_integrations.llama_index._asking import Asked, Tools
from kblam_integrations.llama_index._messages import arguments_of, to_messages
from kblam_integrations.llama_index._settings import KnowledgeLLMSettings

__all__ = ["ToolCallingLLM"]

_ARGUMENTS = ("tools", "tool_choice", "allow_parallel_tool_calls")


class ToolCallingLLM(KnowledgeLLMSettings):
    """What turns LlamaIndex's tools into those of a call, and replies into calls."""

    def _prepare_chat_with_tools(
        self,
        tools: Sequence[BaseTool],
        user_msg: str | ChatMessage | None = None,
        chat_history: list[ChatMessage] | None = None,
        verbose: bool = False,
        allow_parallel_tool_calls: bool = False,
        tool_required: bool = False,
        **kwargs: Any,
    ) -> dict[str, Any]:
        """The arguments of a chat in which tools may be called.

        Args:
            tools: Those that may be called.
            user_msg: What the user says, after ``chat_history``.
            chat_history: What was said before.
            verbose: Has no effect.
            allow_parallel_tool_calls: Whether a reply may call several.
            tool_required: Whether it must call one.
            **kwargs: Other arguments of the call; ``tool_choice`` (``"auto"``, ``"none"``,
                ``"required"`` or a name) is stronger than ``tool_required``.
        """
        if isinstance(user_msg, str):
            user_msg = ChatMessage(role=MessageRole.USER, content=user_msg)
        choice = kwargs.pop("tool_choice", None)
        if choice is None:
            choice = "required" if tool_required else "auto"
        return {
            "messages": [*(chat_history or ()), *([user_msg] if user_msg is not None else ())],
            "tools": [_described(tool) for tool in tools],
            "tool_choice": choice,
            "allow_parallel_tool_calls": allow_parallel_tool_calls,
            **kwargs,
        }

    def get_tool_calls_from_response(
        self, response: ChatResponse, error_on_no_tool_call: bool = True, **kwargs: Any
    ) -> list[ToolSelection]:
        """The tools that a reply calls.

        Raises:
            ConfigError: It calls none, and ``error_on_no_tool_call`` is set.
            UnsupportedMessageError: The arguments of a call are no JSON.
        """
        calls = [block for block in response.message.blocks if isinstance(block, ToolCallBlock)]
        if not calls and error_on_no_tool_call:
            raise ConfigError(
                "Expected a reply that calls a tool, got the text "
                f"{response.message.content or ''!r:.200}. Pass tool_required=True to have one "
                "called whatever is asked, or error_on_no_tool_call=False."
            )
        return [
            ToolSelection(
                tool_id=block.tool_call_id or "",
                tool_name=block.tool_name,
                tool_kwargs=arguments_of(block),
            )
            for block in calls
        ]

    def _asked(self, messages: Sequence[ChatMessage], arguments: Mapping[str, Any]) -> Asked:
        # Read when the call is made, also where the answer is generated later.
        given = {name: arguments[name] for name in _ARGUMENTS if name in arguments}
        others = {name: value for name, value in arguments.items() if name not in given}
        options, view = self._of_call(others)
        return Asked(to_messages(messages), options, view, self._tools(given))

    def _tools(self, given: Mapping[str, Any]) -> Tools | None:
        tools = tuple(given.get("tools") or ())
        choice = tool_choice_of(given.get("tool_choice"), tool_names(tools))
        if choice is None or not tools:
            return None
        return Tools(
            known=tools,
            fit=self._tool_fit(),
            choice=choice,
            shown=knows_tools(self._kblam.tokenizer.chat_template),
            several=bool(given.get("allow_parallel_tool_calls")),
        )


def _described(tool: BaseTool) -> dict[str, Any]:
    described = tool.metadata.to_openai_tool(skip_length_check=True)
    # OpenAI allows few characters in a name; the tool is looked up by the whole.
    described["function"]["name"] = tool.metadata.get_name()
    return described
