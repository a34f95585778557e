"""How alike two documents must be, how candidates are found, and what becomes of them."""

from typing import Any, Literal

from pydantic import Field, model_validator

from derailleur.config import Config
from derailleur.corpus.minhash import Hashing

Profile = Literal["default", "santacoder-baseline", "santacoder-alt"]

PROFILES: dict[str, dict[str, Any]] = {
    "default": {},
    # The Stack's first near-dedup: sets of words, 256 permutations of which 13 bands of 19 rows use 247
    "santacoder-baseline": {
        "threshold": 0.85,
        "shingle_words": 1,
        "num_bands": 13,
        "rows_per_band": 19,
        "min_words": 10,
        "word_characters": "ascii",
        "rule": "extremes",
    },
    # SantaCoder's "near-dedup alt": 256 permutations of which 25 bands of 10 rows use 250
    "santacoder-alt": {
        "threshold": 0.7,
        "shingle_words": 5,
        "num_bands": 25,
        "rows_per_band": 10,
        "min_words": 10,
        "short_documents": "drop",
        "word_characters": "ascii",
        "rule": "components",
    },
}
"""What each profile sets; `default` is the default of every key."""


class NearDedupConfig(Config):
    """How alike two documents must be, how candidates are found, and what becomes of them.

    With b bands of r rows a pair of similarity s becomes a candidate with probability 1 - (1 - s^r)^b:
    99.5 % at 0.70 with the defaults. A profile fills the keys that are not set.
    """

    profile: Profile = Field("default", description="default | santacoder-baseline | santacoder-alt")
    threshold: float = Field(0.7, gt=0, le=1, description="Jaccard similarity that makes a duplicate")
    shingle_words: int = Field(5, ge=1, le=1000, description="words in a shingle")
    num_bands: int = Field(42, ge=1, le=4096, description="LSH bands")
    rows_per_band: int = Field(6, ge=1, le=4096, description="signature slots in a band")
    min_words: int = Field(
        0, ge=0, description="documents of fewer words, or of fewer than a shingle has, are not compared"
    )
    short_documents: Literal["keep", "drop"] = Field(
        "keep", description="what becomes of those not compared: keep | drop"
    )
    word_characters: Literal["unicode", "ascii"] = Field(
        "unicode", description="whether characters beyond ASCII make words (unicode) or part them (ascii)"
    )
    rule: Literal["verified", "extremes", "components"] = Field(
        "verified",
        description="verified: dropped only if alike enough to a kept document | extremes: the same, but "
        "inside clusters of a sequential index | components: all that candidate pairs connect, unverified",
    )
    max_candidates: int = Field(
        1000, ge=1, description="most candidates verified per document, those that share most bands first"
    )
    seed: int = Field(0, ge=0, description="seed of the hash functions")

    @model_validator(mode="before")
    @classmethod
    def _fill_from_profile(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        return PROFILES.get(str(values.get("profile", "default")), {}) | values

    def hashing(self) -> Hashing:
        """The hash functions of the sketches."""
        return Hashing.seeded(
            shingle_words=self.shingle_words,
            num_bands=self.num_bands,
            rows_per_band=self.rows_per_band,
            seed=self.seed,
            min_words=self.min_words,
            word_characters=self.word_characters,
        )
