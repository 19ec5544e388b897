"""Which of very many facts a query may be about, found without looking at every key.

A selection query is searched for among short codes of the keys, sixteen bytes a fact, instead
of the keys themselves; a few thousand facts come out, whose keys the caller then scores as it
would have scored all of them. Needs numpy and faiss (the extra ``index``), no torch.
"""

from __future__ import annotations

from kblam.index.fact_index import FactIndex, index_path
from kblam.index.keeper import IndexKeeper

__all__ = ["FactIndex", "IndexKeeper", "index_path"]
