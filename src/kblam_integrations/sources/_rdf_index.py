"""The names of RDF terms, and the statements that remain when the names are taken."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from kblam.knowledge import term_words, value_words, verbalise
from kblam_integrations.sources._quantities import Quantity, quantity, role
from kblam_integrations.sources._rdf_terms import (
    RDF,
    RDFS,
    SKOS,
    XSD,
    Literal,
    Quad,
    Statement,
    Term,
    is_blank,
    least,
)
from kblam_integrations.sources._units import UNIT_NAMESPACES, is_number, unit_name

__all__ = ["Index"]

# In this order where there are several.
_LABELS = {
    f"{RDFS}label": 0,
    f"{SKOS}prefLabel": 1,
    "https://schema.org/name": 2,
    "http://schema.org/name": 3,
}
_SYMBOLS = frozenset(
    {
        "http://qudt.org/schema/qudt/symbol",
        "http://www.ontology-of-units-of-measure.org/resource/om-2/symbol",
    }
)
_FIRST, _REST, _NIL = f"{RDF}first", f"{RDF}rest", f"{RDF}nil"
_REIFIES = f"{RDF}reifies"
_REIFIED = (f"{RDF}subject", f"{RDF}predicate", f"{RDF}object")
_SPOKEN_OF = frozenset({f"{RDF}type", _REIFIES, *_REIFIED})
_FLOATS = frozenset({f"{XSD}double", f"{XSD}float"})
_NO_NUMBERS = frozenset({"nan", "inf"})  # without sign, as rdflib and others write them
_BOOLEANS = {"1": "true", "0": "false"}
# Statements about statements about statements: deeper ones have no readable name.
_DEEPEST = 4


class Index:
    """The statements of a graph by subject, in the graph's order.

    Args:
        quads: Statements; the same in several graphs, or several times, counts once.
        languages: The preferred languages, the best first.
    """

    def __init__(self, quads: Iterable[Quad], languages: tuple[str, ...]) -> None:
        self._languages = languages
        self._said: dict[str, list[tuple[str, Term, str | None]]] = {}
        # What of it is asked for again and again: subjects and objects by predicate.
        self._labels: dict[str, list[tuple[int, Literal]]] = {}
        self._symbols: dict[str, str] = {}
        self._cells: dict[str, dict[str, Term]] = {_FIRST: {}, _REST: {}}
        self._reifiers: set[str] = set()
        self._measured: set[str] = set()
        special: dict[str, bool] = {}
        for subject, predicate, value, graph in quads:
            self._said.setdefault(subject, []).append((predicate, value, graph))
            if predicate not in special:
                special[predicate] = _is_special(predicate)
            if special[predicate]:
                self._note(subject, predicate, value)
        self._label: dict[str, str] = {}
        self._quantities: dict[str, Quantity | None] = {}

    def __len__(self) -> int:
        return sum(map(len, self._said.values()))

    def subjects(self) -> Iterator[str]:
        """Yield what has a name of its own: the rest is told of what it hangs on."""
        for node in self._said:
            if self._quantity(node) is None and self.name(node):
                yield node

    def is_measure(self, node: str) -> bool:
        """Tell whether a node stands for an amount of some unit."""
        return self._quantity(node) is not None

    def label(self, node: str) -> str:
        """Return the best label that the graph gives a node, "" without one."""
        if node not in self._labels:
            return ""
        if node not in self._label:
            # Equal ranks are settled by the alphabet, so that the choice is no accident.
            self._label[node] = min(
                (self._rank(literal), kind, literal.text.strip())
                for kind, literal in self._labels[node]
            )[2]
        return self._label[node]

    def name(self, node: str) -> str:
        """Return what to call a node, "" for a blank one of which nothing gives a name."""
        name = self.label(node) or self._reified(node, 0)
        return name or ("" if is_blank(node) else term_words(node))

    def predicate(self, node: str) -> str:
        """Return the words of a predicate."""
        return self.label(node) or verbalise(node)

    def value(self, predicate: str, value: Term, depth: int = 0) -> str:
        """Return the object of a statement as text, "" for a blank node without a name.

        Args:
            predicate: Some say that an IRI is meant as an address.
            value: The object.
            depth: How many statements speak of this one.
        """
        if isinstance(value, Literal):
            return self._literal(value)
        if isinstance(value, Statement):
            return self._statement(value, depth)
        measure = self._quantity(value)
        if measure is not None:
            unit = measure.unit
            unit = unit.text if isinstance(unit, Literal) else self._unit(unit)
            return f"{measure.amount} {unit}".strip()
        name = self.label(value) or self._reified(value, depth)
        return name or ("" if is_blank(value) else value_words(predicate, value))

    def statements(self, node: str) -> Iterator[tuple[str, Term, list[str]]]:
        """Yield predicate, object and graphs of what is said of a node, its name apart."""
        graphs: dict[tuple[str, Term], list[str]] = {}
        readable: set[str] = set()
        for predicate, value, graph in self._said.get(node, ()):
            found = graphs.setdefault((predicate, value), [])
            if graph is not None and graph not in found:
                found.append(graph)
            if isinstance(value, Literal) and not self._is_foreign(value):
                readable.add(predicate)
        told = self._told_by_name(node)
        for (predicate, value), found in graphs.items():
            if predicate in told:
                continue
            if isinstance(value, Literal):
                is_name = predicate in _LABELS
                if (is_name or predicate in readable) and self._is_foreign(value):
                    continue
                if is_name and value.text.strip() == self.label(node):
                    continue
            yield predicate, value, found

    def items(self, value: Term) -> Iterator[Term]:
        """Yield the items of an RDF list and of lists in it, or the term itself if it is none."""
        first, rest = self._cells[_FIRST], self._cells[_REST]
        if not isinstance(value, str) or (value != _NIL and value not in first):
            yield value
            return
        seen = {_NIL}  # a malformed list may lead back into itself
        left: list[Term] = [value]
        while left:
            term = left.pop()
            if not isinstance(term, str) or not (term in first or term in rest or term == _NIL):
                yield term
            elif term not in seen:
                seen.add(term)
                tail = rest.get(term)
                if isinstance(tail, str) and (tail in first or tail in rest):
                    left.append(tail)
                if term in first:
                    left.append(first[term])

    def _note(self, node: str, predicate: str, value: Term) -> None:
        """Remember a statement beside the others."""
        if predicate in self._cells:
            cells = self._cells[predicate]
            cells[node] = least(value, cells.get(node))
        elif predicate == _REIFIES or predicate in _REIFIED:
            self._reifiers.add(node)
        elif not isinstance(value, Literal):
            self._measured.add(node)
        elif predicate in _LABELS and value.text.strip():
            self._labels.setdefault(node, []).append((_LABELS[predicate], value))
        elif predicate in _SYMBOLS and value.text.strip():
            text = value.text.strip()
            self._symbols[node] = min(text, self._symbols.get(node, text))
        else:
            self._measured.add(node)

    def _told_by_name(self, node: str) -> frozenset[str]:
        """Return the predicates of a node that its name says already."""
        measure = self._quantity(node)
        if measure is not None:
            return measure.predicates
        return _SPOKEN_OF if self._reified(node, 0) else frozenset()

    def _literal(self, literal: Literal) -> str:
        text, datatype = literal.text.strip(), literal.datatype
        if datatype is None or not text:
            return text
        if datatype in _FLOATS and text.lstrip("+-").casefold() in _NO_NUMBERS:
            return ""
        if datatype == f"{XSD}boolean":
            return _BOOLEANS.get(text, text)
        is_unit = datatype in self._symbols or datatype.startswith(UNIT_NAMESPACES)
        if is_unit and is_number(text):
            return f"{text} {self._unit(datatype)}".strip()
        return text

    def _unit(self, node: str) -> str:
        return self._symbols.get(node) or self.label(node) or unit_name(node)

    def _quantity(self, node: str) -> Quantity | None:
        """Return the measure that a node without a label stands for."""
        if node not in self._measured or node in self._labels:
            return None
        if node not in self._quantities:
            self._quantities[node] = quantity(
                [
                    (predicate, value)
                    for predicate, value, _ in self._said[node]
                    # A unit without a name is told in full, and the amount with it.
                    if not is_blank(value) or value in self._symbols or value in self._labels
                ]
            )
        return self._quantities[node]

    def _reified(self, node: str, depth: int) -> str:
        """Return in words the statement that a node stands for, "" if it stands for none."""
        if node not in self._reifiers or depth > _DEEPEST:
            return ""
        parts: dict[str, Term] = {}
        for name, term, _ in self._said[node]:
            if name in _SPOKEN_OF:
                parts[name] = least(term, parts.get(name))
        spoken_of = parts.get(_REIFIES)
        if isinstance(spoken_of, Statement):
            return self._statement(spoken_of, depth + 1)
        subject, predicate, value = (parts.get(part) for part in _REIFIED)
        if not isinstance(subject, str) or not isinstance(predicate, str) or value is None:
            return ""
        if is_blank(predicate):
            return ""
        return self._statement(Statement(subject, predicate, value), depth + 1)

    def _statement(self, statement: Statement, depth: int) -> str:
        """Return a statement in words, "" where a part of it has no name."""
        if depth > _DEEPEST:
            return ""
        subject = self.value("", statement.subject, depth + 1)
        value = self.value(statement.predicate, statement.value, depth + 1)
        if not subject or not value:
            return ""
        return f"{subject} {self.predicate(statement.predicate)} {value}"

    def _rank(self, literal: Literal) -> int:
        """Order literals by language: the preferred ones, none, any other."""
        if literal.language is None:
            return len(self._languages)
        language = literal.language.split("-")[0].lower()
        if language in self._languages:
            return self._languages.index(language)
        return len(self._languages) + 1

    def _is_foreign(self, literal: Literal) -> bool:
        return literal.language is not None and self._rank(literal) > len(self._languages)


def _is_special(predicate: str) -> bool:
    """Tell whether statements with a predicate name something or give it a form."""
    return (
        predicate in _LABELS
        or predicate in _SYMBOLS
        or predicate in (_FIRST, _REST, _REIFIES, *_REIFIED)
        or isinstance(role(predicate), int)
    )
