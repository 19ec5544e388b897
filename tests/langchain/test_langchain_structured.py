"""Structured output: always an instance of the schema, or a refusal."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Literal

import pytest
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from pydantic import BaseModel, Field
from pydantic.v1 import BaseModel as BaseModelV1
from tiny_kblam import FACTS
from typing_extensions import TypedDict

from kblam.errors import ConfigError, ConstraintError, RefusedError
from kblam_integrations.langchain import KBLaMChat

QUESTION = "What is the office of Project Heron?"
METHODS = ["json_schema", "function_calling", "json_mode"]


class Office(BaseModel):
    """An office."""

    city: str = Field(max_length=12)
    floor: int = Field(ge=0, le=9)
    kind: Literal["own", "rented"]


class OfficeV1(BaseModelV1):
    """An office."""

    city: str


class OfficeDict(TypedDict):
    """An office."""

    city: str


SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}


@pytest.fixture
def chat(make: Callable[..., KBLaMChat]) -> KBLaMChat:
    return make(kb=FACTS, max_tokens=200)


@pytest.fixture
def refusing(make: Callable[..., KBLaMChat]) -> KBLaMChat:
    return make(kb=FACTS, max_tokens=200, refusal_threshold=0.0)


@pytest.mark.parametrize("method", METHODS)
class TestAlwaysValid:
    def test_pydantic(self, chat: KBLaMChat, method: Any) -> None:
        model = chat.with_structured_output(Office, method=method)
        for seed in range(3):
            # A model that says anything at all.
            wild = chat.bind(temperature=5.0, seed=seed)
            assert isinstance(
                wild.with_structured_output(Office, method=method).invoke(QUESTION), Office
            )
        assert isinstance(asyncio.run(model.ainvoke(QUESTION)), Office)
        assert all(isinstance(piece, Office) for piece in model.stream(QUESTION))
        assert all(isinstance(one, Office) for one in model.batch([QUESTION] * 2))

    @pytest.mark.parametrize("schema", [OfficeDict, SCHEMA], ids=["typeddict", "json"])
    def test_dicts(self, chat: KBLaMChat, method: Any, schema: Any) -> None:
        found = chat.with_structured_output(schema, method=method).invoke(QUESTION)
        assert set(found) == {"city"}

    def test_pydantic_1(self, chat: KBLaMChat, method: Any) -> None:
        found = chat.with_structured_output(OfficeV1, method=method).invoke(QUESTION)
        assert isinstance(found, OfficeV1)

    def test_with_little_room(self, make: Callable[..., KBLaMChat], method: Any) -> None:
        chat = make(kb=FACTS, max_tokens=110, temperature=5.0, seed=1, stop=["i"])
        assert isinstance(chat.with_structured_output(Office, method=method).invoke("x"), Office)
        with pytest.raises(ConstraintError, match="max_tokens"):  # as the setting is called here
            chat.with_structured_output(Office, method=method, max_tokens=1).invoke("x")

    def test_what_the_facts_do_not_say(self, refusing: KBLaMChat, method: Any) -> None:
        model = refusing.with_structured_output(Office, method=method)
        with pytest.raises(RefusedError, match="I am sorry"):
            model.invoke(QUESTION)
        with pytest.raises(RefusedError):
            asyncio.run(model.ainvoke(QUESTION))
        with pytest.raises(RefusedError):
            list(model.stream(QUESTION))
        seen = refusing.model_copy(update={"refusal_threshold": 1.0})
        assert seen.with_structured_output(Office, method=method).invoke(QUESTION)

    def test_what_a_tool_returned_is_filled_in(self, refusing: KBLaMChat, method: Any) -> None:
        turns = [
            HumanMessage(QUESTION),
            AIMessage("", tool_calls=[{"name": "find", "args": {}, "id": "1"}]),
            ToolMessage("Oslo, floor 3, rented", tool_call_id="1"),
        ]
        model = refusing.with_structured_output(Office, method=method)
        assert isinstance(model.invoke(turns), Office)

    def test_with_the_raw_reply(self, chat: KBLaMChat, refusing: KBLaMChat, method: Any) -> None:
        found = chat.with_structured_output(Office, method=method, include_raw=True).invoke(
            QUESTION
        )
        assert isinstance(found["parsed"], Office)
        assert found["parsing_error"] is None
        assert found["raw"].usage_metadata["output_tokens"] > 10
        refused = refusing.with_structured_output(Office, method=method, include_raw=True).invoke(
            QUESTION
        )
        assert refused["parsed"] is None
        assert isinstance(refused["parsing_error"], RefusedError)
        assert refused["raw"].content == refusing.kblam.refusal


def test_a_view_holds(chat: KBLaMChat) -> None:
    hidden = chat.bind(view={"entity": "Nobody"}).with_structured_output(Office)
    with pytest.raises(RefusedError):
        hidden.invoke(QUESTION)
    config = {"configurable": {"kb_view": {"entity": "Nobody"}}}
    with pytest.raises(RefusedError):
        chat.with_structured_output(Office).invoke(QUESTION, config)


def test_any_object(chat: KBLaMChat) -> None:
    found = chat.with_structured_output(method="json_mode").invoke(QUESTION)
    assert isinstance(found, dict)


def test_a_form_for_a_call(chat: KBLaMChat) -> None:
    form = {"type": "json_schema", "json_schema": {"name": "office", "schema": SCHEMA}}
    assert chat.invoke(QUESTION, response_format=form).content.startswith('{"city": ')
    assert chat.invoke(QUESTION, response_format={"type": "text"}).content == "Ljubljana"


@pytest.mark.parametrize("wrong", ["json", {"type": "yaml"}, {"type": "json_schema"}, {}])
def test_what_is_no_form(chat: KBLaMChat, wrong: Any) -> None:
    with pytest.raises(ConfigError, match="response_format"):
        chat.invoke(QUESTION, response_format=wrong)


def test_what_is_no_schema(chat: KBLaMChat) -> None:
    with pytest.raises(ConstraintError):
        chat.with_structured_output({"type": "nothing"})
    with pytest.raises(ConstraintError):
        chat.with_structured_output(3)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="got None"):
        chat.with_structured_output()
    with pytest.raises(ConfigError, match="'xml'"):
        chat.with_structured_output(Office, method="xml")


@pytest.mark.weights
@pytest.mark.parametrize("method", METHODS)
def test_the_default_model_fills_in_what_the_facts_say(chat: Any, method: Any) -> None:
    class Person(BaseModel):
        """Who it is."""

        name: str

    facts = [("Larkspur Instruments", "director", "Ines Okafor"), ("Aurora", "site", "Faro")]
    model = KBLaMChat(kb=facts).with_structured_output(Person, method=method, include_raw=True)
    found = model.invoke("Who is the director of Larkspur Instruments?")
    assert found["parsed"].name == "Ines Okafor"
    assert found["raw"].response_metadata["citations"][0]["value"] == "Ines Okafor"
    refused = model.invoke("What is the population of Brazil?")
    assert isinstance(refused["parsing_error"], RefusedError)
