"""The little English grammar that templates need."""

from __future__ import annotations

__all__ = ["capital", "plural", "possessive", "with_article"]

_IRREGULAR = {
    "mouse": "mice", "goose": "geese", "wolf": "wolves", "knife": "knives", "shelf": "shelves",
    "loaf": "loaves", "child": "children", "foot": "feet", "tooth": "teeth", "man": "men",
    "woman": "women", "leaf": "leaves", "half": "halves", "calf": "calves", "thief": "thieves",
    "krone": "kroner", "krona": "kronor", "zloty": "zlotys", "franc": "francs", "deer": "deer",
    "sheep": "sheep", "fish": "fish", "yen": "yen", "won": "won", "baht": "baht", "rand": "rand",
    "sterling": "sterling", "piano": "pianos", "photo": "photos", "real": "reais",
}  # fmt: skip


def plural(noun: str) -> str:
    """Return the plural of a noun; of several words, the last one changes."""
    head, _, last = noun.rpartition(" ")
    if last in _IRREGULAR:
        last = _IRREGULAR[last]
    elif last.endswith("man") and last != "human":
        last = f"{last[:-2]}en"
    elif last.endswith(("ss", "x", "z", "ch", "sh")):
        last += "es"
    elif last.endswith("y") and last[-2:-1] not in "aeiou":
        last = f"{last[:-1]}ies"
    elif not last.endswith("s"):
        last += "s"
    return f"{head} {last}".strip()


def with_article(text: str) -> str:
    """Put "a" or "an" before a noun."""
    return f"{'an' if text[:1].lower() in 'aeio' else 'a'} {text}"


def capital(text: str) -> str:
    """Return a text with a capital at its start."""
    return text[:1].upper() + text[1:]


def possessive(name: str) -> str:
    """Return a name that owns something: "Ann Lee's", "the Tigers'"."""
    return f"{name}'" if name.endswith("s") and not name.endswith("ss") else f"{name}'s"
