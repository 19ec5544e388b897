"""What the models of a process have in common: a store's encoded facts, an adapter's identity."""

from __future__ import annotations

import json
import threading
import weakref

import torch

from kblam._digest import weights_digest
from kblam._knowledge_base import KnowledgeBase
from kblam.decoder import KnowledgeAdapter
from kblam.knowledge import KnowledgeStore, TextEmbedder

__all__ = ["adapter_fingerprint", "shared_knowledge"]

_Key = tuple[int, str, int, str]
_BASES: weakref.WeakValueDictionary[_Key, KnowledgeBase] = weakref.WeakValueDictionary()
_BASES_LOCK = threading.Lock()
_FINGERPRINTS: weakref.WeakKeyDictionary[KnowledgeAdapter, str] = weakref.WeakKeyDictionary()


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
            base = _BASES[key] = KnowledgeBase(store, encoder, device)
        return base


def adapter_fingerprint(adapter: KnowledgeAdapter) -> str:
    """A hash of an adapter's numbers and settings, taken once: a loaded adapter stays as it is."""
    found = _FINGERPRINTS.get(adapter)
    if found is None:
        settings = json.dumps(adapter.config.to_dict(), sort_keys=True)
        found = _FINGERPRINTS[adapter] = weights_digest(adapter, settings)[:16]
    return found
