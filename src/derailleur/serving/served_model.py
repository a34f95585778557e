"""The model behind the server: its names, its presets, and which placement a request asks for."""

import time
from dataclasses import dataclass, field

from derailleur.engine import NGRAM, DraftSource
from derailleur.errors import PlacementError, UserError
from derailleur.placement.placement import Placement
from derailleur.placement.presets import Presets
from derailleur.serving.auto import AUTO, AutoPreset
from derailleur.serving.chat_template import ChatTemplate
from derailleur.serving.config import LimitsConfig
from derailleur.serving.protocol import GenerationRequest
from derailleur.tokens import Tokenizer

NO_DRAFT = "none"
OTHER = "other"
"""How metrics call a placement that is no preset."""

_FILLING_TOKENS = 256


class UnknownModelError(UserError):
    """A model name that this server does not serve."""


@dataclass(frozen=True)
class ServedModel:
    """The model behind the server.

    Attributes:
        presets: by name.
        default: the preset where a request names none; that of `presets` if absent.
        auto: chooses for requests that leave the preset to the server; None where it cannot.
        draft: drafts for requests that say nothing about drafting.
        max_context: prompt and completion together, tokens.
        limits: what a request may ask for.
        chat_template: how messages become a prompt; None where the tokenizer has no template.
    """

    name: str
    tokenizer: Tokenizer
    presets: Presets
    max_context: int
    default: str | None = None
    auto: AutoPreset | None = None
    draft: DraftSource | None = None
    limits: LimitsConfig = field(default_factory=LimitsConfig)
    chat_template: ChatTemplate | None = None
    created: int = field(default_factory=lambda: int(time.time()))

    def __post_init__(self) -> None:
        if AUTO in self.presets:
            raise PlacementError(f"presets.json: '{AUTO}' is the server's own choice; rename that preset")

    @property
    def names(self) -> list[str]:
        """Every name under which the model can be asked for."""
        presets = [AUTO, *self.presets] if self.auto else list(self.presets)
        return [self.name, *(f"{self.name}@{preset}" for preset in presets)]

    @property
    def default_preset(self) -> str:
        """The preset where a request names none."""
        return self.default or self.presets.default

    @property
    def control_ids(self) -> frozenset[int]:
        """Tokens before which every text ends: the end of the document, marks of infilling and of files."""
        tokenizer = self.tokenizer
        ids = {tokenizer.eos_id} | (tokenizer.fim.ids if tokenizer.fim else set())
        return frozenset(ids if tokenizer.file_id is None else ids | {tokenizer.file_id})

    def filling_tokens(self, asked: int | None) -> int:
        """How many tokens at most fill in; None where an editor does not say.

        It has no use for a refusal: a server's limit shortens a filling, and half of the context stays for
        what is around the cursor.
        """
        wanted = _FILLING_TOKENS if asked is None else asked
        return min(wanted, self.limits.max_tokens or wanted, self.max_context // 2)

    def prompt_room(self, max_tokens: int) -> int:
        """How long a prompt that can be cut may be, beside `max_tokens` generated ones, tokens."""
        room = self.max_context - max_tokens
        return room if self.limits.prompt_tokens is None else min(room, self.limits.prompt_tokens)

    def chooses(self, body: GenerationRequest) -> bool:
        """Whether a request leaves its preset to the server."""
        return self._wanted(body) == AUTO

    def placement(self, body: GenerationRequest) -> Placement:
        """The placement that a request asks for; the best one where the server is yet to choose.

        Raises:
            UnknownModelError: if the model's name is not ours.
            PlacementError: if the preset or the placement does not exist.
        """
        wanted = self._wanted(body)
        if wanted != AUTO:
            return self.presets.resolve(wanted)
        if self.auto is None:
            raise PlacementError(f"preset '{AUTO}' needs presets whose quality and speed were measured")
        return self.auto.best

    def _wanted(self, body: GenerationRequest) -> str:
        name, _, preset = (body.model or self.name).partition("@")
        if name != self.name:
            raise UnknownModelError(f"model '{body.model}' does not exist; this server has '{self.name}'")
        asked = {text for text in (preset or None, body.preset, body.placement) if text is not None}
        if len(asked) > 1:
            raise UserError(f"'{body.model}' and the field preset or placement ask for different placements")
        return asked.pop() if asked else self.default_preset

    def preset_of(self, placement: Placement) -> str:
        """The preset's name, for metrics and logs; one word for every placement that is none."""
        return next((name for name, known in self.presets.items() if known == placement), OTHER)

    def draft_for(self, body: GenerationRequest, placement: Placement) -> DraftSource | None:
        """What drafts for a request, if anything."""
        if body.draft is not None:
            return draft_source(body.draft, self.presets)
        return self.draft if self.draft != placement or self.chooses(body) else None


def draft_source(text: str, presets: Presets) -> DraftSource | None:
    """What drafts under this name: a preset, a placement, the text itself ('ngram'), or nothing ('none').

    Raises:
        UserError: if it is none of these.
    """
    if text == NO_DRAFT:
        return None
    if text == NGRAM:
        return NGRAM
    try:
        return presets.resolve(text)
    except PlacementError as error:
        raise UserError(f"draft: {error}") from None
