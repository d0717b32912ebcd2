"""Embedders: clips to vectors, one file each."""
