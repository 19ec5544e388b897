"""Numbers in texts: which a text states, and the one that a form takes from it."""

from __future__ import annotations

import re
from decimal import Decimal

__all__ = ["number_in", "numbers_in"]

# In figures, with or without commas between the thousands.
_NUMBER = re.compile(r"[0-9]+(?:,[0-9]{3})*(?:\.[0-9]+)?")
# A sign, with that of a currency beside it, and not the hyphen of "A-12".
_MINUS = re.compile(r"(?<!\S)[^\w\s.,-]?[-\u2212][^\w\s.,-]?\Z")
_TIMES = {
    "hundred": 10**2,
    "thousand": 10**3,
    "million": 10**6,
    "billion": 10**9,
    "trillion": 10**12,
}
_MAGNITUDE = re.compile(rf"\s*({'|'.join(_TIMES)})s?\b", re.IGNORECASE)
# Letters or signs that make figures part of something else: "204B", "3/4", "10^6".
_JOINED = re.compile(r"\w|\s*[/\u2044^]")
# As JSON writes it no number begins so: codes and telephone numbers do.
_CODE = re.compile(r"0[0-9]")
_MONTH = r"(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*\.?"
_DATE = re.compile(
    r"(?P<y1>[12][0-9]{3})-[0-9]{2}-[0-9]{2}(?:T\S*)?"
    rf"|[0-9]{{1,2}}(?:st|nd|rd|th|\.)? {_MONTH},? (?P<y2>[12][0-9]{{3}})"
    rf"|{_MONTH} [0-9]{{1,2}}(?:st|nd|rd|th)?,? (?P<y3>[12][0-9]{{3}})"
    r"|[0-9]{1,2}([./])[0-9]{1,2}\4(?P<y4>[12][0-9]{3})",
    re.IGNORECASE,
)


def numbers_in(text: str) -> set[float]:
    """The numbers that a text states in figures, without signs."""
    return {float(found.replace(",", "")) for found in _NUMBER.findall(text)}


def number_in(text: str) -> str | None:
    """The number that a text states, as JSON writes it: "48200" of "48,200 euros".

    A date states its year, and "1.2 million" 1200000.

    Returns:
        None where it states none in figures, or several, or where what is around the figures makes
        something else of them ("204B", "3/4", "007").
    """
    date = _DATE.fullmatch(text.strip())
    if date is not None:
        return next(year for year in date.group("y1", "y2", "y3", "y4") if year)
    found = list(_NUMBER.finditer(text))
    if len(found) != 1:
        return None
    before, figures, after = text[: found[0].start()], found[0][0], text[found[0].end() :]
    negative = _MINUS.search(before) is not None
    attached = before[-1:].isalnum() or (not negative and before[-1:] in ("-", ".", ",", "/", "_"))
    if attached or _JOINED.match(after) or _CODE.match(figures):
        return None
    number = figures.replace(",", "")
    magnitude = _MAGNITUDE.match(after)
    if magnitude is not None:
        number = _plain(Decimal(number) * _TIMES[magnitude[1].lower()])
    return ("-" if negative else "") + number


def _plain(number: Decimal) -> str:
    """Without an exponent, and without zeros after the last figure of a fraction."""
    text = f"{number:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
