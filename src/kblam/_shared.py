"""What the models of a process have in common: a store's encoded facts, an adapter's identity."""

from __future__ import annotations

import hashlib
import json
import threading
import weakref

import torch

from kblam._knowledge_base import EncodedFacts, KnowledgeBase
from kblam.decoder import KnowledgeAdapter
from kblam.knowledge import KnowledgeStore, TextEmbedder, View

__all__ = ["adapter_fingerprint", "shared_knowledge"]

_Key = tuple[int, str, int, str]
_BASES: weakref.WeakValueDictionary[_Key, KnowledgeBase] = weakref.WeakValueDictionary()
_BASES_LOCK = threading.Lock()
_FINGERPRINTS: weakref.WeakKeyDictionary[KnowledgeAdapter, str] = weakref.WeakKeyDictionary()


class _SharedKnowledge(KnowledgeBase):
    """Read by models on different weights, which do not wait for each other's lock."""

    def __init__(self, store: KnowledgeStore, encoder: TextEmbedder, device: torch.device) -> None:
        super().__init__(store, encoder, device)
        self._reading = threading.Lock()

    def read(self, view: View | None = None) -> EncodedFacts:
        with self._reading:
            return super().read(view)


def shared_knowledge(
    store: KnowledgeStore, encoder: TextEmbedder, device: torch.device
) -> KnowledgeBase:
    """The encoded facts of a store, in memory once for all models that read them.

    Args:
        store: The facts.
        encoder: Vectors of encoders with one name are comparable, so one of them embeds for all.
        device: Where the tensors go.
    """
    # What is held keeps its store, so that no id is of anything else while it lives.
    key = (id(store), encoder.name, encoder.dimension, str(device))
    with _BASES_LOCK:
        base = _BASES.get(key)
        if base is None:
            base = _BASES[key] = _SharedKnowledge(store, encoder, device)
        return base


def adapter_fingerprint(adapter: KnowledgeAdapter) -> str:
    """A hash of an adapter's numbers and settings, taken once: a loaded adapter stays as it is."""
    found = _FINGERPRINTS.get(adapter)
    if found is None:
        digest = hashlib.sha256(json.dumps(adapter.config.to_dict(), sort_keys=True).encode())
        for name, tensor in sorted(adapter.state_dict().items()):
            numbers = tensor.detach().cpu().contiguous().reshape(-1)
            digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
            digest.update(numbers.view(torch.uint8).numpy().tobytes())
        found = _FINGERPRINTS[adapter] = digest.hexdigest()[:16]
    return found
