"""Answers to LangChain messages: text, usage, metadata, and citations in both their forms.

The content of a message stays a plain string, so that output parsers work. The citations lie in
``response_metadata["citations"]``; from there a translator, registered with LangChain for the
provider ``"kblam"``, puts them as annotations on the text block of ``message.content_blocks``
(and of ``message.content`` with ``output_version="v1"``). Both survive a message's
serialisation and the addition of chunks.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from langchain_core.messages import AIMessage, AIMessageChunk, UsageMetadata
from langchain_core.messages.block_translators import register_translator
from langchain_core.messages.content import (
    Annotation,
    ContentBlock,
    TextContentBlock,
    create_citation,
)
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk

from kblam.answer import Answer

__all__ = ["PROVIDER", "final_chunk", "register_citations", "text_chunk", "to_generation"]

PROVIDER = "kblam"


def to_generation(answer: Answer) -> ChatGeneration:
    """The whole answer as one message."""
    message = AIMessage(
        content=answer.text,
        response_metadata={**_identity(answer.model_name), **_outcome(answer)},
        usage_metadata=_usage(answer),
    )
    return ChatGeneration(message=message)


def text_chunk(piece: str, *, model_name: str | None) -> ChatGenerationChunk:
    """A piece of an answer.

    Args:
        piece: The text.
        model_name: For the first piece only: chunks are added up, names must not be.
    """
    metadata = {} if model_name is None else _identity(model_name)
    return ChatGenerationChunk(message=AIMessageChunk(content=piece, response_metadata=metadata))


def final_chunk(answer: Answer, *, first: bool) -> ChatGenerationChunk:
    """The empty last chunk, which carries what is known only at the end.

    Args:
        answer: The finished answer.
        first: Whether no piece of text came before.
    """
    identity = _identity(answer.model_name) if first else {"model_provider": PROVIDER}
    message = AIMessageChunk(
        content="",
        response_metadata={**identity, **_outcome(answer)},
        usage_metadata=_usage(answer),
        chunk_position="last",
    )
    return ChatGenerationChunk(message=message)


def register_citations() -> None:
    """Let ``content_blocks`` of messages from this provider carry citations as annotations."""
    register_translator(PROVIDER, _content_blocks, _content_blocks)


def _identity(model_name: str) -> dict[str, Any]:
    return {"model_provider": PROVIDER, "model_name": model_name}


def _outcome(answer: Answer) -> dict[str, Any]:
    return {
        "finish_reason": answer.finish_reason,
        "refused": answer.refused,
        "citations": [citation.to_dict() for citation in answer.citations],
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
    citations = message.response_metadata.get("citations") or []
    block = TextContentBlock(type="text", text=message.content)
    if citations:
        block["annotations"] = [_annotation(citation) for citation in citations]
    return [block] if message.content or citations else []


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
