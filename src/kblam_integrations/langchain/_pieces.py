"""A reply as it is streamed: text at once, calls of tools as what they are."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from langchain_core.outputs import ChatGenerationChunk

from kblam_integrations._attempts import Attempt
from kblam_integrations.langchain._request import Reply, Request
from kblam_integrations.langchain._results import call_chunk, new_call_id, text_chunk

__all__ = ["Pieces"]

# How an answer begins that is held to the form of a call.
_CALL = re.compile(r'\{"name": ("(?:[^"\\]|\\.)*"), "arguments": ')
# What text may go on as if it is a call, in any of the ways that models write one.
_MAYBE_CALL = re.compile(r"[{\[<]")


class Pieces:
    """Turns the pieces of one reply into chunks.

    Args:
        model_name: The first chunk says it.
        request: What was asked.

    Attributes:
        any: Whether there was a chunk.
    """

    def __init__(self, model_name: str, request: Request) -> None:
        self.any = False
        self._name = model_name
        self._with_tools = request.tools is not None
        self._calling = False
        self._text = ""
        self._sent = 0  # characters of the text
        self._call_id: str | None = None

    def begin(self, attempt: Attempt) -> None:
        """An attempt begins; what came before said nothing."""
        self._calling = attempt.calling
        self._text, self._sent = "", 0

    def add(self, piece: str) -> Iterator[ChatGenerationChunk]:
        """What can be shown of a piece of text."""
        self._text += piece
        if self._calling:
            yield from self._call(len(self._text.rstrip("}")))
            return
        maybe = _MAYBE_CALL.search(self._text) if self._with_tools else None
        end = len(self._text) if maybe is None else maybe.start()
        # White space before a call is no part of the text.
        end = len(self._text[:end].rstrip()) if self._with_tools else end
        yield from self._show(self._text[self._sent : end])
        self._sent = max(self._sent, end)

    def rest(self, reply: Reply) -> Iterator[ChatGenerationChunk]:
        """What is left to show at the end."""
        if self._calling and reply.calls:
            yield from self._call(len(self._text) - 1)  # all but the brace that ends the call
            return
        yield from self._show(reply.text[self._sent :])
        for index, call in enumerate(reply.calls):
            yield self._made(
                call_chunk(index, call_id=new_call_id(), name=call.name, arguments=call.arguments)
            )
        for index, invalid in enumerate(reply.invalid, len(reply.calls)):
            # In quotes: LangChain would make a call of whatever can be read as an object.
            text = json.dumps(invalid.text, ensure_ascii=False)
            yield self._made(call_chunk(index, call_id=new_call_id(), text=text))

    def _show(self, text: str) -> Iterator[ChatGenerationChunk]:
        if text:
            yield self._made(text_chunk(text))

    def _call(self, end: int) -> Iterator[ChatGenerationChunk]:
        begun = _CALL.match(self._text)
        if begun is None:
            return
        if self._call_id is None:
            self._call_id, self._sent = new_call_id(), begun.end()
            yield self._made(
                call_chunk(0, call_id=self._call_id, name=begun.group(1)[1:-1], text="")
            )
        if end > self._sent:
            yield self._made(call_chunk(0, text=self._text[self._sent : end]))
            self._sent = end

    def _made(self, chunk: ChatGenerationChunk) -> ChatGenerationChunk:
        if not self.any:
            # The first only: chunks are added up, names must not be.
            chunk.message.response_metadata["model_name"] = self._name
        self.any = True
        return chunk
