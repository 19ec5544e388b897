"""Whether a question names something, by its words."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

__all__ = ["LINKS", "WORD", "AskedNames", "folded"]

WORD = re.compile(r"[^\W_]+")
#: Small words inside names.
LINKS = frozenset(
    ("and", "da", "de", "del", "der", "di", "for", "in", "la", "of", "on", "the", "von")
)
# With or without such a word it is the same person or firm.
_EPITHETS = frozenset(
    (
        "mr", "mrs", "ms", "miss", "dr", "doctor", "prof", "professor", "sir", "dame", "lord",
        "lady", "king", "queen", "prince", "princess", "emperor", "empress", "duke", "president",
        "chancellor", "minister", "senator", "governor", "mayor", "general", "colonel", "captain",
        "pope", "saint", "st", "rev", "reverend", "jr", "inc", "ltd", "llc", "corp", "corporation",
        "company", "co", "gmbh", "ag", "plc", "limited", "incorporated",
    )
)  # fmt: skip
# One to thirty-nine, as kings and popes are counted.
_ROMAN = re.compile(r"(?=.)x{0,3}(ix|iv|v?i{0,3})")
# What may stand between two words of a name; a full stop ends a sentence, but after an initial.
_BETWEEN = re.compile(r"[ \-./'\u2019]")
_AFTER_INITIAL = re.compile(r"\. ?")
_INITIAL = 2
# What may stand before a name without capitals: "is karl meier at the ghent warehouse".
_AHEAD = LINKS | frozenset(
    ("a", "an", "about", "at", "by", "can", "did", "do", "does", "from", "had", "has", "is", "are",
     "to", "was", "were", "will", "with")
)  # fmt: skip
_AFTER_SUBJECT = frozenset(("is", "are", "was", "were", "has", "had", "s"))
# Without spaces between words, or with endings that are written to them: Thai and Lao, Burmese,
# Khmer, Japanese, Chinese, Korean.
_JOINED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1100-\u11ff\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff"
    "\uac00-\ud7af\U00020000-\U0003ffff]"
)
# Letters with a stroke or joined to another one, which Unicode does not take apart.
_LETTERS = str.maketrans(
    {"æ": "ae", "œ": "oe", "ø": "o", "ł": "l", "đ": "d", "ð": "d", "þ": "th", "ħ": "h"}
    | {"\u0131": "i"}  # without a dot
)


def folded(text: str) -> str:
    """Lower case without accents: people type "Jose" for "José", "Lodz" for "Łódź"."""
    decomposed = unicodedata.normalize("NFKD", text.casefold())
    plain = "".join(sign for sign in decomposed if not unicodedata.combining(sign))
    return plain.translate(_LETTERS)


@dataclass(frozen=True)
class _Run:
    """Capitalised words and numbers in a row, folded.

    Attributes:
        words: Those that tell.
        beside: The words before and behind, as far as they belong to it: "the Ghent warehouse",
            "project Aurora", "the port of Ghent".
    """

    words: frozenset[str]
    beside: frozenset[str]


class AskedNames:
    """The words of a question, and the names in it as far as capitals show them.

    Args:
        text: The question.
    """

    def __init__(self, text: str) -> None:
        self._written = text
        self._text = folded(text)
        self._in_order = WORD.findall(self._text)
        self._words = frozenset(self._in_order)
        self._names = list(_capitalised(text))

    def has(self, name: str) -> tuple[float, float]:
        """Share of a folded name's words found, and 1 if all of it stands there in one piece."""
        words = WORD.findall(name)
        if not words:  # a band called "!!!": all of it, or nothing
            there = re.search(rf"(?<!\S){re.escape(name)}", self._text)
            return (1.0, 1.0) if there else (0.0, 0.0)
        known = self.words_of(words)
        # Warehouse 47 is not half of warehouse 48: a number in a name is never left out.
        if any(_is_number(word) for word in words if word not in known):
            return 0.0, 0.0
        found = sum(word in known for word in words)
        whole = found == len(words) and _in_one_piece(name).search(self._text)
        return found / len(words), 1.0 if whole else 0.0

    def has_beside(self, name: str, others: Iterable[str]) -> bool:
        """Whether a folded name stands there in one piece, but for where it is in longer ones."""
        text = self._text
        for other in sorted(others, key=len, reverse=True):
            text = _in_one_piece(other).sub(" ", text)
        return _in_one_piece(name).search(text) is not None

    def within_others(self, names: Collection[str]) -> set[str]:
        """Those of some folded names that stand there in longer ones of them alone."""
        found = set()
        for name in names:
            longer = {other for other in names if other != name and name in other}
            if longer and not self.has_beside(name, longer):
                found.add(name)
        return found

    def words_of(self, name: Iterable[str]) -> set[str]:
        """Those of a name's folded words that stand there."""
        # There a name is part of a longer run of letters.
        return {w for w in name if w in self._words or (_JOINED.search(w) and w in self._text)}

    def spells(self, name: str) -> bool:
        """Whether a name, as it is written, stands there letter by letter."""
        return re.search(rf"(?<!\w){re.escape(name)}(?!\w)", self._written) is not None

    def excess(self, name: str, property: str) -> float:
        """Of the names that share a word with a folded one, the share of words that it lacks.

        Augustus has half of "Augustus John", and the Basel warehouse half of "the Ghent warehouse".
        Where no name shows by its capitals, one of the same form is looked for: "the south gate"
        beside the north gate. Where the name stands by itself, those of others beside it are none.

        Args:
            name: The thing's.
            property: What is told of it, folded: "the CEO Ann Lee" has a word of that, which is
                none of the name's.
        """
        own = set(WORD.findall(name))
        known = own.union(WORD.findall(property))
        telling = frozenset(filter(_tells, own))
        if any(run.words == telling for run in self._names):
            return 0.0
        # A name that stands there whole has its words for itself.
        shared = frozenset() if telling <= self._words else telling
        if shared and not self._names:
            return self._excess_of_form(WORD.findall(name), known)
        words: list[str] = []
        around: set[str] = set()
        for run in self._names:
            beside = run.beside & shared
            if beside or not run.words.isdisjoint(known):
                words += run.words
                around |= beside
        words += around.difference(words)
        return sum(word not in known for word in words) / len(words) if words else 0.0

    def _excess_of_form(self, name: list[str], known: set[str]) -> float:
        """The same of a name like a folded one in all its words but one, without capitals."""
        for start in range(len(self._in_order) - len(name) + 1):
            found = self._in_order[start : start + len(name)]
            other = [place for place, word in enumerate(found) if word != name[place]]
            if len(other) != 1 or not _tells(found[other[0]]) or found[other[0]] in known:
                continue
            ahead = self._in_order[max(0, start + other[0] - 1)]
            # "Where was ada born?" is no Ada Born, and "who married lovelace?" no other Lovelace.
            names = ahead in LINKS if other[0] == len(name) - 1 else other[0] or ahead in _AHEAD
            telling = set(filter(_tells, found))
            if names and len(telling) > 1:
                return 1 / len(telling)
        return 0.0


