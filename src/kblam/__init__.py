"""Facts as knowledge tokens inside a frozen language model."""
