"""From source repositories to one code model with many speeds."""

__version__ = "0.1.0"
