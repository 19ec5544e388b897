"""Ways of asking: from a relation and a name to what a person would type."""

from __future__ import annotations

from random import Random

from kblam.training.data._tables import Relation

__all__ = ["BRIEF_SUFFIXES", "BRIEF_SYSTEMS", "SYSTEMS", "ask", "ask_two", "dress", "refer"]

#: Property-based ways of asking that fit any relation.
_GENERIC = (
    "What is the {p} of {e}?",
    "What is {e}'s {p}?",
    "What's the {p} of {e}?",
    "Tell me the {p} of {e}.",
    "Give me the {p} of {e}.",
    "Name the {p} of {e}.",
    "Do you know the {p} of {e}?",
    "Can you tell me what the {p} of {e} is?",
    "I would like to know the {p} of {e}.",
    "Please state the {p} of {e}.",
    "{e}: what is the {p}?",
    "What does the knowledge base say about the {p} of {e}?",
    "Which {p} does {e} have?",
    "Look up the {p} of {e}.",
    "What {p} is given for {e}?",
    "{e} - {p}?",
    "{p} of {e}?",
    "As for {e}, what is its {p} according to the records?",
)
_GENERIC_PERSON = (
    "Who is the {p} of {e}?",
    "Who is {e}'s {p}?",
    "Who's the {p} of {e}?",
    "Tell me who the {p} of {e} is.",
    "Name the {p} of {e}.",
    "What is the name of the {p} of {e}?",
    "What's the name of {e}'s {p}?",
    "Do you know who the {p} of {e} is?",
    "Can you tell me the name of {e}'s {p}?",
    "I am looking for the {p} of {e}.",
    "Who is listed as the {p} of {e}?",
    "{e}: who is the {p}?",
    "{p} of {e}?",
)
_GENERIC_MANY = (
    "What are the {p} of {e}?",
    "List the {p} of {e}.",
    "Name all {p} of {e}.",
    "Give me all the {p} of {e}.",
    "Tell me the {p} of {e}.",
    "What are {e}'s {p}?",
    "Which {p} does {e} have?",
    "Do you know the {p} of {e}?",
)
_LEADS = (
    "Please tell me: ", "Quick question: ", "I need to know: ", "Hi, ", "Hello! ", "One question: ",
    "Sorry to bother you, but ", "According to our records, ", "For my report: ", "Hey, ",
    "Help me out here. ", "I was wondering, ", "Another thing: ", "Question: ", "Please: ",
)  # fmt: skip
_TAILS = (
    " Thanks!", " Thank you.", " Please be precise.", " I need this for a form.", " It is urgent.",
    " Please answer in one sentence.", " Answer in a full sentence.", " Please check.",
)  # fmt: skip
#: What an asker adds who wants the bare value.
BRIEF_SUFFIXES = (
    " Answer with the value only.", " Just the answer, please.", " Reply with nothing but the value.",
    " Only the value, no sentence.", " Keep it as short as possible: the value only.",
    " Give only the answer itself.", " No explanation, just the value.",
)  # fmt: skip
#: System prompts that ask for the bare value.
BRIEF_SYSTEMS = (
    "Answer with the value only.", "Reply with the bare value and nothing else.",
    "You fill in form fields. Output the value only, without a sentence.",
    "Give the shortest possible answer: only the value asked for.",
)  # fmt: skip
#: System prompts that change nothing about the answer.
SYSTEMS = (
    "You are a helpful assistant.", "You are a helpful AI assistant named SmolLM.",
    "You answer questions about our company.", "You are a careful research assistant.",
    "Answer questions from the knowledge base.", "You help colleagues find information.",
    "You are the help desk of a large organisation.", "Be polite and factual.",
    "You are a librarian who knows the archive well.", "Use only what you know from the facts.",
    "You are an expert in trivia.", "You support customers. Be friendly and exact.",
)  # fmt: skip
_PEOPLE = frozenset({"person", "male", "female", "deity"})
_NEEDS_THE = frozenset({"species", "plant"})


