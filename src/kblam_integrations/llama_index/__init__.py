"""kblam for LlamaIndex: a language model and a query engine that read facts in attention.

``KBLaMLLM`` is a LlamaIndex ``LLM``; ``KBLaMQueryEngine`` answers from a graph index or a store
with one call to it, and names the facts it read as ``source_nodes``::

    from kblam_integrations.llama_index import KBLaMQueryEngine

    engine = KBLaMQueryEngine.from_index(index)  # KnowledgeGraphIndex or PropertyGraphIndex
    response = engine.query("Who runs Monell Chemical Senses Center?")
    print(response, response.source_nodes)
"""

from __future__ import annotations

from kblam.errors import require

require("llama_index.core", extra="llama-index")

from kblam_integrations.llama_index.llm import KBLaMLLM  # noqa: E402 (after the check)
from kblam_integrations.llama_index.query_engine import KBLaMQueryEngine  # noqa: E402

__all__ = ["KBLaMLLM", "KBLaMQueryEngine"]
