"""What the models of a process have in common: a store's encoded facts, an adapter's identity."""

from __future__ import annotations

import json
import threading
import weakref
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from kblam._digest import weights_digest
from kblam._engine import Engine
from kblam._knowledge_base import KnowledgeBase
from kblam._sample_queries import selection_queries
from kblam.decoder import KnowledgeAdapter
from kblam.knowledge import KnowledgeStore

__all__ = ["adapter_fingerprint", "shared_knowledge"]

_Key = tuple[int, str, int, str]
_BASES: weakref.WeakValueDictionary[_Key, KnowledgeBase] = weakref.WeakValueDictionary()
_BASES_LOCK = threading.Lock()
_FINGERPRINTS: weakref.WeakKeyDictionary[KnowledgeAdapter, str] = weakref.WeakKeyDictionary()


def shared_knowledge(store: KnowledgeStore, engine: Engine) -> KnowledgeBase:
    """The encoded facts of a store, in memory once for all models that read them.

    Args:
        store: The facts.
        engine: Of the model. Vectors of encoders with one name are comparable, so one of them
            embeds for all; an index is fitted to the first model that reads the store.
    """
    encoder, device = engine.encoder, engine.model.device
    # What is held keeps its store, so that no id is of anything else while it lives.
    key = (id(store), encoder.name, encoder.dimension, str(device))
    with _BASES_LOCK:
        base = _BASES.get(key)
        if base is None:
            decoder = engine.decoder
            adapter = None if decoder is None else decoder.adapter
            base = _BASES[key] = KnowledgeBase(
                store,
                encoder,
                device,
                _as_queries(engine),
                # Not hashed before there is an index to be named.
                lambda: "" if adapter is None else adapter_fingerprint(adapter),
            )
        return base


def _as_queries(engine: Engine) -> Callable[[Sequence[str]], npt.NDArray[np.float32]]:
    """Makes queries of questions, for as long as somebody keeps the model's weights."""
    kept, encoder = weakref.ref(engine), engine.encoder

    def as_queries(questions: Sequence[str]) -> npt.NDArray[np.float32]:
        found = kept()
        decoder = None if found is None else found.decoder
        if found is None or decoder is None or decoder.adapter.selection is None:
            return encoder.encode(questions)
        return selection_queries(found, questions)

    return as_queries


def adapter_fingerprint(adapter: KnowledgeAdapter) -> str:
    """A hash of an adapter's numbers and settings, taken once: a loaded adapter stays as it is."""
    found = _FINGERPRINTS.get(adapter)
    if found is None:
        settings = json.dumps(adapter.config.to_dict(), sort_keys=True)
        found = _FINGERPRINTS[adapter] = weights_digest(adapter, settings)[:16]
    return found
