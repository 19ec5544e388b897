"""Probabilistic record linkage with Splink: how likely two names mean the same entity.

The model is that of Fellegi and Sunter. Two things are particular to names in texts:

* A name is one record, however often it occurs, so that equal names never meet.
* Names come in families: siblings, series, neighbouring places. How many names look like a given
  one hardly depends on the size of the collection, so that the chance of a likeness between two
  names that mean different things is set per name, not per pair.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from kblam.errors import require
from kblam.extraction._records import Record, rare_facts, texts

__all__ = ["Candidate", "Linkage", "link"]

_EXTRA = "extract"
_DUPLICATES = 0.1  # other spellings per name
_ENOUGH = 50  # clear matches, for weights to be estimated
_CLEAR = 0.95
_NEGLIGIBLE = 0.001
_COMMON_WORD = 30  # a word of more names than this is no reason to compare two
_LISTS = frozenset(
    ("acronyms", "documents", "facts", "keys", "properties", "rare", "types", "words")
)


@dataclass(frozen=True, slots=True)
class Candidate:
    """Two records that were compared, by their positions, and the probability of a match."""

    left: int
    right: int
    probability: float


@dataclass(frozen=True, slots=True)
class Linkage:
    """What a comparison of all records found.

    Attributes:
        candidates: Every pair that was compared.
        estimated: Whether the weights of facts and types were estimated from the records.
    """

    candidates: list[Candidate]
    estimated: bool


@dataclass(frozen=True, slots=True)
class _Level:
    """A degree of likeness.

    Attributes:
        label: What it is.
        condition: It in SQL, of the columns of the left and the right record.
        m: How probable it is for two spellings of one name.
        u: How probable it is for names of two entities. Of names: how many others look like a
            name to this degree.
    """

    label: str
    condition: str
    m: float
    u: float


_ABBREVIATED = """
(last_l = last_r AND (first_l = first_r OR (
    (length(first_l) = 1 OR length(first_r) = 1) AND first_l[1] = first_r[1]))
  AND (middles_l = middles_r OR middles_l = '' OR middles_r = '')
  AND (initials_l OR initials_r) AND len(words_l) > 1 AND len(words_r) > 1)
"""
_ACRONYM = """
(list_contains(acronyms_l, short_r) OR list_contains(acronyms_r, short_l))
"""
_LONG_ACRONYM = f"({_ACRONYM} AND greatest(length(short_l), length(short_r)) > 2)"
_TOGETHER = "len(list_intersect(documents_l, documents_r)) > 0"
_MISSPELT = """
((damerau_levenshtein(core_l, core_r) <= 1 AND least(length(core_l), length(core_r)) >= 6)
  OR (damerau_levenshtein(core_l, core_r) <= 2 AND least(length(core_l), length(core_r)) >= 10))
"""
_PART = "(list_has_all(words_l, words_r) OR list_has_all(words_r, words_l))"
_SIMILAR = """
(jaro_winkler_similarity(core_l, core_r) >= 0.9
  OR 2 * len(list_intersect(words_l, words_r)) >= greatest(len(words_l), len(words_r)))
