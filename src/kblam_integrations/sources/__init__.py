"""Sources of facts: one module per kind of store, and ``as_store`` for all of them.

What a source reads is imported when its name is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from kblam.errors import require
from kblam_integrations.sources._stores import as_store
from kblam_integrations.sources.graph_documents import GraphDocumentSource
from kblam_integrations.sources.property_graph import PropertyGraphSource
from kblam_integrations.sources.simple_graph import SimpleGraphSource
from kblam_integrations.sources.simple_property_graph import SimplePropertyGraphSource

if TYPE_CHECKING:
    from kblam_integrations.sources.cypher import CypherSource
    from kblam_integrations.sources.ladybug import LadybugSource
    from kblam_integrations.sources.networkx import NetworkxSource
    from kblam_integrations.sources.oxigraph import OxigraphSource
    from kblam_integrations.sources.rdf import RdfFileSource, RdfSource
    from kblam_integrations.sources.sparql import SparqlSource
    from kblam_integrations.sources.sql import SqlSource

__all__ = [
    "CypherSource",
    "GraphDocumentSource",
    "LadybugSource",
    "NetworkxSource",
    "OxigraphSource",
    "PropertyGraphSource",
    "RdfFileSource",
    "RdfSource",
    "SimpleGraphSource",
    "SimplePropertyGraphSource",
    "SparqlSource",
    "SqlSource",
    "as_store",
]

# Imported when first used: the name, its module, the package that it needs and its extra.
_LAZY = {
    "CypherSource": ("cypher", "neo4j", "neo4j"),
    "LadybugSource": ("ladybug", "ladybug", "ladybug"),
    "NetworkxSource": ("networkx", "networkx", "networkx"),
    "OxigraphSource": ("oxigraph", "pyoxigraph", "oxigraph"),
    "RdfFileSource": ("rdf", "rdflib", "rdf"),
    "RdfSource": ("rdf", "rdflib", "rdf"),
    "SparqlSource": ("sparql", "pyoxigraph", "sparql"),
    "SqlSource": ("sql", "sqlalchemy", "sql"),
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, package, extra = _LAZY[name]
    require(package, extra=extra)
    return getattr(import_module(f"{__name__}.{module}"), name)
