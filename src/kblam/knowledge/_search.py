"""The text search of a store."""

from __future__ import annotations

__all__ = ["words_occur"]


def words_occur(entity: str, name: str, value: str, text: str) -> bool:
    """Tell whether every word of ``text`` occurs in a fact, in whatever case.

    SQLite calls it for each row: its own LIKE folds the case of ASCII letters only.
    """
    fact = f"{entity} {name} {value}".casefold()
    return all(word in fact for word in text.casefold().split())
