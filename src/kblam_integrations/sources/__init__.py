"""Sources of facts: one module per kind of store, and ``as_store`` for all of them.

rdflib is imported when one of its names is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kblam.errors import require
from kblam_integrations.sources._stores import as_store
from kblam_integrations.sources.simple_graph import SimpleGraphSource
from kblam_integrations.sources.simple_property_graph import SimplePropertyGraphSource

if TYPE_CHECKING:
    from kblam_integrations.sources.rdf import RdfFileSource, RdfSource

__all__ = [
    "RdfFileSource",
    "RdfSource",
    "SimpleGraphSource",
    "SimplePropertyGraphSource",
    "as_store",
]


def __getattr__(name: str) -> Any:
    if name not in ("RdfFileSource", "RdfSource"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    require("rdflib", extra="rdf")
    from kblam_integrations.sources import rdf

    return getattr(rdf, name)
