"""NetworkX graphs as facts."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np
import pytest
from source_contract import SourceContract
from source_world import Relation, World, camel, snake

from kblam.errors import FactError
from kblam.knowledge import KnowledgeStore, SyncReport
from kblam_integrations.sources import NetworkxSource, as_store


class Money:
    """A value whose ``repr`` does not show what it says."""

    def __init__(self, amount: int) -> None:
        self.amount = amount

    def __str__(self) -> str:
        return f"{self.amount} EUR"

    def __repr__(self) -> str:
        return "<Money>"


def facts(store: KnowledgeStore) -> set[tuple[str, str, str]]:
    return {(fact.entity, fact.property, fact.value) for fact in store}


class NetworkxContract(SourceContract):
    edge_properties = True
    exact_count = False  # a list of values is counted once
    empty_values = ("", None, " ", float("nan"), [], b"\x00", [None, ""])
    kind: type[Any]

    def make(self, world: World, folder: Path) -> Any:
        graph = self.kind()
        for name, properties in world.entities.items():
            graph.add_node(name, **{snake(key): list(v) for key, v in properties.items()})
        for relation in world.relations:
            self.relate(graph, relation)
        return graph

    def add(self, kb: Any, entity: str, key: str, value: Any) -> None:
        kb.nodes[entity].setdefault(snake(key), []).append(value)

    def remove(self, kb: Any, entity: str, key: str, value: Any) -> None:
        kb.nodes[entity][snake(key)].remove(value)

    def relate(self, kb: Any, relation: Relation) -> None:
        kb.add_edge(
            relation.subject,
            relation.target,
            relation=camel(relation.label),
            **relation.properties,
        )

    def unrelate(self, kb: Any, relation: Relation) -> None:
        kb.remove_edge(relation.subject, relation.target)

    def content(self, kb: Any) -> Any:
        return repr(kb.nodes(data=True)), repr(kb.edges(data=True))


class TestDiGraph(NetworkxContract):
    kind = nx.DiGraph


class TestMultiDiGraph(NetworkxContract):
    kind = nx.MultiDiGraph

    def relate(self, kb: Any, relation: Relation) -> None:
        kb.add_edge(
            relation.subject, relation.target, key=snake(relation.label), **relation.properties
        )


def test_parallel_edges_are_all_read() -> None:
    graph = nx.MultiDiGraph()
    graph.add_edge("Ann", "Acme", relation="founded", year=1998)
    graph.add_edge("Ann", "Acme", relation="leads")
    graph.add_edge("Ann", "Acme", key="owns")
    graph.add_edge("Ann", "Acme")
    with as_store(graph) as store:
        assert facts(store) == {
            ("Ann", "founded", "Acme"),
            ("Ann founded Acme", "year", "1998"),
            ("Ann", "leads", "Acme"),
            ("Ann", "owns", "Acme"),
            ("Ann", "related to", "Acme"),
        }


@pytest.mark.parametrize("kind", [nx.Graph, nx.MultiGraph])
def test_an_edge_without_direction_holds_from_both_ends(kind: type[Any]) -> None:
    graph = kind()
    graph.add_edge("Ann", "Bob", type="friend", since=1998)
    graph.add_edge("Ann", "Ann", type="knows")
    with as_store(graph) as store:
        assert facts(store) == {
            ("Ann", "friend", "Bob"),
            ("Bob", "friend", "Ann"),
            ("Ann friend Bob", "since", "1998"),
            ("Ann", "knows", "Ann"),
        }
        assert NetworkxSource(graph).count() == 5  # the edge to itself from either end


@pytest.mark.parametrize("attribute", ["relation", "label", "type", "predicate"])
def test_what_names_an_edge(attribute: str) -> None:
    graph = nx.DiGraph()
    graph.add_edge("Ann", "Acme", **{"weight": 2, attribute: "works_at"})
    with as_store(graph) as store:
        assert facts(store) == {("Ann", "works_at", "Acme"), ("Ann works at Acme", "weight", "2")}


def test_names_and_relations_can_be_chosen() -> None:
    graph = nx.DiGraph()
    graph.add_node(1, full="Ann", label="PERSON")
    graph.add_node("n2", full="Acme")
    graph.add_edge(1, "n2", verb="runs")
    source = NetworkxSource(graph, name="full", relation=("verb",), unnamed="beside")
    with as_store(source) as store:
        assert facts(store) == {("Ann", "label", "PERSON"), ("Ann", "runs", "Acme")}
        (runs,) = store.search(property="runs")
        assert runs.metadata == {"subject": "1", "object": "n2"}
    del graph.edges[1, "n2"]["verb"]
    assert ("Ann", "beside", "Acme") in {(t.entity, t.property, t.value) for t in source.triples()}


def test_nodes_that_are_no_texts() -> None:
    graph = nx.DiGraph()
    graph.add_node(1, label="Ann", age=np.int64(41), scores=np.array([1.5, 2.0]))
    graph.add_node((0, 1), name=" ")
    graph.add_edge(1, (0, 1), relation="at")
    graph.add_edge(1, 2, relation="before")
    with as_store(graph) as store:
        assert facts(store) == {
            ("Ann", "age", "41"),
            ("Ann", "scores", "1.5"),
            ("Ann", "scores", "2.0"),
            ("Ann", "at", "(0, 1)"),
            ("Ann", "before", "2"),
        }


@pytest.mark.parametrize(
    ("value", "texts"),
    [
        (np.datetime64("2020-01-02T03:04:05", "ns"), ["2020-01-02T03:04:05"]),
        (np.datetime64("2020-01-02T03:04:05.123456789"), ["2020-01-02T03:04:05.123456789"]),
        (np.datetime64("12020-01-02"), ["12020-01-02"]),
        (np.array(["2020-01-02", "NaT"], "M8[ns]"), ["2020-01-02T00:00:00"]),
        (np.array("2020-01-02", "M8[D]"), ["2020-01-02"]),
        (np.timedelta64(90_000_000_000, "ns"), ["1 minute 30 seconds"]),
        (np.timedelta64(-1, "D").astype("m8[ns]"), ["-1 day"]),
        (np.timedelta64(14, "M"), ["1 year 2 months"]),
        (np.timedelta64(3), ["3"]),
        (timedelta(seconds=-90), ["-1 minute -30 seconds"]),
        (Decimal("1.50"), ["1.50"]),
    ],
)
def test_numbers_and_times_of_every_kind(value: Any, texts: list[str]) -> None:
    assert [fact.value for fact in as_store(with_value(value))] == texts


def with_value(value: Any) -> nx.DiGraph:
    graph = nx.DiGraph()
    graph.add_node("Ann", value=value)
    return graph


@pytest.mark.parametrize(
    "value",
    [
        *(None, " ", b"ab", bytearray(b"ab"), memoryview(b"ab"), np.bytes_(b"ab")),
        *(float("nan"), float("-inf"), Decimal("NaN"), Decimal("sNaN"), Decimal("Infinity")),
        *(np.float32("nan"), np.datetime64("NaT"), np.timedelta64("NaT", "ns")),
        *((i for i in range(2)), len, lambda: 1, "a".join, Money, object(), iter([])),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_says_nothing_is_no_fact(value: Any) -> None:
    assert len(as_store(with_value(value))) == 0
    assert len(as_store(with_value([value]))) == 0


def test_what_is_no_text_is_named() -> None:
    graph = with_value("x\x00y")
    with pytest.raises(FactError, match=r"The property 'value' of 'Ann'.*Remove it first"):
        as_store(graph)


def test_only_an_attribute_called_name_names() -> None:
    graph = nx.DiGraph()
    graph.add_node("Ann")
    graph.nodes["Ann"][None] = "nobody"
    with as_store(graph) as store:
        assert facts(store) == {("Ann", "None", "nobody")}


def test_vectors_are_no_facts() -> None:
    graph = nx.DiGraph()
    graph.add_node("Ann", embedding=[0.1, 0.2], text_vector=(1.0,), x=[0.5] * 32, at=[48.4, 9.9])
    with as_store(graph) as store:
        assert facts(store) == {("Ann", "at", "48.4"), ("Ann", "at", "9.9")}


def test_a_changed_graph_is_picked_up() -> None:
    graph = nx.path_graph(["a", "b", "c"], create_using=nx.DiGraph)
    with as_store(graph) as store:
        assert facts(store) == {(one, "related to", two) for one, two in pairwise("abc")}
        assert not store.refresh()
        graph.edges["a", "b"]["relation"] = "before"
        assert store.refresh() == SyncReport(added=1, removed=1)


def test_a_change_is_picked_up_wherever_it_is() -> None:
    graph = nx.DiGraph()
    price = Money(1)
    graph.add_node("Ann", codes=np.array([f"x{i}" for i in range(2000)]), price=price)
    graph.add_edge("Ann", "Bo", relation="owes", terms={"sum": [price]})
    with as_store(graph) as store:
        assert not store.refresh()
        graph.nodes["Ann"]["codes"][1000] = "changed"
        assert store.refresh() == SyncReport(added=1, removed=1)
        price.amount = 2
        assert store.refresh() == SyncReport(added=2, removed=2)
        # Only of a text is it the name.
        graph.nodes["Bo"]["name"] = 1.5
        assert store.refresh() == SyncReport(added=1)
        graph.nodes["Bo"]["name"] = "1.5"
        assert store.refresh() == SyncReport(added=2, removed=3)


def test_numbers_that_python_takes_for_alike_are_changes() -> None:
    graph = nx.DiGraph()
    graph.add_node("Ann", level=-1)
    graph.add_edge("Ann", -1)
    with as_store(graph) as store:
        graph.nodes["Ann"]["level"] = -2  # has the hash of -1
        assert store.refresh() == SyncReport(added=1, removed=1)
        graph.remove_node(-1)
        graph.add_edge("Ann", -2)
        assert store.refresh() == SyncReport(added=1, removed=1)


def test_an_attribute_that_holds_itself_is_named() -> None:
    graph = nx.DiGraph()
    graph.add_node("Ann", friends=["Bo"])
    graph.nodes["Ann"]["friends"].append(graph.nodes["Ann"])
    with pytest.raises(FactError, match=r"'friends' holds lists or mappings.*may hold itself"):
        as_store(graph)


def test_langchains_entity_graph_is_unwrapped() -> None:
    class NetworkxEntityGraph:
        """What LangChain's class of this name keeps and does."""

        def __init__(self) -> None:
            self._graph = nx.DiGraph()

        def get_triples(self) -> list[tuple[str, str, str]]:
            return [(one, two, own["relation"]) for one, two, own in self._graph.edges(data=True)]

    graph = NetworkxEntityGraph()
    graph._graph.add_edge("Ann", "Acme", relation="works at")
    with as_store(graph) as store:
        assert facts(store) == {("Ann", "works at", "Acme")}
        graph._graph.add_edge("Ann", "Ulm", relation="lives in")
        assert store.refresh() == SyncReport(added=1)
