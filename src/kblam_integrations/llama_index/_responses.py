"""kblam's answers as LlamaIndex responses and source nodes."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any
from uuid import uuid4

from llama_index.core.base.llms.types import (
    ChatMessage,
    ChatResponse,
    CompletionResponse,
    MessageRole,
    TextBlock,
    ToolCallBlock,
)
from llama_index.core.schema import NodeRelationship, NodeWithScore, RelatedNodeInfo, TextNode

from kblam.answer import Answer, ScoredFact
from kblam_integrations.llama_index._asking import Piece

__all__ = [
    "chat_response",
    "completion_response",
    "fact_nodes",
    "raw_answer",
    "source_nodes",
]


def raw_answer(answer: Answer) -> dict[str, Any]:
    """An answer as the JSON-able ``raw`` of a response.

    ``usage`` has the names that LlamaIndex's token counters read.
    """
    usage = answer.usage
    return {
        "model": answer.model_name,
        "finish_reason": answer.finish_reason,
        "refused": answer.refused,
        "citations": [
            {**citation.to_dict(), "statement": citation.fact.statement}
            for citation in answer.citations
        ],
        "usage": {
            "prompt_tokens": usage.input_tokens,
            "completion_tokens": usage.output_tokens,
            "total_tokens": usage.input_tokens + usage.output_tokens,
        },
        "kb_fingerprint": answer.kb_fingerprint,
        "seconds": answer.seconds,
        "time_to_first_token": answer.time_to_first_token,
    }


def completion_response(piece: Piece, delta: str | None = None) -> CompletionResponse:
    """A completion, or with a ``delta`` a piece of one."""
    raw = None if piece.answer is None else raw_answer(piece.answer)
    return CompletionResponse(
        text=piece.text,
        delta=delta,
        raw=raw,
        additional_kwargs={} if raw is None else dict(raw["usage"]),
    )


def chat_response(piece: Piece, delta: str | None = None) -> ChatResponse:
    """A chat reply, or with a ``delta`` a piece of one."""
    raw = None if piece.answer is None else raw_answer(piece.answer)
    return ChatResponse(
        message=_message(piece),
        delta=delta,
        raw=raw,
        additional_kwargs={} if raw is None else dict(raw["usage"]),
    )


def _message(piece: Piece) -> ChatMessage:
    if not piece.calls:
        # Nothing goes into the message's own additional_kwargs: a chat history would keep it,
        # and LlamaIndex prints it into prompts.
        return ChatMessage(role=MessageRole.ASSISTANT, content=piece.text)
    text = [TextBlock(text=piece.text)] if piece.text else []
    calls = [
        ToolCallBlock(
            tool_call_id=f"call_{uuid4().hex[:24]}",
            tool_name=call.name,
            tool_kwargs=call.arguments,
        )
        for call in piece.calls
    ]
    # Where LlamaIndex's programs and chat engines look for calls.
    told = [
        {
            "id": block.tool_call_id,
            "type": "function",
            "function": {"name": block.tool_name, "arguments": json.dumps(block.tool_kwargs)},
        }
        for block in calls
    ]
    return ChatMessage(
        role=MessageRole.ASSISTANT, blocks=[*text, *calls], additional_kwargs={"tool_calls": told}
    )


def source_nodes(citations: Iterable[Mapping[str, Any]]) -> list[NodeWithScore]:
    """The cited facts as nodes, most attended first, each fact once.

    Args:
        citations: As in ``raw["citations"]``.
    """
    best: dict[str, Mapping[str, Any]] = {}
    for citation in citations:
        seen = best.get(citation["id"])
        if seen is None or citation["score"] > seen["score"]:
            best[citation["id"]] = citation
    ranked = sorted(best.values(), key=lambda citation: citation["score"], reverse=True)
    return [NodeWithScore(node=_node(citation), score=citation["score"]) for citation in ranked]


def fact_nodes(facts: Iterable[ScoredFact]) -> list[NodeWithScore]:
    """Selected facts as nodes, in their order."""
    return [
        NodeWithScore(
            node=_node(
                {
                    "id": scored.fact.id,
                    "entity": scored.fact.entity,
                    "property": scored.fact.property,
                    "value": scored.fact.value,
                    "statement": scored.fact.statement,
                    "metadata": scored.fact.metadata,
                }
            ),
            score=scored.score,
        )
        for scored in facts
    ]


def _node(citation: Mapping[str, Any]) -> TextNode:
    metadata = {
        **citation["metadata"],
        "entity": citation["entity"],
        "property": citation["property"],
        "value": citation["value"],
        "fact_id": citation["id"],
    }
    source = metadata.get("source")  # the chunk or document that a fact was extracted from
    # The statement says it all: metadata repeated in front of it would only cost tokens.
    return TextNode(
        id_=citation["id"],
        text=citation["statement"],
        metadata=metadata,
        excluded_embed_metadata_keys=list(metadata),
        excluded_llm_metadata_keys=list(metadata),
        relationships=(
            {NodeRelationship.SOURCE: RelatedNodeInfo(node_id=source)}
            if isinstance(source, str)
            else {}
        ),
    )
