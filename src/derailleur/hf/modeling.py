"""The decoder as a model of transformers: loading, placements, loss, generation."""

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn
from transformers import GenerationConfig, GenerationMixin, PreTrainedModel
from transformers.generation.configuration_utils import GenerationMode
from transformers.modeling_outputs import CausalLMOutputWithPast
from transformers.utils.generic import can_return_tuple
from transformers.utils.hub import cached_file

from derailleur.errors import ArgumentError, CheckpointError
from derailleur.hf.cache import DerailleurCache, chosen_mixers
from derailleur.hf.configuration import DerailleurConfig
from derailleur.model import Decoder
from derailleur.placement import Placement
from derailleur.placement.presets import PRESETS_FILE, Presets, load_presets

_HUB_ARGUMENTS = ("cache_dir", "force_download", "local_files_only", "token", "revision", "subfolder")
_REFUSED = {
    "inputs_embeds": "pass input_ids",
    "position_ids": "positions follow from attention_mask",
    "output_attentions": "recurrent mixers have no attention weights",
    "output_hidden_states": "take them from Decoder.forward(collect=True)",
}


class DerailleurForCausalLM(PreTrainedModel, GenerationMixin):
    """A checkpoint of ours at one of its placements.

    Its parts are the decoder's own modules, so that weights have the same names here and there.

    Attributes:
        decoder: what computes.
        presets: the folder's named placements.
    """

    config_class = DerailleurConfig
    main_input_name = "input_ids"
    _tied_weights_keys = {"head.weight": "embed.weight"}  # noqa: RUF012 - declared so by transformers
    _supported_generation_modes: ClassVar[list[GenerationMode]] = [
        GenerationMode.GREEDY_SEARCH,
        GenerationMode.SAMPLE,
        GenerationMode.BEAM_SEARCH,
        GenerationMode.BEAM_SAMPLE,
        GenerationMode.ASSISTED_GENERATION,
    ]

    decoder: Decoder

    def __init__(self, config: DerailleurConfig) -> None:
        super().__init__(config)
        decoder = Decoder(config.shape)
        for name, child in decoder.named_children():
            self.add_module(name, child)
        object.__setattr__(self, "decoder", decoder)  # not a submodule: its parts are
        self.presets = Presets.full_only(decoder.full_placement)
        self._placement: Placement | None = None  # config's, once presets are known
        self.post_init()  # type: ignore[no-untyped-call]

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: Any, *args: Any, **kwargs: Any) -> Any:
        """Load a checkpoint folder as transformers does.

        Args:
            placement: what `set_placement` takes.

        Raises:
            CheckpointError: if tensors are missing or foreign.
            PlacementError: if the placement is not one of this model.
        """
        wants_info = kwargs.pop("output_loading_info", False)
        loaded: Any = super().from_pretrained(
            pretrained_model_name_or_path, *args, output_loading_info=True, **kwargs
        )
        model, info = loaded
        for what in ("missing", "unexpected"):
            if names := sorted(info[f"{what}_keys"]):
                raise CheckpointError(f"{pretrained_model_name_or_path}: tensor '{names[0]}' is {what}")
        model.presets = _read_presets(pretrained_model_name_or_path, kwargs) or model.presets
        model.set_placement(model.config.placement)
        return (model, info) if wants_info else model

    def save_pretrained(self, save_directory: Any, *args: Any, **kwargs: Any) -> None:
        """Save the whole supernet, the presets, and the placement in use as the one to start with."""
        super().save_pretrained(save_directory, *args, **kwargs)
        self.presets.save(Path(save_directory))

    @property
    def placement(self) -> Placement:
        """The placement in use; `set_placement` changes it."""
        if self._placement is None:
            self.set_placement(self.config.placement)
        assert self._placement is not None
        return self._placement

    def set_placement(self, placement: Placement | str | None) -> Self:
        """Use another placement from now on; gives the model.

        Args:
            placement: a preset's name, letters (`FGSK`), runs (`2F 4G`), `all-gdn`; None for the default.

        Raises:
            PlacementError: if it is none of these, or a layer lacks its mixer.
        """
        chosen = self.presets.resolve(None if placement is None else str(placement))
        chosen_mixers(self.decoder, chosen)  # all are there
        self._placement = chosen
        self.config.placement = str(chosen)
        return self

    def with_placement(self, placement: Placement | str | None) -> Self:
        """The same weights at another placement, for example to draft: `generate(assistant_model=...)`."""
        twin = copy.copy(self)
        twin.config = copy.copy(self.config)
        return twin.set_placement(placement)

    @can_return_tuple
    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        past_key_values: DerailleurCache | None = None,
        labels: Tensor | None = None,
        use_cache: bool | None = None,
        logits_to_keep: int | Tensor = 0,
        num_items_in_batch: Tensor | int | None = None,
        **refused: Any,
    ) -> CausalLMOutputWithPast:
        """Next-token logits, and the loss if there are labels.

        Args:
            input_ids: [batch, seq]; after the tokens of `past_key_values` if there are any.
            attention_mask: [batch, past + seq], 0 where there is padding, on either side; positions count
                the tokens that are none.
            use_cache: start a cache; None is False.
            labels: [batch, seq], -100 where no loss is wanted. Gradients flow without a cache alone.
            logits_to_keep: how many of the last logits, all if 0; or which.
            num_items_in_batch: what the loss is divided by; the number of labels if absent.

        Raises:
            ArgumentError: naming an argument that is not supported, or does not fit.
        """
        _refuse(refused)
        if not input_ids.numel():
            raise ArgumentError("input_ids: expected at least one token")
        cache = self._cache(past_key_values, use_cache)
        if cache is not None and labels is not None:
            raise ArgumentError("labels: a loss needs use_cache=False and no past_key_values")
        mask = _mask(attention_mask, input_ids, cache)
        if cache is None:
            hidden = self._whole(input_ids, mask)
        else:
            hidden = cache.extend(self.decoder, input_ids, mask)
        if mask is not None:
            hidden = _carried_on(hidden, mask)
        kept = slice(-logits_to_keep, None) if isinstance(logits_to_keep, int) else logits_to_keep
        logits = self.decoder.logits(hidden[:, kept])
        loss = None
        if labels is not None:
            loss = self.loss_function(
                logits, labels, self.config.vocab_size, num_items_in_batch=num_items_in_batch
            )
        return CausalLMOutputWithPast(loss=loss, logits=logits, past_key_values=cache)

    def get_input_embeddings(self) -> nn.Module:
        """The embedding."""
        return self.decoder.embed

    def get_output_embeddings(self) -> nn.Module:
        """The head."""
        return self.decoder.head

    def resize_token_embeddings(self, *args: Any, **kwargs: Any) -> nn.Embedding:
        """Refused."""
        raise ArgumentError("resize_token_embeddings: a checkpoint's vocabulary is fixed")

    def generate_batch(self, *args: Any, **kwargs: Any) -> Any:
        """Refused."""
        raise ArgumentError("generate_batch: for continuous batching use `derailleur serve`")

    def _cache(self, given: DerailleurCache | None, use_cache: bool | None) -> DerailleurCache | None:
        if given is None:
            return DerailleurCache(self.decoder, self.placement) if use_cache else None
        if not isinstance(given, DerailleurCache):
            raise ArgumentError(f"past_key_values: expected a DerailleurCache, got {type(given).__name__}")
        if given.placement != self.placement:
            raise ArgumentError(
                f"past_key_values: of placement {given.placement}, the model is at {self.placement}"
            )
        return given

    def _whole(self, input_ids: Tensor, mask: Tensor | None) -> Tensor:
        """Final hidden states [batch, seq, hidden] of whole sequences."""
        if mask is None or bool(mask.all()):
            return self.decoder.hidden(input_ids, self.placement)
        # Tokens move to the left of their padding, which causal mixers then never see.
        order = mask.eq(0).long().argsort(dim=1, stable=True)
        hidden = self.decoder.hidden(input_ids.gather(1, order), self.placement)
        return hidden.gather(1, order.argsort(1).unsqueeze(-1).expand_as(hidden))

    def _prepare_cache_for_generation(
        self, generation_config: GenerationConfig, model_kwargs: dict[str, Any], *args: Any, **kwargs: Any
    ) -> Any:
        """Called by `generate`: our cache in the place of a dynamic one."""
        kind = generation_config.cache_implementation
        if kind not in (None, "dynamic"):
            raise ArgumentError(
                f"cache_implementation: '{kind}' is not supported, the mixers keep states of their own"
            )
        if model_kwargs.get("past_key_values") is None and generation_config.use_cache is not False:
            model_kwargs["past_key_values"] = DerailleurCache(self.decoder, self.placement)
            if generation_config.is_assistant:
                model_kwargs["past_key_values"].activate_past_recording()


