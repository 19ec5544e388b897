"""Stores where nothing may be written."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from kblam.knowledge import KnowledgeStore

pytestmark = pytest.mark.skipif(not hasattr(os, "setuid"), reason="permissions are others here")

# Root may write everywhere: whoever is it becomes nobody.
NOBODY = """
import os
from kblam.errors import StoreError
from kblam.knowledge import KnowledgeStore

if os.geteuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)

def refused(use):
    try:
        use()
    except StoreError as error:
        return str(error)
    raise AssertionError("it was not refused")
"""
READ_AND_WRITE = """
for path in sys.argv[1:]:
    with KnowledgeStore(path) as store:
        assert len(store) == 1
        assert [fact.value for fact in store.search("aurora")] == ["QX-7719"]
        with store.snapshot() as then:
            assert then.fingerprint == store.fingerprint
        store.check()
        for use in (lambda: store.add(("a", "b", "c")), lambda: store.convert_vectors("int8")):
            assert "can only be read here" in refused(use)
        assert len(store) == 1
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that anybody may enter, unlike pytest's own."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder
        folder.chmod(0o755)


@pytest.fixture
def path(folder: Path) -> Path:
    path = folder / "facts.db"
    with KnowledgeStore(path) as store:
        store.add(("Aurora", "launch code", "QX-7719"))
    path.chmod(0o644)
    return path


def as_nobody(python: Callable[..., list[str]], code: str, *arguments: object) -> None:
    done = subprocess.run(
        python(NOBODY + code, *arguments), check=False, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr


def test_a_store_in_a_folder_that_is_not_writable(
    path: Path, folder: Path, python: Callable[..., list[str]]
) -> None:
    other = folder / "copied.db"
    shutil.copy(path, other)
    with closing(sqlite3.connect(other)) as connection:
        connection.execute("PRAGMA journal_mode = DELETE")
    path.chmod(0o666)  # which is of no use without the folder
    other.chmod(0o444)
    folder.chmod(0o555)
    as_nobody(python, READ_AND_WRITE, path, other)
    assert sorted(folder.iterdir()) == [other, path]


def test_a_file_that_is_not_writable(
    path: Path, folder: Path, python: Callable[..., list[str]]
) -> None:
    folder.chmod(0o777)
    path.chmod(0o444)
    as_nobody(python, READ_AND_WRITE, path)


def test_what_others_write_is_seen(
    path: Path, folder: Path, python: Callable[..., list[str]]
) -> None:
    code = """
with KnowledgeStore(sys.argv[1]) as store:
    for count in range(1, 4):
        assert len(store) == count
        print(count, flush=True)
        sys.stdin.readline()
"""
    folder.chmod(0o555)
    with subprocess.Popen(
        python(NOBODY + code, path), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as reader:
        assert reader.stdin is not None
        assert reader.stdout is not None
        for count in range(1, 4):
            assert reader.stdout.readline() == f"{count}\n"
            folder.chmod(0o755)
            with KnowledgeStore(path) as store:
                store.add(("Aurora", "count", str(count)))
            folder.chmod(0o555)
            reader.stdin.write("\n")
            reader.stdin.flush()
    assert reader.returncode == 0


def test_what_is_in_the_log_alone_is_not_left_out(
    path: Path, folder: Path, python: Callable[..., list[str]]
) -> None:
    copy = folder / "copy.db"
    with KnowledgeStore(path) as store:
        store.add(("Aurora", "lead", "Mirela Osei"))
        for suffix in ("", "-wal"):
            shutil.copy(f"{path}{suffix}", f"{copy}{suffix}")
    folder.chmod(0o555)
    code = """
message = refused(lambda: KnowledgeStore(sys.argv[1]))
assert "changes are in copy.db-wal" in message, message
"""
    as_nobody(python, code, copy)
