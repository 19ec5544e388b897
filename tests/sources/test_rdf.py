"""rdflib graphs, datasets and files of RDF as facts."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from rdflib import RDFS, BNode, ConjunctiveGraph, Dataset, Graph, Literal, Namespace, URIRef
from rdflib.namespace import FOAF

from kblam.errors import FactError, SourceError, StoreError
from kblam.knowledge import SyncReport, VersionedSource
from kblam_integrations.sources import RdfFileSource, RdfSource, as_store

EX = Namespace("http://example.org/")
PREFIXES = """
@prefix ex: <http://example.org/> .
@prefix rdf: <http://www.w3.org/1999/02/22-rdf-syntax-ns#> .
@prefix rdfs: <http://www.w3.org/2000/01/rdf-schema#> .
@prefix skos: <http://www.w3.org/2004/02/skos/core#> .
@prefix schema: <https://schema.org/> .
@prefix foaf: <http://xmlns.com/foaf/0.1/> .
@prefix xsd: <http://www.w3.org/2001/XMLSchema#> .
"""


def read(text: str, **options: object) -> set[tuple[str, str, str]]:
    graph = Graph().parse(data=PREFIXES + text, format="turtle")
    return {
        (triple.entity, triple.property, triple.value)
        for triple in RdfSource(graph, **options).triples()
    }


def test_names_without_labels_come_from_iris() -> None:
    assert read("ex:Monell_Center ex:foundedIn 1968 ; rdf:type ex:ResearchInstitute .") == {
        ("Monell Center", "founded in", "1968"),
        ("Monell Center", "type", "Research Institute"),
    }


@pytest.mark.parametrize("label", ["rdfs:label", "skos:prefLabel", "schema:name"])
def test_labels_name_subjects_predicates_and_objects(label: str) -> None:
    text = f"""
    ex:m {label} "Monell Center" ; ex:p9 ex:a .
    ex:a {label} "Ann Lee" .
    ex:p9 {label} "director" .
    """
    assert read(text) == {("Monell Center", "director", "Ann Lee")}


def test_the_preferred_language_names() -> None:
    text = """
    ex:de rdfs:label "Allemagne"@fr, "Germany"@en-GB, "Deutschland"@de ; ex:size 357 .
    ex:fr rdfs:label "Frankreich"@de ; skos:prefLabel "France"@en ; ex:size 551 .
    ex:it rdfs:label "Italia"@it ; ex:size 301 .
    """
    assert read(text) == {
        ("Germany", "size", "357"),
        ("France", "size", "551"),
        ("Italia", "size", "301"),
    }
    assert ("Deutschland", "size", "357") in read(text, languages=("de", "en"))


def test_a_second_name_is_a_fact() -> None:
    text = 'ex:bob rdfs:label "Bob" ; schema:name "Robert Smith", "Robert Forgeron"@fr .'
    assert read(text) == {("Bob", "name", "Robert Smith")}


def test_literals_keep_their_form_and_language() -> None:
    text = """
    ex:a ex:mass "06.80"^^ex:kilo ; ex:born "1968-05-03"^^xsd:date ; ex:open true ;
         ex:motto "go"@en, "allez"@fr ; ex:song "la la"@fr ; ex:empty "" .
    """
    assert read(text) == {
        ("a", "mass", "06.80"),
        ("a", "born", "1968-05-03"),
        ("a", "open", "true"),
        ("a", "motto", "go"),
        ("a", "song", "la la"),
    }


def test_a_web_address_stays_one() -> None:
    assert read("ex:Acme foaf:homepage <https://acme.example/AboutUs> .") == {
        ("Acme", "homepage", "https://acme.example/AboutUs")
    }


def test_blank_nodes_are_told_of_what_they_hang_on() -> None:
    text = """
    ex:Acme ex:address [ ex:city "Ulm" ; ex:geo [ ex:lat 48.4 ] ] ; ex:seat _:hall .
    _:hall rdfs:label "Main Hall" ; ex:seats 200 .
    [] ex:colour "red" .
    """
    assert read(text) == {
        ("Acme", "address city", "Ulm"),
        ("Acme", "address geo lat", "48.4"),
        ("Acme", "seat", "Main Hall"),
        ("Main Hall", "seats", "200"),
    }


def test_blank_nodes_in_a_circle_end() -> None:
    text = "ex:a ex:p _:x . _:x ex:q _:y ; ex:v 1 . _:y ex:r _:x ; ex:w 2 ."
    assert read(text) == {("a", "p v", "1"), ("a", "p q w", "2")}


def test_lists_are_values_one_by_one() -> None:
    text = 'ex:a ex:members ( "Ann" ex:Bob [ ex:name "Cid" ] ) ; ex:none () .'
    assert read(text) == {
        ("a", "members", "Ann"),
        ("a", "members", "Bob"),
        ("a", "members name", "Cid"),
    }


def test_a_list_that_bites_its_tail_ends() -> None:
    text = 'ex:a ex:members _:l . _:l rdf:first "Ann" ; rdf:rest _:l .'
    assert ("a", "members", "Ann") in read(text)


def test_metadata_says_where_a_fact_stands() -> None:
    graph = Graph().parse(data=PREFIXES + 'ex:a ex:b ex:c ; ex:d "e" .', format="turtle")
    facts = {triple.value: triple.metadata for triple in RdfSource(graph).triples()}
    assert facts == {
        "c": {"subject": f"{EX}a", "predicate": f"{EX}b", "object": f"{EX}c"},
        "e": {"subject": f"{EX}a", "predicate": f"{EX}d"},
    }


def test_named_graphs_can_be_viewed() -> None:
    dataset = Dataset()
    dataset.graph(EX.red).add((EX.Ann, EX.salary, Literal(70)))
    dataset.graph(EX.blue).add((EX.Ann, EX.salary, Literal(70)))
    dataset.graph(EX.blue).add((EX.Bo, EX.salary, Literal(50)))
    dataset.default_graph.add((EX.Cid, EX.salary, Literal(40)))
    with as_store(dataset) as store:
        assert len(store) == 3
        red = store.view(graph=str(EX.red))
        blue = store.view(graph=str(EX.blue))
        assert [fact.entity for fact in store.facts(red)] == ["Ann"]
        assert sorted(fact.entity for fact in store.facts(blue)) == ["Ann", "Bo"]


@pytest.mark.filterwarnings("ignore:ConjunctiveGraph is deprecated")
def test_the_ancestor_of_datasets_is_read_too() -> None:
    graph = ConjunctiveGraph()
    graph.add((EX.Cid, EX.salary, Literal(40)))
    graph.get_context(EX.red).add((EX.Ann, EX.salary, Literal(70)))
    with as_store(graph) as store:
        assert {fact.entity: fact.metadata.get("graph") for fact in store} == {
            "Cid": None,
            "Ann": [str(EX.red)],
        }


def test_a_changed_graph_is_picked_up() -> None:
    graph = Graph()
    graph.add((EX.Aurora, EX.launchCode, Literal("QX-7719")))
    graph.add((EX.Aurora, EX.lead, EX.Mirela_Osei))
    before = set(graph)
    with as_store(graph) as store:
        assert isinstance(store.source, VersionedSource)
        assert not store.refresh()
        assert set(graph) == before  # reading added nothing
        graph.set((EX.Aurora, EX.launchCode, Literal("ZT-0042")))  # as many triples as before
        assert store.refresh() == SyncReport(added=1, removed=1)
        graph.add((EX.Mirela_Osei, RDFS.label, Literal("Dr Osei")))
        assert store.refresh() == SyncReport(added=1, removed=1)
        assert {fact.value for fact in store} == {"ZT-0042", "Dr Osei"}
        graph.remove((None, None, None))
        assert store.refresh().removed == 2


def test_a_change_of_what_two_graphs_state_is_picked_up() -> None:
    dataset = Dataset()
    named = dataset.graph(BNode())
    for graph in (dataset.default_graph, named):
        graph.add((EX.Aurora, EX.launchCode, Literal("QX-7719")))
    with as_store(dataset) as store:
        for graph in (dataset.default_graph, named):
            graph.set((EX.Aurora, EX.launchCode, Literal("ZT-0042")))
        assert store.refresh() == SyncReport(added=1, removed=1)


def test_a_graph_can_be_read_once_and_for_all() -> None:
    graph = Graph()
    graph.add((EX.Aurora, EX.launchCode, Literal("QX-7719")))
    with as_store(graph, follow=False) as store:
        graph.remove((None, None, None))
        assert not store.refresh()
        assert len(store) == 1


@pytest.mark.parametrize(
    ("suffix", "kind"),
    [(".ttl", "turtle"), (".nt", "nt"), (".rdf", "xml"), (".jsonld", "json-ld"), (".n3", "n3")],
)
def test_files_of_rdf(tmp_path: Path, suffix: str, kind: str) -> None:
    graph = Graph()
    graph.add((EX.Aurora, EX.launchCode, Literal("QX-7719")))
    graph.add((EX.Aurora, FOAF.homepage, URIRef("https://example.org/Aurora")))
    path = tmp_path / f"graph{suffix}"
    graph.serialize(path, format=kind, encoding="utf-8")
    with as_store(path) as store:
        assert sorted((fact.property, fact.value) for fact in store) == [
            ("homepage", "https://example.org/Aurora"),
            ("launch code", "QX-7719"),
        ]


@pytest.mark.parametrize(
    ("suffix", "text"),
    [
        (".trig", "@prefix ex: <http://example.org/> . ex:red { ex:Ann ex:salary 70 }"),
        (
            ".nq",
            '<http://example.org/Ann> <http://example.org/salary> "70" <http://example.org/red> .',
        ),
    ],
)
def test_files_of_datasets(tmp_path: Path, suffix: str, text: str) -> None:
    path = tmp_path / f"graph{suffix}"
    path.write_text(text)
    with as_store(str(path)) as store:
        assert [fact.metadata["graph"] for fact in store] == [[str(EX.red)]]


def test_a_changed_file_is_picked_up(tmp_path: Path) -> None:
    path = tmp_path / "graph.ttl"
    path.write_text(PREFIXES + 'ex:Aurora ex:launchCode "QX-7719" .')
    with as_store(path) as store:
        path.write_text(PREFIXES + 'ex:Aurora ex:launchCode "ZT-0042", "new" .')
        assert store.refresh() == SyncReport(added=2, removed=1)


def test_a_change_of_equal_size_and_time_is_seen(tmp_path: Path) -> None:
    path = tmp_path / "graph.ttl"
    path.write_text(PREFIXES + 'ex:Aurora ex:launchCode "QX-7719" .')
    before = path.stat()
    with as_store(path) as store:
        path.write_text(PREFIXES + 'ex:Aurora ex:launchCode "ZT-0042" .')
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        assert store.refresh() == SyncReport(added=1, removed=1)


def test_a_broken_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "graph.ttl"
    path.write_text("this is no turtle")
    with pytest.raises(StoreError, match=r"graph\.ttl could not be read as RDF"):
        as_store(path)
    with pytest.raises(StoreError, match=r"There is no file .*none\.ttl"):
        RdfFileSource(tmp_path / "none.ttl")


ELSEWHERE = "file:///etc/context.json"


@pytest.mark.parametrize(
    "context",
    [
        ELSEWHERE,
        [{"p": "http://example.org/p"}, ELSEWHERE],
        [[ELSEWHERE]],
        {"@import": ELSEWHERE},
        {"p": {"@id": "http://example.org/p", "@context": ELSEWHERE}},
        {"p": {"@id": "http://example.org/p", "@context": [{"@import": ELSEWHERE}]}},
    ],
)
@pytest.mark.parametrize("nested", [False, True])
def test_a_context_elsewhere_is_not_fetched(tmp_path: Path, context: Any, nested: bool) -> None:
    node: Any = {"@context": context, "@id": "http://example.org/a", "p": {"p": "v"}}
    path = tmp_path / "graph.jsonld"
    path.write_text(json.dumps([{"@graph": [node]}] if nested else node))
    with pytest.raises(SourceError, match=r"its own context, got .*etc/context.json.*rdflib"):
        as_store(path)


def test_a_context_of_its_own_may_be_anywhere(tmp_path: Path) -> None:
    inner = {"@context": {"q": "http://example.org/q"}, "q": "w"}
    path = tmp_path / "graph.jsonld"
    node = {"@context": [None, {"p": "http://example.org/p"}], "@id": "#a", "p": ["v", inner]}
    path.write_text(json.dumps([node]))
    (about,) = {triple.metadata["subject"] for triple in RdfFileSource(path).triples()}
    assert about == f"{path.as_uri()}#a"
    assert {(t.property, t.value) for t in RdfFileSource(path).triples()} == {
        ("p", "v"),
        ("p q", "w"),
    }


XML = """<?xml version="1.0"?><!DOCTYPE r [<!ENTITY ex "http://example.org/">{}]>
<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#" xmlns:ex="http://example.org/">
<rdf:Description rdf:about="&ex;a"><ex:motto>{}</ex:motto></rdf:Description></rdf:RDF>"""


def test_entities_are_read_and_do_not_grow_without_end(tmp_path: Path) -> None:
    path = tmp_path / "graph.rdf"
    path.write_text(XML.format('<!ENTITY go "Go far">', "&go; &go;"))
    with as_store(path) as store:
        assert [fact.value for fact in store] == ["Go far Go far"]
    bomb = '<!ENTITY a0 "lol">' + "".join(
        f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 7)
    )
    path.write_text(XML.format(bomb, "&a6;"))  # 3 MB, at which expat does not mind
    with pytest.raises(SourceError, match=r"at most 100,000 characters of text.*entities grow"):
        as_store(path)


def test_what_is_no_number_is_no_fact() -> None:
    text = 'ex:a ex:x "NaN"^^xsd:double, "INF"^^xsd:float, "-INF"^^xsd:double, 1.5e0, "INF" .'
    assert read(text) == {("a", "x", "1.5"), ("a", "x", "INF")}


def test_lists_in_lists_are_values_one_by_one() -> None:
    assert read('ex:a ex:l ( () ( "x" ( "y" ) ) "z" [ ex:q "w" ] ) .') == {
        *(("a", "l", "x"), ("a", "l", "y"), ("a", "l", "z"), ("a", "l q", "w")),
    }


def test_what_is_no_text_is_named_and_escaped_it_is_one() -> None:
    assert read('<http://example.org/a%00b> ex:p "v" .') == {("a%00b", "p", "v")}
    statement = r"\(http://example.org/a, http://example.org/p, 'x\\x00y'\).*Remove it first"
    with pytest.raises(FactError, match=statement):
        read(r'ex:a ex:p "ok", "x\u0000y" .')
