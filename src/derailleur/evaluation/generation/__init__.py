"""Completions for evaluation: by our engine in process, by any OpenAI-compatible server, from a file.

Names are looked up in their modules: only `engine` imports torch.
"""
