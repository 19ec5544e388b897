"""Real extractors of the frameworks; the language model in them follows one rule."""

from __future__ import annotations

import json
import re

import pytest
from langchain_core.documents import Document as LangChainDocument
from langchain_neo4j.graphs.graph_document import GraphDocument, Node, Relationship
from llama_index.core import Document as LlamaIndexDocument
from llama_index.core.indices.property_graph import (
    DynamicLLMPathExtractor,
    ImplicitPathExtractor,
    SimpleLLMPathExtractor,
)
from llama_index.core.llms import CompletionResponse, CustomLLM, LLMMetadata
from llama_index.core.node_parser import SentenceSplitter

from kblam.errors import SourceError, UnsupportedSourceError
from kblam.extraction import FactExtractor, as_extractor
from kblam.knowledge import KnowledgeStore

FOUNDED = re.compile(r"([A-Z]\w+(?: [A-Z]\w+)*) (founded|leads) ([A-Z]\w+(?: [A-Z]\w+)*)")
TEXT = "It rained. Ann Lee founded Acme Robotics. Later, Bo Ek founded Lund Optics."


class RuleTransformer:
    """A graph transformer: persons found companies."""

    def convert_to_graph_documents(self, documents):
        graphs = []
        for document in documents:
            nodes, edges = {}, []
            for person, verb, company in FOUNDED.findall(document.page_content):
                source = nodes.setdefault(person, Node(id=person, type="Person"))
                target = nodes.setdefault(
                    company, Node(id=company, type="Company", properties={"sector": "industry"})
                )
                edges.append(
                    Relationship(
                        source=source, target=target, type=verb.upper(), properties={"sure": True}
                    )
                )
            graphs.append(
                GraphDocument(nodes=list(nodes.values()), relationships=edges, source=document)
            )
        return graphs


class RuleLLM(CustomLLM):
    """Answers a prompt for triplets by the same rule, in the form that the prompt asks for."""

    @property
    def metadata(self) -> LLMMetadata:
        return LLMMetadata()

    def complete(self, prompt, formatted=False, **kwargs):
        text = prompt.rsplit("Text: ", 1)[1]
        found = FOUNDED.findall(text)
        if "JSON" in prompt:
            items = [
                {"head": h, "head_type": "PERSON", "relation": r, "tail": t, "tail_type": "FIRM"}
                for h, r, t in found
            ]
            return CompletionResponse(text=json.dumps(items))
        return CompletionResponse(text="\n".join(f"({h}, {r}, {t})" for h, r, t in found))

    def stream_complete(self, prompt, formatted=False, **kwargs):
        raise NotImplementedError


def said(extraction):
    return {(fact.entity, fact.property, fact.value) for fact in extraction.facts}


def stated_in(fact, text):
    return text[fact.metadata["start"] : fact.metadata["end"]]


@pytest.fixture
def notes(tmp_path):
    path = tmp_path / "notes.md"
    path.write_text(TEXT, encoding="utf-8")
    return path


def test_a_graph_transformer_of_langchain(notes):
    extraction = FactExtractor(RuleTransformer(), resolution=None).extract(notes)
    assert said(extraction) >= {
        ("Ann Lee", "FOUNDED", "Acme Robotics"),
        ("Ann Lee", "type", "Person"),
        ("Lund Optics", "sector", "industry"),
        ("Bo Ek founded Lund Optics", "sure", "true"),
    }
    fact = next(fact for fact in extraction.facts if fact.value == "Lund Optics")
    assert stated_in(fact, TEXT) == "Later, Bo Ek founded Lund Optics."
    assert fact.metadata["document"] == notes.as_posix()


