"""Connections over Bolt, and what goes wrong with them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any
from urllib.parse import unquote, urlsplit

import neo4j
from neo4j import exceptions

from kblam.errors import SourceError

__all__ = ["Server", "bolt_errors"]

_ADVICE: tuple[tuple[type[BaseException], str], ...] = (
    (exceptions.AuthError, "Check user and password."),
    (TimeoutError, "Look whether it is overloaded, or give it longer (timeout=)."),
    (exceptions.ServiceUnavailable, "Start the server, or check the address."),
    (exceptions.SessionExpired, "Start the server, or check the address."),
    (exceptions.ConfigurationError, "Check the address."),
)


class Server:
    """A server, by the driver that somebody else has or by its URI.

    Its text says where it is and nothing of who may enter.

    Args:
        driver_or_uri: A driver or a URI; a user and a password in it take the place of ``auth``.
        auth: User and password, or what else ``neo4j.GraphDatabase.driver`` takes.
        timeout: Seconds to wait for a connection, for a URI.

    Raises:
        SourceError: The URI is none.
    """

    def __init__(self, driver_or_uri: neo4j.Driver | str, auth: Any, timeout: float) -> None:
        self._driver: neo4j.Driver | None = None
        self._uri, self._auth = "", auth
        self._timeout = timeout
        if isinstance(driver_or_uri, str):
            self._uri, own = _parted(driver_or_uri)
            self._auth = own or auth
        else:
            self._driver = driver_or_uri

    def __str__(self) -> str:
        return self._uri.split("?")[0] or "the server"

    def driver(self) -> AbstractContextManager[neo4j.Driver]:
        """Return the driver, which is closed afterwards if it was opened here."""
        if self._driver is not None:
            return nullcontext(self._driver)
        return neo4j.GraphDatabase.driver(
            self._uri,
            auth=self._auth,
            connection_timeout=self._timeout,
            connection_acquisition_timeout=self._timeout,
        )


@contextmanager
def bolt_errors(server: Server) -> Iterator[None]:
    """Raise as SourceError what goes wrong within.

    Raises:
        SourceError: With the kind of error and what it says first.
    """
    try:
        yield
    except (
        exceptions.DriverError,
        exceptions.Neo4jError,
        OSError,
        ValueError,
    ) as error:
        advice = next(
            (words for kind, words in _ADVICE if isinstance(error, kind)),
            "Check the database's name, and that it may be read.",
        )
        said = str(error).split("\n", 1)[0]
        raise SourceError(
            f"Expected facts over Bolt from {server}, got {type(error).__name__}: {said:.300}. "
            f"{advice}"
        ) from error


def _parted(uri: str) -> tuple[str, tuple[str, str] | None]:
    """Return a URI without user and password, and these two, which drivers do not take there."""
    try:
        parts = urlsplit(uri)
        user, password = unquote(parts.username or ""), unquote(parts.password or "")
    except ValueError:
        parts = None
    if parts is None or not parts.scheme.startswith(("bolt", "neo4j")):
        raise SourceError(
            "Expected the URI of a server that speaks Bolt, got something else. Pass one such as "
            "bolt://localhost:7687 or neo4j+s://graph.example.org."
        )
    address = parts.netloc.rsplit("@", 1)[-1]
    return parts._replace(netloc=address).geturl(), (user, password) if user else None
