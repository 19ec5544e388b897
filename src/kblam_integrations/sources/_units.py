"""The units of measures: how vocabularies name them, and how people write them."""

from __future__ import annotations

import re

from kblam.knowledge import verbalise

__all__ = ["UNIT_NAMESPACES", "code_symbol", "is_number", "unit_name"]

_QUDT = "http://qudt.org/vocab/unit/"
# A number with one of these as its datatype is so many of them.
UNIT_NAMESPACES = (
    _QUDT,
    "http://qudt.org/vocab/currency/",
    "http://dbpedia.org/datatype/",
    "http://www.ontology-of-units-of-measure.org/resource/om-2/",
)
_NUMBER = re.compile(r"[+-]?(\d[\d.,]*|\.\d+)([eE][+-]?\d+)?")

# QUDT's names of units, put together as in KiloM-PER-SEC2.
_QUDT_PREFIXES = {
    "Tera": "T",
    "Giga": "G",
    "Mega": "M",
    "Kilo": "k",
    "Hecto": "h",
    "Deci": "d",
    "Centi": "c",
    "Milli": "m",
    "Micro": "µ",
    "Nano": "n",
}
_QUDT_UNITS = {
    "A": "A",
    "AC": "acres",
    "BAR": "bar",
    "BIT": "bit",
    "BYTE": "B",
    "CAL": "cal",
    "CD": "cd",
    "DAY": "days",
    "DEG": "°",
    "DEG_C": "°C",
    "DEG_F": "°F",
    "FT": "ft",
    "GM": "g",
    "GRAM": "g",
    "HA": "ha",
    "HR": "h",
    "HZ": "Hz",
    "IN": "in",
    "J": "J",
    "K": "K",
    "L": "l",
    "LB": "lb",
    "LM": "lm",
    "LUX": "lx",
    "M": "m",
    "MI": "mi",
    "MIN": "min",
    "MO": "months",
    "MOL": "mol",
    "N": "N",
    "OHM": "Ω",
    "OZ": "oz",
    "PA": "Pa",
    "PERCENT": "%",
    "RAD": "rad",
    "SEC": "s",
    "TONNE": "t",
    "TON_Metric": "t",
    "UNITLESS": "",
    "NUM": "",
    "V": "V",
    "W": "W",
    "WK": "weeks",
    "YD": "yd",
    "YR": "years",
}
_POWERS = {"2": "²", "3": "³"}
# The codes of UN/CEFACT, which schema.org and GoodRelations ask for, that are most in use.
_CODES = {
    "ANN": "years",
    "BAR": "bar",
    "BHP": "hp",
    "CEL": "°C",
    "CLT": "cl",
    "CMK": "cm²",
    "CMQ": "cm³",
    "CMT": "cm",
    "DAY": "days",
    "FAH": "°F",
    "FOT": "ft",
    "GRM": "g",
    "HAR": "ha",
    "HTZ": "Hz",
    "HUR": "h",
    "INH": "in",
    "KEL": "K",
    "KGM": "kg",
    "KMH": "km/h",
    "KMT": "km",
    "KWH": "kWh",
    "KWT": "kW",
    "LBR": "lb",
    "LTR": "l",
    "MGM": "mg",
    "MHZ": "MHz",
    "MIN": "min",
    "MLT": "ml",
    "MMT": "mm",
    "MON": "months",
    "MTK": "m²",
    "MTQ": "m³",
    "MTR": "m",
    "MTS": "m/s",
    "NEW": "N",
    "ONZ": "oz",
    "P1": "%",
    "SEC": "s",
    "SMI": "mi",
    "TNE": "t",
    "VLT": "V",
    "WEE": "weeks",
    "WTT": "W",
    "YRD": "yd",
    "4L": "MB",
    "AMP": "A",
    "C62": "",
    "E34": "GB",
    "H87": "pieces",
}


def is_number(text: str) -> bool:
    """Tell whether a text is a number as literals write it."""
    return _NUMBER.fullmatch(text) is not None


def code_symbol(code: str) -> str:
    """Return the symbol of a code of UN/CEFACT (KGM: kg), or the text as it is."""
    return _CODES.get(code, code)


def unit_name(iri: str) -> str:
    """Return how to write a unit that only its IRI names: a symbol, or words.

    Args:
        iri: ``http://qudt.org/vocab/unit/KiloM-PER-HR`` gives ``km/h``;
            ``http://dbpedia.org/datatype/squareKilometre`` gives ``square kilometre``; a
            currency its code.
    """
    local = iri.rstrip("/").rsplit("/", 1)[-1].rsplit("#", 1)[-1]
    if local.isupper() and not iri.startswith(_QUDT):
        return local
    symbol = _qudt_symbol(local) if iri.startswith(_QUDT) else None
    return verbalise(iri) if symbol is None else symbol


def _qudt_symbol(local: str) -> str | None:
    """Return the symbol of a unit by QUDT's own way of naming them, None where it is another."""
    above: list[str] = []
    below: list[str] = []
    parts = above
    for part in local.split("-"):
        if part == "PER":
            parts = below
            continue
        symbol = _part_symbol(part)
        if symbol is None:
            return None
        parts.append(symbol)
    return "/".join("·".join(group) for group in (above, below) if group or group is above)


def _part_symbol(part: str) -> str | None:
    power = _POWERS.get(part[-1:], "")
    name = part[:-1] if power else part
    if name in _QUDT_UNITS:
        return _QUDT_UNITS[name] + power
    for prefix, short in _QUDT_PREFIXES.items():
        rest = name.removeprefix(prefix)
        if rest != name and rest in _QUDT_UNITS:
            return short + _QUDT_UNITS[rest] + power
    return None
