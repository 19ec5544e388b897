"""Made-up facts in which one entity has many names, and many names look like one entity.

Seeded: the same number gives the same facts. Names are drawn, then spelled anew for each mention:
with a typing error, an honorific or legal form, shortened, turned round. Beside them stand names
that only look alike: siblings, numbered series, opposite quarters, one letter of difference.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

_ONSETS = (
    "b",
    "br",
    "c",
    "d",
    "dr",
    "f",
    "g",
    "gr",
    "h",
    "j",
    "k",
    "kl",
    "l",
    "m",
    "n",
    "p",
    "st",
    "tr",
)
_VOWELS = ("a", "e", "i", "o", "u", "ai", "ea", "io", "ou")
_CODAS = ["", "", "l", "n", "r", "s", "m", "nd", "rt", "ck"]
_FIELDS = ("Analytics", "Ceramics", "Energy", "Foods", "Logistics", "Mining", "Optics", "Textiles")
_ROLES = (
    "architect",
    "chemist",
    "clerk",
    "driver",
    "engineer",
    "lawyer",
    "nurse",
    "pilot",
    "teacher",
)
_FORMS = (("Inc", "Inc.", "Corp", "Corporation"), ("GmbH", "gmbh"), ("Ltd", "Ltd."))


@dataclass
class World:
    """Facts, and which names of them mean which entity."""

    facts: list[dict[str, object]] = field(default_factory=list)
    names: dict[str, int] = field(default_factory=dict)  # name -> entity
    kinds: dict[str, str] = field(default_factory=dict)  # name -> how it was made


def make_world(entities: int, seed: int) -> World:
    """Make facts about so many entities, half of them with several names."""
    maker = _Maker(seed)
    makers = (maker.person, maker.siblings, maker.company, maker.series, maker.quarters)
    while maker.count < entities:
        maker.random.choice(makers)()
    maker.random.shuffle(maker.world.facts)
    return maker.world


def pairs_of(groups: list[list[str]]) -> set[tuple[str, str]]:
    """Return all pairs of names within groups."""
    return {(a, b) for group in groups for a in group for b in group if a < b}


class _Maker:
    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.world = World()
        self.count = 0

    def person(self) -> None:
        given, family = self.word(2), self.word(2)
        names = [(f"{given} {family}", "plain")]
        if self.random.random() < 0.5:
            names += self.sample(
                [
                    (f"Dr. {given} {family}", "honorific"),
                    (f"{family}, {given}", "turned"),
                    (f"{given[0]}. {family}", "initial"),
                    (f"{given} {self.word(1)[0]}. {family}", "initial"),
                    (self.typo(f"{given} {family}"), "typo"),
                    (f"{given} {family}".upper(), "case"),
                ]
            )
        employer = self.word(2)
        self.add(names, self.person_facts(employer))
        if self.random.random() < 0.1:  # one whose initials are the same
            other = given[0] + self.word(2).lower()
            self.add([(f"{other} {family}", "initials")], self.person_facts(employer))

    def siblings(self) -> None:
        """Two people of one family who work at one place, their names a letter or two apart."""
        stem, family, employer, town = self.word(2), self.word(2), self.word(2), self.word(2)
        for ending in self.random.choice((("a", "e"), ("n", "na"), ("o", "us"), ("in", "on"))):
            facts = self.person_facts(employer)
            facts["birthplace"] = town
            self.add([(f"{stem}{ending} {family}", "sibling")], facts)

    def company(self) -> None:
        words = [self.word(2), self.word(2), self.random.choice(_FIELDS)]
        base, forms = " ".join(words), self.random.choice(_FORMS)
        names = [(f"{base} {forms[0]}", "plain")]
        if self.random.random() < 0.5:
            names += self.sample(
                [
                    (base, "form"),
                    (f"{base} {self.random.choice(forms[1:])}", "form"),
                    (f"The {base}", "form"),
                    ("".join(word[0] for word in words), "acronym"),
                    (self.typo(base), "typo"),
                    (base.replace(" ", "-"), "case"),
                ]
            )
        facts = {
            "founder": f"{self.word(2)} {self.word(2)}",
            "founded": str(self.random.randint(1850, 2020)),
            "headquarters": self.word(2),
            "sector": words[-1].lower(),
        }
        self.add(names, facts)

    def series(self) -> None:
        """Numbered things of one place, which agree in everything else."""
        base, town = self.random.choice(("Warehouse", "Reactor", "Terminal", "Lab")), self.word(2)
        for number in self.random.sample(range(2, 99), 3):
            facts = {"location": town, "manager": f"{self.word(2)} {self.word(2)}"}
            self.add([(f"{town} {base} {number}", "series")], facts)

    def quarters(self) -> None:
        """Two districts that differ in one word."""
        town = self.word(2)
        for side in self.random.choice((("North", "South"), ("Upper", "Lower"), ("East", "West"))):
            self.add([(f"{side} {town}", "quarter")], {"city": town, "mayor": self.word(2)})

    def person_facts(self, employer: str) -> dict[str, str]:
        year, month, day = (self.random.randint(*ends) for ends in ((1940, 2005), (1, 9), (10, 28)))
        return {
            "birth date": f"{year}-0{month}-{day}",
            "employer": employer,
            "profession": self.random.choice(_ROLES),
            "residence": self.word(2),
        }

    def add(self, names: list[tuple[str, str]], facts: dict[str, str]) -> None:
        """Give every name of an entity some of its facts: two names may have none in common."""
        entity = self.count
        self.count += 1
        document = f"text {self.random.randrange(10**6)}"
        for position, (name, kind) in enumerate(names):
            if self.world.names.setdefault(name, entity) != entity:
                continue  # the name is taken by chance
            self.world.kinds[name] = kind
            share = self.random.randint(2 if position == 0 else 1, len(facts))
            for key in self.random.sample(sorted(facts), share):
                # Half of the names are met in the text of the first one.
                place = document if self.random.random() < 0.5 else f"{document}, {position}"
                self.world.facts.append(
                    {
                        "entity": name,
                        "property": key,
                        "value": facts[key],
                        "metadata": {"document": place},
                    }
                )

    def sample(self, names: list[tuple[str, str]]) -> list[tuple[str, str]]:
        return self.random.sample(names, self.random.randint(1, 2))

    def typo(self, name: str) -> str:
        """Drop, double or swap one letter inside of a word."""
        place = self.random.choice(
            [i for i in range(1, len(name) - 2) if name[i : i + 2].isalpha()]
        )
        return self.random.choice(
            (
                name[:place] + name[place + 1 :],
                name[:place] + name[place] + name[place:],
                name[:place] + name[place + 1] + name[place] + name[place + 2 :],
            )
        )

    def word(self, syllables: int) -> str:
        parts = (
            self.random.choice(_ONSETS) + self.random.choice(_VOWELS) + self.random.choice(_CODAS)
            for _ in range(syllables)
        )
        return "".join(parts).capitalize()
