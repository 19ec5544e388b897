"""Values: the slots of a relation's template, filled at random."""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from random import Random

from kblam.training.data._names import NAME_MAKERS, city, code, make_name, person, surname, word
from kblam.training.data._nouns import Noun, common_nouns, load_nouns

__all__ = ["make_value", "plural", "render_template"]

_SLOT = re.compile(r"\{([^}]*)\}")
_IRREGULAR = {"mouse": "mice", "goose": "geese", "wolf": "wolves", "knife": "knives",
              "shelf": "shelves", "krone": "kroner", "krona": "kronor", "zloty": "zlotys",
               "loaf": "loaves", "child": "children", "foot": "feet"}  # fmt: skip
_INVARIABLE = ("yen", "won", "baht", "rand", "pound sterling", "renminbi")
_MONTHS = ("January", "February", "March", "April", "May", "June", "July", "August", "September",
           "October", "November", "December")  # fmt: skip


def make_value(rng: Random, template: str, entity: str) -> str:
    """Fill a relation's template for an entity."""
    return _SLOT.sub(lambda slot: render_template(rng, slot[1], entity), template)


def render_template(rng: Random, slot: str, entity: str) -> str:
    """Return the text of one slot, written ``name argument ...``."""
    name, *arguments = slot.split(" ")
    maker = _SLOTS.get(name)
    if maker is not None:
        return maker(rng, arguments, entity)
    return make_name(rng, name)


def plural(noun: str) -> str:
    """Return the plural of an English noun, its last word changed."""
    head, _, last = noun.rpartition(" ")
    if last in _IRREGULAR:
        last = _IRREGULAR[last]
    elif last.endswith("s") and not last.endswith("ss"):
        pass
    elif last.endswith(("ss", "x", "z", "ch", "sh")):
        last += "es"
    elif last.endswith("y") and last[-2:-1] not in "aeiou":
        last = f"{last[:-1]}ies"
    else:
        last += "s"
    return f"{head} {last}".strip()


def _word(rng: Random, arguments: Sequence[str], entity: str) -> str:
    text = word(rng, arguments[0])
    if "plural" in arguments:
        text = text if text in _INVARIABLE else plural(text)
    if "cap" in arguments:
        text = text[:1].upper() + text[1:]
    if "article" in arguments:
        text = f"{'an' if text[0].lower() in 'aeiou' else 'a'} {text}"
    return text


def _int(rng: Random, arguments: Sequence[str], entity: str) -> str:
    return str(rng.randint(int(arguments[0]), int(arguments[1])))


def _large(rng: Random, arguments: Sequence[str], entity: str) -> str:
    low, high = (int(argument) for argument in arguments)
    # Log-uniform: the sizes of things spread over orders of magnitude.
    number = round(low * (high / low) ** rng.random())
    return f"{number:,}" if rng.random() < 0.7 else str(number)


def _decimal(rng: Random, arguments: Sequence[str], entity: str) -> str:
    places = int(arguments[2])
    return f"{rng.uniform(float(arguments[0]), float(arguments[1])):.{places}f}"


def _date(rng: Random, arguments: Sequence[str], entity: str) -> str:
    year, month, day = rng.randint(1820, 2027), rng.randint(1, 12), rng.randint(1, 28)
    form = rng.random()
    if form < 0.4:
        return f"{day} {_MONTHS[month - 1]} {year}"
    if form < 0.6:
        return f"{_MONTHS[month - 1]} {day}, {year}"
    if form < 0.85:
        return f"{year}-{month:02d}-{day:02d}"
    return f"{day:02d}.{month:02d}.{year}"


def _month_day(rng: Random, arguments: Sequence[str], entity: str) -> str:
    return f"{rng.randint(1, 28)} {rng.choice(_MONTHS)}"


def _time(rng: Random, arguments: Sequence[str], entity: str) -> str:
    hour, minute = rng.randint(0, 23), rng.choice((0, 5, 10, 15, 20, 30, 40, 45, 50, 55))
    if rng.random() < 0.7:
        return f"{hour:02d}:{minute:02d}"
    return f"{(hour - 1) % 12 + 1}:{minute:02d} {'am' if hour < 12 else 'pm'}"


def _slug(text: str) -> str:
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    return "-".join(re.findall(r"[a-z0-9]+", plain)) or "unit"


def _email(rng: Random, arguments: Sequence[str], entity: str) -> str:
    parts = _slug(entity).split("-")
    user = f"{parts[0][0]}.{parts[-1]}" if rng.random() < 0.4 else ".".join(parts)
    if rng.random() < 0.3:
        user += str(rng.randint(1, 99))
    return f"{user}@{_slug(word(rng, 'brand_word') + word(rng, 'syllable'))}.{_domain(rng)}"


def _domain(rng: Random) -> str:
    return rng.choice(("com", "org", "net", "de", "co.uk", "io", "example", "eu"))


def _url(rng: Random, arguments: Sequence[str], entity: str) -> str:
    return f"https://{rng.choice(('www.', '', 'git.'))}{_slug(entity).replace('-', '')[:24]}." + (
        _domain(rng) + rng.choice(("", "/about", "/en", f"/{word(rng, 'theme')}"))
    )


