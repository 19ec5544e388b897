"""kblam in LangChain: a chat model and a retriever over a knowledge base, with citations."""

from __future__ import annotations

from kblam.errors import require

require("langchain_core", extra="langchain")

# These need the extra above.
from kblam_integrations.langchain.chat import KBLaMChat  # noqa: E402
from kblam_integrations.langchain.retriever import KBLaMRetriever  # noqa: E402

__all__ = ["KBLaMChat", "KBLaMRetriever"]
