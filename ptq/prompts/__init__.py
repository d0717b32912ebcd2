"""Prompts: the lexicon of sounds, the scenes they form, and the captions that describe them."""
