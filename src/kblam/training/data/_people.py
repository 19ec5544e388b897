"""Names of people: first and last names of many locales, served by Faker."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from random import Random
from typing import Any

from kblam.errors import require

__all__ = ["NameList", "full_name", "load_names"]

# Locale and weight. Latin scripts are common in questions to a small model; the others are a
# small share, enough to learn that a name is copied as it stands.
_LOCALES: Mapping[str, float] = {
    "en_US": 30, "en_GB": 12, "en_IN": 4, "en_NG": 2, "de_DE": 5, "fr_FR": 5, "es_ES": 4,
    "es_MX": 2, "it_IT": 4, "pt_BR": 3, "nl_NL": 3, "pl_PL": 2, "cs_CZ": 2, "sv_SE": 2, "fi_FI": 2,
    "no_NO": 2, "da_DK": 2, "tr_TR": 2, "ro_RO": 1.5, "hr_HR": 1.5, "id_ID": 2, "vi_VN": 1.5,
    "et_EE": 1, "lt_LT": 1, "hu_HU": 1, "ga_IE": 1, "yo_NG": 1, "zu_ZA": 1,
    "ru_RU": 0.8, "uk_UA": 0.4, "el_GR": 0.7, "ja_JP": 0.6, "zh_CN": 0.6, "ko_KR": 0.5,
    "hi_IN": 0.4, "ar_AA": 0.4, "he_IL": 0.3, "ka_GE": 0.2, "hy_AM": 0.2,
}  # fmt: skip
_FAMILY_FIRST = frozenset({"ja_JP", "zh_CN", "ko_KR"})
_UNSPACED = frozenset({"zh_CN", "ko_KR"})


@dataclass(frozen=True)
class NameList:
    """The names of one locale."""

    locale: str
    weight: float
    male: tuple[str, ...]
    female: tuple[str, ...]
    last_male: tuple[str, ...]
    last_female: tuple[str, ...]


@functools.cache
def load_names() -> tuple[NameList, ...]:
    """Read the name lists of Faker's locales, once.

    Raises:
        MissingExtraError: Faker is not installed.
    """
    lists = []
    for locale, weight in _LOCALES.items():
        module = require(f"faker.providers.person.{locale}", extra="train")
        provider = module.Provider
        anyone = _names(provider, "first_names")
        last = _names(provider, "unisex_last_names") or _names(provider, "last_names")
        lists.append(
            NameList(
                locale=locale,
                weight=weight,
                male=_names(provider, "first_names_male") or anyone,
                female=_names(provider, "first_names_female") or anyone,
                last_male=_names(provider, "last_names_male") or last,
                last_female=_names(provider, "last_names_female") or last,
            )
        )
    return tuple(
        item for item in lists if min(map(len, (item.male, item.female, item.last_male))) > 5
    )


def _names(provider: Any, attribute: str) -> tuple[str, ...]:
    names: Iterable[str] = getattr(provider, attribute, None) or ()
    # Sorted and free of doubles, so that the same seed gives the same name everywhere.
    return tuple(sorted({name.strip() for name in names if name.strip()}))


def full_name(rng: Random, *, female: bool, names: NameList) -> str:
    """Return a person's name as their locale writes it, with a few unusual forms."""
    first = rng.choice(names.female if female else names.male)
    last = rng.choice((names.last_female or names.last_male) if female else names.last_male)
    if names.locale in _FAMILY_FIRST:
        return f"{last}{'' if names.locale in _UNSPACED else ' '}{first}"
    form = rng.random()
    if form < 0.07 and names.locale.startswith("en_"):
        return f"{first} {rng.choice('ABCDEFGHJKLMNPRSTVW')}. {last}"
    if 0.07 < form < 0.09:
        return f"{first} {last}-{rng.choice(names.last_female or names.last_male)}"
    if 0.09 < form < 0.12:
        return f"{first} {rng.choice(names.female if female else names.male)} {last}"
    return f"{first} {last}"
