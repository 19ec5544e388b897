"""Text to facts: extractors of any framework or language model, evidence, one name per entity."""

from __future__ import annotations

from kblam.extraction.documents import Document, read_documents
from kblam.extraction.extractor import Extraction, FactExtractor, as_extractor
from kblam.extraction.language_model import LanguageModelExtractor
from kblam.extraction.merging import merges_in, undo_merges
from kblam.extraction.report import (
    Contradiction,
    EntityReport,
    ExtractionReport,
    KeptApart,
    Likely,
    Merge,
)
from kblam.extraction.resolution import Resolution, ResolutionOptions, resolve
from kblam.extraction.statements import Statement, StatementExtractor

__all__ = [
    "Contradiction",
    "Document",
    "EntityReport",
    "Extraction",
    "ExtractionReport",
    "FactExtractor",
    "KeptApart",
    "LanguageModelExtractor",
    "Likely",
    "Merge",
    "Resolution",
    "ResolutionOptions",
    "Statement",
    "StatementExtractor",
    "as_extractor",
    "merges_in",
    "read_documents",
    "resolve",
    "undo_merges",
]
