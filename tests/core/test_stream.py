"""Streams: the pieces joined are the answer, whatever the text, the tokens and the stop strings."""

from __future__ import annotations

import gc
import threading
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kblam._stream import AnswerStream, _certain
from kblam.answer import Answer, Usage
from kblam.config import DEFAULT_REFUSAL, GenerationOptions
from kblam.decoder.watch import cut_at_stop
from kblam.model import KBLaM


def _answer(text: str) -> Answer:
    return Answer(
        text=text,
        citations=(),
        refused=False,
        finish_reason="stop",
        usage=Usage(1, 1),
        facts=(),
        kb_fingerprint=None,
        model_name="none",
        seconds=0.0,
        time_to_first_token=0.0,
    )


# Few letters, so that stop strings occur, overlap and begin in vain.
texts = st.text(alphabet="ab \n€", max_size=12)
stops = st.lists(st.text(alphabet="ab \n€", min_size=1, max_size=4), max_size=3).map(tuple)


@settings(max_examples=300, deadline=None)
@given(texts, stops, st.integers(1, 4))
def test_pieces_joined_are_the_answer(text: str, stop: tuple[str, ...], size: int) -> None:
    """Tokens are runs of bytes here, so that some end inside a character."""
    data = text.encode()
    shown: list[str] = []

    def run(on_text, cancelled) -> Answer:
        so_far = ""
        for end in range(size, len(data) + size, size):
            so_far = data[:end].decode(errors="replace")
            on_text(so_far)
            shown.append(so_far)
            if cut_at_stop(so_far, stop)[1]:
                break
        return _answer(cut_at_stop(so_far, stop)[0].strip())

    stream = AnswerStream(run, stop)
    pieces = list(stream)
    assert "".join(pieces) == stream.answer.text
    assert all(pieces)
    assert list(stream) == []


def test_pieces_come_before_the_answer_is_finished() -> None:
    taken = threading.Event()

    def run(on_text, cancelled) -> Answer:
        on_text("first")
        assert taken.wait(10)
        return _answer("first second")

    stream = AnswerStream(run)
    assert next(stream) == "first"
    with pytest.raises(RuntimeError, match="not finished"):
        _ = stream.answer
    taken.set()
    assert list(stream) == [" second"]
    assert stream.answer.text == "first second"


def test_what_might_become_a_stop_string_is_held_back() -> None:
    step = threading.Semaphore(0)

    def run(on_text, cancelled) -> Answer:
        for text in ("one EN", "one ENo", "one ENo END"):
            on_text(text)
        assert step.acquire(timeout=10)
        return _answer("one ENo")

    stream = AnswerStream(run, ("END",))
    assert next(stream) == "one"
    assert next(stream) == " ENo"
    step.release()
    assert list(stream) == []


def test_errors_are_raised_where_the_pieces_are_taken() -> None:
    def run(on_text, cancelled) -> Answer:
        on_text("so far")
        raise ValueError("the model broke")

    stream = AnswerStream(run)
    assert next(stream) == "so far"
    with pytest.raises(ValueError, match="the model broke"):
        next(stream)
    assert list(stream) == []
    with pytest.raises(RuntimeError):
        _ = stream.answer


@pytest.mark.parametrize(
    ("text", "certain"),
    [
        (DEFAULT_REFUSAL[:7], ""),
        (f"{DEFAULT_REFUSAL} ", ""),
        (f"{DEFAULT_REFUSAL} But", f"{DEFAULT_REFUSAL} But"),
    ],
)
def test_what_may_become_a_refusal_is_held_back(text: str, certain: str) -> None:
    assert _certain(text, ()) == certain


def test_closing_tells_the_generation() -> None:
    ended = threading.Event()

    def run(on_text, cancelled) -> Answer:
        on_text("x")
        while not cancelled():
            ended.wait(0.001)
        ended.set()
        return _answer("x y")

    with AnswerStream(run) as stream:
        assert next(stream) == "x"
    assert ended.wait(10)
    assert list(stream) == []


def test_a_stream_that_is_dropped_tells_the_generation() -> None:
    ended = threading.Event()

    def run(on_text, cancelled) -> Answer:
        while not cancelled():
            ended.wait(0.001)
        ended.set()
        return _answer("x")

    stream = AnswerStream(run)
    del stream
    gc.collect()
    assert ended.wait(10)


def test_a_stream_closed_elsewhere_wakes_who_waits_for_a_piece() -> None:
    go_on = threading.Event()

    def run(on_text, cancelled) -> Answer:
        assert go_on.wait(10)
        return _answer("too late")

    stream = AnswerStream(run)
    timer = threading.Timer(0.05, stream.close)
    timer.start()
    assert list(stream) == []  # waits, and ends
    assert not stream.finished
    go_on.set()
    assert list(stream) == []


@pytest.mark.parametrize("leave", ["close", "drop"])
def test_what_is_left_while_it_waits_for_its_turn_never_begins(rambling: KBLaM, leave: str) -> None:
    forwards: list[float] = []
    hook = rambling.base.register_forward_hook(lambda *_: forwards.append(time.monotonic()))
    try:
        with rambling._engine.lock:
            stream = rambling.stream("What is it?", GenerationOptions(max_new_tokens=50))
            time.sleep(0.05)  # long enough to stand in the queue
            if leave == "close":
                stream.close()
            else:
                del stream
                gc.collect()
        # After it in the queue, and the only one that generates.
        rambling.ask("What is it?", GenerationOptions(max_new_tokens=1))
        for thread in threading.enumerate():
            if thread.name == "kblam-stream":
                thread.join(10)
        assert len(forwards) == 1
    finally:
        hook.remove()
