"""Structured prediction: always valid, or refused."""

from __future__ import annotations

import pytest
from llama_index.core.bridge.pydantic import BaseModel, Field, field_validator
from llama_index.core.llms import ChatMessage
from llama_index.core.program import FunctionCallingProgram
from llama_index.core.prompts import ChatPromptTemplate, PromptTemplate
from llama_support import Recorder

from kblam.errors import ConstraintError, RefusedError
from kblam_integrations.llama_index import KBLaMLLM

pytestmark = pytest.mark.weights

ASK = PromptTemplate("Who is the project lead of {project}?")
FACTS = [
    ("Aurora", "project lead", "Mirela Osei"),
    ("Aurora", "launch code", "QX-7719"),
    ("Lisbon", "mayor", "Carlos Moedas"),
]


class Lead(BaseModel):
    """Who leads a project."""

    project_lead: str = Field(description="The person.")


@pytest.fixture(scope="module")
def shipped() -> KBLaMLLM:
    """The default model over a few facts."""
    return KBLaMLLM(FACTS, max_new_tokens=40, stop="\n")


async def test_a_class_is_filled_from_the_facts(shipped: KBLaMLLM, events: Recorder) -> None:
    assert shipped.structured_predict(Lead, ASK, project="Aurora").project_lead == "Mirela Osei"
    names = events.names()
    assert (names[0], names[-1]) == (
        "LLMStructuredPredictStartEvent",
        "LLMStructuredPredictEndEvent",
    )
    assert "LLMChatEndEvent" in names
    filled = await shipped.astructured_predict(Lead, ASK, project="Aurora")
    assert filled == Lead(project_lead="Mirela Osei")


async def test_piece_by_piece(shipped: KBLaMLLM) -> None:
    pieces = list(shipped.stream_structured_predict(Lead, ASK, project="Aurora"))
    later = await shipped.astream_structured_predict(Lead, ASK, project="Aurora")
    async_pieces = [piece async for piece in later]
    for told in (pieces, async_pieces):
        assert len(told) > 2
        assert told[-1] == Lead(project_lead="Mirela Osei")


async def test_what_the_facts_do_not_say_is_refused(shipped: KBLaMLLM) -> None:
    with pytest.raises(RefusedError, match="refusal_threshold"):
        shipped.structured_predict(Lead, ASK, project="Borealis")
    with pytest.raises(RefusedError):
        await shipped.astructured_predict(Lead, ASK, project="Borealis")
    with pytest.raises(RefusedError):
        list(shipped.stream_structured_predict(Lead, ASK, project="Borealis"))
    with pytest.raises(RefusedError):
        async for _ in await shipped.astream_structured_predict(Lead, ASK, project="Borealis"):
            pass
    hidden = {"view": shipped.kblam.store.view(entity="Lisbon")}
    with pytest.raises(RefusedError):
        shipped.structured_predict(Lead, ASK, llm_kwargs=hidden, project="Aurora")
    free = shipped.with_kb(FACTS, refusal_threshold=1.0)
    assert isinstance(free.structured_predict(Lead, ASK, project="Borealis"), Lead)


# LlamaIndex's structured models write their pieces with it.
@pytest.mark.filterwarnings("ignore:The `json` method:DeprecationWarning")
async def test_as_a_structured_model(shipped: KBLaMLLM) -> None:
    llm = shipped.as_structured_llm(Lead)
    messages = [ChatMessage(role="user", content="Who is the project lead of Aurora?")]
    for reply in (
        llm.chat(messages),
        await llm.achat(messages),
        list(llm.stream_chat(messages))[-1],
    ):
        assert reply.raw == Lead(project_lead="Mirela Osei")


def test_what_cannot_be_filled(shipped: KBLaMLLM) -> None:
    class Picky(BaseModel):
        project_lead: str

        @field_validator("project_lead")
        @classmethod
        def nobody(cls, value: str) -> str:
            raise ValueError("nobody will do")

    with pytest.raises(ConstraintError, match="nobody will do"):
        shipped.structured_predict(Picky, ASK, project="Aurora")
    with pytest.raises(ConstraintError, match="max_new_tokens"):
        shipped.structured_predict(Lead, ASK, llm_kwargs={"max_tokens": 2}, project="Aurora")


def test_llama_indexs_own_program(shipped: KBLaMLLM) -> None:
    # It calls a tool, which is not refused.
    prompt = ChatPromptTemplate([ChatMessage(role="user", content=ASK.template)])
    program = FunctionCallingProgram.from_defaults(Lead, prompt=prompt, llm=shipped)
    assert isinstance(program(project="Aurora"), Lead)
    assert isinstance(list(program.stream_call(project="Aurora"))[-1], BaseModel)