def _in_one_piece(name: str) -> re.Pattern[str]:
    return re.compile(rf"(?<![a-z0-9]){re.escape(name)}(?![a-z0-9])")


def _tells(word: str) -> bool:
    """Whether a name with this word more is another one: titles and initials make no difference."""
    return word not in LINKS and word not in _EPITHETS and (len(word) > 1 or _is_number(word))


def _is_number(word: str) -> bool:
    return not word.isalpha() or _ROMAN.fullmatch(word) is not None


def _capitalised(text: str) -> Iterator[_Run]:
    """Runs of capitalised words and numbers.

    A question's first word is in none, unless it is a subject's: "Nimrod Glacier is where?".
    """
    found = list(WORD.finditer(text))
    if not any(match[0][0].islower() for match in found):
        return  # shouted
    for start, end in _runs(text, found):
        if start == 0 and not _tells_of(found[end:]):
            start += 1
        words = frozenset(filter(_tells, (folded(match[0]) for match in found[start:end])))
        if words:
            before = _next_to(text, found, start, -1)
            yield _Run(words, frozenset((before, _next_to(text, found, end - 1, 1))))


def _next_to(text: str, found: list[re.Match[str]], place: int, step: int) -> str:
    """The word before or behind one, folded, over small ones; none where a sentence ends."""
    while 0 <= place + step < len(found):
        first, second = sorted((place, place + step))
        if not _joins(found[first], text[found[first].end() : found[second].start()]):
            break
        place += step
        word = folded(found[place][0])
        if word not in LINKS:
            return word
    return ""


def _tells_of(rest: list[re.Match[str]]) -> bool:
    """Whether what comes after some words makes them a subject, or an owner."""
    return bool(rest) and rest[0][0] in _AFTER_SUBJECT


def _runs(text: str, found: list[re.Match[str]]) -> Iterator[tuple[int, int]]:
    """Where each run begins and ends among the words found."""
    start = None
    for place, match in enumerate(found):
        if start is not None and not _joins(
            found[place - 1], text[found[place - 1].end() : match.start()]
        ):
            yield start, place
            start = None
        if match[0][0].isupper() or match[0][0].isdigit():
            start = place if start is None else start
        elif start is not None:
            yield start, place
            start = None
    if start is not None:
        yield start, len(found)


def _joins(word: re.Match[str], between: str) -> bool:
    """Whether a name may go on after a word and what stands behind it."""
    initial = len(word[0]) <= _INITIAL and _AFTER_INITIAL.fullmatch(between)
    return bool(_BETWEEN.fullmatch(between) or initial)
