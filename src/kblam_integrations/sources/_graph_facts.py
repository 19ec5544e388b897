"""What the nodes and relations of a property graph say, as facts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from kblam.errors import FactError
from kblam.knowledge import Triple, verbalise
from kblam_integrations.sources._values import text_of, value_facts

__all__ = ["SOURCE", "called", "edge_facts", "node_facts", "own_properties", "source_metadata"]

# The property in which LlamaIndex keeps the id of the chunk of text something was found in.
SOURCE = "triplet_source_id"
# What LlamaIndex itself writes among the properties, or its readers take from files.
_INTERNAL = frozenset({SOURCE, "vector_source_id", "document_id", "doc_id", "ref_doc_id"})
_OF_FILES = frozenset(
    {
        "creation_date",
        "file_name",
        "file_path",
        "file_size",
        "file_type",
        "last_accessed_date",
        "last_modified_date",
        "page_label",
    }
)
# What frameworks call a node of which they know no kind.
_NO_TYPES = frozenset({"entity", "node", "vertex"})


def node_facts(
    name: str, types: Iterable[str], properties: Mapping[Any, Any], metadata: Mapping[str, Any]
) -> Iterator[Triple]:
    """Yield (name, ``type``, type) and (name, property, value).

    Args:
        name: What the node is called; nothing is said of one without a name.
        types: Its labels; those that say nothing are left out.
        properties: Without the one that is its name. A name that begins with an underscore is
            somebody's own.
        metadata: For every fact.
    """
    for kind in types:
        if not kind.startswith("_") and kind.casefold() not in _NO_TYPES:
            yield from _told(name, "type", kind, metadata)
    yield from _property_facts(name, properties, metadata)


def edge_facts(
    subject: str,
    label: str,
    target: str,
    properties: Mapping[Any, Any],
    metadata: Mapping[str, Any],
) -> Iterator[Triple]:
    """Yield (subject, label, target) and (``subject label target``, property, value)."""
    yield from _told(subject, label, target, metadata)
    if subject and target and label.strip():
        statement = f"{subject} {verbalise(label)} {target}"
        yield from _property_facts(statement, properties, metadata)


def own_properties(properties: Mapping[str, Any], chunk: Mapping[str, Any]) -> dict[str, Any]:
    """Return the properties that LlamaIndex did not copy from the chunk of text.

    Args:
        properties: Of an entity or a relation.
        chunk: The properties of the chunk it was found in.
    """
    return {
        key: value
        for key, value in dict(properties).items()
        if key not in _INTERNAL
        and key not in _OF_FILES
        and (key not in chunk or chunk[key] != value)
    }


def source_metadata(properties: Mapping[str, Any]) -> dict[str, Any]:
    """Return the metadata that names the chunk of text something was found in."""
    return {"source": str(properties[SOURCE])} if properties.get(SOURCE) else {}


def called(properties: Mapping[Any, Any], names: Sequence[str]) -> tuple[str, str] | None:
    """Return the first property of these names, in any case, that has a single value.

    Returns:
        The property's key as the graph spells it and its value as text; None without one.
    """
    keys = {str(key).casefold(): key for key in reversed(list(properties))}
    for wanted in names:
        if wanted.casefold() not in keys:
            continue
        key = keys[wanted.casefold()]
        value = properties[key]
        if isinstance(value, (str, int)) and (text := text_of(value)):
            return str(key), text
    return None


def _told(entity: str, name: str, value: Any, metadata: Mapping[str, Any]) -> Iterator[Triple]:
    """Yield the facts of a value, and name the place where it is none.

    Raises:
        FactError: It holds what is no text.
    """
    try:
        yield from value_facts(entity, name, value, metadata)
    except FactError as error:
        raise FactError(f"The property {name!r} of {entity!r:.100}: {error}") from error


def _property_facts(
    entity: str, properties: Mapping[Any, Any], metadata: Mapping[str, Any]
) -> Iterator[Triple]:
    for key, value in properties.items():
        if not str(key).startswith("_"):
            yield from _told(entity, str(key), value, metadata)
