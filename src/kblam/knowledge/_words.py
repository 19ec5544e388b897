"""From the names that stores use to words that a sentence encoder was trained on."""

from __future__ import annotations

import re
from functools import lru_cache
from urllib.parse import unquote

__all__ = [
    "is_iri",
    "local_name",
    "property_key",
    "property_words",
    "term_words",
    "value_words",
    "verbalise",
]

_IRI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://\S+|urn:[^\s:]+:\S+|mailto:\S+")
_CURIE = re.compile(r"[A-Za-z_][\w.-]*:([A-Za-z_][\w.-]*)")
# Upper-case relation names of up to this many letters are taken for acronyms (CEO, ISBN).
_LONGEST_ACRONYM = 4
# A property with one of these words has web addresses as values, not things.
_ADDRESSES = frozenset(
    {"address", "homepage", "link", "links", "page", "site", "uri", "url", "urls", "website"}
)


def is_iri(text: str) -> bool:
    """Tell whether a text is an IRI rather than a literal or a name."""
    return _IRI.fullmatch(text) is not None


def local_name(iri: str) -> str:
    """Return the part of an IRI that names the thing, percent-decoded.

    Args:
        iri: An IRI such as ``http://example.org/terms#foundedIn``.

    Returns:
        The text after the last ``#``, ``/`` or ``:`` that something follows
        (``foundedIn``), or the IRI itself where nothing remains.
    """
    if iri.startswith("mailto:"):
        return iri.removeprefix("mailto:")
    body = iri.split("?", 1)[0].rstrip("/#:") or iri
    body = body.split("://", 1)[-1]
    for separator in ("#", "/", ":"):
        if separator in body:
            body = body.rsplit(separator, 1)[-1]
            break
    # NUL is no text: it stays encoded.
    return unquote(body.replace("%00", "%2500")).strip() or iri


@lru_cache(maxsize=8192)
def verbalise(name: str) -> str:
    """Turn the name of a property into words.

    ``founded_in``, ``foundedIn``, ``FOUNDED_IN``, ``ex:foundedIn`` and
    ``http://example.org/terms#founded-in`` all become ``founded in``. A name that already
    consists of words is kept, so the function is idempotent.

    Args:
        name: A property as a store spells it.

    Returns:
        Words separated by single spaces.
    """
    text = name.strip()
    # In the names of vocabularies hyphens part words; elsewhere one may belong (co-founder).
    kebab = text.count("-") > 1
    if is_iri(text):
        text, kebab = local_name(text), True
    elif curie := _CURIE.fullmatch(text):
        text, kebab = curie.group(1), True
    if re.search(r"\s", text):
        return " ".join(text.split())
    if kebab:
        text = text.replace("-", " ")
    words = [word for part in text.replace("_", " ").split() for word in _split_case(part, 1)]
    if not words:
        return name.strip()
    if all(_shouted(word) for word in words) and (
        len(words) > 1 or len(words[0]) > _LONGEST_ACRONYM
    ):
        return " ".join(words).lower()
    return " ".join(word if _shouted(word) else word.lower() for word in words)


@lru_cache(maxsize=8192)
def property_words(name: str) -> str:
    """Return the words of a property as they follow "the": ``hasCapital`` gives ``capital``."""
    words = verbalise(name)
    rest = words[4:] if words.startswith("has ") else ""
    return rest or words


def property_key(name: str) -> str:
    """Return what all spellings of a property have in common: ``release_date``, ``releaseDate``.

    That is its words. Of an IRI or ``foaf:name`` it is that name itself, as two vocabularies mean
    two things by one word.
    """
    if is_iri(name) or _CURIE.fullmatch(name):
        return name
    return property_words(name)


def term_words(term: str) -> str:
    """Return an entity or a value as text: an IRI as the words of its name, all else as it is."""
    if not is_iri(term):
        return term
    name = local_name(term)
    if term.startswith("mailto:"):
        return name
    if "_" in name or " " in name:
        return " ".join(name.replace("_", " ").split()) or term
    # Two letters before a capital belong to the name (McDonalds, iPhone).
    return " ".join(_split_case(name, 3))


def value_words(name: str, value: str) -> str:
    """Return the value of an RDF statement as text.

    Args:
        name: The property. Where it speaks of web addresses (``foaf:homepage``), an IRI is a
            literal.
        value: An IRI or a literal.
    """
    if _ADDRESSES.isdisjoint(verbalise(name).lower().split()):
        return term_words(value)
    return value


def _split_case(word: str, shortest: int) -> list[str]:
    """Split camelCase where at least ``shortest`` letters stand before the capital."""
    parts: list[str] = []
    start = 0
    for i in range(1, len(word)):
        before, here, after = word[i - 1], word[i], word[i + 1 : i + 2]
        if not here.isupper() or i - start < shortest:
            continue
        # ISBNNumber splits before the N of Number; the plural CEOs does not split.
        ends_acronym = before.isupper() and after.islower() and word[i + 1 :] != "s"
        if before.islower() or before.isdigit() or ends_acronym:
            parts.append(word[start:i])
            start = i
    parts.append(word[start:])
    return parts


def _shouted(word: str) -> bool:
    """Tell whether a word is in capitals: ``CEO``, also ``CEOs``, ``ISO2``."""
    stem = word.removesuffix("s") if len(word) > 2 else word
    return len(stem) > 1 and stem.isupper()
