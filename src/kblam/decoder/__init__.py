"""Knowledge inside a Transformers decoder."""

from kblam.decoder.attach import AttachedDecoder, attach
from kblam.decoder.facts import Candidates, FactInput, Selection
from kblam.decoder.layout import AttentionLayout, attention_layout, text_decoder
from kblam.decoder.modules import KnowledgeAdapter
from kblam.decoder.session import FactSession

__all__ = [
    "AttachedDecoder",
    "AttentionLayout",
    "Candidates",
    "FactInput",
    "FactSession",
    "KnowledgeAdapter",
    "Selection",
    "attach",
    "attention_layout",
    "text_decoder",
]
