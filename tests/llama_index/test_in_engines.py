"""Query engines over facts as parts of LlamaIndex's own engines, each with a view of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from llama_index.core import KnowledgeGraphIndex, PropertyGraphIndex, get_response_synthesizer
from llama_index.core.base.base_selector import BaseSelector, SelectorResult, SingleSelection
from llama_index.core.graph_stores import SimpleGraphStore, SimplePropertyGraphStore
from llama_index.core.llms import MockLLM
from llama_index.core.prompts.mixin import PromptDictType
from llama_index.core.query_engine import RouterQueryEngine, SubQuestionQueryEngine
from llama_index.core.question_gen.types import BaseQuestionGenerator, SubQuestion
from llama_index.core.schema import QueryBundle
from llama_index.core.tools import QueryEngineTool, ToolMetadata
from llama_support import add_to

from kblam import KnowledgeStore
from kblam_integrations.llama_index import KBLaMLLM, KBLaMQueryEngine

pytestmark = pytest.mark.weights  # of the sentence encoder

CODE = "The launch code of Aurora is QX-7719."
BUDGET = "The budget of Project Heron is 48200 euros."


@pytest.fixture
def tools(llm: KBLaMLLM) -> list[QueryEngineTool]:
    store = llm.kblam.store
    engine = KBLaMQueryEngine(llm)
    return [
        QueryEngineTool.from_defaults(
            engine.with_view(store.view(entity=entity)), name=name, description=f"About {entity}."
        )
        for name, entity in (("aurora", "Aurora"), ("heron", "Project Heron"))
    ]


class ByName(BaseSelector):
    """Selects the tools that a question names."""

    def _select(self, choices: Sequence[ToolMetadata], query: QueryBundle) -> SelectorResult:
        named = [i for i, c in enumerate(choices) if c.name in query.query_str.lower()]
        return SelectorResult(selections=[SingleSelection(index=i, reason="") for i in named])

    async def _aselect(self, choices: Sequence[ToolMetadata], query: QueryBundle) -> SelectorResult:
        return self._select(choices, query)

    def _get_prompts(self) -> PromptDictType:
        return {}

    def _update_prompts(self, prompts: PromptDictType) -> None: ...


class ByAnd(BaseQuestionGenerator):
    """Splits a question at its "and"; each part goes to the tool that it names."""

    def generate(self, tools: Sequence[ToolMetadata], query: QueryBundle) -> list[SubQuestion]:
        return [
            SubQuestion(sub_question=f"{part}?", tool_name=tool.name)
            for part in query.query_str.rstrip("?").split(" and ")
            for tool in tools
            if str(tool.name) in part.lower()
        ]

    async def agenerate(self, tools: Any, query: QueryBundle) -> list[SubQuestion]:
        return self.generate(tools, query)

    def _get_prompts(self) -> PromptDictType:
        return {}

    def _update_prompts(self, prompts: PromptDictType) -> None: ...


async def test_behind_a_router(tools: list[QueryEngineTool], llm: KBLaMLLM) -> None:
    router = RouterQueryEngine(ByName(), tools, summarizer=None, llm=llm)
    for question, statement in (
        ("What is the launch code of Aurora?", CODE),
        ("What is the budget of Project Heron?", BUDGET),
    ):
        for response in (router.query(question), await router.aquery(question)):
            assert [node.text for node in response.source_nodes] == [statement]
            assert response.metadata["selector_result"]
            assert response.metadata["refused"] is False


async def test_under_sub_questions(tools: list[QueryEngineTool]) -> None:
    engine = SubQuestionQueryEngine.from_defaults(
        tools,
        llm=MockLLM(),
        question_gen=ByAnd(),
        response_synthesizer=get_response_synthesizer(llm=MockLLM()),  # repeats its prompt
        verbose=False,
    )
    question = "What is the launch code of Aurora and what is the budget of Project Heron?"
    for response in (engine.query(question), await engine.aquery(question)):
        texts = [node.text for node in response.source_nodes]
        assert sum(text.startswith("Sub question: ") for text in texts) == 2
        assert {CODE, BUDGET} < set(texts)  # the sources of the parts are those of the whole


def test_a_view_of_one_query(weights: dict[str, str]) -> None:
    facts = [
        {"entity": "Aurora", "property": "budget", "value": f"{n} euros", "metadata": {"team": t}}
        for n, t in ((1, "north"), (2, "south"))
    ]
    with KnowledgeStore.from_source(facts) as store:
        engine = KBLaMQueryEngine(KBLaMLLM(store, **weights, max_new_tokens=2))

        def read(engine: KBLaMQueryEngine) -> set[str]:
            nodes = engine.query("What is the budget of Aurora?").source_nodes
            return {node.metadata["value"] for node in nodes}

        north, south = store.view(team="north"), store.view(team="south")
        assert read(engine.with_view(north)) == {"1 euros"}
        assert read(engine.with_view(south)) == {"2 euros"}
        assert read(engine.with_view(south).with_view(north)) == set()
        assert engine.with_view(north).llm.kblam is engine.llm.kblam  # nothing is loaded again
        assert engine.llm.view is None


def test_triplets_put_into_a_graph_are_read_by_the_next_query(
    kg_index: KnowledgeGraphIndex,
    graph: SimpleGraphStore,
    property_index: PropertyGraphIndex,
    property_graph: SimplePropertyGraphStore,
) -> None:
    question = "What is the project lead of Borealis?"

    def values(engine: KBLaMQueryEngine) -> set[str]:
        return {str(n.metadata["value"]) for n in engine.query(question).source_nodes}

    engines = [KBLaMQueryEngine.from_index(index) for index in (kg_index, property_index)]
    for engine in engines:
        assert "Tomas Lindqvist" not in values(engine)
    kg_index.upsert_triplet(("Borealis", "project lead", "Tomas Lindqvist"))
    add_to(property_graph, [("Borealis", "project lead", "Tomas Lindqvist")])
    for engine in engines:
        assert values(engine) == {"Tomas Lindqvist"}
    assert graph.get("Borealis") == [["project lead", "Tomas Lindqvist"]]
