"""Documents of any kind as text with a name, and texts cut into passages."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Any

from kblam.errors import SourceError
from kblam.extraction._spans import sentences

__all__ = ["Document", "passages", "read_documents"]

_TEXT_FILES = (".md", ".markdown", ".rst", ".text", ".txt")
# What frameworks keep with a text about files and cutting, which no view would ask for.
_INTERNAL = frozenset(
    {
        "creation_date",
        "document",
        "end",
        "end_index",
        "evidence",
        "file_name",
        "file_path",
        "file_size",
        "file_type",
        "last_accessed_date",
        "last_modified_date",
        "merged_from",
        "nodes",
        "relations",
        "source",
        "start",
        "start_index",
    }
)


@dataclass(frozen=True, slots=True)
class Document:
    """A text to extract facts from, or a passage of one.

    Attributes:
        text: The text.
        id: The document's name, as facts and citations show it.
        start: Where in the document the text begins, in characters.
        metadata: JSON-able; every fact of the text gets it, so that views can filter by it.
        original: The document as a framework has it, which its extractors are given.
    """

    text: str
    id: str
    start: int = 0
    metadata: Mapping[str, Any] = field(default_factory=dict)
    original: Any = field(default=None, repr=False, compare=False)


def read_documents(documents: Any) -> list[Document]:
    """Read documents of any kind.

    Args:
        documents: A text, a path (a text file, or a folder of them), a LangChain document, a
            LlamaIndex document or node, a :class:`Document`, or several of these.

    Raises:
        SourceError: A file is missing or holds no text, or something is no document.
    """
    if isinstance(documents, Path):
        return list(_files(documents))
    if isinstance(documents, str):
        return [Document(documents, _digest(documents))]
    if isinstance(documents, Document):
        return [documents]
    if hasattr(documents, "page_content"):
        return [_langchain(documents)]
    if hasattr(documents, "get_content") and hasattr(documents, "node_id"):
        return [_llama_index(documents)]
    if isinstance(documents, Iterable) and not isinstance(documents, (bytes, Mapping)):
        return [found for item in documents for found in read_documents(item)]
    raise SourceError(
        "Expected a text, a path, a LangChain or LlamaIndex document, or several of these, got "
        f"{type(documents).__name__}. Make it a kblam.extraction.Document."
    )


def passages(document: Document, max_chars: int) -> Iterator[Document]:
    """Cut a text between sentences into passages of about so many characters at most.

    A sentence that is longer than a passage is kept whole.
    """
    if len(document.text) <= max_chars:
        yield document
        return
    start, end = 0, 0
    for first, last in sentences(document.text):
        if last - start > max_chars and end > start:
            yield _part(document, start, end)
            start = first
        end = last
    if end > start:
        yield _part(document, start, end)


def _part(document: Document, start: int, end: int) -> Document:
    text = document.text[start:end]
    return Document(text, document.id, document.start + start, document.metadata)


def _files(path: Path) -> Iterator[Document]:
    if path.is_dir():
        named = (p for p in path.rglob("*") if p.suffix.lower() in _TEXT_FILES)
        # A folder may be called "notes.md"; what it holds is found without it.
        found = sorted(p for p in named if p.is_file())
        if not found:
            raise SourceError(
                f"Expected texts in the folder {str(path)!r}, found no file that ends in one of "
                f"{', '.join(_TEXT_FILES)}."
            )
        for file in found:
            yield from _files(file)
        return
    try:
        text = path.read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        raise SourceError(
            f"Expected a text file in UTF-8, and {str(path)!r} is none ({error.reason}). Read it "
            "with a loader of LangChain or LlamaIndex and pass its documents."
        ) from error
    except OSError as error:
        raise SourceError(
            f"Expected a text file at {str(path)!r}, could not read it: {error.strerror}."
        ) from error
    yield Document(text, path.as_posix())


def _langchain(document: Any) -> Document:
    metadata = document.metadata or {}
    name = metadata.get("source") or getattr(document, "id", None)
    start = metadata.get("start_index")
    text = str(document.page_content)
    return Document(
        text,
        str(name or _digest(text)),
        start if isinstance(start, int) else 0,
        _own(metadata),
        document,
    )


def _llama_index(node: Any) -> Document:
    metadata = node.metadata or {}
    name = metadata.get("file_path") or getattr(node, "ref_doc_id", None) or node.node_id
    start = getattr(node, "start_char_idx", None)
    return Document(str(node.get_content()), str(name), start or 0, _own(metadata), node)


def _own(metadata: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: value
        for key, value in metadata.items()
        if key not in _INTERNAL and not key.startswith("_") and _is_json(value)
    }


def _is_json(value: Any) -> bool:
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError):
        return False
    return True


def _digest(text: str) -> str:
    """Return a name for a text without one, the same for the same text."""
    return f"text-{blake2b(text.encode('utf-8', 'replace'), digest_size=4).hexdigest()}"
