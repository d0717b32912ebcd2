"""Vocoders of our own; published ones come from transformers."""
