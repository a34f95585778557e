"""Imported by the server that workers are forked from: what each would else load and compile for itself.

Only kernels and tables: nothing here may start a thread, which a fork would not take along.
"""

import numpy as np

from derailleur.corpus.decoding import EncodingConfig, decode
from derailleur.corpus.documents import Document
from derailleur.corpus.filters import FilterConfig, Filters
from derailleur.corpus.key_ranges import sort_pairs
from derailleur.corpus.languages import language_of
from derailleur.corpus.licences import header_licences, match_licence
from derailleur.corpus.minhash import sketch
from derailleur.corpus.near_dedup import NearDedupConfig
from derailleur.corpus.pii import scan
from derailleur.corpus.recognition import RecognitionConfig, recognise

_TEXT = b"# License: MIT, someone@mail.corp\ndef add(left, right):\n    return left + right\n"


def warm() -> None:
    """Use everything once on a small text."""
    decode(_TEXT, path="a.py", config=EncodingConfig())
    language_of("a", _TEXT)
    recognise("a.js", _TEXT, "JavaScript", RecognitionConfig())
    header_licences(_TEXT)
    match_licence(_TEXT)
    scan(_TEXT)
    Filters(FilterConfig()).judge(Document("", "r", "a.py", "Python", "train", "", None, _TEXT))
    data = np.frombuffer(_TEXT, np.uint8)
    made = sketch(data, np.array([0]), np.array([len(data)]), NearDedupConfig().hashing())
    sort_pairs(made.band_keys.ravel(), np.zeros(made.band_keys.size, np.uint32), 0)


warm()
