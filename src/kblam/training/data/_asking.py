"""Ways of asking: from a relation and a name to what a person would type."""

from __future__ import annotations

from random import Random

from kblam.training.data._english import capital, possessive, with_article
from kblam.training.data._tables import Relation

__all__ = [
    "BRIEF_SUFFIXES",
    "BRIEF_SYSTEMS",
    "PEOPLE",
    "SYSTEMS",
    "ask",
    "ask_again",
    "ask_larger",
    "ask_several",
    "ask_two",
    "dress",
    "refer",
]

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
    "As for {e}: what is the {p} on record?",
    "The {p} of {e}, please.",
    "I forgot the {p} of {e}. What is it?",
    "Could you remind me of {e}'s {p}?",
    "Any idea what {e}'s {p} is?",
    "May I ask what the {p} of {e} is?",
    "For {e}, I need the {p}.",
    "Find out the {p} of {e}.",
    "Complete the sentence: The {p} of {e} is",
    "Fill in the blank: the {p} of {e} is ____.",
    "A customer wants to know the {p} of {e}.",
    "Concerning {e}, what can you say about the {p}?",
    "If somebody asks me for the {p} of {e}, what do I say?",
    "The form has a field for {e}'s {p}. What do I write there?",
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
    "I forgot who {e}'s {p} is.",
    "The {p} of {e}, please: what is the name?",
    "Could you remind me who the {p} of {e} is?",
    "Any idea who {e}'s {p} is?",
    "I need the name of {e}'s {p}.",
    "Find out who the {p} of {e} is.",
    "Complete the sentence: The {p} of {e} is",
    "A customer wants to know who {e}'s {p} is.",
    "Of all people, who is {e}'s {p}?",
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
#: Prompts of programs around a question.
_FRAMES = (
    "Question: {q}\nAnswer:", "Answer the question.\n\n{q}", "### Question\n{q}\n\n### Answer\n",
    "Use the knowledge base to answer.\nQuery: {q}\nReply:", "A user asks: {q}",
    "You are given a question. Answer it from what you know.\n\nQuestion: {q}",
)  # fmt: skip
#: First words that are written small after a greeting and a comma.
_OPENERS = frozenset(
    {"who", "who's", "what", "what's", "when", "where", "which", "how", "whose", "whom", "why",
     "in", "on", "to", "of", "for", "from", "by", "at", "under", "with", "as", "into", "against",
     "after", "before", "until", "since", "up", "among", "around", "about", "over", "can", "could",
     "do", "does", "did", "is", "am", "was", "were", "are", "has", "have", "had", "will", "would",
     "may", "must", "should", "if", "through", "within", "beyond", "during", "please"}
)  # fmt: skip
#: Verbs after "who" that change places in an indirect question.
_AUXILIARIES = frozenset(
    {"is", "was", "are", "were", "did", "does", "do", "has", "had", "have", "can", "may", "must"}
)
_INDIRECT = (
    "Do you know {q}?", "Could you tell me {q}?", "I wonder {q}.", "Please find out {q}.",
    "Can you say {q}?", "I would like to know {q}.", "Does anybody know {q}?",
)  # fmt: skip
#: First words of orders, which no "Question:" can stand before.
_ORDERS = frozenset(
    {"tell", "give", "name", "list", "compare", "look", "describe", "i", "please", "now", "show",
     "summarise", "summarize", "write", "introduce", "brief", "fill", "make", "extract", "pull"}
)  # fmt: skip
_GREETINGS = ("Hi, ", "Hello! ", "Hey, ", "Good morning. ", "Hi there! ", "One more thing: ")
_TAILS = (
    " Thanks!", " Thank you.", " Please be precise.", " I need this for a form.", " It is urgent.",
    " Please answer in one sentence.", " Answer in a full sentence.", " Please check.",
)  # fmt: skip
#: What an asker adds who wants the bare value.
BRIEF_SUFFIXES = (
    " Answer with the value only.", " Just the answer, please.", " Reply with the value alone.",
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
#: Types of values that are people.
PEOPLE = frozenset({"person", "male", "female", "deity"})
_NEEDS_THE = frozenset({"species", "plant"})
_LARGER = (
    "Which has the larger {p}, {e} or {o}?",
    "Which of {e} and {o} has the greater {p}?",
    "Compare the {p} of {e} and of {o}: which is higher?",
    "Is the {p} of {e} higher than that of {o}?",
)


def ask(
    rng: Random, relation: Relation, name: str, *, many: bool = False, plain: bool = False
) -> str:
    """Return a question for a relation of an entity.

    About half of the questions are the relation's own, which mostly avoid the name of the
    property; the others are built from one of its names.

    Args:
        rng: The source of chance.
        relation: What is asked for.
        name: The entity.
        many: Whether to ask for several values.
        plain: Whether the property must be named, as the entity has another one close to it.
    """
    if relation.asks and (relation.inverse or (not plain and rng.random() < 0.5)):
        return _fill(rng.choice(relation.asks), name, "")
    if many and relation.plural is not None:
        return _fill(rng.choice(_GENERIC_MANY), refer(relation, name), relation.plural)
    words = rng.choice(relation.spoken) if rng.random() < 0.5 else relation.spoken[0]
    people = relation.value_type in PEOPLE and relation.value.startswith("{")
    templates = _GENERIC_PERSON if people else _GENERIC
    # The plain forms come most often, as they do in life.
    index = min(rng.randrange(len(templates)), rng.randrange(len(templates)))
    return _fill(templates[index], refer(relation, name), words)


def ask_two(rng: Random, first: tuple[Relation, str], second: tuple[Relation, str]) -> str:
    """Return one question for two facts, each given as relation and name of the entity."""
    (relation_a, name_a), (relation_b, name_b) = first, second
    words_a, words_b = rng.choice(relation_a.spoken), rng.choice(relation_b.spoken)
    who_a, who_b = refer(relation_a, name_a), refer(relation_b, name_b)
    if name_a == name_b:
        return rng.choice(
            (
                f"What are the {words_a} and the {words_b} of {who_a}?",
                f"Tell me the {words_a} and the {words_b} of {who_a}.",
                f"Give me both the {words_a} and the {words_b} of {who_a}.",
                f"What is the {words_a} of {who_a}, and what is the {words_b}?",
                f"I need the {words_a} as well as the {words_b} of {who_a}.",
                f"{capital(who_a)}: {words_a} and {words_b}?",
            )
        )
    if relation_a.id == relation_b.id and rng.random() < 0.6:
        return rng.choice(
            (
                f"What is the {words_a} of {who_a} and of {who_b}?",
                f"Tell me the {words_a} of {who_a} and of {who_b}.",
                f"Compare the {words_a} of {who_a} with that of {who_b}.",
                f"Give me the {words_a} for both {who_a} and {who_b}.",
            )
        )
    one, other = ask(rng, relation_a, name_a), ask(rng, relation_b, name_b)
    if one.endswith("?") and rng.random() < 0.5:
        return f"{one[:-1]}, and {_small(other)}"
    return f"{one} {rng.choice(('And', 'Also,', 'And then:'))} {_small(other)}"


def ask_several(rng: Random, relations: list[Relation], name: str) -> str:
    """Return one question for several properties of an entity."""
    *first, last = (rng.choice(relation.spoken) for relation in relations)
    words = f"{', '.join(first)} and {last}"
    who = refer(relations[0], name)
    return rng.choice(
        (
            f"What are the {words} of {who}?",
            f"Tell me the {words} of {who}.",
            f"Give me the {words} of {who}.",
            f"{capital(who)}: {words}?",
            f"I need the {words} of {who}.",
        )
    )


def ask_larger(rng: Random, relation: Relation, name: str, other: str) -> str:
    """Return a question that compares a number of two entities."""
    text = _fill(rng.choice(_LARGER), refer(relation, name), rng.choice(relation.spoken))
    return text.replace("{o}", refer(relation, other))


def ask_again(rng: Random, relation: Relation, name: str | None) -> str:
    """Return a follow-up question: for another property, or for another entity if one is given."""
    if name is not None:
        who = refer(relation, name)
        return rng.choice(
            (f"And of {who}?", f"What about {who}?", f"And {who}?", f"How about {who}?",
             f"The same for {who}, please.")
        )  # fmt: skip
    words = rng.choice(relation.spoken)
    return rng.choice(
        (f"And the {words}?", f"What about the {words}?", f"And what is the {words}?",
         f"And the {words}, please?", f"Now the {words}.")
    )  # fmt: skip


def dress(rng: Random, question: str) -> str:
    """Write a question as people type: with a greeting, without its mark, in lower case."""
    form = rng.random()
    if form < 0.65:
        return question
    if form < 0.73:
        return question.rstrip("?.")
    if form < 0.79:
        return _small(question).rstrip("?.")
    if form < 0.83:
        return question.lower().rstrip("?.")
    subject = question.split(" ", 2)[:2]
    if form < 0.87 and subject[0] == "Who" and subject[1] not in _AUXILIARIES:
        return rng.choice(_INDIRECT).replace("{q}", f"w{question[1:].rstrip('?')}")
    if form < 0.91:
        order = question.partition(" ")[0].lower() in _ORDERS
        lead = rng.choice(_GREETINGS if order else _LEADS)
        return lead + (_small(question) if lead.endswith((", ", "but ")) else question)
    if form < 0.96:
        mark = "" if question.endswith(("?", ".")) else "."
        return question + mark + rng.choice(_TAILS)
    return rng.choice(_FRAMES).replace("{q}", question)


def refer(relation: Relation, name: str) -> str:
    """Return a name as it stands inside a sentence, with an article where English needs one."""
    named_after = name.partition(" ")[0].endswith("'s")
    return f"the {name}" if relation.kind in _NEEDS_THE and not named_after else name


def _fill(template: str, name: str, words: str) -> str:
    the = name if name.partition(" ")[0].endswith("'s") else f"the {name}"
    text = template.replace("{a}", with_article(name)).replace("{the}", the)
    text = text.replace("{p}", words).replace("{e}'s", possessive(name))
    # A name that opens the sentence keeps its own letters.
    return (
        text.replace("{e}", name) if text.startswith("{e}") else capital(text.replace("{e}", name))
    )


def _small(question: str) -> str:
    """Return a question with a small first letter, unless it begins with a name."""
    opener = question.partition(" ")[0]
    small = opener.lower() in _OPENERS | _ORDERS and opener != "I"
    return question[:1].lower() + question[1:] if small else question
