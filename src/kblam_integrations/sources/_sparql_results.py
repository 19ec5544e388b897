"""SPARQL's query results in JSON as plain terms."""

from __future__ import annotations

from typing import Any, TypeAlias

from kblam_integrations.sources._rdf_terms import Literal, Statement, Term

__all__ = ["Row", "rows"]

Row: TypeAlias = tuple[Term, ...]

_DEEPEST = 16  # triple terms within triple terms


def rows(results: Any) -> list[Row]:
    """Return the rows of a result, each with the terms of its variables in their order.

    Two rows are equal where the server tells the same of both: a plain literal and one of type
    ``xsd:string`` are two for some servers.

    Raises:
        ValueError: It is no result of a SELECT query, or a row lacks a variable.
    """
    try:
        variables = [str(name) for name in results["head"]["vars"]]
        bindings = results["results"]["bindings"]
    except (KeyError, TypeError) as error:
        raise ValueError("expected head, vars, results and bindings") from error
    if not isinstance(bindings, list):
        raise ValueError(f"expected a list of bindings, got {bindings!r:.60}")
    return [_row(binding, variables) for binding in bindings]


def _row(binding: Any, variables: list[str]) -> Row:
    try:
        return tuple([_term(binding[name], 0) for name in variables])
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"expected {variables}, got {binding!r:.200}") from error


def _term(term: dict[str, Any], depth: int) -> Term:
    kind, value = term["type"], term["value"]
    if kind == "triple":
        return _statement(value, depth)
    if not isinstance(value, str):
        raise TypeError
    if kind in ("uri", "iri"):
        return value
    if kind == "bnode":
        return f"_:{value}"
    # Virtuoso, and drafts of the format, speak of typed literals.
    if kind not in ("literal", "typed-literal"):
        raise TypeError
    language, datatype = term.get("xml:lang"), term.get("datatype")
    if not isinstance(language, (str, type(None))) or not isinstance(datatype, (str, type(None))):
        raise TypeError
    return Literal(value, language or None, datatype if not language else None)


def _statement(parts: dict[str, Any], depth: int) -> Term:
    if depth > _DEEPEST:
        return "_:"
    subject, predicate, value = (
        _term(parts[name], depth + 1) for name in ("subject", "predicate", "object")
    )
    if not isinstance(subject, str) or not isinstance(predicate, str):
        raise TypeError
    return Statement(subject, predicate, value)
