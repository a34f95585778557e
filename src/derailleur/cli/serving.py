"""`derailleur serve`: an OpenAI-compatible server over one checkpoint."""

import json
import socket
from pathlib import Path
from typing import TYPE_CHECKING

from derailleur.cli.arguments import Parser, parser, split_overrides
from derailleur.config import load_config
from derailleur.errors import ConfigError

if TYPE_CHECKING:
    from derailleur.serving import ServedModel


def run(command: str, arguments: list[str]) -> int:
    """Serve until a signal comes."""
    # torch is imported only when the command is called: `derailleur --help` answers at once.
    import torch

    from derailleur import serving
    from derailleur.engine import Engine, EngineConfig
    from derailleur.model import model_folder
    from derailleur.placement.presets import Presets, load_presets
    from derailleur.tokens import Tokenizer

    options, overrides = split_overrides(_parser(EngineConfig), arguments)
    config = load_config(EngineConfig, options.config, overrides)
    keys = _read_keys(options.api_key_file) if options.api_key_file else []
    folder = model_folder(options.model)
    tokenizer = Tokenizer.load(folder)
    if options.threads is not None:
        if options.threads < 1:
            raise ConfigError(f"--threads: expected at least 1, got {options.threads}")
        torch.set_num_threads(options.threads)
    with serving.listen(options.host, options.port) as listener:
        engine = Engine(folder, tokenizer, config)
        presets = load_presets(folder, full=engine.decoder.full_placement)
        if options.preset:
            presets = Presets(presets.details, default=options.preset)
        draft = presets.resolve(options.draft) if options.draft else None
        model = serving.ServedModel(_name(folder), tokenizer, presets, engine.max_context, draft)
        worker = serving.EngineWorker(engine)
        app = serving.create_app(model, worker, api_keys=keys)
        greeting = _greeting(model, listener, with_key=bool(keys))
        serving.serve(
            app, listener, ready=lambda: print(greeting, flush=True), end_streams=worker.end_streams
        )
    return 0


def _parser(config: type) -> Parser:
    made = parser(
        "serve",
        "An OpenAI-compatible server over one checkpoint, with a preset per request, and a page to try it.",
        "derailleur serve runs/quickstart/model --preset balanced --draft fast",
        config,
    )
    made.add_argument(
        "model", type=Path, help="a checkpoint folder, or the folder of the stage that wrote it"
    )
    made.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    made.add_argument(
        "--port", type=int, default=8000, help="port; 0 takes a free one (default: %(default)s)"
    )
    made.add_argument("--preset", help="used where a request names none (default: that of presets.json)")
    made.add_argument("--draft", help="preset or placement that drafts for greedy requests (default: none)")
    made.add_argument("--api-key-file", type=Path, help="accept only calls with one of its lines as API key")
    made.add_argument("--config", type=Path, metavar="FILE.yaml", help="the keys below, as YAML")
    made.add_argument("--threads", type=int, help="CPU threads of one step (default: torch's)")
    return made


def _read_keys(path: Path) -> list[str]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from None
    keys = [line.strip() for line in lines if line.strip()]
    if not keys:
        raise ConfigError(f"{path}: no API key in it; expected one a line")
    return keys


def _name(folder: Path) -> str:
    """The name under which a folder is served: RUN/model is served as RUN."""
    folder = folder.resolve()
    return folder.parent.name if folder.name == "model" and folder.parent.name else folder.name


def _greeting(model: "ServedModel", listener: socket.socket, *, with_key: bool) -> str:
    host, port = listener.getsockname()[:2]
    address = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    body = {"model": model.names[-1], "prompt": "def main():\n", "max_tokens": 64, "temperature": 0}
    headers = "-H 'Content-Type: application/json'"
    if with_key:
        headers += " -H 'Authorization: Bearer KEY'"
    return (
        f"serving {', '.join(model.names)}\n"
        f"page:    {address}/\n"
        f"example: curl {address}/v1/completions {headers} -d '{json.dumps(body)}'"
    )
