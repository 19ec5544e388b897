"""A file of what came of each question, which a later run continues."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Generic, Protocol, TextIO, TypeVar

from kblam.errors import ConfigError
from kblam.knowledge._files import reading
from kblam.knowledge._json_lines import parse_json

__all__ = ["Record", "RecordFile", "differing", "read_records"]


class Record(Protocol):
    """What came of one question."""

    @property
    def index(self) -> int:
        """The question's number."""
        ...

    @property
    def asked(self) -> Any:
        """What tells whether it is still the same question."""
        ...

    def to_dict(self) -> dict[str, Any]:
        """The record as JSON-able values."""
        ...


R = TypeVar("R", bound=Record)


class RecordFile(Generic[R]):
    """A JSONL file: the settings first, then a record a line, each written at once.

    Args:
        path: The file; None keeps nothing.
        settings: The settings that the records depend on.
        parse: Makes a record of what its `to_dict` gave.

    Raises:
        ConfigError: The file holds records of other settings, or is none of these files.
    """

    def __init__(
        self,
        path: Path | None,
        settings: dict[str, Any],
        parse: Callable[[dict[str, Any]], R],
    ) -> None:
        self.records: dict[int, R] = {}
        self._path = path
        self._settings = dict(settings)
        self._held: dict[str, Any] | None = None
        self._parse = parse
        self._file: TextIO | None = None
        if path is not None and path.is_file() and path.stat().st_size:
            self._read(path)

    def _read(self, path: Path) -> None:
        self._held, records = read_records(path, self._parse)
        self.expect()
        self.records = {record.index: record for record in records}

    def expect(self, **settings: Any) -> None:
        """Take in settings that are known later than the file, such as those of a loaded model.

        Raises:
            ConfigError: The file holds records of other ones.
        """
        self._settings |= settings
        if self._held is None:
            return
        changed = differing(self._held, self._settings)
        if changed:
            raise ConfigError(
                f"Expected {self._path} to hold answers of the same evaluation, but these settings "
                f"differ: {', '.join(changed)}. Give another file, or the settings it was "
                "written with."
            )

    def __enter__(self) -> RecordFile[R]:
        if self._path is not None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            # Written anew, so that an unfinished last line is gone before the next one follows;
            # replaced as a whole, so that a kill at this moment loses nothing either.
            lines = [{"settings": self._settings}] + [r.to_dict() for r in self.records.values()]
            fresh = self._path.with_name(self._path.name + ".new")
            fresh.write_text("".join(map(_line, lines)), encoding="utf-8")
            fresh.replace(self._path)
            self._file = self._path.open("a", encoding="utf-8")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._file is not None:
            self._file.close()

    def has(self, index: int, question: Any) -> bool:
        """Whether a question was answered already.

        Args:
            index: Its number.
            question: What identifies it, as in its record's `asked`.

        Raises:
            ConfigError: The record is of another question: the questions' file has changed.
        """
        record = self.records.get(index)
        if record is not None and record.asked != question:
            raise ConfigError(
                f"Expected {self._path} to hold answers to the same questions, but its question "
                f"{index} is {record.asked!r:.200}, now it is {question!r:.200}. "
                "Give a new file to resume from."
            )
        return record is not None

    def add(self, record: R) -> None:
        """Keep a record."""
        self.records[record.index] = record
        if self._file is not None:
            self._file.write(_line(record.to_dict()))
            self._file.flush()


def differing(held: dict[str, Any], settings: dict[str, Any]) -> list[str]:
    """The names of the settings that were others, or none, when something was written."""
    missing = object()
    return sorted(k for k, value in settings.items() if held.get(k, missing) != value)


def read_records(
    path: Path, parse: Callable[[dict[str, Any]], R]
) -> tuple[dict[str, Any], list[R]]:
    """Read what a `RecordFile` wrote.

    Args:
        path: The file.
        parse: Makes a record of what its `to_dict` gave.

    Returns:
        The settings that the records depend on, and the records.

    Raises:
        ConfigError: There is no such file, or it is none of these.
        SourceError: The file cannot be read, or is not UTF-8.
    """
    if not path.is_file():
        raise ConfigError(f"Expected records in {path}, but there is no such file.")
    with reading(path):
        written = path.read_bytes()
        # A killed run may have left its last line unfinished, in the middle of a letter even.
        text = written[: written.rfind(b"\n") + 1].decode()
    # Line feeds alone end a record: answers may hold the other ends of lines that Unicode has.
    first, *lines = text.removesuffix("\n").split("\n")
    settings = _settings_in(first, path)
    try:
        return settings, [parse(parse_json(line)) for line in lines]
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigError(
            f"Expected {path} to hold records of this version of kblam, could not read one: "
            f"{error}. Give a new file to resume from."
        ) from error


def _settings_in(line: str, path: Path) -> dict[str, Any]:
    try:
        settings = parse_json(line)["settings"]
        if not isinstance(settings, dict):
            raise TypeError(f"settings of type {type(settings).__name__}")
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigError(
            f"Expected {path} to begin with the settings of an evaluation, but it does not. "
            "Give another file to resume from, or a new one."
        ) from error
    return settings


def _line(values: dict[str, Any]) -> str:
    return json.dumps(values, ensure_ascii=False) + "\n"
