"""A LlamaIndex query engine over a property graph, with source nodes from attention."""

from __future__ import annotations

from llama_index.core import PropertyGraphIndex
from llama_index.core.graph_stores import EntityNode, Relation, SimplePropertyGraphStore

from kblam_integrations.llama_index import KBLaMLLM, KBLaMQueryEngine

TRIPLES = [
    ("Larkspur Instruments", "headquarters", "Tampere"),
    ("Larkspur Instruments", "director", "Ines Okafor"),
    ("Halden Optics", "headquarters", "Ghent"),
    ("Halden Optics", "parent company", "Larkspur Instruments"),
]
QUESTIONS = [
    "Where is the headquarters of Halden Optics?",
    "Who is the director of Larkspur Instruments?",
    "What is the parent company of Halden Optics?",
]


def build_graph() -> SimplePropertyGraphStore:
    """Put the triples into a property graph, as an extraction pipeline would."""
    graph = SimplePropertyGraphStore()
    for entity, name, value in TRIPLES:
        subject, target = EntityNode(name=entity), EntityNode(name=value)
        graph.upsert_nodes([subject, target])
        graph.upsert_relations([Relation(label=name, source_id=subject.id, target_id=target.id)])
    return graph


def main() -> None:
    """Query an existing index and show what each answer was read from."""
    graph = build_graph()
    index = PropertyGraphIndex.from_existing(graph, llm=KBLaMLLM(kb=graph), embed_kg_nodes=False)
    engine = KBLaMQueryEngine.from_index(index)
    for question in QUESTIONS:
        response = engine.query(question)
        print(f"> {question}\n{response}")
        for node in response.source_nodes:
            print(f"  [{node.score:.2f}] {node.text}")


if __name__ == "__main__":
    main()
