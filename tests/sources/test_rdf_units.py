"""Measures, flags and statements about statements, whichever package read them."""

from __future__ import annotations

import pytest
from rdflib import Graph

from kblam.errors import SourceError
from kblam_integrations.sources import RdfSource

PREFIXES = """
@prefix ex: <http://example.org/> .
@prefix rdf: <http://www.w3.org/1999/02/22-rdf-syntax-ns#> .
@prefix rdfs: <http://www.w3.org/2000/01/rdf-schema#> .
@prefix schema: <https://schema.org/> .
@prefix qudt: <http://qudt.org/schema/qudt/> .
@prefix unit: <http://qudt.org/vocab/unit/> .
@prefix om: <http://www.ontology-of-units-of-measure.org/resource/om-2/> .
@prefix dbd: <http://dbpedia.org/datatype/> .
@prefix cdt: <https://w3id.org/cdt/> .
@prefix xsd: <http://www.w3.org/2001/XMLSchema#> .
"""


def read(text: str) -> set[tuple[str, str, str]]:
    graph = Graph().parse(data=PREFIXES + text, format="turtle")
    return {(fact.entity, fact.property, fact.value) for fact in RdfSource(graph).triples()}


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ('"42 kg"^^cdt:ucum', "42 kg"),
        ('"06.80"^^dbd:kilogram', "06.80 kilogram"),
        ('"3"^^dbd:squareKilometre', "3 square kilometre"),
        ('"42"^^unit:KiloGM', "42 kg"),
        ('"heavy"^^unit:KiloGM', "heavy"),
        ("[ qudt:numericValue 42 ; qudt:unit unit:KiloGM ]", "42 kg"),
        ("[ a qudt:QuantityValue ; qudt:value 80 ; qudt:hasUnit unit:KiloM-PER-HR ]", "80 km/h"),
        ("[ qudt:numericValue 9.8 ; qudt:unit unit:M-PER-SEC2 ]", "9.8 m/s²"),
        ("[ qudt:numericValue 7 ; qudt:unit unit:SLUG ]", "7 SLUG"),
        ("[ qudt:numericValue 7 ; qudt:unit ex:furlong ]", "7 fur"),
        ("[ qudt:numericValue 7 ; qudt:unit ex:fathom ]", "7 fathoms"),
        ("[ a schema:QuantitativeValue ; schema:value 5 ; schema:unitCode 'KGM' ]", "5 kg"),
        ("[ schema:value 5 ; schema:unitCode 'KGM' ; schema:unitText 'kilos' ]", "5 kilos"),
        ("[ schema:minValue 5 ; schema:maxValue 10 ; schema:unitText 'cm' ]", "5 to 10 cm"),
        ("[ schema:value 100 ; schema:currency 'EUR' ]", "100 EUR"),
        ("[ om:hasNumericalValue 3 ; om:hasUnit om:metre ]", "3 metre"),
        ("ex:weighing1", "12 kg"),
        ('"1"^^xsd:boolean', "true"),
        ('"1968-05"^^xsd:gYearMonth', "1968-05"),
    ],
)
def test_an_amount_has_its_unit(value: str, text: str) -> None:
    units = """
    ex:furlong qudt:symbol "fur" . ex:fathom rdfs:label "fathoms" .
    ex:weighing1 qudt:numericValue 12 ; qudt:unit unit:KiloGM .
    """
    found = read(f"{units} ex:a ex:size {value} .")
    assert {fact for fact in found if fact[0] == "a"} == {("a", "size", text)}
    assert not any("weighing" in fact[0] for fact in found)


def test_what_else_is_known_of_a_measure_is_told() -> None:
    text = """
    ex:a ex:mass [ qudt:numericValue 42 ; qudt:unit unit:KiloGM ;
                   qudt:standardUncertainty 0.1 ; ex:by [ ex:model "S-3" ] ] .
    """
    assert read(text) == {
        ("a", "mass", "42 kg"),
        ("a", "mass standard uncertainty", "0.1"),
        ("a", "mass by model", "S-3"),
    }


def test_a_node_that_is_no_measure_is_told_in_full() -> None:
    text = """
    ex:a ex:post [ ex:value "high" ; ex:unit ex:Sales ] .
    ex:b ex:range [ ex:value 1, 2 ; ex:unit "cm" ] .
    ex:Scale rdfs:label "the scale" ; ex:value 3 ; ex:unit "kg" .
    """
    assert read(text) == {
        ("a", "post value", "high"),
        ("a", "post unit", "Sales"),
        ("b", "range value", "1"),
        ("b", "range value", "2"),
        ("b", "range unit", "cm"),
        ("the scale", "value", "3"),
        ("the scale", "unit", "kg"),
    }


def test_a_statement_about_a_statement() -> None:
    text = """
    ex:Ann rdfs:label "Ann Lee" ; ex:worksAt ex:Acme .
    [] a rdf:Statement ; rdf:subject ex:Ann ; rdf:predicate ex:worksAt ; rdf:object ex:Acme ;
       ex:since "2010"^^xsd:gYear .
    """
    assert read(text) == {
        ("Ann Lee", "works at", "Acme"),
        ("Ann Lee works at Acme", "since", "2010"),
    }


def test_nothing_is_called_by_the_label_of_a_blank_node() -> None:
    text = """
    ex:a ex:mass [ qudt:numericValue 42 ; qudt:unit [ ex:code "kg" ] ] ;
         ex:height [ qudt:numericValue 7 ; qudt:unit [ rdfs:label "cm" ] ] ;
         ex:claim [ rdf:subject ex:a ; rdf:predicate [ ex:q 1 ] ; rdf:object ex:b ] .
    """
    assert read(text) == {
        ("a", "mass numeric value", "42"),
        ("a", "mass unit code", "kg"),
        ("a", "height", "7 cm"),
        ("a", "claim subject", "a"),
        ("a", "claim predicate q", "1"),
        ("a", "claim object", "b"),
    }


def test_two_of_what_there_should_be_one_are_settled_in_any_order() -> None:
    lines = [
        "ex:a ex:mass _:m . _:m qudt:numericValue 42 .",
        "_:m qudt:unit unit:KiloGM .",
        "_:m qudt:unit unit:LB .",
        "ex:a ex:crew _:l . _:l rdf:rest rdf:nil .",
        '_:l rdf:first "Ann" .',
        '_:l rdf:first "Bo" .',
    ]
    assert read("\n".join(lines)) == read("\n".join(reversed(lines)))
    assert read("\n".join(lines)) == {("a", "mass", "42 kg"), ("a", "crew", "Ann")}


def test_a_statement_about_itself_ends() -> None:
    text = """
    _:x rdf:subject _:x ; rdf:predicate ex:p ; rdf:object ex:a ; ex:q 1 .
    ex:b ex:r _:x .
    """
    assert ("b", "r q", "1") in read(text)


def test_blank_nodes_without_end() -> None:
    chain = "".join(f"_:n{i} ex:p _:n{i + 1} ; ex:v {i} .\n" for i in range(3000))
    found = read(f"ex:a ex:p _:n0 .\n{chain}")
    assert ("a", "p v", "0") in found
    assert 20 <= len(found) <= 30
    lattice = "".join(
        f"_:n{i} ex:p{j} _:n{i + 1} ; ex:v {i} .\n" for i in range(20) for j in range(4)
    )
    with pytest.raises(SourceError, match="blank nodes hang on each other"):
        read(f"ex:a ex:p _:n0 .\n{lattice}")
