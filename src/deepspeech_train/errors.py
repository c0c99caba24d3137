"""The recipe's failures that a user can mend: a message and a hint, shown without a traceback."""

from __future__ import annotations


class RecipeError(Exception):
    """``message`` says what was tried and on what; ``hint`` says what to do next (may be empty)."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(f"{message}\n{hint}" if hint else message)
        self.message = message
        self.hint = hint


class SettingsError(RecipeError):
    """A setting that cannot be used, told before anything is trained."""
