"""Parsing files of RDF, which others may have written: nothing but the file itself is read."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.parsers import expat

from rdflib import Dataset
from rdflib.parser import PythonInputSource

from kblam.errors import KBLaMError, SourceError, StoreError

__all__ = ["parsed"]

# Entities abbreviate IRIs, which are in attributes. Text that they make very much longer than
# the file is a trap, and rdflib takes quadratic time for it.
_MOST_GROWTH = 10
_ALWAYS_ALLOWED = 100_000  # characters


def parsed(path: Path, kind: str) -> Dataset:
    """Parse a file of RDF.

    Args:
        path: The file.
        kind: rdflib's name for its format.

    Raises:
        SourceError: It would have other files or addresses read, or grows without end.
        StoreError: It is not of this format.
    """
    dataset = Dataset()
    try:
        source: Any = path
        if kind == "json-ld":
            source = PythonInputSource(_self_contained(path))
        elif kind == "xml":
            _refuse_growth(path)
        with warnings.catch_warnings():
            # rdflib's own parsers use what rdflib has deprecated.
            warnings.simplefilter("ignore", DeprecationWarning)
            # Relative IRIs are the file's, whether rdflib knows it or not.
            dataset.parse(source, format=kind, publicID=path.absolute().as_uri())
    except KBLaMError:
        raise
    except Exception as error:  # each of rdflib's parsers raises errors of its own
        raise StoreError(f"{path} could not be read as RDF: {error}") from error
    return dataset


def _self_contained(path: Path) -> Any:
    """Return the document of a file of JSON-LD.

    Raises:
        SourceError: It refers to a context elsewhere, which rdflib would fetch.
    """
    document = json.loads(path.read_bytes())
    if (address := next(_addresses(document), None)) is not None:
        raise SourceError(
            f"Expected {path} to hold its own context, got one to be fetched from "
            f"{address!r:.200}. A file may not have other files or addresses read: write the "
            "context into it, or, if you trust it, load it yourself with rdflib and pass the "
            "Dataset."
        )
    return document


def _addresses(document: Any) -> Iterator[str]:
    """Yield what the contexts of a JSON-LD document refer to, wherever they stand."""
    left = [document]
    while left:
        part = left.pop()
        if isinstance(part, list):
            left += part
        elif isinstance(part, dict):
            left += part.values()
            # An array of contexts may hold arrays.
            contexts = [part.get("@context"), part.get("@import")]
            while contexts:
                context = contexts.pop()
                if isinstance(context, str):
                    yield context
                elif isinstance(context, list):
                    contexts += context


def _refuse_growth(path: Path) -> None:
    """Refuse a file of XML whose entities make very much text of it.

    Raises:
        SourceError: They do.
        ExpatError: It is no XML, or expat itself found that it grows too much.
    """
    most = max(_ALWAYS_ALLOWED, _MOST_GROWTH * path.stat().st_size)
    length = 0

    def count(text: str) -> None:
        nonlocal length
        length += len(text)
        if length > most:
            raise SourceError(
                f"Expected {path} to have at most {most:,} characters of text, which is "
                f"{_MOST_GROWTH} times its size or {_ALWAYS_ALLOWED:,}, got more: its entities "
                "grow. Write them out in its text."
            )

    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.CharacterDataHandler = count
    with path.open("rb") as file:
        parser.ParseFile(file)
