"""What the words of a name say about which entity it names."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache

__all__ = ["NameParts", "name_parts", "plain_words"]

_MEN = frozenset(("lord", "mr", "sir"))
_WOMEN = frozenset(("dame", "lady", "madam", "miss", "mrs", "ms"))
_HONORIFICS = _MEN | _WOMEN | {"dr", "hon", "prof", "professor", "rev", "reverend"}
# Legal forms: those of one group are spellings of each other, others are other companies. Company
# and Limited are none, as they tell a firm from its founder (Walt Disney).
_LEGAL_FORMS = {
    form: group
    for group, forms in {
        "inc": "co corp corporation inc incorporated",
        "ltd": "ltd",
        "llc": "llc",
        "plc": "plc",
        "gmbh": "gmbh",
        "ag": "ag",
        "bv": "bv",
    }.items()
    for form in forms.split()
}
_ABBREVIATIONS = {
    "assn": "association",
    "bros": "brothers",
    "dept": "department",
    "govt": "government",
    "inst": "institute",
    "intl": "international",
    "mt": "mount",
    "natl": "national",
    "univ": "university",
}
_SMALL_WORDS = frozenset(
    ("a", "an", "and", "de", "der", "des", "du", "for", "in", "la", "le", "of", "on", "the", "to")
)
_NUMBER_WORDS = {
    word: str(number)
    for words in (
        "one two three four five six seven eight nine ten eleven twelve",
        "first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth",
    )
    for number, word in enumerate(words.split(), start=1)
}
# Two names that differ by words of one group name two things: North Korea and South Korea.
_OPPOSITES = [
    frozenset(group.split())
    for group in (
        "north south east west",
        "northern southern eastern western",
        "upper lower middle",
        "old new",
        "men women",
        "mens womens",
        "boys girls",
        "male female",
        "jr sr",
        "junior senior",
        "elder younger",
        "left right",
        "inner outer",
        "greater lesser",
        "great little",
        "major minor",
        "father mother son daughter brother sister husband wife",
        "red orange yellow green blue purple pink brown black white grey gray",
        "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi omicron pi rho "
        "sigma tau upsilon phi chi psi omega",
        "monday tuesday wednesday thursday friday saturday sunday",
        "january february march april may june july august september october november december",
        "spring summer autumn fall winter",
    )
]
_ROMAN = re.compile(r"X{0,3}(IX|IV|V?I{0,3})")
_ROMAN_DIGITS = {"I": 1, "V": 5, "X": 10}
_SIGNS = "+#*@$%=<>"
_ORDINAL = re.compile(r"(\d+)(?:st|nd|rd|th)")


@dataclass(frozen=True, slots=True)
class NameParts:
    """A name, taken apart for comparison. Texts are without case, accents and punctuation.

    Attributes:
        core: The words that matter: no article, honorific or legal form.
        words: The words of the core.
        numbers: The numbers in it, digits, words and Roman numerals alike, and signs that tell
            things apart (C++).
        letters: Its single letters: initials, or what tells Room A from Room B.
        marks: What excludes other names: a legal form, a form of address, one of opposites.
        acronyms: What the name may be shortened to: ``who`` for World Health Organization.
        short: The name itself, where it looks like an acronym.
    """

    core: str
    words: tuple[str, ...]
    numbers: tuple[str, ...]
    letters: tuple[str, ...]
    marks: tuple[str, ...]
    acronyms: tuple[str, ...]
    short: str

    @property
    def first(self) -> str:
        """The first word."""
        return self.words[0]

    @property
    def last(self) -> str:
        """The last word."""
        return self.words[-1]

    @property
    def middles(self) -> str:
        """The initials of the words between the first and the last."""
        return "".join(word[0] for word in self.words[1:-1])

    def excludes(self, other: NameParts) -> bool:
        """Tell whether the two cannot be one entity, whatever else speaks for it."""
        if self.numbers != other.numbers:
            return True
        mine, others = set(self.letters), set(other.letters)
        if mine and others and not (mine <= others or others <= mine):
            return True
        return any(
            kind == other_kind and mark != other_mark
            for kind, mark in (text.split(":") for text in self.marks)
            for other_kind, other_mark in (text.split(":") for text in other.marks)
        )


def plain_words(text: str) -> list[str]:
    """Return the words of a text without case, accents and punctuation."""
    decomposed = unicodedata.normalize("NFKD", text)
    bare = "".join(c for c in decomposed if not unicodedata.combining(c)).casefold()
    bare = bare.replace("&", " and ").replace("\u2019", "'").replace("'", "")
    bare = re.sub(r"\b((?:\w\.){2,})", lambda found: found[0].replace(".", ""), bare)
    return re.findall(r"[^\W_]+", bare)


@lru_cache(maxsize=65536)
def name_parts(name: str) -> NameParts:
    """Take a name apart."""
    ordered = _in_order(name)
    words = _with_digits(ordered)
    marks = [f"legal:{_LEGAL_FORMS[word]}" for word in words[-1:] if word in _LEGAL_FORMS]
    if len(words) > 1:
        marks += ["address:man"] if words[0] in _MEN else []
        marks += ["address:woman"] if words[0] in _WOMEN else []
    for index, group in enumerate(_OPPOSITES):
        marks += [f"{index}:{word}" for word in words if word in group]
    core = _core(words) or [name.casefold()]
    return NameParts(
        core=" ".join(core),
        words=tuple(core),
        numbers=tuple(sorted([*filter(str.isdigit, core), *filter(_SIGNS.__contains__, name)])),
        letters=tuple(sorted(word for word in core if len(word) == 1 and word.isalpha())),
        marks=tuple(marks),
        acronyms=_acronyms(core),
        short=_short(name),
    )


def _in_order(name: str) -> str:
    """Turn "Lee, Ann" round, but not "Acme, Inc.", nor what has more commas."""
    family, comma, given = (part.strip() for part in name.partition(","))
    words = plain_words(given)
    if not comma or "," in given or not words or len(words) > 3:
        return name
    if words[-1] in _LEGAL_FORMS or words[-1] in ("jr", "sr", "phd", "md"):
        return name
    return f"{given} {family}"


def _with_digits(name: str) -> list[str]:
    """Return the plain words, numbers in digits."""
    spelled = []
    parts = name.replace(",", " ").split()
    for position, word in enumerate(parts):
        # A single letter is a number at the end only (Elizabeth I), else an initial.
        numeral = len(word) > 1 or position == len(parts) - 1
        if position and numeral and _ROMAN.fullmatch(word):
            word = str(_roman(word))
        spelled.append(word)
    words = plain_words(" ".join(spelled))
    words = [_ORDINAL.sub(r"\1", word) if _ORDINAL.fullmatch(word) else word for word in words]
    words = [_NUMBER_WORDS.get(word, word) for word in words]
    # Numbers inside of words count as well: M4 is not M5.
    words = [part for word in words for part in re.findall(r"\d+|\D+", word)]
    return [word.lstrip("0") or "0" if word.isdigit() else word for word in words]


def _core(words: list[str]) -> list[str]:
    core = list(words)
    if len(core) > 1 and core[0] == "the":
        core = core[1:]
    while len(core) > 2 and core[0] in _HONORIFICS:
        core = core[1:]
    while len(core) > 1 and core[-1] in _LEGAL_FORMS:
        core = core[:-1]
    if len(core) > 1:
        core[0] = "saint" if core[0] == "st" else core[0]
        core[-1] = "street" if core[-1] == "st" else core[-1]
    return [_ABBREVIATIONS.get(word, word) for word in core]


def _acronyms(core: list[str]) -> tuple[str, ...]:
    long_words = [word for word in core if word not in _SMALL_WORDS]
    found = {"".join(word[0] for word in words) for words in (core, long_words)}
    return tuple(sorted(text for text in found if len(text) > 1))


def _short(name: str) -> str:
    bare = name.replace(".", "").strip()
    return bare.casefold() if re.fullmatch(r"[A-Z]{2,6}", bare) else ""


def _roman(text: str) -> int:
    values = [_ROMAN_DIGITS[digit] for digit in text]
    following = [*values[1:], 0]
    return sum(-v if v < after else v for v, after in zip(values, following, strict=True))