def _ip(rng: Random, arguments: Sequence[str], entity: str) -> str:
    return f"10.{rng.randint(0, 255)}.{rng.randint(0, 255)}.{rng.randint(1, 254)}"


def _mac(rng: Random, arguments: Sequence[str], entity: str) -> str:
    return ":".join(f"{rng.randrange(256):02x}" for _ in range(6))


def _address(rng: Random, arguments: Sequence[str], entity: str) -> str:
    street = rng.choice((surname(rng), word(rng, "theme").capitalize(), city(rng)))
    if rng.random() < 0.6:
        kind = rng.choice(("Street", "Road", "Avenue", "Lane", "Square"))
        return f"{rng.randint(1, 240)} {street} {kind}, {city(rng)}"
    return f"{street}straße {rng.randint(1, 120)}, {code(rng, '#####')} {city(rng)}"


def _latin(rng: Random, arguments: Sequence[str], entity: str) -> str:
    genus = "".join(word(rng, "syllable") for _ in range(2)).capitalize()
    species = "".join(word(rng, "syllable") for _ in range(2))
    return (
        f"{genus}{rng.choice(('us', 'a', 'ia', 'um'))} {species}{rng.choice(('is', 'ata', 'ii'))}"
    )


def _foreign(rng: Random, arguments: Sequence[str], entity: str) -> str:
    return "".join(word(rng, "syllable") for _ in range(rng.randint(1, 3))) + rng.choice("aeio")


@functools.cache
def _noun_table() -> dict[str, Noun]:
    return {noun.word: noun for noun in load_nouns()}


def _gloss(rng: Random, arguments: Sequence[str], entity: str) -> str:
    noun = _noun_table().get(entity) or rng.choice(load_nouns())
    if arguments[0] == "class":
        return noun.kind
    if arguments[0] == "purpose" and noun.purpose is not None:
        return noun.purpose
    if arguments[0] == "purpose":
        verb = rng.choice(("carrying", "cleaning", "storing", "cutting", "marking", "measuring"))
        return f"{verb} {plural(rng.choice(common_nouns()))}"
    return noun.description


def _list(rng: Random, arguments: Sequence[str], entity: str) -> str:
    items = {word(rng, arguments[0]) for _ in range(rng.randint(int(arguments[1]), 5))}
    first, *rest = sorted(items)
    return f"{', '.join(rest)} and {first}" if rest else first


_SLOTS: Mapping[str, Callable[[Random, Sequence[str], str], str]] = {
    "word": _word,
    "int": _int,
    "intsep": _large,
    "dec": _decimal,
    "year": _int,
    "date": _date,
    "monthday": _month_day,
    "time": _time,
    "code": lambda rng, arguments, entity: code(rng, " ".join(arguments)),
    "lower": lambda rng, arguments, entity: code(rng, arguments[0]).lower(),
    "list": _list,
    "male": lambda rng, arguments, entity: (
        person(rng, female=False).split(" ")[0] if arguments else person(rng, female=False)
    ),
    "female": lambda rng, arguments, entity: person(rng, female=True),
    "surname": lambda rng, arguments, entity: surname(rng),
    "product": lambda rng, arguments, entity: (
        word(rng, "company_noun") if arguments else NAME_MAKERS["product"](rng)
    ),
    "plural": lambda rng, arguments, entity: plural(
        entity if arguments[0] == "self" else word(rng, arguments[0])
    ),
    "gloss": _gloss,
    "noun": lambda rng, arguments, entity: rng.choice(common_nouns()),
    "email": _email,
    "url": _url,
    "ip": _ip,
    "mac": _mac,
    "slug": lambda rng, arguments, entity: _slug(entity),
    "address": _address,
    "latin": _latin,
    "foreign": _foreign,
    "weekday": lambda rng, arguments, entity: word(rng, "weekday"),
    "month": lambda rng, arguments, entity: word(rng, "month"),
    "water": lambda rng, arguments, entity: rng.choice(
        (make_name(rng, "lake"), make_name(rng, "river"), f"the Gulf of {city(rng)}")
    ),
    "level": lambda rng, arguments, entity: rng.choice(("easy", "moderate", "hard", "for experts")),
    "soil": lambda rng, arguments, entity: rng.choice(
        ("loamy", "sandy", "chalky", "wet clay", "acidic peat", "stony, well drained")
    ),
    "ideology": lambda rng, arguments, entity: rng.choice(
        ("liberalism", "conservatism", "social democracy", "green politics", "federalism",
         "regionalism", "agrarianism", "pirate politics", "centrism", "monarchism")
    ),
    "office": lambda rng, arguments, entity: rng.choice(
        (f"mayor of {city(rng)}", f"minister of {word(rng, 'industry')}", "member of parliament",
         f"ambassador to {make_name(rng, 'country')}", f"bishop of {city(rng)}", "chief justice",
         f"governor of {city(rng)}", f"president of {make_name(rng, 'school')}")
    ),
    "ticketverb": lambda rng, arguments, entity: rng.choice(
        ("does not start", "shows a blank page", "loses data", "prints twice", "runs slowly")
    ),
}  # fmt: skip
