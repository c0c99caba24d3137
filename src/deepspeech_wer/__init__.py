"""Continuous word-error-rate tracking for speech recognition."""
