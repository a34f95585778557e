"""An OpenAI-compatible server over the engine, with a placement per request."""

from derailleur.serving.app import create_app
from derailleur.serving.served_model import ServedModel
from derailleur.serving.server import Server, listen, serve
from derailleur.serving.worker import EngineWorker

__all__ = ["EngineWorker", "ServedModel", "Server", "create_app", "listen", "serve"]
