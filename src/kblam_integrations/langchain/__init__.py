"""kblam in LangChain: a chat model that answers from a knowledge base, with citations."""

from __future__ import annotations

from kblam.errors import require

require("langchain_core", extra="langchain")

from kblam_integrations.langchain.chat import KBLaMChat  # noqa: E402  # needs the extra above

__all__ = ["KBLaMChat"]
