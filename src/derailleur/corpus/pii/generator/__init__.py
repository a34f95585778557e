"""A generator of annotated benchmarks: real files with planted values of every kind, and look-alikes."""

from derailleur.corpus.pii.generator.generate import GeneratorConfig, generate

__all__ = ["GeneratorConfig", "generate"]
