"""Prompts: chat messages in, padded tokens out."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_kblam import make_tokenizer

from kblam._counting import count_tokens
from kblam._prompt import (
    as_messages,
    asked_before,
    pad_prompts,
    question_of,
    same_room,
    tokenize,
)
from kblam.errors import ConfigError, PromptTooLongError

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def tokenizer():
    return make_tokenizer()


def test_a_text_is_one_user_message() -> None:
    assert as_messages("Who?") == [{"role": "user", "content": "Who?"}]


def test_messages_are_copied_without_what_else_they_hold() -> None:
    given_ = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Who?", "x": 1},
    ]
    assert as_messages(given_) == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Who?"},
    ]


@pytest.mark.parametrize("prompt", ["", " \n", [], [{"role": "system", "content": "Be brief."}]])
def test_nothing_asked_is_an_error(prompt) -> None:
    with pytest.raises(ConfigError, match="empty prompt"):
        as_messages(prompt)


@pytest.mark.parametrize(
    "message",
    [
        {"role": "parrot", "content": "x"},
        {"role": "user"},
        {"content": "x"},
        {"role": "user", "content": ["x"]},
        {"role": "user", "content": None},
        ("user", "x"),
        "x",
    ],
)
def test_a_malformed_message_is_shown(message) -> None:
    with pytest.raises(ConfigError, match=r"role.*content.*got"):
        as_messages([{"role": "user", "content": "Who?"}, message])


def test_the_question_is_the_last_user_message() -> None:
    messages = as_messages(
        [
            {"role": "user", "content": "Who?"},
            {"role": "assistant", "content": "Ada."},
            {"role": "user", "content": " And where? "},
            {"role": "assistant", "content": "In"},
        ]
    )
    assert question_of(messages) == "And where?"
    assert asked_before(messages) == "Who?"
    assert asked_before(messages[:2]) == ""


@pytest.mark.parametrize(
    ("asked", "before"),
    [
        (["Who leads Aurora?", "And its budget?", "And its office?"], "Who leads Aurora?"),
        (["Who leads Aurora?", "Thanks!", "And its office?"], "Who leads Aurora?"),
        (["Who leads Aurora?", "Where is Heron?", "And its office?"], "Where is Heron?"),
        (["who leads aurora?", "where is heron?", "and its office?"], "where is heron?"),
        (["Who leads Aurora?", "Is it in Ghent?", "And its office?"], "Is it in Ghent?"),
        # Nothing better is there.
        (["Where is it?", "And its office?"], "Where is it?"),
        (["オーロラは?", "ヘロンは?", "その予算は?"], "ヘロンは?"),
    ],
)
def test_a_message_that_leans_on_another_is_not_leant_on(asked: list[str], before: str) -> None:
    assert (
        asked_before(as_messages([{"role": "user", "content": text} for text in asked])) == before
    )


@pytest.mark.parametrize("prompt", [None, 5, {"role": "user", "content": "Who?"}])
def test_what_is_no_prompt_is_an_error(prompt) -> None:
    with pytest.raises(ConfigError, match=r"a question or a list of chat messages, got"):
        as_messages(prompt)


def test_without_a_template_turns_are_written_plainly(tokenizer) -> None:
    ids = tokenize(
        tokenizer,
        as_messages(
            [
                {"role": "system", "content": "Be brief."},
                {"role": "user", "content": "Who?"},
                {"role": "assistant", "content": "Ada."},
                {"role": "user", "content": "Where?"},
            ]
        ),
    )
    text = tokenizer.decode(ids)
    assert text == "Be brief.\nQuestion: Who?\nAnswer: Ada.\nQuestion: Where?\nAnswer:"


def test_a_chat_template_is_used_once(tokenizer) -> None:
    tokenizer = make_tokenizer()
    tokenizer.chat_template = (
        "{{ eos_token }}{% for m in messages %}[{{ m.role }}] {{ m.content }}\n{% endfor %}"
        "{% if add_generation_prompt %}[assistant]{% endif %}"
    )
    ids = tokenize(tokenizer, as_messages("Who?"))
    assert tokenizer.decode(ids) == "<end>[user] Who?\n[assistant]"
    assert ids.count(tokenizer.eos_token_id) == 1


# As Gemma 2's: no system role, and turns that alternate.
ALTERNATING = (
    "{% if messages[0]['role'] == 'system' %}"
    "{{ raise_exception('System role not supported') }}{% endif %}"
    "{% for message in messages %}"
    "{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate') }}{% endif %}"
    "<{{ message['role'] }}>{{ message['content'] }}{% endfor %}<model>"
)


def test_without_a_system_role_its_text_heads_the_first_question() -> None:
    tokenizer = make_tokenizer()
    tokenizer.chat_template = ALTERNATING
    turns = [
        {"role": "user", "content": "Who?"},
        {"role": "assistant", "content": "Ann."},
        {"role": "user", "content": "And then?"},
    ]
    tokens = tokenize(tokenizer, [{"role": "system", "content": "Be brief."}, *turns])
    expected = "<user>Be brief.\n\nWho?<assistant>Ann.<user>And then?<model>"
    assert tokenizer.decode(tokens) == expected
    tool = {"type": "function", "function": {"name": "look_up", "parameters": {}}}
    shown = tokenizer.decode(tokenize(tokenizer, turns, [tool]))
    assert shown.startswith("<user>You may call tools.")
    assert '"look_up"' in shown.split("Who?<assistant>")[0]
    assert turns[0] == {"role": "user", "content": "Who?"}


def test_what_a_template_refuses_is_told() -> None:
    tokenizer = make_tokenizer()
    tokenizer.chat_template = ALTERNATING
    asked_twice = [{"role": "user", "content": "Who?"}, {"role": "user", "content": "Where?"}]
    with pytest.raises(ConfigError, match=r"roles user, user; .*must alternate"):
        tokenize(tokenizer, asked_twice)
    assert count_tokens(tokenizer, asked_twice) > 0


@settings(max_examples=50, deadline=None)
@given(st.lists(st.lists(st.integers(1, 99), min_size=1, max_size=6), min_size=1, max_size=4))
def test_padding_is_on_the_left(prompts: list[list[int]]) -> None:
    padded = pad_prompts(prompts, 0, 100, CPU)
    longest = max(map(len, prompts))
    assert padded.lengths == tuple(map(len, prompts))
    for row, prompt in enumerate(prompts):
        padding = [0] * (longest - len(prompt))
        assert padded.input_ids[row].tolist() == padding + prompt
        assert padded.attention_mask[row].tolist() == padding + [1] * len(prompt)


def test_rows_are_answered_together_if_none_takes_room_from_another() -> None:
    lengths = [3, 90, 10, 95, 80, 90]
    assert same_room(range(6), lengths, 20, 100) == [[0, 2, 4], [1, 5], [3]]
    assert same_room([1, 4], lengths, 20, 100) == [[1], [4]]


def test_a_prompt_must_leave_room_for_an_answer() -> None:
    assert pad_prompts([[1] * 9], 0, 10, CPU).input_ids.shape == (1, 9)
    with pytest.raises(PromptTooLongError, match=r"fewer than 10 tokens.*got 10.*Shorten"):
        pad_prompts([[1], [1] * 10], 0, 10, CPU)
