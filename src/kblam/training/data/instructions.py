"""Instructions that have nothing to do with facts: what the base model must keep doing."""

from __future__ import annotations

from random import Random

from kblam.errors import ConfigError
from kblam.training.data._templates import fill

__all__ = ["general_instructions"]

_TEMPLATES = (
    "What does the word {everyday} mean?",
    "Define {everyday} in one sentence.",
    "Use the word {everyday} in a sentence.",
    "Explain what {thing article} is to a five-year-old.",
    "Write a short poem about {everyday}.",
    "Write a haiku about the {everyday} and the {everyday}.",
    "Tell me a short story about {person} and a {word adjective} {everyday}.",
    'Write the first paragraph of a novel called "The {word adjective cap} {word theme cap}".',
    "What is {int 10 99} plus {int 10 99}?",
    "Calculate {int 100 9999} - {int 10 99}.",
    "What is {int 10 99} times {int 10 99}? Show how you get there.",
    "Is {int 100 9999} an even or an odd number?",
    "If I have {int 10 99} apples and eat {int 2 9}, how many are left?",
    "Sort these numbers: {int 100 9999}, {int 10 99}, {int 2 9}, {int 100 9999}.",
    'Translate into {word language}: "Where is the nearest {everyday}?"',
    "How do you say good morning in {word language}?",
    'Rewrite politely: "Send me the {everyday} now."',
    'Correct the grammar: "He have two {everyday} and go to {city}."',
    'Rewrite in the passive voice: "The {word occupation} found the {everyday}."',
    'Make this shorter: "The {word adjective} {everyday} that stood in the {word theme} was seen '
    'by everybody who came to {city} that year."',
    "Give me three synonyms of {word adjective}.",
    "What is the opposite of {word adjective}?",
    "List five things one can do with a {everyday}.",
    "List three reasons to learn {word language}.",
    "Give me five names for a {word adjective} cat.",
    "Suggest a title for an article about {word field}.",
    "Write an e-mail to my manager asking for a day off on {word weekday}.",
    "Write a thank-you note to a {word occupation}.",
    "Write a Python function that counts the vowels in a string.",
    "Write a function in {word proglang} that reverses a list.",
    "How do I read a file line by line in {word proglang}?",
    "What does the SQL keyword GROUP BY do?",
    "Explain recursion with the example of a {everyday}.",
    "What is the difference between {word field} and {word field}?",
    "Explain {word field} in two sentences.",
    "Why is the sky blue?",
    "How does a {word product_noun} work?",
    "How do I clean a {word product_noun}?",
    "Give me a recipe for {dish} with {word ingredient}.",
    "What can I cook with {word ingredient} and {word ingredient}?",
    "Plan a weekend in a small town near the sea.",
    "How do I become a {word occupation}?",
    "What does a {word occupation} do all day?",
    "What are the pros and cons of working as a {word occupation}?",
    "Give me tips for learning the {word instrument}.",
    "How do the rules of {word sport} work?",
    "Recommend exercises for people who like {word sport}.",
    "Hi!",
    "Hello, how are you today?",
    "Who are you?",
    "What can you do for me?",
    "Thank you, that was helpful.",
    "Good morning! Any plans for {word weekday}?",
    "Tell me a joke about a {word occupation}.",
    "Tell me a riddle whose answer is {everyday}.",
    "I feel tired today. What should I do?",
    "Help me choose between a {word colour} and a {word colour} {word product_noun}.",
    "Continue the sentence: The {word adjective} {word theme} was",
    "Complete: Once upon a time in {city}, a {word occupation} met a {word animal} who",
    'Is the sentence "I love this {word product_noun}" positive or negative?',
    "Classify as animal, plant or thing: {everyday}.",
    "Which does not belong: {word animal}, {word animal}, {word instrument}, {word animal}?",
    'Which words are nouns? "The {word adjective} {word animal} crossed the {word theme}."',
    'Summarise: "{person} bought a {word product_noun} in {city}. It broke after {int 2 9} days, '
    'and the shop gave the money back."',
    'Extract the name from: "Yesterday {person} arrived from {city}."',
    "Spell the word {everyday} backwards.",
    "How many letters does the word {everyday} have?",
    "Count from {int 2 9} to {int 10 99}.",
    "Convert {int 10 99} kilometres to miles.",
    "What is {int 10 99} percent of {int 100 9999}?",
    "Write a slogan for a {word product_noun} shop.",
    "Describe a {word adjective} {word theme} in three sentences.",
    "Pretend you are a {word occupation}. Introduce yourself.",
    "What would happen if every {everyday} disappeared?",
    "Give advice to somebody who is moving to a big city.",
    "Write a to-do list for {word weekday}.",
    'Explain the proverb "A rolling stone gathers no moss."',
    "What should I pack for a trip in {word month}?",
    "Write a product description for a {word colour} {word product_noun}.",
    'Turn this into a question: "The {word occupation} lives in the {word theme}."',
    "Say something nice about {word colour} {word theme}s.",
    "Generate a random password of {int 2 9} words.",
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
    return [fill(rng, rng.choice(_TEMPLATES)) for _ in range(num)]
