"""The declarative tables: word lists, relations, prompts, read from text files of the package.

A file of relations has sections, one for each kind of entity, and for each relation one head
line followed by its own ways of asking::

    [company]
    chief executive officer | CEO | ~led_by | ?boss = {person} ; many=leaders ; group=head
    - Who runs {e}?

The head line names the relation. The first name is the usual one. Names with ``~`` are used by
stores but not in questions (verb forms such as ``founded_in``), names with ``?`` in questions
but not by stores. Behind ``=`` stands the template of its values, whose slots
``kblam.training.data._templates`` fills. ``many`` marks a relation that may have several values
and gives its plural. Relations that share a ``group`` say nearly the same thing, so that no
entity has two of them. ``tells`` names relations of the same kind that this one may half answer
(``*``: it sums up the entity), and ``named`` marks those that the entity's name may give away:
none of these makes a fair question without an answer.

In a way of asking, ``{e}`` is the entity, ``{a}`` the entity with an indefinite article and
``{the}`` with a definite one.
"""

from __future__ import annotations

import functools
import zlib
from dataclasses import dataclass
from importlib import resources

from kblam.knowledge import Triple

__all__ = [
    "Relation",
    "is_verb",
    "load_instructions",
    "load_name_patterns",
    "load_relations",
    "load_words",
]

_PEOPLE = frozenset({"person", "employee", "patient"})
#: Values that are entities themselves, and the kind of entity they are.
_ENTITY_VALUES = {
    "{person}": "person", "{male}": "person", "{female}": "person", "{company}": "company",
    "{school}": "school", "{city}": "city", "{software}": "software", "{project}": "project",
}  # fmt: skip
_INVERSE_PEOPLE = (
    "Whose {p} is {e}?",
    "Who has {e} as {p}?",
    "{e} is the {p} of whom?",
    "Of whom is {e} the {p}?",
    "Tell me whose {p} {e} is.",
)
_INVERSE_THINGS = (
    "What is {e} the {p} of?",
    "Of what is {e} the {p}?",
    "{e} is the {p} of what?",
    "What has {e} as its {p}?",
    "Tell me what {e} is the {p} of.",
)
#: One relation in so many is held back for validation, and which remainder of its name's checksum
#: says so.
_HELD_BACK = 32
_REMAINDER = 16


@dataclass(frozen=True)
class Relation:
    """A relation of one kind of entity.

    Attributes:
        kind: The kind of entity that has it.
        name: Its usual name.
        stored: The names that a store may use, the usual one first.
        spoken: The names that a question may use.
        value: The template of its values.
        asks: Its own ways of asking.
        plural: Its name where several values are meant, or None if it has but one value.
        group: The name of the group of relations that say nearly the same thing.
        tells: The names of relations that it may half answer, or that may half answer it.
        named: Whether the name of the entity may give the value away.
    """

    kind: str
    name: str
    stored: tuple[str, ...]
    spoken: tuple[str, ...]
    value: str
    asks: tuple[str, ...]
    plural: str | None
    group: str
    tells: frozenset[str] = frozenset()
    named: bool = False

    @property
    def id(self) -> str:
        """An identifier: the kind and the name."""
        return f"{self.kind}/{self.name}"

    @property
    def held_back(self) -> bool:
        """Whether it is kept out of training, for every kind alike."""
        checksum = zlib.crc32(self.name.removesuffix(" of").encode())
        return checksum % _HELD_BACK == _REMAINDER

    @functools.cached_property
    def verbs(self) -> tuple[str, ...]:
        """Those of its stored names that are verbs, as a graph's relations often are."""
        return tuple(name for name in self.stored if is_verb(name))

    @property
    def sums_up(self) -> bool:
        """Whether its value says in short what the entity is."""
        return "*" in self.tells

    def overlaps(self, other: Relation) -> bool:
        """Whether a value of one may be taken for an answer about the other."""
        return self.group == other.group or self.name in other.tells or other.name in self.tells

    @property
    def value_kind(self) -> str | None:
        """The kind of entity that its values are, if they are entities."""
        return _ENTITY_VALUES.get(self.value)

    @property
    def inverse(self) -> bool:
        """Whether it is another relation told from its value."""
        return not self.spoken

    def turned_round(self) -> Relation:
        """Return the relation told from its value: ``founder of`` for ``founder``.

        Raises:
            ValueError: Its values are no entities.
        """
        if self.value_kind is None:
            raise ValueError(f"The values of {self.id} are no entities: {self.value}.")
        asks = _INVERSE_PEOPLE if self.kind in _PEOPLE else _INVERSE_THINGS
        name = f"{self.name} of"
        return Relation(
            kind=self.value_kind,
            name=name,
            stored=(name,),
            spoken=(),
            value=f"{{{self.kind}}}",
            asks=tuple(ask.replace("{p}", self.name) for ask in asks),
            plural=None,
            group=name,
        )

    @property
    def value_type(self) -> str:
        """The type of its values: the name of the first slot of the template."""
        _, _, rest = self.value.partition("{")
        return rest.partition("}")[0].split(" ")[0] if rest else "text"


