"""The world of the sources' contract as quads of RDF: entities with labels, words in camelCase."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from decimal import Decimal
from typing import Any

from pyoxigraph import BlankNode, DefaultGraph, Literal, NamedNode, Quad, Triple
from source_world import Relation, World, camel, words

EX = "http://example.org/"
RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
LABEL = NamedNode("http://www.w3.org/2000/01/rdf-schema#label")
_DATATYPES = {bool: "boolean", int: "integer", float: "double", Decimal: "decimal", date: "date"}


def quads(world: World) -> list[Quad]:
    """Return the quads of a world. Relations with properties are spoken of by triple terms."""
    found = [quad(node(name), LABEL, Literal(name)) for name in world.entities]
    for name, properties in world.entities.items():
        for key, values in properties.items():
            found += [quad(node(name), predicate(key), literal(value)) for value in values]
    for number, relation in enumerate(world.relations):
        edge = edge_of(relation)
        found.append(quad(*edge))
        if relation.properties:
            reifier = BlankNode(f"edge{number}")
            found.append(quad(reifier, NamedNode(f"{RDF}reifies"), Triple(*edge)))
            for key, value in relation.properties.items():
                found.append(quad(reifier, predicate(key), literal(value)))
    return found


def normalised(world: World) -> World:
    """Return a world as Oxigraph keeps it: numbers by their value, not as they were written."""
    entities = {name: dict(properties) for name, properties in world.entities.items()}
    entities["Aurora"]["share"] = [Decimal("6.8")]
    return replace(world, entities=entities)


def quad(subject: Any, name: Any, value: Any, graph: Any = None) -> Quad:
    """Return a quad of a named graph or of the default graph."""
    return Quad(subject, name, value, graph or DefaultGraph())


def property_quad(entity: str, key: str, value: Any) -> Quad:
    """Return the quad that gives an entity a value."""
    return quad(node(entity), predicate(key), literal(value))


def edge_of(relation: Relation) -> tuple[NamedNode, NamedNode, NamedNode]:
    """Return subject, predicate and object of a relation."""
    return node(relation.subject), predicate(relation.label), node(relation.target)


def node(name: str) -> NamedNode:
    """Return the IRI of an entity, which says nothing of its name."""
    return NamedNode(f"{EX}e{name.encode().hex()[:60]}")


def predicate(key: str) -> NamedNode:
    """Return the IRI of a property."""
    return NamedNode(f"{EX}terms#{camel(key)}")


def literal(value: Any) -> Literal:
    """Return a value as a literal of its own type."""
    name = _DATATYPES.get(type(value))
    if name is None:
        return Literal(words(value))
    return Literal(words(value), datatype=NamedNode(f"http://www.w3.org/2001/XMLSchema#{name}"))