def _read_presets(name: Any, arguments: Mapping[str, Any]) -> Presets | None:
    """The presets of a folder or a repository, or None if it has none."""
    where = {key: arguments[key] for key in _HUB_ARGUMENTS if key in arguments}
    found = cached_file(name, PRESETS_FILE, _raise_exceptions_for_missing_entries=False, **where)
    return None if found is None else load_presets(Path(found).parent)


def _refuse(arguments: Mapping[str, Any]) -> None:
    for name, value in arguments.items():
        if value is not None and value is not False:
            raise ArgumentError(f"{name} is not supported: {_REFUSED.get(name, 'unknown argument')}")


def _carried_on(hidden: Tensor, mask: Tensor) -> Tensor:
    """Padding takes over the state of the token before it: `generate` reads the last column of every row."""
    columns = torch.arange(mask.shape[1], device=mask.device)
    last = columns.where(mask.ne(0), 0).cummax(1).values  # [batch, seq]
    return hidden.gather(1, last.unsqueeze(-1).expand_as(hidden))


def _mask(mask: Tensor | None, input_ids: Tensor, cache: DerailleurCache | None) -> Tensor | None:
    """The new tokens' part of an attention mask."""
    if mask is None:
        return None
    batch, length = input_ids.shape
    expected = batch, length + (cache.get_seq_length() if cache else 0)
    if mask.shape != expected:
        raise ArgumentError(f"attention_mask: expected shape {expected}, got {tuple(mask.shape)}")
    return mask[:, -length:]