"""
_NAME = [
    _Level("the same words", "core_l = core_r", 0.5, 0.0002),
    _Level(
        "short for it, in one text", f"({_ACRONYM} OR {_ABBREVIATED}) AND {_TOGETHER}", 0.1, 2e-4
    ),
    _Level("short for it", f"{_LONG_ACRONYM} OR {_ABBREVIATED}", 0.1, 0.01),
    # Endings carry meaning (Christina and Christine, Paul and Paula), typing errors fall anywhere.
    _Level("another ending", "stem_l = stem_r", 0.02, 0.05),
    _Level("misspelt", _MISSPELT, 0.15, 0.03),
    _Level("a part of it", _PART, 0.08, 0.2),
    _Level("similar", _SIMILAR, 0.05, 0.5),
    _Level("another", "ELSE", 0.02, 0.0),
]
_TYPES = [
    _Level("the same type", "len(list_intersect(types_l, types_r)) > 0", 0.9, 0.4),
    _Level("another type", "ELSE", 0.1, 0.6),
]
_FACTS = [
    _Level("two rare facts", "len(list_intersect(rare_l, rare_r)) > 1", 0.25, 0.004),
    _Level("a rare fact", "len(list_intersect(rare_l, rare_r)) = 1", 0.3, 0.012),
    _Level("a common fact", "len(list_intersect(facts_l, facts_r)) > 0", 0.25, 0.184),
    _Level("no fact", "ELSE", 0.2, 0.8),
]


def link(records: Sequence[Record], *, estimate: bool = True) -> Linkage:
    """Compare the records that may name the same entity.

    Args:
        records: One per name.
        estimate: Estimate weights by expectation maximisation where there is enough to do so.

    Raises:
        MissingExtraError: Splink is not installed.
    """
    splink = require("splink", extra=_EXTRA)
    if len(records) < 2:
        return Linkage([], estimated=False)
    # Splink's warnings are for those who build a model by hand.
    logging.getLogger("splink").setLevel(logging.ERROR)
    database = splink.DuckDBAPI()
    try:
        table = database.register(_table(records))
        linker = splink.Linker(table, _settings(splink, len(records)), log_level=None)
        candidates = _predict(linker)
        clear = sum(candidate.probability > _CLEAR for candidate in candidates)
        estimated = estimate and clear >= _ENOUGH
        if estimated:
            _estimate(splink, linker)
            candidates = _predict(linker)
    finally:
        database.duckdb_con.close()
    return Linkage(candidates, estimated)


def _estimate(splink: Any, linker: Any) -> None:
    """Estimate from the records how often facts and types of the same entity agree.

    They are judged among records of the same words. The weights of the names stay: siblings
    share facts and look alike, so that records which share facts would teach to merge them.
    """
    linker.training.estimate_parameters_using_expectation_maximisation(splink.block_on("core"))


def _predict(linker: Any) -> list[Candidate]:
    found = linker.inference.predict(threshold_match_probability=_NEGLIGIBLE).as_record_list()
    candidates = [
        Candidate(row["unique_id_l"], row["unique_id_r"], row["match_probability"]) for row in found
    ]
    return sorted(candidates, key=lambda candidate: (candidate.left, candidate.right))


def _table(records: Sequence[Record]) -> Any:
    arrow = require("pyarrow", extra=_EXTRA)
    rare = rare_facts(records)
    columns: dict[str, list[Any]] = {
        "unique_id": list(range(len(records))),
        "core": [record.parts.core for record in records],
        "start": [record.parts.core[:4] for record in records],
        "close": [record.parts.core[-4:] for record in records],
        "first": [record.parts.first for record in records],
        "last": [record.parts.last for record in records],
        "middles": [record.parts.middles for record in records],
        "stem": [_stem(record) for record in records],
        "short": [record.parts.short for record in records],
        "initials": [bool(record.parts.letters) for record in records],
        "words": [list(record.parts.words) for record in records],
        "keys": _keys(records),
        "acronyms": [list(record.parts.acronyms) for record in records],
        "types": [sorted(record.types) for record in records],
        "facts": [texts(record) for record in records],
        "rare": rare,
        "properties": [sorted(record.facts) for record in records],
        "documents": [sorted(record.documents) for record in records],
    }
    # Given, as the type of nothing but empty lists cannot be told.
    kinds = {"unique_id": arrow.int64(), "initials": arrow.bool_()}
    texts_type = arrow.list_(arrow.string())
    schema = arrow.schema(
        [
            (name, texts_type if name in _LISTS else kinds.get(name, arrow.string()))
            for name in columns
        ]
    )
    return arrow.table(columns, schema=schema)


def _keys(records: Sequence[Record]) -> list[list[str]]:
    """Return what two records must share one of to be compared by their names."""
    counts = Counter(word for record in records for word in set(record.parts.words))
    return [
        sorted(
            {word for word in record.parts.words if 1 < counts[word] <= _COMMON_WORD}
            | {*record.parts.acronyms, record.parts.short} - {""}
        )
        for record in records
    ]


def _stem(record: Record) -> str:
    return " ".join(word.rstrip("aeious") or word for word in record.parts.words)


def _settings(splink: Any, count: int) -> Any:
    # Fewer names than this are judged as if they were so many.
    others = max(count - 1, 20)
    likenesses = [replace(level, u=level.u / others) for level in _NAME]
    likenesses[-1] = replace(_NAME[-1], u=1 - sum(level.u for level in likenesses[:-1]))
    return splink.SettingsCreator(
        link_type="dedupe_only",
        probability_two_random_records_match=_DUPLICATES / others,
        blocking_rules_to_generate_predictions=[
            splink.block_on("core"),
            splink.block_on("keys", arrays_to_explode=["keys"]),
            splink.block_on("start"),
            splink.block_on("close"),
            splink.block_on("rare", arrays_to_explode=["rare"]),
        ],
        comparisons=[
            _comparison("name", likenesses),
            _comparison("types", _TYPES, unknown="len(types_l) = 0 OR len(types_r) = 0"),
            _comparison(
                "facts", _FACTS, unknown="len(list_intersect(properties_l, properties_r)) = 0"
            ),
        ],
        retain_intermediate_calculation_columns=False,
        retain_matching_columns=False,
    )


def _comparison(name: str, levels: Sequence[_Level], unknown: str | None = None) -> dict[str, Any]:
    described: list[dict[str, Any]] = []
    if unknown is not None:
        described.append(
            {"sql_condition": unknown, "label_for_charts": "unknown", "is_null_level": True}
        )
    described += [
        {
            "sql_condition": level.condition,
            "label_for_charts": level.label,
            "m_probability": level.m,
            "u_probability": level.u,
        }
        for level in levels
    ]
    return {"output_column_name": name, "comparison_levels": described}
