"""An OpenAI-compatible server over the engine, with a placement per request."""

from derailleur.serving.access_log import AccessLog
from derailleur.serving.app import create_app
from derailleur.serving.auto import AUTO, AutoConfig, AutoPreset, measured
from derailleur.serving.chat_template import ChatTemplate
from derailleur.serving.config import LimitsConfig, ServeConfig
from derailleur.serving.gate import Traffic
from derailleur.serving.keys import ApiKey, KeyRing, read_keys
from derailleur.serving.served_model import ServedModel, draft_source
from derailleur.serving.server import Server, listen, serve
from derailleur.serving.worker import EngineWorker

__all__ = [
    "AUTO",
    "AccessLog",
    "ApiKey",
    "AutoConfig",
    "AutoPreset",
    "ChatTemplate",
    "EngineWorker",
    "KeyRing",
    "LimitsConfig",
    "ServeConfig",
    "ServedModel",
    "Server",
    "Traffic",
    "create_app",
    "draft_source",
    "listen",
    "measured",
    "read_keys",
    "serve",
]