def is_verb(name: str) -> bool:
    """Whether a property's name is a verb, as ``located_in``."""
    return Triple("it", name, "that").verb_text is not None


def _sections(text: str) -> list[tuple[str, list[str]]]:
    sections: list[tuple[str, list[str]]] = []
    for raw in text.splitlines():
        line = raw.strip()
        if not line or line.startswith("#"):
            continue
        if line.startswith("[") and line.endswith("]"):
            sections.append((line[1:-1], []))
        else:
            sections[-1][1].append(line)
    return sections


@functools.cache
def load_words() -> dict[str, tuple[str, ...]]:
    """Return the word lists of the package by name."""
    text = (resources.files(__package__) / "tables" / "words.txt").read_text(encoding="utf-8")
    return {
        name: tuple(word.strip() for line in lines for word in line.split(",") if word.strip())
        for name, lines in _sections(text)
    }


@functools.cache
def load_name_patterns() -> dict[str, tuple[str, ...]]:
    """Return the patterns of names by kind of entity."""
    text = (resources.files(__package__) / "tables" / "names.txt").read_text(encoding="utf-8")
    return {kind: tuple(lines) for kind, lines in _sections(text)}


@functools.cache
def load_instructions() -> tuple[str, ...]:
    """Return the templates of general prompts, one for each line of their file."""
    file = resources.files(__package__) / "tables" / "instructions.txt"
    lines = (line.strip() for line in file.read_text(encoding="utf-8").splitlines())
    return tuple(line.replace(r"\n", "\n") for line in lines if line and not line.startswith("#"))


@functools.cache
def load_relations() -> tuple[Relation, ...]:
    """Return all relations of the package, ordered by file and place in it."""
    folder = resources.files(__package__) / "tables" / "relations"
    relations: list[Relation] = []
    for file in sorted(folder.iterdir(), key=lambda file: file.name):
        if not file.name.endswith(".txt"):
            continue
        for kind, lines in _sections(file.read_text(encoding="utf-8")):
            relations.extend(_parse_section(kind, lines))
    return tuple(relations)


def _parse_section(kind: str, lines: list[str]) -> list[Relation]:
    heads = [index for index, line in enumerate(lines) if not line.startswith("- ")]
    found = []
    for start, end in zip(heads, [*heads[1:], len(lines)], strict=True):
        asks = tuple(line[2:] for line in lines[start + 1 : end])
        found.append(_parse_head(kind, lines[start], asks))
    return found


def _parse_head(kind: str, line: str, asks: tuple[str, ...]) -> Relation:
    names, _, definition = line.partition(" = ")
    value, *options = (part.strip() for part in definition.split(" ; "))
    settings = dict(option.split("=", 1) for option in options)
    written = [name.strip() for name in names.split("|")]
    name = written[0]
    return Relation(
        kind=kind,
        name=name,
        stored=tuple(word.lstrip("~") for word in written if not word.startswith("?")),
        spoken=tuple(word.lstrip("?") for word in written if not word.startswith("~")),
        value=value,
        asks=asks,
        plural=settings.get("many"),
        group=settings.get("group", name),
        tells=frozenset(filter(None, settings.get("tells", "").split(","))),
        named="named" in settings,
    )
