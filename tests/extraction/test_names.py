from __future__ import annotations

import pytest

from kblam.extraction._names import name_parts


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("ACME Corp.", "Acme Corporation"),
        ("Müller", "MULLER"),
        ("Lee, Ann", "Ann Lee"),
        ("Dr. Ann Lee", "Ann Lee"),
        ("The Beatles", "Beatles"),
        ("St. Petersburg", "Saint Petersburg"),
        ("World War Two", "World War II"),
        ("U.S.A.", "USA"),
        ("Smith & Sons", "Smith and Sons"),
        ("Warehouse 042", "Warehouse 42"),
    ],
)
def test_spellings_of_one_name_have_one_core(name, other):
    assert name_parts(name).core == name_parts(other).core
    assert not name_parts(name).excludes(name_parts(other))


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("Warehouse 42", "Warehouse 47"),
        ("Warehouse 42", "Warehouse"),
        ("bolt M4", "bolt M5"),
        ("Henry IV", "Henry V"),
        ("Room A", "Room B"),
        ("J. Smith", "K. Smith"),
        ("North Korea", "South Korea"),
        ("Mr. Lee", "Mrs. Lee"),
        ("Acme GmbH", "Acme Inc."),
        ("First Bank", "Third Bank"),
        ("C", "C++"),
        ("C#", "C"),
    ],
)
def test_what_tells_things_apart_excludes(name, other):
    assert name_parts(name).excludes(name_parts(other))
    assert name_parts(other).excludes(name_parts(name))


def test_initials_are_no_numerals_and_forms_of_address_are_no_names():
    assert name_parts("John V. Smith").letters == ("v",)
    assert name_parts("Elizabeth I").numbers == ("1",)
    assert name_parts("Mr. Lee").core == "mr lee"  # Lee alone may be anybody
    assert name_parts("Walt Disney Company").core != name_parts("Walt Disney").core
    assert name_parts("World Health Organization").acronyms == ("who",)
    assert name_parts("W.H.O.").short == "who"
    assert name_parts("???").core == "???"
