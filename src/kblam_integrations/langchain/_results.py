"""Replies to LangChain messages: text, calls, usage, metadata, and citations in both forms.

The content of a message stays a plain string, so that output parsers work. The citations lie in
``response_metadata["citations"]``; from there a translator, registered with LangChain for the
provider ``"kblam"``, puts them as annotations on the text block of ``message.content_blocks``
(and of ``message.content`` with ``output_version="v1"``). Both survive a message's
serialisation and the addition of chunks.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, cast
from uuid import uuid4

from langchain_core.messages import AIMessage, AIMessageChunk, UsageMetadata
from langchain_core.messages.block_translators import register_translator
from langchain_core.messages.content import (
    Annotation,
    ContentBlock,
    InvalidToolCall,
    TextContentBlock,
    ToolCall,
    ToolCallChunk,
    create_citation,
)
from langchain_core.messages.tool import invalid_tool_call, tool_call, tool_call_chunk
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk

from kblam.answer import Answer
from kblam_integrations.langchain._request import Reply

__all__ = [
    "PROVIDER",
    "call_chunk",
    "final_chunk",
    "new_call_id",
    "register_citations",
    "text_chunk",
    "to_generation",
]

PROVIDER = "kblam"


def to_generation(reply: Reply) -> ChatGeneration:
    """The whole reply as one message."""
    message = AIMessage(
        content=reply.text,
        tool_calls=[
            tool_call(name=call.name, args=call.arguments, id=new_call_id()) for call in reply.calls
        ],
        invalid_tool_calls=[
            invalid_tool_call(name=None, args=call.text, id=new_call_id(), error=call.error)
            for call in reply.invalid
        ],
        response_metadata={**_identity(reply.answer.model_name), **_outcome(reply)},
        usage_metadata=_usage(reply.answer),
    )
    return ChatGeneration(message=message)


def new_call_id() -> str:
    """An identifier for a call of a tool, which its result names."""
    return f"call_{uuid4().hex}"


def text_chunk(piece: str) -> ChatGenerationChunk:
    """A piece of a reply's text."""
    metadata = {"model_provider": PROVIDER}
    return ChatGenerationChunk(message=AIMessageChunk(content=piece, response_metadata=metadata))


def call_chunk(
    index: int,
    *,
    call_id: str | None = None,
    name: str | None = None,
    text: str | None = None,
    arguments: Mapping[str, Any] | None = None,
) -> ChatGenerationChunk:
    """A piece of a call of a tool.

    Args:
        index: Which of the reply's calls.
        call_id: Its identifier, in its first piece.
        name: The tool, in its first piece.
        text: A piece of its arguments, as JSON.
        arguments: All of them, instead.
    """
    args = text if arguments is None else json.dumps(arguments, ensure_ascii=False)
    piece = tool_call_chunk(name=name, args=args, id=call_id, index=index)
    return ChatGenerationChunk(
        message=AIMessageChunk(
            content="",
            tool_call_chunks=[piece],
            response_metadata={"model_provider": PROVIDER},
        )
    )


def final_chunk(reply: Reply, *, first: bool) -> ChatGenerationChunk:
    """The empty last chunk, which carries what is known only at the end.

    Args:
        reply: The finished reply.
        first: Whether nothing came before.
    """
    identity = _identity(reply.answer.model_name) if first else {"model_provider": PROVIDER}
    message = AIMessageChunk(
        content="",
        response_metadata={**identity, **_outcome(reply)},
        usage_metadata=_usage(reply.answer),
        chunk_position="last",
    )
    return ChatGenerationChunk(message=message)


def register_citations() -> None:
    """Let ``content_blocks`` of messages from this provider carry citations as annotations."""
    register_translator(PROVIDER, _content_blocks, _content_blocks)


def _identity(model_name: str) -> dict[str, Any]:
    return {"model_provider": PROVIDER, "model_name": model_name}


def _outcome(reply: Reply) -> dict[str, Any]:
    answer = reply.answer
    citations = [citation.to_dict() for citation in answer.citations]
    if reply.calls or reply.invalid:
        # Where they are in the text of a call, which is no part of the content.
        citations = [{**citation, "start": None, "end": None} for citation in citations]
    return {
        "finish_reason": "tool_calls" if reply.calls else answer.finish_reason,
        "refused": answer.refused,
        "citations": citations,
        "kb_fingerprint": answer.kb_fingerprint,
    }


def _usage(answer: Answer) -> UsageMetadata:
    return UsageMetadata(
        input_tokens=answer.usage.input_tokens,
        output_tokens=answer.usage.output_tokens,
        total_tokens=answer.usage.input_tokens + answer.usage.output_tokens,
    )


def _content_blocks(message: AIMessage) -> list[ContentBlock]:
    if not isinstance(message.content, str):
        raise NotImplementedError  # LangChain then reads the blocks as they are.
    blocks: list[ContentBlock] = []
    citations = message.response_metadata.get("citations") or []
    if message.content or (citations and not message.tool_calls):
        block = TextContentBlock(type="text", text=message.content)
        if citations:
            block["annotations"] = [_annotation(citation) for citation in citations]
        blocks.append(block)
    return [*blocks, *_call_blocks(message)]


def _call_blocks(message: AIMessage) -> Iterator[ContentBlock]:
    if isinstance(message, AIMessageChunk) and message.chunk_position != "last":
        for piece in message.tool_call_chunks:
            block = ToolCallChunk(
                type="tool_call_chunk", name=piece["name"], args=piece["args"], id=piece["id"]
            )
            if piece["index"] is not None:
                block["index"] = piece["index"]
            yield block
        return
    for call in message.tool_calls:
        yield ToolCall(type="tool_call", name=call["name"], args=call["args"], id=call["id"])
    for bad in message.invalid_tool_calls:
        yield InvalidToolCall(
            type="invalid_tool_call",
            name=bad["name"],
            args=bad["args"],
            id=bad["id"],
            error=bad["error"],
        )


def _annotation(citation: Mapping[str, Any]) -> Annotation:
    entity, name, value = citation["entity"], citation["property"], citation["value"]
    url = (citation.get("metadata") or {}).get("url")
    return cast(
        "Annotation",
        create_citation(
            # Not a random one: blocks are made anew on each access and must come out equal.
            id=f"{citation['id']}:{citation.get('start')}",
            url=url if isinstance(url, str) else None,
            title=f"{entity}: {name}",
            cited_text=value,
            start_index=citation.get("start"),
            end_index=citation.get("end"),
            fact_id=citation["id"],
            entity=entity,
            property=name,
            score=citation.get("score"),
        ),
    )