def refer(kind: str, name: str) -> str:
    """Return a name as it stands inside a sentence, with an article where English needs one."""
    return f"the {name}" if kind in _NEEDS_THE else name


def _fill(template: str, relation: Relation, name: str, words: str, kind: str) -> str:
    article = "an" if name[:1].lower() in "aeiou" else "a"
    text = template.replace("{a}", f"{article} {name}").replace("{the}", f"the {name}")
    return text.replace("{e}", name).replace("{p}", words)


def ask(rng: Random, relation: Relation, name: str, kind: str, *, many: bool = False) -> str:
    """Return a question for a relation of an entity.

    Half of the questions are the relation's own, which mostly avoid the name of the property;
    the others are built from one of its names.
    """
    if relation.asks and rng.random() < 0.5:
        return _capital(_fill(rng.choice(relation.asks), relation, name, "", kind))
    if many and relation.plural is not None:
        return _capital(_fill(rng.choice(_GENERIC_MANY), relation, name, relation.plural, kind))
    words = rng.choice(relation.spoken) if rng.random() < 0.5 else relation.spoken[0]
    people = relation.value_type in _PEOPLE and relation.value.startswith("{")
    templates = _GENERIC_PERSON if people else _GENERIC
    # The plain forms come most often, as they do in life.
    index = min(rng.randrange(len(templates)), rng.randrange(len(templates)))
    template = templates[index]
    return _capital(_fill(template, relation, refer(kind, name), words, kind))


def ask_two(
    rng: Random,
    first: tuple[Relation, str, str],
    second: tuple[Relation, str, str],
) -> str:
    """Return one question for two facts, each given as relation, name and kind of entity."""
    (relation_a, name_a, kind_a), (relation_b, name_b, kind_b) = first, second
    words_a, words_b = rng.choice(relation_a.spoken), rng.choice(relation_b.spoken)
    who_a, who_b = refer(kind_a, name_a), refer(kind_b, name_b)
    if name_a == name_b:
        return rng.choice(
            (
                f"What are the {words_a} and the {words_b} of {who_a}?",
                f"Tell me the {words_a} and the {words_b} of {who_a}.",
                f"Give me both the {words_a} and the {words_b} of {who_a}.",
                f"What is the {words_a} of {who_a}, and what is the {words_b}?",
                f"I need the {words_a} as well as the {words_b} of {who_a}.",
                f"{_capital(who_a)}: {words_a} and {words_b}?",
            )
        )
    if relation_a.name == relation_b.name and rng.random() < 0.6:
        return rng.choice(
            (
                f"What is the {words_a} of {who_a} and of {who_b}?",
                f"Tell me the {words_a} of {who_a} and of {who_b}.",
                f"Compare the {words_a} of {who_a} with that of {who_b}.",
                f"Give me the {words_a} for both {who_a} and {who_b}.",
            )
        )
    one = ask(rng, relation_a, name_a, kind_a).rstrip("?.")
    other = ask(rng, relation_b, name_b, kind_b).rstrip("?.")
    link = rng.choice((", and ", " and ", "? Also, ", "? And "))
    if not other.startswith(name_b):
        other = other[:1].lower() + other[1:] if "?" not in link or "Also" in link else other
        other = other.replace("i would", "I would").replace("i am", "I am")
    return f"{one}{link}{other}?"


def dress(rng: Random, question: str) -> str:
    """Write a question as people type: with a greeting, without its mark, in lower case."""
    form = rng.random()
    if form < 0.66:
        return question
    if form < 0.74:
        return question.rstrip("?.")
    if form < 0.80:
        return (question[:1].lower() + question[1:]).rstrip("?.")
    if form < 0.84:
        return question.lower().rstrip("?.")
    if form < 0.94:
        return rng.choice(_LEADS) + question
    return question + rng.choice(_TAILS)


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
