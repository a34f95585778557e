"""Checkpoints of ours under transformers: importing this makes the Auto classes know them.

    import derailleur.hf
    model = AutoModelForCausalLM.from_pretrained(folder, placement="fast")
    model.generate(**tokenizer("def read(path):", return_tensors="pt"))

Nothing else of this package needs transformers, and nothing here is needed to serve a model.
"""

try:
    from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedConfig  # noqa: F401 - 5.x alone has it
except ImportError:
    raise ImportError(
        "derailleur.hf needs transformers 5.23 or newer: pip install 'derailleur[hf]'"
    ) from None

from derailleur.hf.cache import DerailleurCache
from derailleur.hf.configuration import DerailleurConfig
from derailleur.hf.modeling import DerailleurForCausalLM

AutoConfig.register(DerailleurConfig.model_type, DerailleurConfig, exist_ok=True)
AutoModelForCausalLM.register(DerailleurConfig, DerailleurForCausalLM, exist_ok=True)

__all__ = ["DerailleurCache", "DerailleurConfig", "DerailleurForCausalLM"]
