"""RDF as every reader of it hands it over: terms of plain Python, whichever package parsed them."""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

__all__ = [
    "OWL",
    "RDF",
    "RDFS",
    "SKOS",
    "XSD",
    "Literal",
    "Quad",
    "Statement",
    "Term",
    "is_blank",
    "least",
]

OWL = "http://www.w3.org/2002/07/owl#"
RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
RDFS = "http://www.w3.org/2000/01/rdf-schema#"
SKOS = "http://www.w3.org/2004/02/skos/core#"
XSD = "http://www.w3.org/2001/XMLSchema#"


class Literal(NamedTuple):
    """A literal as it is written.

    Attributes:
        text: Its lexical form.
        language: Its language tag, None without one.
        datatype: The IRI of its datatype, None for plain text.
    """

    text: str
    language: str | None = None
    datatype: str | None = None


class Statement(NamedTuple):
    """A triple that others speak of (a triple term of RDF 1.2)."""

    subject: str
    predicate: str
    value: Term


# A node is the text of its IRI, or "_:" and the label of a blank node: no IRI begins so.
Term: TypeAlias = "str | Literal | Statement"
# Subject, predicate, object, and the name of the graph where it has one.
Quad: TypeAlias = "tuple[str, str, Term, str | None]"


def is_blank(term: Term) -> bool:
    """Tell whether a term is a blank node."""
    return isinstance(term, str) and term.startswith("_:")


def least(term: Term, other: Term | None) -> Term:
    """Return one of two where there should be one, and the same whatever their order."""
    return term if other is None else min(term, other, key=repr)
