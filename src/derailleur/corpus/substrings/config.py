"""How long a repeated passage must be, and how closely it is looked for."""

from pydantic import Field

from derailleur.config import Config


class SubstringConfig(Config):
    """How long a repeated passage must be, and how closely it is looked for.

    In the paper's terms, `min_bytes` is the noise threshold k and `min_bytes + window - 1` the guarantee t.
    """

    enabled: bool = Field(False, description="whether to report what kept documents repeat verbatim")
    min_bytes: int = Field(100, ge=8, le=1 << 20, description="no shorter run counts as repeated, bytes")
    window: int = Field(
        16,
        ge=1,
        le=1 << 20,
        description="every repeated run of min_bytes + window - 1 bytes is found; scratch space shrinks as "
        "it grows, 1.9 times the text at 16",
    )
    num_top: int = Field(100, ge=0, description="passages listed, those that repeat most bytes first")
