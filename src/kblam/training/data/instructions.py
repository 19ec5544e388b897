"""Instructions that have nothing to do with facts: what the base model must keep doing."""

from __future__ import annotations

from random import Random

from kblam.errors import ConfigError
from kblam.training.data._names import city, make_name, person, word
from kblam.training.data._nouns import common_nouns, load_nouns

__all__ = ["general_instructions"]

_TEMPLATES = (
    "What does the word {noun} mean?",
    "Define {noun} in one sentence.",
    "Use the word {noun} in a sentence.",
    "Explain what {a_thing} is to a five-year-old.",
    "Write a short poem about {noun}.",
    "Write a haiku about the {noun} and the {noun}.",
    "Tell me a short story about {person} and a {adjective} {noun}.",
    'Write the first paragraph of a novel called "The {Adjective} {Theme}".',
    "What is {small} plus {small}?",
    "Calculate {number} - {small}.",
    "What is {small} times {small}? Show how you get there.",
    "Is {number} an even or an odd number?",
    "If I have {small} apples and eat {digit}, how many are left?",
    "Sort these numbers: {number}, {small}, {digit}, {number}.",
    'Translate into {language}: "Where is the nearest {noun}?"',
    "How do you say good morning in {language}?",
    'Rewrite politely: "Send me the {noun} now."',
    'Correct the grammar: "He have two {noun} and go to {city}."',
    'Rewrite in the passive voice: "The {occupation} found the {noun}."',
    'Make this shorter: "The {adjective} {noun} that stood in the {theme} was seen by everybody '
    'who came to {city} that year."',
    "Give me three synonyms of {adjective}.",
    "What is the opposite of {adjective}?",
    "List five things one can do with a {noun}.",
    "List three reasons to learn {language}.",
    "Give me five names for a {adjective} cat.",
    "Suggest a title for an article about {field}.",
    "Write an e-mail to my manager asking for a day off on {weekday}.",
    "Write a thank-you note to a {occupation}.",
    "Write a Python function that counts the vowels in a string.",
    "Write a function in {proglang} that reverses a list.",
    "How do I read a file line by line in {proglang}?",
    "What does the SQL keyword GROUP BY do?",
    "Explain recursion with the example of a {noun}.",
    "What is the difference between {field} and {field}?",
    "Explain {field} in two sentences.",
    "Why is the sky blue?",
    "How does a {product} work?",
    "How do I clean a {product}?",
    "Give me a recipe for {dish} with {ingredient}.",
    "What can I cook with {ingredient} and {ingredient}?",
    "Plan a weekend in a small town near the sea.",
    "How do I become a {occupation}?",
    "What does a {occupation} do all day?",
    "What are the pros and cons of working as a {occupation}?",
    "Give me tips for learning the {instrument}.",
    "How do the rules of {sport} work?",
    "Recommend exercises for people who like {sport}.",
    "Hi!",
    "Hello, how are you today?",
    "Who are you?",
    "What can you do for me?",
    "Thank you, that was helpful.",
    "Good morning! Any plans for {weekday}?",
    "Tell me a joke about a {occupation}.",
    "Tell me a riddle whose answer is {noun}.",
    "I feel tired today. What should I do?",
    "Help me choose between a {colour} and a {colour} {product}.",
    "Continue the sentence: The {adjective} {theme} was",
    "Complete: Once upon a time in {city}, a {occupation} met a {animal} who",
    'Is the sentence "I love this {product}" positive or negative?',
    "Classify as animal, plant or thing: {noun}.",
    "Which of these does not belong: {animal}, {animal}, {instrument}, {animal}?",
    'Which words in this sentence are nouns? "The {adjective} {animal} crossed the {theme}."',
    'Summarise: "{person} bought a {product} in {city}. It broke after {digit} days, and the shop '
    'gave the money back."',
    'Extract the name from: "Yesterday {person} arrived from {city}."',
    "Spell the word {noun} backwards.",
    "How many letters does the word {noun} have?",
    "Count from {digit} to {small}.",
    "Convert {small} kilometres to miles.",
    "What is {small} percent of {number}?",
    "Write a slogan for a {product} shop.",
    "Describe a {adjective} {theme} in three sentences.",
    "Pretend you are a {occupation}. Introduce yourself.",
    "What would happen if every {noun} disappeared?",
    "Give advice to somebody who is moving to a big city.",
    "Write a to-do list for {weekday}.",
    'Explain the proverb "A rolling stone gathers no moss."',
    "What should I pack for a trip in {month}?",
    "Write a product description for a {colour} {product}.",
    'Turn this into a question: "The {occupation} lives in the {theme}."',
    "Say something nice about {colour} {theme}s.",
    "Generate a random password of {digit} words.",
)


def general_instructions(num: int, seed: int) -> list[str]:
    """Return instructions that no fact of a knowledge base answers.

    The same arguments give the same instructions.

    Args:
        num: How many to make.
        seed: The seed of all choices.

    Raises:
        ConfigError: The number is negative.
    """
    if num < 0:
        raise ConfigError(f"num must be 0 or more, got {num}.")
    rng = Random(f"instructions-{seed}")
    return [_fill(rng, rng.choice(_TEMPLATES)) for _ in range(num)]


def _fill(rng: Random, template: str) -> str:
    parts = template.split("{")
    text = parts[0]
    for part in parts[1:]:
        slot, _, rest = part.partition("}")
        text += _slot(rng, slot) + rest
    return text


def _slot(rng: Random, slot: str) -> str:
    if slot == "noun":
        return rng.choice(common_nouns())
    if slot == "a_thing":
        return rng.choice(load_nouns()).indefinite
    if slot in ("digit", "small", "number"):
        low, high = {"digit": (2, 9), "small": (10, 99), "number": (100, 9999)}[slot]
        return str(rng.randint(low, high))
    if slot == "person":
        return person(rng)
    if slot == "city":
        return city(rng)
    if slot == "product":
        return word(rng, "product_noun")
    if slot == "dish":
        return make_name(rng, "dish")
    if slot[0].isupper():
        return word(rng, slot.lower()).capitalize()
    return word(rng, slot)
