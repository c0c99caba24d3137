"""Corpora: one module each; every one gives utterances in three splits."""
