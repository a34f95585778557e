"""The sections of a card, each from the facts alone; a section with nothing to say is empty."""

from collections.abc import Iterator

from derailleur.card.facts import Facts
from derailleur.card.presets import preset_table, table
from derailleur.card.stages import describe_stage
from derailleur.model import DecoderConfig
from derailleur.report import units

_MIXERS = {"F": "full attention", "S": "sliding window", "K": "Kimi Delta Attention", "G": "Gated DeltaNet"}


def introduction(facts: Facts) -> str:
    """What it is and what for."""
    size = units.count(facts.num_parameters)
    languages = ", ".join(facts.history.results("curate").get("languages", {}))
    what = f"code ({languages})" if languages else "text"
    does = "continues and fills in" if facts.history.trains_infilling else "continues"
    purpose = f"It {does} {what}; it is not tuned to follow instructions."
    if facts.config is None:
        kind = facts.description["model_type"]
        return f"A `{kind}` checkpoint of {size} parameters, exported by derailleur. {purpose}"
    layers = units.plural(facts.config.num_layers, "layer")
    if facts.is_plain:
        made = "a teacher: `derailleur distill` gives it mixers, and so speeds"
        return f"A decoder of {layers} and {size} parameters with full attention, {made}. {purpose}"
    if facts.is_fixed:
        placement = facts.config.full_placement.run_length()
        return f"A decoder of {layers} and {size} parameters at the fixed placement `{placement}`. {purpose}"
    speeds = f"{len(facts.presets)} speeds" if facts.presets else "many speeds"
    return (
        f"One checkpoint, {speeds}: a decoder of {layers} and {size} parameters whose layers have several "
        f"trained mixers each. A *placement* names one mixer for every layer, a *preset* is a placement with "
        f"a name; any request may ask for any of them, and no weights are loaded anew.\n\n{purpose}"
    )


def presets(facts: Facts) -> str:
    """What there is to choose from."""
    none_yet = "" if facts.is_fixed else "None yet: `derailleur place search` finds them."
    return preset_table(facts) or none_yet


def use(facts: Facts) -> str:
    """How to load it."""
    if facts.description["model_type"] == "apriel2":
        return (
            "The layout is the released Super Apriel's: its modelling code or `derailleur import` reads it."
        )
    chosen = list(facts.presets)[-1] if facts.presets and not facts.is_fixed else None
    placement = f', placement="{chosen}"' if chosen else ""
    ours = facts.config is not None
    lines = [
        "```python",
        *(["import derailleur.hf  # pip install 'derailleur[hf]'"] if ours else []),
        "from transformers import AutoModelForCausalLM, AutoTokenizer",
        "",
        'tokenizer = AutoTokenizer.from_pretrained("FOLDER")',
        f'model = AutoModelForCausalLM.from_pretrained("FOLDER"{placement})',
        'text = tokenizer("def read(path):\\n", return_tensors="pt")',
        "print(tokenizer.decode(model.generate(**text, max_new_tokens=64)[0]))",
        "```",
    ]
    if ours:
        preset = f" --preset {chosen}" if chosen else ""
        lines = [f"    derailleur serve FOLDER{preset}", "", *lines]
    return "\n".join(lines)


def sizes(facts: Facts) -> str:
    """How large it is, and where its mixers are."""
    rows = [["parameters", f"{facts.num_parameters:,}"]]
    config = facts.config
    if not facts.is_fixed:
        least, most = facts.active_parameters
        rows.append(["of these at work in one placement", f"{least:,} to {most:,}"])
    if config is not None:
        rows += [
            ["layers, width", f"{config.num_layers}, {config.hidden_size:,}"],
            [
                "query heads, key-value heads, width",
                f"{config.num_heads}, {config.num_kv_heads}, {config.head_dim}",
            ],
            ["MLP", f"{config.intermediate_size:,} ({config.mlp}, {config.activation})"],
            ["vocabulary", f"{config.vocab_size:,}"],
            ["trained context", f"{config.max_positions:,} tokens"],
        ]
    rows.append(["weights", f"{', '.join(facts.dtypes)}, {units.data_size(facts.num_bytes)}"])
    sizes = table(["", ""], rows)
    return sizes if config is None else f"{sizes}\n\n{_mixers(facts, config)}"


def _mixers(facts: Facts, config: DecoderConfig) -> str:
    """Which layers have which mixer."""
    rows = []
    for letter in config.mixers.letters:
        layers = [layer for layer, bank in enumerate(facts.banks) if letter in bank]
        if layers:
            where = "all" if len(layers) == config.num_layers else ", ".join(map(str, layers))
            each = facts.mixer_parameters[layers[0], letter]
            mixer = f"`{letter}` {_MIXERS.get(letter, letter)}{_window(letter, config)}"
            rows.append([mixer, where, f"{each:,}"])
    return table(["mixer", "layers", "parameters in each"], rows)


def _window(letter: str, config: DecoderConfig) -> str:
    tokens = getattr(getattr(config.mixers, letter), "window_tokens", None)
    return "" if tokens is None else f", {tokens:,} tokens"


def stages(facts: Facts) -> str:
    """The road to it."""
    described = ((manifest["stage"], describe_stage(manifest)) for manifest in facts.history.stages)
    return "\n".join(f"- **{stage}**: {text}" for stage, text in described if text)


def limits(facts: Facts) -> str:
    """What not to expect of it."""
    return "\n".join(f"- {line}" for line in _limit_lines(facts))


def _limit_lines(facts: Facts) -> Iterator[str]:
    scores = [row["bits_per_byte"] for row in facts.history.evaluation.get("presets", [])]
    anchor = facts.history.evaluation.get("anchors", {}).get("xz")
    if anchor is not None and all(scores) and min(scores) > anchor:
        yield "It is too small or too little trained to be of use: xz needs fewer bits for the same files."
    yield "Text alone: images are out of scope, and no vision encoder comes with it."
    yield "What it writes may be wrong or insecure, or repeat training text, which has a licence of its own."
    if facts.history.results("curate"):
        yield "Personal data and secrets were replaced where patterns find them, which is not everywhere."
    if facts.config is not None:
        context = f"{facts.config.max_positions:,} tokens"
        if facts.config.positions == "rotary":
            yield f"It was trained on at most {context}; beyond, its quality was not measured."
        else:
            yield f"It reads no more than {context}: its positions are learned."
        if not facts.is_plain:
            yield "The fewer layers with full attention a placement has, the less it recalls from far back."
