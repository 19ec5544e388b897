"""kblam's answers as LlamaIndex responses and source nodes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from llama_index.core.base.llms.types import (
    ChatMessage,
    ChatResponse,
    CompletionResponse,
    MessageRole,
)
from llama_index.core.schema import NodeRelationship, NodeWithScore, RelatedNodeInfo, TextNode

from kblam.answer import Answer, ScoredFact

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


def completion_response(
    text: str, answer: Answer | None, delta: str | None = None
) -> CompletionResponse:
    """A completion, or a piece of one: ``answer`` is None until the last piece."""
    raw = None if answer is None else raw_answer(answer)
    return CompletionResponse(
        text=text,
        delta=delta,
        raw=raw,
        additional_kwargs={} if raw is None else dict(raw["usage"]),
    )


def chat_response(text: str, answer: Answer | None, delta: str | None = None) -> ChatResponse:
    """A chat reply, or a piece of one: ``answer`` is None until the last piece."""
    raw = None if answer is None else raw_answer(answer)
    return ChatResponse(
        # Nothing goes into the message's own additional_kwargs: a chat history would keep it,
        # and LlamaIndex prints it into prompts.
        message=ChatMessage(role=MessageRole.ASSISTANT, content=text),
        delta=delta,
        raw=raw,
        additional_kwargs={} if raw is None else dict(raw["usage"]),
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
