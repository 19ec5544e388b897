"""Graphs that another thread changes while they are read."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator

import pytest
from llama_index.core.graph_stores import EntityNode, SimpleGraphStore, SimplePropertyGraphStore
from llama_index.core.graph_stores.types import Relation
from rdflib import Graph, Literal, URIRef

from kblam.errors import StoreError
from kblam_integrations.sources import as_store
from kblam_integrations.sources._moments import one_moment, undisturbed

GROWN = RuntimeError("dictionary changed size during iteration")


def failing(times: int, error: Exception) -> Callable[[], str]:
    left = iter(range(times))

    def read() -> str:
        for _ in left:
            raise error
        return "read"

    return read


@pytest.mark.parametrize("error", [GROWN, KeyError("gone")])
def test_a_disturbed_reading_is_tried_again(error: Exception) -> None:
    assert undisturbed(failing(3, error)) == "read"


def test_a_graph_that_never_rests_is_a_clear_error() -> None:
    with pytest.raises(StoreError, match=r"changed during each of 8 tries .*changed size") as info:
        undisturbed(failing(1000, GROWN))
    assert info.value.__cause__ is GROWN


def test_other_errors_are_nobodys_change() -> None:
    with pytest.raises(RuntimeError, match="out of memory"):
        undisturbed(failing(1, RuntimeError("out of memory")))


def test_what_changed_meanwhile_is_read_again() -> None:
    content, changes = ["a"], iter(["b", "c"])

    def read() -> Iterator[str]:
        yield from list(content)
        content.extend([next(changes, "")] if len(content) < 3 else [])

    assert one_moment(read, lambda: tuple(content)) == ["a", "b", "c"]


def simple_graph() -> tuple[object, Callable[[int], None], Callable[[int], None]]:
    graph = SimpleGraphStore()
    return (
        graph,
        lambda i: graph.upsert_triplet(f"Station {i}", "opened in", f"{1900 + i}"),
        lambda i: graph._data.graph_dict.pop(f"Station {i}", None),
    )


def property_graph() -> tuple[object, Callable[[int], None], Callable[[int], None]]:
    graph = SimplePropertyGraphStore()
    graph.upsert_nodes([EntityNode(name="Network")])

    def add(i: int) -> None:
        graph.upsert_nodes([EntityNode(name=f"Station {i}", properties={"lines": i})])
        graph.upsert_relations(
            [Relation(label="part of", source_id=f"Station {i}", target_id="Network")]
        )
        graph.graph.nodes[f"Station {i}"].properties[f"note {i}"] = "x"

    return graph, add, lambda i: graph.graph.nodes.pop(f"Station {i}", None)


def rdf_graph() -> tuple[object, Callable[[int], None], Callable[[int], None]]:
    graph, opened = Graph(), URIRef("http://example.org/openedIn")

    def station(i: int) -> URIRef:
        return URIRef(f"http://example.org/Station_{i}")

    return (
        graph,
        lambda i: graph.add((station(i), opened, Literal(str(1900 + i)))),
        lambda i: graph.remove((station(i), None, None)),
    )


@pytest.fixture
def restless() -> Iterator[None]:
    """Threads that take turns all the time."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(usual)


@pytest.mark.usefixtures("restless")
@pytest.mark.parametrize("make", [simple_graph, property_graph, rdf_graph])
def test_a_store_follows_a_graph_that_grows_and_shrinks(make: Callable[[], tuple]) -> None:
    graph, add, remove = make()
    for i in range(20):
        add(i)
    ended = threading.Event()

    def write() -> None:
        i = 20
        while not ended.is_set() and i < 100_000:
            add(i)
            remove(i - 20)
            i += 1

    with as_store(graph) as store:
        writer = threading.Thread(target=write)
        writer.start()
        try:
            for _ in range(5):
                store.refresh()
        finally:
            ended.set()
            writer.join()
        store.refresh()
        assert not store.refresh()
        with as_store(graph) as afterwards:
            assert {fact.statement for fact in store} == {fact.statement for fact in afterwards}


class Touchy:
    """A value that adds to the graph when it is looked at."""

    def __init__(self, graph: SimplePropertyGraphStore) -> None:
        self._graph = graph
        self._looks = 0

    def __repr__(self) -> str:
        self._looks += 1
        if self._looks < 3:
            self._graph.upsert_nodes([EntityNode(name=f"Look {self._looks}")])
        return "touchy"


def test_a_property_graph_changed_in_the_middle_of_a_reading() -> None:
    graph = SimplePropertyGraphStore()
    graph.upsert_nodes([EntityNode(name="Aurora", properties={"mood": Touchy(graph)})])
    graph.upsert_nodes([EntityNode(name="Borealis", properties={"mood": "calm"})])
    with as_store(graph) as store:
        store.refresh()
        assert {fact.value for fact in store} == {"touchy", "calm"}


def test_a_collection_that_grows_while_it_is_read() -> None:
    facts = {i: (f"Station {i}", "opened in", f"{1900 + i}") for i in range(3)}
    with as_store(facts.values()) as store:
        assert len(store) == 3
