"""SPARQL servers that tests start: Oxigraph's, and Debian's Virtuoso with its limit on rows.

On loopback, on a free port, in a temporary folder; stopped when the block ends.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest
from pyoxigraph import Quad

MOST_ROWS = 10_000  # that Virtuoso gives, as it comes from Debian
_START = 60.0  # seconds
_PACKAGE = "virtuoso-opensource-7-bin (Debian; see tools/install_servers.sh)"


@dataclass
class Server:
    """A running server.

    Attributes:
        query: Where queries go.
        update: Where updates go.
        log: What it said.
    """

    query: str
    update: str
    log: Path
    _process: subprocess.Popen[bytes] = field(repr=False)

    def run(self, update: str) -> None:
        """Run a SPARQL update."""
        kind = {"Content-Type": "application/x-www-form-urlencoded"}
        # Virtuoso takes updates where it takes queries.
        name = "update" if self.update != self.query else "query"
        response = httpx.post(self.update, data={name: update}, headers=kind, timeout=120)
        assert response.is_success, response.text[:1000]

    def stop(self) -> None:
        """Kill the server; nothing is left of it when this returns."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


@dataclass
class Virtuoso(Server):
    """A running Virtuoso.

    Attributes:
        folder: What it may read files from.
        execute: Runs a statement of SQL.
    """

    folder: Path
    execute: Callable[[str], None]

    def load(self, graph: str, quads: Iterable[Quad]) -> None:
        """Load the triples of quads into a named graph."""
        lines = (f"{quad.subject} {quad.predicate} {quad.object} .\n" for quad in quads)
        (self.folder / "data.nt").write_text("".join(lines), encoding="utf-8")
        self.execute(f"DB.DBA.TTLP(file_to_string_output('data.nt'), '', '{graph}');")


@contextmanager
def running_oxigraph(folder: Path, quads: Iterable[Quad] = ()) -> Iterator[Server]:
    """Run Oxigraph's server on a folder, with some quads in it."""
    program = _program("oxigraph", "the package oxigraph (pip)")
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    place = f"127.0.0.1:{port}"
    command = [program, "serve", "--location", str(folder / "data"), "--bind", place]
    with _running(command, folder, port) as (process, log):
        server = Server(f"http://{place}/query", f"http://{place}/update", log, process)
        body = "".join(f"{quad} .\n" for quad in quads).encode()
        if body:
            kind = {"Content-Type": "application/n-quads"}
            httpx.post(
                f"http://{place}/store", content=body, headers=kind, timeout=120
            ).raise_for_status()
        yield server


@contextmanager
def running_virtuoso(folder: Path) -> Iterator[Virtuoso]:
    """Run Virtuoso; anyone may update it."""
    program = _program("virtuoso-t", _PACKAGE)
    isql = _program("isql-vt", _PACKAGE)
    folder.mkdir(parents=True, exist_ok=True)
    http, sql = free_port(), free_port()
    (folder / "virtuoso.ini").write_text(_VIRTUOSO.format(http=http, sql=sql, rows=MOST_ROWS))
    command = [program, "+foreground", "+configfile", "virtuoso.ini"]

    def execute(statement: str) -> None:
        finished = subprocess.run(
            [isql, f"127.0.0.1:{sql}", "dba", "dba", f"exec={statement}"],
            capture_output=True,
            timeout=_START,
        )
        assert finished.returncode == 0, finished.stdout + finished.stderr
        assert b"Error" not in finished.stdout + finished.stderr, finished.stderr

    with _running(command, folder, http) as (process, log):
        execute('GRANT SPARQL_UPDATE TO "SPARQL";')
        endpoint = f"http://127.0.0.1:{http}/sparql"
        yield Virtuoso(endpoint, endpoint, log, process, folder, execute)


def free_port() -> int:
    """Return a port on loopback that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def _running(
    command: list[str], folder: Path, port: int
) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    log = folder / "server.log"
    with log.open("wb") as file:
        # A group of its own, so that whatever it starts is stopped with it.
        process = subprocess.Popen(
            command, cwd=folder, stdout=file, stderr=subprocess.STDOUT, start_new_session=True
        )
    try:
        _wait(process, port, log)
        yield process, log
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _wait(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    end = time.monotonic() + _START
    while time.monotonic() < end and process.poll() is None:
        with socket.socket() as probe:
            probe.settimeout(1)
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    raise AssertionError(f"The server did not start: {log.read_text(errors='replace')[-2000:]}")


def _program(name: str, package: str) -> str:
    """Return the path of a program, or skip the test; in CI, fail."""
    beside = Path(sys.executable).with_name(name)
    found = str(beside) if beside.exists() else shutil.which(name)
    if found is None and "CI" in os.environ:
        pytest.fail(f"There is no {name}. Install {package}.")
    if found is None:
        pytest.skip(f"There is no {name}; it comes with {package}")
    return found


_VIRTUOSO = """
[Database]
DatabaseFile = virtuoso.db
ErrorLogFile = virtuoso.log
LockFile = virtuoso.lck
TransactionFile = virtuoso.trx
xa_persistent_file = virtuoso.pxa
[TempDatabase]
DatabaseFile = temporary.db
TransactionFile = temporary.trx
[Parameters]
ServerPort = 127.0.0.1:{sql}
DirsAllowed = .
NumberOfBuffers = 10000
MaxDirtyBuffers = 6000
[HTTPServer]
ServerPort = 127.0.0.1:{http}
[SPARQL]
ResultSetMaxRows = {rows}
"""
