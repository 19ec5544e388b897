"""Which names of properties are verb phrases, and how a sentence says them.

A graph's relations are as often verbs (``WORKS_AT``, ``foundedBy``) as nouns (``employer``,
``founder``), and "the works at of Ann" is no English. A lexicon tells them apart: a part-of-speech
tagger would be a dependency for phrases of two words, without the context that it reads.
"""

from __future__ import annotations

from functools import lru_cache
from importlib import resources

__all__ = ["verb_phrase"]


def _read_words() -> dict[str, frozenset[str]]:
    """The word lists of the package by name."""
    lists: dict[str, set[str]] = {}
    text = (resources.files(__package__) / "verbs.txt").read_text(encoding="utf-8")
    name = ""
    for line in text.splitlines():
        if line.startswith("["):
            name = line.strip("[]")
        elif not line.startswith("#"):
            lists.setdefault(name, set()).update(line.split())
    return {name: frozenset(words) for name, words in lists.items()}


_WORDS = _read_words()
_ALL = frozenset().union(*_WORDS.values())


@lru_cache(maxsize=8192)
def verb_phrase(words: str) -> str | None:
    """Return a property as what stands between an entity and a value.

    ``works at`` stays, ``founded by`` becomes ``was founded by``, ``located in``
    ``is located in`` and ``capital of`` ``is the capital of``.

    Args:
        words: A property in words.

    Returns:
        The phrase, or None for a noun such as ``founder``.
    """
    # Capitals within a sentence are left to names (CEO, but not OWNS).
    words = " ".join(
        word if word.isupper() and word.lower() not in _ALL else word.lower()
        for word in words.split()
    )
    folded = words.lower().split()
    first = folded[0] if folded else ""
    if first in _WORDS["auxiliaries"] and len(folded) > 1:
        rest = words.removeprefix(f"{first} ")
        return (_of_something(rest) if first == "is" else None) or words
    state = f"is {words}" if _is_state(folded) else None
    return _passive(words, folded) or _active(words, folded) or _of_something(words) or state


def _passive(words: str, folded: list[str]) -> str | None:
    """A participle and what belongs to it: "located in", "first described by", "born"."""
    place = next((i for i, word in enumerate(folded) if word not in _WORDS["adverbs"]), None)
    if place is None or not _is_participle(folded[place]):
        return None
    if not _leads_on(folded, place) and not _ends_as_verb(folded, place):
        return None
    if folded[place] in _WORDS["intransitive"] and "by" not in folded:
        return words
    return f"{'was' if folded[place] in _WORDS['events'] else 'is'} {words}"


def _active(words: str, folded: list[str]) -> str | None:
    """A verb of the third person or of the past: "works at", "treats", "wrote", "took place on"."""
    first, alone = folded[0] if folded else "", len(folded) == 1
    leads_on = _leads_on(folded, 0)
    third = first in _WORDS["verbs"] and (leads_on or first not in _WORDS["nouns too"])
    past = first in _WORDS["past"] and (alone or leads_on or first not in _WORDS["irregular"])
    # Of a graph's edge (FOUNDED) the entity is who did it.
    did = alone and first.endswith("ed") and _is_participle(first)
    moved = leads_on and first in _WORDS["intransitive"]
    return words if third or past or did or moved else None


def _of_something(words: str) -> str | None:
    """A noun and "of": "capital of", "member of party"."""
    folded = words.lower().split()
    if "of" not in folded[1:]:
        return None
    noun = folded[folded.index("of", 1) - 1]
    if folded[-1] != "of" and not (folded[1] == "of" and noun in _WORDS["of what"]):
        return None
    if folded[0] in ("a", "an", "the", "part", "made"):
        return f"is {words}"
    one = "an" if folded[0][0] in "aeio" else "a"
    return f"is {one if noun in _WORDS['one of many'] else 'the'} {words}"


def _is_state(folded: list[str]) -> bool:
    """Whether it is an adjective and what belongs to it, or says where: "allergic to", "in"."""
    first = folded[0] if folded else ""
    return first in _WORDS["places"] or (first in _WORDS["adjectives"] and _leads_on(folded, 0))


def _leads_on(folded: list[str], place: int) -> bool:
    """Whether a preposition follows."""
    return place + 1 < len(folded) and folded[place + 1] in _WORDS["prepositions"]


def _ends_as_verb(folded: list[str], place: int) -> bool:
    """Whether it ends in a participle that is no noun: "born", "written", "also called".

    "Cast" and "set" are nouns as well, and "founded" alone is a verb of the past.
    """
    last = folded[place]
    clear = last.endswith(("en", "rn", "wn")) or (place > 0 and last.endswith("ed"))
    return clear and place + 1 == len(folded)


def _is_participle(word: str) -> bool:
    regular = word.endswith("ed") and len(word) > 3 and word not in _WORDS["no participles"]
    return regular or word in _WORDS["irregular"]
