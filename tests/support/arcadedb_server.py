"""An ArcadeDB server, which speaks Cypher over Bolt, in a process of its own."""

from __future__ import annotations

import importlib.util
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pytest

DATABASE = "facts"
_SERVE = """
import os, sys, time
from arcadedb_embedded import create_server

folder, http, bolt = sys.argv[1:]
os.chdir(folder)
server = create_server(
    folder + "/databases",
    os.environ["ARCADEDB_PASSWORD"],
    {
        "http_port": int(http),
        "server_plugins": "Bolt:com.arcadedb.bolt.BoltProtocolPlugin",
        "bolt_port": int(bolt),
        "bolt_defaultDatabase": "facts",
    },
)
with server:
    server.create_database("facts")
    print("ready", flush=True)
    sys.stdin.read()  # until the test closes it, or dies
"""


class ArcadeServer:
    """A server on loopback, gone with everything it held when it is stopped.

    Attributes:
        uri: Where it speaks Bolt.
        auth: User and password.
        database: The database's name.
    """

    database = DATABASE

    def __init__(self) -> None:
        self.auth = ("root", secrets.token_urlsafe(12))
        self._folder = Path(tempfile.mkdtemp(prefix="arcadedb-"))
        port = _free_port()
        self.uri = f"bolt://127.0.0.1:{port}"
        self._log = (self._folder / "server.log").open("w+")
        self._process = subprocess.Popen(
            [sys.executable, "-c", _SERVE, str(self._folder), str(_free_port()), str(port)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            env={
                **os.environ,
                "ARCADEDB_PASSWORD": self.auth[1],
                "ARCADEDB_JVM_ARGS": "-Xmx1g",
            },
        )
        try:
            self._wait(port)
        except BaseException:
            self.stop()
            raise

    @property
    def running(self) -> bool:
        """Whether nobody has stopped it."""
        return self._process.poll() is None

    def pause(self) -> None:
        """Let it keep its connections and answer nothing."""
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        self._process.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        """Kill it and remove its files."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout, self._log):
            pipe.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _wait(self, port: int) -> None:
        # Its own words come first; they tell more than a timeout when it does not start.
        too_late = threading.Timer(120, self._process.kill)
        too_late.start()
        for line in self._process.stdout:
            if line.strip() == "ready":
                break
        else:
            self._log.seek(0)
            raise RuntimeError(f"ArcadeDB did not start:\n{self._log.read()[-4000:]}")
        too_late.cancel()
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
            except OSError:
                time.sleep(0.1)
            else:
                return
        raise RuntimeError("ArcadeDB started, but does not speak Bolt.")


def arcadedb_server() -> ArcadeServer:
    """Start a server, or skip the test where its package is missing (never in CI)."""
    if importlib.util.find_spec("arcadedb_embedded") is None:
        reason = "arcadedb-embedded is not installed"
        pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)
    return ArcadeServer()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