def test_a_transformer_that_builds_its_own_sources_and_one_without(notes):
    class Other(RuleTransformer):
        def convert_to_graph_documents(self, documents):
            graphs = super().convert_to_graph_documents(documents)
            for graph in graphs:
                graph.source = LangChainDocument(page_content=graph.source.page_content)
            return list(reversed(graphs))

    texts = [LangChainDocument(part, metadata={"source": part[:3]}) for part in TEXT.split(". ")]
    for fact in FactExtractor(Other(), resolution=None).extract(texts).facts:
        assert fact.metadata["document"] == ("Ann" if "Acme" in str(fact) else "Lat") or (
            fact.property in ("type", "sector")
        )

    class Sourceless(RuleTransformer):
        def convert_to_graph_documents(self, documents):
            graphs = super().convert_to_graph_documents(documents)
            for graph in graphs:
                graph.source = None
            return graphs

    one = FactExtractor(Sourceless(), resolution=None).extract(notes)
    assert one.facts[0].metadata["document"] == notes.as_posix()
    several = FactExtractor(Sourceless(), resolution=None).extract(texts)
    assert not any("document" in fact.metadata for fact in several.facts)


@pytest.mark.parametrize("cut", [False, True])
def test_an_extractor_of_llama_index(cut):
    whole = LlamaIndexDocument(text=TEXT, doc_id="notes", metadata={"team": "red"})
    splitter = SentenceSplitter(chunk_size=20, chunk_overlap=0)
    nodes = splitter.get_nodes_from_documents([whole]) if cut else [whole]
    assert (len(nodes) > 1) is cut
    extraction = FactExtractor(
        SimpleLLMPathExtractor(llm=RuleLLM(), num_workers=1), resolution=None
    ).extract(nodes)
    assert said(extraction) == {
        ("Ann Lee", "founded", "Acme Robotics"),
        ("Bo Ek", "founded", "Lund Optics"),
    }
    for fact in extraction.facts:
        assert fact.metadata["document"] == "notes"
        assert fact.metadata["team"] == "red"
        assert fact.value in stated_in(fact, TEXT)
    assert all(set(node.metadata) == {"team"} for node in nodes)  # the caller's are left alone


async def test_an_extractor_of_llama_index_inside_of_an_event_loop():
    extractor = FactExtractor(SimpleLLMPathExtractor(llm=RuleLLM(), num_workers=1))
    assert len(extractor.extract(TEXT).facts) == 2


def test_types_of_the_dynamic_extractor_and_chunks_of_the_implicit_one():
    extraction = FactExtractor(
        DynamicLLMPathExtractor(llm=RuleLLM(), num_workers=1), resolution=None
    ).extract(TEXT)
    assert ("Ann Lee", "type", "PERSON") in said(extraction)
    assert ("Ann Lee", "founded", "Acme Robotics") in said(extraction)
    whole = LlamaIndexDocument(text=TEXT, doc_id="notes")
    nodes = SentenceSplitter(chunk_size=16, chunk_overlap=0).get_nodes_from_documents([whole])
    assert not FactExtractor(ImplicitPathExtractor()).extract(nodes).facts


def test_a_store_from_documents(tmp_path, notes):
    with KnowledgeStore.from_documents(
        notes, FactExtractor(RuleTransformer()), tmp_path / "facts.db"
    ) as store:
        (fact,) = store.search(entity="Ann Lee", property="FOUNDED")
        assert stated_in(fact, TEXT) == "Ann Lee founded Acme Robotics."
    with pytest.raises(UnsupportedSourceError, match="FactExtractor"):
        KnowledgeStore.from_documents(notes, RuleTransformer())


def test_an_extractor_that_fails_is_an_error_that_tells_no_secrets():
    class Failing:
        def convert_to_graph_documents(self, documents):
            raise ConnectionError("https://user:secret@host refused")

    with pytest.raises(SourceError, match="ConnectionError") as raised:
        FactExtractor(Failing()).extract(TEXT)
    assert "secret" not in str(raised.value)


def test_what_extracts_nothing_is_refused():
    with pytest.raises(UnsupportedSourceError, match="complete\\(prompt, json_schema\\)"):
        as_extractor(object())
