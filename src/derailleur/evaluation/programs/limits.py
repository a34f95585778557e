"""What the programs of each language may use."""

from pydantic import Field

from derailleur.config import Config
from derailleur.evaluation.programs.row import Language
from derailleur.evaluation.sandbox.limits import Limits


class LanguageLimits(Config):
    """The limits of one program, by its language."""

    python: Limits = Field(Limits(), description="limits of a Python program")
    javascript: Limits = Field(Limits(), description="limits of a JavaScript program")
    java: Limits = Field(Limits(), description="limits of a Java program")

    def of(self, language: Language) -> Limits:
        """The limits of a program in `language`."""
        limits: Limits = getattr(self, language.value)
        return limits
