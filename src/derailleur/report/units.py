"""Numbers as people read them."""

NOT_MEASURED = "–"


def count(value: float) -> str:
    """1,540, 856 k, 3.62 M or 1.5 G."""
    if value < 100_000:
        return f"{value:,.0f}"
    for unit, factor in (("G", 1e9), ("M", 1e6)):
        if value >= factor:
            return f"{value / factor:.3g} {unit}"
    return f"{value / 1e3:.0f} k"


def data_size(num_bytes: float) -> str:
    """Decimal units: 512 B, 31.5 MB."""
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if num_bytes >= factor:
            return f"{num_bytes / factor:.3g} {unit}"
    return f"{num_bytes:.0f} B"


def duration(seconds: float) -> str:
    """0.4 s, 42 s, 4.9 min, 17 min, 2.1 h."""
    value, unit = next(
        ((seconds / factor, unit) for unit, factor in (("h", 3600), ("min", 60)) if seconds >= factor),
        (seconds, "s"),
    )
    return f"{value:.1f} {unit}" if value < 10 else f"{value:.0f} {unit}"


def percent(share: float | None) -> str:
    """93.4 %, or a dash for what was not measured."""
    return NOT_MEASURED if share is None else f"{signed(100 * share, 1)}\N{NO-BREAK SPACE}%"


def decimals(value: float | None, places: int) -> str:
    """A fixed number of decimals, or a dash for what was not measured."""
    return NOT_MEASURED if value is None else f"{value:,.{places}f}"


def signed(value: float | None, places: int) -> str:
    """As `decimals`, for what may lie below 0: no zero has a sign."""
    return decimals(None if value is None else round(value, places) + 0.0, places)


def context(tokens: int) -> str:
    """512, 2k, 8k: contexts are powers of two."""
    return f"{tokens // 1024}k" if tokens % 1024 == 0 else f"{tokens:,}"


def regime(batch: int, context_tokens: int) -> str:
    """16 requests, 8k context."""
    return f"{plural(batch, 'request')}, {context(context_tokens)} context"


def plural(number: int, noun: str, nouns: str | None = None) -> str:
    """1 file, 2 files; `nouns` where it is more than an s."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {nouns or noun + 's'}"
