"""`derailleur serve`: an OpenAI-compatible server over one checkpoint."""

import ipaddress
import json
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from derailleur.cli.arguments import Parser, parser, split_overrides
from derailleur.config import load_config
from derailleur.errors import CapacityError, ConfigError

if TYPE_CHECKING:
    from derailleur.serving import ServedModel


def run(command: str, arguments: list[str]) -> int:
    """Serve until a signal comes."""
    # torch is imported only when the command is called: `derailleur --help` answers at once.
    import torch

    from derailleur import serving
    from derailleur.engine import Engine
    from derailleur.model import model_folder
    from derailleur.placement.presets import Presets, load_presets
    from derailleur.tokens import Tokenizer

    options, overrides = split_overrides(_parser(serving.ServeConfig), arguments)
    if options.batch_invariant:
        overrides += ["--batch_invariant", "true"]
    config = load_config(serving.ServeConfig, options.config, overrides)
    keys = serving.read_keys(options.api_key_file) if options.api_key_file else serving.KeyRing()
    access_log = serving.AccessLog(options.access_log) if options.access_log else None
    folder = model_folder(options.model)
    tokenizer, template = Tokenizer.load(folder), serving.ChatTemplate.load(folder)
    if options.threads is not None:
        if options.threads < 1:
            raise ConfigError(f"--threads: expected at least 1, got {options.threads}")
        torch.set_num_threads(options.threads)
    with serving.listen(options.host, options.port) as listener:
        engine = Engine(folder, tokenizer, config)
        presets = load_presets(folder, full=engine.decoder.full_placement)
        if options.preset and options.preset != serving.AUTO:
            presets = Presets(presets.details, default=options.preset)
        auto = None
        if serving.measured(presets) or options.preset == serving.AUTO or config.auto != serving.AutoConfig():
            auto = serving.AutoPreset(
                presets, config.auto, prefill_tokens=config.prefill_tokens, max_rows=config.max_rows
            )
        model = serving.ServedModel(
            _name(folder),
            tokenizer,
            presets,
            engine.max_context,
            default=options.preset,
            auto=auto,
            draft=serving.draft_source(options.draft, presets),
            limits=config.limits,
            chat_template=template,
        )
        try:
            engine.warm_up()
        except CapacityError as error:
            raise ConfigError(f"--state_memory_bytes: not even a short text fits: {error}") from None
        if not keys and not _is_loopback(listener):
            print(f"derailleur: {options.host} asks for no key; see --api-key-file", file=sys.stderr)
        worker = serving.EngineWorker(engine, max_waiting=config.limits.max_waiting, auto=auto)
        traffic = serving.Traffic()
        greeting = _greeting(model, listener, with_key=bool(keys))
        server = serving.Server(
            serving.create_app(model, worker, keys=keys, access_log=access_log, traffic=traffic),
            traffic=traffic,
            grace_seconds=config.limits.grace_seconds,
            ready=lambda: print(greeting, flush=True),
            end_streams=worker.end_streams,
        )
        serving.serve(server, listener)
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
    made.add_argument(
        "--preset",
        help="used where a request names none; auto keeps a latency target (default: that of presets.json)",
    )
    made.add_argument(
        "--draft",
        default="none",
        help="what drafts: a preset, a placement, ngram or none (default: %(default)s)",
    )
    made.add_argument(
        "--api-key-file",
        type=Path,
        help="accept only calls with one of its keys: one a line, or .yaml/.json with names and limits",
    )
    made.add_argument(
        "--access-log", metavar="FILE", help="append a JSON line per call; - is standard output"
    )
    made.add_argument(
        "--batch-invariant",
        action="store_true",
        help="refuse to start unless a text depends on its request alone, to the last bit",
    )
    made.add_argument("--config", type=Path, metavar="FILE.yaml", help="the keys below, as YAML")
    made.add_argument("--threads", type=int, help="CPU threads of one step (default: torch's)")
    return made


def _name(folder: Path) -> str:
    """The name under which a folder is served: RUN/model is served as RUN."""
    folder = folder.resolve()
    return folder.parent.name if folder.name == "model" and folder.parent.name else folder.name


def _is_loopback(listener: socket.socket) -> bool:
    return ipaddress.ip_address(listener.getsockname()[0]).is_loopback


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
