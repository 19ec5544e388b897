"""Templates of names and values, whose slots are filled at random.

A slot is written ``{name argument ...}``: one of the slots below (``{int 1 90}``, ``{word sport
cap}``, ``{one left, right}``), or a kind of entity from ``tables/names.txt``, of which it becomes
a new name.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from random import Random

from kblam.training.data._english import plural, with_article
from kblam.training.data._names import (
    city,
    code,
    country,
    first_name,
    person,
    surname,
    syllables,
    word,
)
from kblam.training.data._nouns import Noun, common_nouns, load_nouns
from kblam.training.data._tables import load_name_patterns

__all__ = ["fill", "make_name", "variant"]

_SLOT = re.compile(r"\{([^}]*)\}")
_MONTHS = ("January", "February", "March", "April", "May", "June", "July", "August", "September",
           "October", "November", "December")  # fmt: skip
_YEARS = (1820, 2020)
_TRIES = 8


@dataclass(frozen=True)
class _Slot:
    """One slot being filled: its arguments, and the entity whose value it is part of."""

    rng: Random
    arguments: tuple[str, ...]
    entity: str


def fill(rng: Random, template: str, entity: str = "") -> str:
    """Fill the slots of a template.

    Args:
        rng: The source of chance.
        template: The text with its slots.
        entity: Whose value it is, for slots that depend on it (an e-mail address).
    """
    return _SLOT.sub(lambda match: _fill_slot(rng, match[1], entity), template)


def make_name(rng: Random, kind: str) -> str:
    """Return a name for an entity of a kind."""
    if kind == "person":
        return person(rng)
    if kind == "city":
        return city(rng)
    return fill(rng, rng.choice(load_name_patterns()[kind]))


def variant(rng: Random, kind: str, name: str) -> str:
    """Return another name of the kind that is easily taken for this one.

    It shares a word with it (a family name, ``Center for``), has one more or one fewer, or
    differs in one digit.
    """
    digits = [index for index, sign in enumerate(name) if sign.isdigit()]
    if digits and rng.random() < 0.7:
        index = rng.choice(digits)
        return name[:index] + rng.choice("123456789") + name[index + 1 :]
    words = name.split(" ")
    form = rng.random()
    if form < 0.15 and len(words) > 2:
        index = rng.randrange(len(words))
        return " ".join((*words[:index], *words[index + 1 :]))
    if form < 0.4:
        return f"{name} {make_name(rng, kind).split(' ')[-1]}"
    for _ in range(_TRIES):
        other = make_name(rng, kind).split(" ")
        if len(other) == len(words) > 1:
            index = rng.randrange(len(words))
            return " ".join((*words[:index], other[index], *words[index + 1 :]))
    return make_name(rng, kind)


def _fill_slot(rng: Random, slot: str, entity: str) -> str:
    name, *arguments = slot.split(" ")
    maker = _SLOTS.get(name)
    if maker is None:
        return fill(rng, rng.choice(load_name_patterns()[name]), entity)
    return maker(_Slot(rng, tuple(arguments), entity))


def _word(slot: _Slot) -> str:
    text = word(slot.rng, slot.arguments[0])
    for form in slot.arguments[1:]:
        if form == "plural":
            text = plural(text)
        elif form == "cap":
            text = " ".join(part[:1].upper() + part[1:] for part in text.split(" "))
        elif form == "lower":
            text = text.lower()
        elif form == "article":
            text = with_article(text)
    return text


def _int(slot: _Slot) -> str:
    return str(slot.rng.randint(int(slot.arguments[0]), int(slot.arguments[1])))


def _large(slot: _Slot) -> str:
    low, high = (int(argument) for argument in slot.arguments)
    # Log-uniform: the sizes of things spread over orders of magnitude.
    number = round(low * (high / low) ** slot.rng.random())
    return f"{number:,}" if slot.rng.random() < 0.7 else str(number)


def _decimal(slot: _Slot) -> str:
    low, high, places = slot.arguments
    return f"{slot.rng.uniform(float(low), float(high)):.{int(places)}f}"


def _date(slot: _Slot) -> str:
    first, last = (int(year) for year in slot.arguments) if slot.arguments else _YEARS
    year, month = slot.rng.randint(first, last), slot.rng.randint(1, 12)
    day = slot.rng.randint(1, 28)
    form = slot.rng.random()
    if form < 0.4:
        return f"{day} {_MONTHS[month - 1]} {year}"
    if form < 0.6:
        return f"{_MONTHS[month - 1]} {day}, {year}"
    if form < 0.85:
        return f"{year}-{month:02d}-{day:02d}"
    return f"{day:02d}.{month:02d}.{year}"


def _time(slot: _Slot) -> str:
    hour, minute = slot.rng.randint(0, 23), 5 * slot.rng.randint(0, 11)
    if slot.rng.random() < 0.7:
        return f"{hour:02d}:{minute:02d}"
    return f"{(hour - 1) % 12 + 1}:{minute:02d} {'am' if hour < 12 else 'pm'}"


def _one(slot: _Slot) -> str:
    return slot.rng.choice(" ".join(slot.arguments).split(", "))


def _slug(slot: _Slot) -> str:
    plain = unicodedata.normalize("NFKD", slot.entity).encode("ascii", "ignore").decode().lower()
    parts = re.findall(r"[a-z0-9]+", plain) or ["office"]
    if slot.arguments == ("initial",):
        return f"{parts[0][0]}.{parts[-1]}"
    return "".join(slot.arguments).join(parts)


def _person(slot: _Slot, *, female: bool) -> str:
    if slot.arguments == ("first",):
        return first_name(slot.rng, female=female)
    return person(slot.rng, female=female)


def _syllables(slot: _Slot) -> str:
    text = syllables(slot.rng, int(slot.arguments[0]))
    return text.lower() if slot.arguments[-1] == "lower" else text


@cache
def _noun_table() -> dict[str, Noun]:
    return {noun.word: noun for noun in load_nouns()}


def _gloss(slot: _Slot) -> str:
    noun = _noun_table().get(slot.entity) or slot.rng.choice(load_nouns())
    if slot.arguments == ("class",):
        return noun.kind
    if slot.arguments == ("description",):
        return noun.description
    return noun.purpose or fill(slot.rng, "{word gerund} {everyday plural}")


def _thing(slot: _Slot) -> str:
    noun = slot.rng.choice(load_nouns()).word
    return with_article(noun) if slot.arguments else noun


def _everyday(slot: _Slot) -> str:
    noun = slot.rng.choice(common_nouns())
    return plural(noun) if slot.arguments else noun


def _plural(slot: _Slot) -> str:
    if slot.arguments == ("self",):
        return plural(slot.entity)
    return plural(word(slot.rng, slot.arguments[0]))


_SLOTS: Mapping[str, Callable[[_Slot], str]] = {
    "city": lambda slot: city(slot.rng),
    "code": lambda slot: code(slot.rng, " ".join(slot.arguments)),
    "country": lambda slot: country(slot.rng),
    "date": _date,
    "dec": _decimal,
    "everyday": _everyday,
    "female": lambda slot: _person(slot, female=True),
    "first": lambda slot: first_name(slot.rng, female=True),
    "gloss": _gloss,
    "int": _int,
    "intsep": _large,
    "lower": lambda slot: code(slot.rng, slot.arguments[0]).lower(),
    "mac": lambda slot: ":".join(f"{slot.rng.randrange(256):02x}" for _ in range(6)),
    "male": lambda slot: _person(slot, female=False),
    "month": lambda slot: slot.rng.choice(_MONTHS),
    "monthday": lambda slot: f"{slot.rng.randint(1, 28)} {slot.rng.choice(_MONTHS)}",
    "one": _one,
    "person": lambda slot: person(slot.rng),
    "plural": _plural,
    "slug": _slug,
    "surname": lambda slot: surname(slot.rng),
    "syllables": _syllables,
    "thing": _thing,
    "time": _time,
    "weekday": lambda slot: word(slot.rng, "weekday"),
    "word": _word,
    "year": _int,
}
