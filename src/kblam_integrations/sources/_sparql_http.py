"""Requests to a SPARQL server, and what can go wrong with them, in words without secrets."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

import httpx

from kblam.errors import ConfigError, SourceError

__all__ = ["Client", "Connection", "StatusError", "checked_url", "failure", "media_type", "shown"]

_T = TypeVar("_T")

_TRIES = 3
_PAUSE = 0.3  # seconds, growing
_LONGEST_PAUSE = 5.0
# A server that is busy or being restarted. To ask again changes nothing: all this does is read.
_BUSY = frozenset({429, 502, 503, 504})
_SHOWN = 300  # characters of what a server says went wrong
_PARTIAL = 206
# Virtuoso's mark on a reply that its own time limit cut short.
_CUT = "S1TAT"


class StatusError(SourceError):
    """The server answered with an error of its own."""


@dataclass(frozen=True)
class Connection:
    """Where an endpoint is, and how to be let in.

    Attributes:
        url: The endpoint, without user and password.
        auth: User and password.
        headers: Sent with every request.
        timeout: Seconds to wait for a connection, and for each next part of a reply.
        max_bytes: The longest reply that is read.
    """

    url: httpx.URL = field(repr=False)
    auth: tuple[str, str] | None = field(default=None, repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    timeout: float = 60.0
    max_bytes: int = 2**32


def checked_url(text: str) -> httpx.URL:
    """Return an address of a server.

    Raises:
        ConfigError: It is none.
    """
    try:
        url = httpx.URL(text)
    except (httpx.InvalidURL, TypeError):
        url = httpx.URL()
    if url.scheme not in ("http", "https") or not url.host:
        # Not shown: what is no address may hold a password all the same.
        raise ConfigError('Expected a server\'s address, such as "http://localhost:7878/query".')
    return url


def shown(url: httpx.URL) -> str:
    """Return an address without anything that may be secret."""
    return str(url.copy_with(userinfo=b"", query=None, fragment=None))


def media_type(response: httpx.Response) -> str:
    """Return what kind of reply the server says it is."""
    kind: str = response.headers.get("content-type", "")
    return kind.split(";")[0].strip().lower()[:_SHOWN] or "no content type"


def failure(url: httpx.URL, what: str, advice: str = "") -> SourceError:
    """Return the error of a server that did something, and what to do about it."""
    return SourceError(f"The SPARQL server at {shown(url)} {what}. {advice}".rstrip())


class Client:
    """Asks one server again and again; use it in a ``with`` block."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._client = httpx.Client(
            auth=connection.auth,
            headers={"User-Agent": "kblam", **connection.headers},
            timeout=connection.timeout,
        )

    def close(self) -> None:
        """Close its connections."""
        self._client.close()

    def request(
        self,
        method: str,
        url: httpx.URL,
        read: Callable[[httpx.Response, Iterator[bytes]], _T],
        *,
        accept: str,
        **content: Any,
    ) -> _T:
        """Send a request that changes nothing, and return what is read from the reply.

        Args:
            method: GET or POST.
            url: Where to.
            read: Gets the head of the reply, and its body as it arrives.
            accept: The kind of reply that is wanted.
            content: As httpx takes it.

        Raises:
            StatusError: The server answered with an error.
            SourceError: There is no reply, or only a part of one.
        """
        attempt = 1
        while True:
            with (
                _in_words(url, self._connection.timeout),
                self._client.stream(method, url, headers={"Accept": accept}, **content) as response,
            ):
                if response.status_code not in _BUSY or attempt == _TRIES:
                    self._check(url, response)
                    return read(response, self._body(url, response))
            time.sleep(_pause(response, attempt))
            attempt += 1

    def _check(self, url: httpx.URL, response: httpx.Response) -> None:
        """Raise the error of a reply that is none."""
        status = f"{response.status_code} {response.reason_phrase:.80}".strip()
        if response.is_redirect:
            place = _moved_to(url, response.headers.get("location", ""))
            raise failure(url, f"has moved ({status})", f"Its new address may be {place}.")
        if response.status_code in (401, 403):
            raise StatusError(
                f"The SPARQL server at {shown(url)} refuses to answer ({status}). Pass "
                "auth=(user, password), or headers= with a token."
            )
        if not response.is_success:
            said = next(self._body(url, response), b"")[: 4 * _SHOWN].decode(errors="replace")
            raise StatusError(
                f"The SPARQL server at {shown(url)} answered {status}: "
                f"{' '.join(said.split())[:_SHOWN]!r}."
            )
        if _CUT in response.headers.get("x-sql-state", "") or response.status_code == _PARTIAL:
            raise failure(url, "cut its reply short at its own time limit", "Raise that limit.")

    def _body(self, url: httpx.URL, response: httpx.Response) -> Iterator[bytes]:
        """Yield the body, as long as it is not too long."""
        size, most = 0, self._connection.max_bytes
        for chunk in response.iter_bytes():
            size += len(chunk)
            if size > most:
                raise failure(
                    url, f"sent more than {most:,} bytes", "Raise max_bytes= if that is right."
                )
            yield chunk


@contextmanager
def _in_words(url: httpx.URL, timeout: float) -> Iterator[None]:
    """Raise errors that say which server failed, and what to do."""
    try:
        yield
    except httpx.TimeoutException as error:
        raise failure(
            url,
            f"did not answer within {timeout:g} s",
            "Give it longer with timeout=, or ask for less at a time with page_size=.",
        ) from error
    except httpx.LocalProtocolError:
        # It shows the header that is malformed, which may be the one with the token.
        raise failure(
            url,
            "was not asked, as a header is malformed",
            "A token read from a file may end in a line break.",
        ) from None
    except httpx.ConnectError as error:
        raise failure(
            url, f"could not be reached ({error})", "Is it running, and the address right?"
        ) from error
    except httpx.InvalidURL as error:
        # httpx looks at the address even though it does not go there.
        raise failure(
            url, "has moved to an address that is none", "Ask its administrator for the new one."
        ) from error
    except (httpx.HTTPError, httpx.StreamError) as error:
        raise failure(
            url, f"broke off its reply ({error})", "Is it still running? What does its log say?"
        ) from error


def _pause(response: httpx.Response, attempt: int) -> float:
    asked = response.headers.get("retry-after", "")
    wanted = float(asked) if asked.isascii() and asked.isdigit() else _PAUSE * attempt
    return min(wanted, _LONGEST_PAUSE)


def _moved_to(url: httpx.URL, place: str) -> str:
    try:
        return shown(url.join(place))
    except httpx.InvalidURL:
        return "anywhere: it names none"
