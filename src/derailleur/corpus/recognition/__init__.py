"""Files that nobody wrote in this repository: binary, minified, generated, or copied from another one."""

from derailleur.corpus.recognition.recognise import RecognitionConfig, recognise

__all__ = ["RecognitionConfig", "recognise"]
