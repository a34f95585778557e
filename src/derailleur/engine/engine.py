"""The engine: takes requests, runs steps, gives out text.

One step reads a piece of every unread prompt and adds a token (several, under speculation) to every
other request. The engine is not thread-safe: one thread owns it.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Literal

import torch
from pydantic import Field

from derailleur.config import Config
from derailleur.engine.active import ActiveRequest, Work
from derailleur.engine.budget import state_budget_bytes
from derailleur.engine.choosing import Chooser
from derailleur.engine.drafting import Drafting
from derailleur.engine.grammar import Grammar, Grammars
from derailleur.engine.graphs import cuda_graphs
from derailleur.engine.invariance import check_invariance
from derailleur.engine.loading import load_decoder
from derailleur.engine.logprobs import prompt_logprobs, token_logprobs
from derailleur.engine.memory import Claim, State, StateMemory
from derailleur.engine.plan import Piece
from derailleur.engine.request import Delta, DraftSource, Generation, Request
from derailleur.engine.runner import Runner
from derailleur.engine.sampling import GREEDY, Sampling
from derailleur.engine.scheduler import Limit, Scheduler
from derailleur.engine.speculative import MAX_DRAFT_TOKENS, propose
from derailleur.engine.speed import DecodeSpeed, decode_speed
from derailleur.engine.text import StopText, Tokenizer
from derailleur.engine.verifying import count_accepted, decide
from derailleur.errors import CapacityError, PlacementError, UserError
from derailleur.io import Progress, silent
from derailleur.model import Decoder, DecoderLayer, model_folder
from derailleur.model.checkpoint import generation_settings
from derailleur.placement.placement import Placement

_WARM_UP_TOKENS = 64
"""More than a step of verifying may have: a prompt goes through other kernels than a token."""


class EngineConfig(Config):
    """Settings of the engine."""

    max_context: int | None = Field(
        None,
        ge=2,
        description="longest prompt and completion together, tokens; the model's context if absent",
    )
    state_memory_bytes: int | None = Field(
        None,
        gt=0,
        description="budget for keys, values and recurrent states of all requests, bytes; half of the "
        "memory that the machine has to spare if absent (on a GPU nine tenths)",
    )
    max_rows: int = Field(64, ge=1, description="most requests that run at once; others wait")
    prefill_tokens: int = Field(512, ge=1, description="prompt tokens read per step, tokens")
    prefix_cache: bool = Field(
        True, description="remember what was read, so that a text with the same beginning is not read again"
    )
    snapshot_tokens: int = Field(
        512, ge=1, description="how far apart recurrent states of a prompt are remembered, tokens"
    )
    max_draft_tokens: int = Field(
        8, ge=1, le=MAX_DRAFT_TOKENS, description="longest draft of self-speculation, tokens"
    )
    drafting: Literal["measured", "always"] = Field(
        "measured",
        description="when a request's draft is used: where measured step times say that it pays, or always",
    )
    batch_invariant: bool = Field(
        False,
        description="refuse to start unless a text depends on its request alone, to the last bit: on a "
        "CPU in float32",
    )
    cuda_graphs: bool = Field(
        True, description="on a GPU, launch steps in which every request adds one token as a whole"
    )
    device: str = Field("cpu", description="where a checkpoint is loaded and runs: cpu, cuda, cuda:1")
    dtype: Literal["float32", "bfloat16"] = Field(
        "float32",
        description="of a checkpoint's weights, and on a GPU of activations and key-value states, which "
        "on a CPU stay float32",
    )


@dataclass(frozen=True)
class EngineLoad:
    """What the engine is busy with.

    Attributes:
        limited_by: why the first that waits does.
        num_preempted: how often a request gave its memory back and read its text again later.
        used_bytes: state memory that requests hold, by the letter of the mixer.
        cached_bytes: what only the prefix cache holds; it goes where requests need the room.
    """

    running: int
    waiting: int
    limited_by: Limit | None
    num_preempted: int
    used_bytes: Mapping[str, int]
    cached_bytes: int
    budget_bytes: int


class Engine:
    """Continuous batching over one decoder, a placement per request.

    Args:
        model: a decoder, or the folder of a checkpoint.
        tokenizer: that of the model.
    """

    def __init__(
        self, model: Decoder | Path, tokenizer: Tokenizer, config: EngineConfig | None = None
    ) -> None:
        self.config = config = config or EngineConfig()
        self.tokenizer = tokenizer
        self._eos_ids = frozenset([tokenizer.eos_id])
        if isinstance(model, Path):
            folder = model_folder(model)
            self._eos_ids |= _eos_ids(folder)
            model = load_decoder(folder, device=config.device, dtype=config.dtype)
        weight = model.embed.weight
        if config.batch_invariant:
            check_invariance(model)
        self.decoder = model
        self.max_context = config.max_context or model.config.max_positions
        model.check_positions(self.max_context)
        graphs = cuda_graphs(model) if config.cuda_graphs else None
        self.runner = Runner(model, weight.device, graphs)
        budget = config.state_memory_bytes or state_budget_bytes(weight.device)
        self.memory = StateMemory(model, budget, model.dtype, weight.device, has_spares=graphs is not None)
        self.scheduler = Scheduler(
            self.memory,
            max_rows=config.max_rows,
            prefill_tokens=config.prefill_tokens,
            max_draft_tokens=config.max_draft_tokens,
            snapshot_tokens=config.snapshot_tokens if config.prefix_cache else None,
        )
        self._grammars = Grammars(tokenizer, model.config.vocab_size)
        self._drafting = Drafting(always=config.drafting == "always")
        self._ids = count()
        self._active: dict[int, ActiveRequest] = {}

    @property
    def num_layers(self) -> int:
        """Layers that a placement must have."""
        return self.decoder.config.num_layers

    @property
    def busy(self) -> bool:
        """Whether any request is not finished."""
        return bool(self._active)

    @property
    def load(self) -> EngineLoad:
        """What the engine is busy with."""
        scheduler, memory = self.scheduler, self.memory
        return EngineLoad(
            running=len(scheduler.running),
            waiting=len(scheduler.waiting),
            limited_by=scheduler.limited_by,
            num_preempted=scheduler.num_preempted,
            used_bytes=memory.used_bytes(),
            cached_bytes=memory.cached_bytes,
            budget_bytes=memory.budget_bytes,
        )

    def submit(self, request: Request) -> int:
        """Queue a request; its deltas carry the id that is returned.

        Raises:
            UserError: if the request makes no sense for this model.
            CapacityError: if it is longer than the context, or needs more memory than there is.
        """
        active = self._activate(request)
        needed = len(request.prompt) + request.max_tokens
        if needed > self.max_context:
            raise CapacityError(
                f"the prompt has {len(request.prompt)} tokens and max_tokens is {request.max_tokens}, "
                f"together {needed}; the context is {self.max_context}"
            )
        if not self.fits(request):
            raise CapacityError(
                f"the request needs {self._required_bytes(request):,} bytes of state, "
                f"the budget is {self.memory.budget_bytes:,}: "
                "ask for fewer tokens or a cheaper placement, or raise state_memory_bytes"
            )
        self._active[active.id] = active
        self.scheduler.waiting.append(active)
        return active.id

    def fits(self, request: Request) -> bool:
        """Whether the states of a request have room where nothing else has any."""
        return self._required_bytes(request) <= self.memory.budget_bytes

    def cancel(self, request_id: int) -> None:
        """End a request and free its memory; nothing happens if it ended before."""
        active = self._active.pop(request_id, None)
        if active is not None:
            self.scheduler.remove(active)
            self.runner.forget()

    @torch.inference_mode()
    def step(self) -> list[Delta]:
        """Run one step; gives what it added, at most one delta a request."""
        begin = time.perf_counter()
        self.scheduler.admit()
        reading = self.scheduler.read()
        decoding = self._decode()
        # Those that decode may have taken the memory of one that reads.
        works = [*decoding, *(work for work in reading if not work.active.preempted)]
        if not works:
            return []
        output = self.runner.step([work.piece for work in works])
        chosen = decide(works, output)
        if any(work.proposal for work in works):
            output.commit([len(own) for own in chosen])
        seconds = time.perf_counter() - begin if len(works) == len(decoding) else None
        self._drafting.record(decoding, chosen, seconds)
        for work, own in zip(works[len(decoding) :], chosen[len(decoding) :], strict=True):
            if own or not work.num_choices:  # what broke is not remembered
                self.scheduler.remember(work.active, work.piece.state)
        deltas = [
            self._advance(work, own, output.logits[span])
            for work, own, span in zip(works, chosen, output.spans, strict=True)
        ]
        return [delta for delta in deltas if delta is not None]

    def generate(
        self,
        prompts: Sequence[Sequence[int]],
        *,
        placement: Placement,
        max_tokens: int,
        sampling: Sampling = GREEDY,
        draft: DraftSource | None = None,
        grammar: Grammar | None = None,
        stop: Sequence[str] = (),
        stop_tokens: frozenset[int] = frozenset(),
        progress: Progress = silent,
    ) -> list[Generation]:
        """Continue several prompts and wait for all of them; answers are in the order of the prompts."""
        asked = Request(
            prompt=(),
            placement=placement,
            max_tokens=max_tokens,
            sampling=sampling,
            draft=draft,
            grammar=grammar,
            stop=stop,
            stop_tokens=stop_tokens,
        )
        answers: dict[int, Generation] = {}
        num_finished = 0
        try:
            for prompt in prompts:
                answers[self.submit(replace(asked, prompt=prompt))] = Generation()
            while self.busy:
                for delta in self.step():
                    answers[delta.request_id].add(delta)
                    num_finished += delta.finish_reason is not None
                progress("generate", num_finished, len(prompts))
        finally:
            # One prompt was refused, or the caller was interrupted: the others must not stay behind.
            for request_id in answers:
                self.cancel(request_id)
        return list(answers.values())

    def warm_up(self) -> None:
        """Run every mixer once, so that no request waits for a kernel to be compiled or loaded."""
        banks = [self.decoder.config.bank(layer) for layer in range(self.num_layers)]
        for place in range(max(map(len, banks))):
            placement = Placement.of(bank[min(place, len(bank) - 1)] for bank in banks)
            room = min(_WARM_UP_TOKENS, self.max_context - 3)
            for length in {1, room}:
                self.generate([[0] * length], placement=placement, max_tokens=3)
        self.memory.drop_idle()

    def decode_speed(
        self, placement: Placement, batch: int, context_tokens: int, *, steps: int = 16, warmup: int = 3
    ) -> DecodeSpeed:
        """Measure decoding of `batch` rows after `context_tokens` tokens.

        It may be beyond the context that the model was trained for, unless positions are learned.

        Raises:
            CapacityError: if the rows' states do not fit into the memory budget, or learned positions end.
        """
        return decode_speed(self, placement, batch, context_tokens, steps=steps, warmup=warmup)

    def adopt(self, request: Request, state: State, generated: Sequence[int]) -> int:
        """Go on with a request whose prompt `state` holds, and which has generated tokens; gives its id."""
        active = self._activate(request)
        active.state = state
        active.tokens.extend(generated)
        self._active[active.id] = active
        self.scheduler.running.append(active)
        return active.id

    def _activate(self, request: Request) -> ActiveRequest:
        """Check a request and prepare all that it needs but memory."""
        vocab_size = self.decoder.config.vocab_size
        if not request.prompt:
            raise UserError("the prompt is empty; expected at least one token")
        if not 0 <= min(request.prompt) <= max(request.prompt) < vocab_size:
            raise UserError(f"the prompt has token ids outside 0 .. {vocab_size - 1}")
        biased = request.sampling.logit_bias
        if biased and not 0 <= min(biased) <= max(biased) < vocab_size:
            raise UserError(f"logit_bias has token ids outside 0 .. {vocab_size - 1}")
        if request.min_tokens and request.grammar:
            raise UserError(
                "min_tokens and a grammar do not go together: the grammar says where the text ends"
            )
        self._check(request.placement)
        if isinstance(request.draft, Placement):
            self._check(request.draft)
        stop_tokens = request.stop_tokens | (frozenset() if request.ignore_eos else self._eos_ids)
        return ActiveRequest(
            id=next(self._ids),
            request=request,
            tokens=list(request.prompt),
            text=StopText(self.tokenizer, request.stop),
            chooser=self._chooser(request, stop_tokens),
            stop_tokens=stop_tokens,
        )

    def _chooser(self, request: Request, stop_tokens: frozenset[int]) -> Chooser:
        endings = sorted(stop_tokens)
        grammar = request.grammar
        return Chooser(
            request.sampling,
            vocab_size=self.decoder.config.vocab_size,
            device=self.runner.device,
            prompt=request.prompt,
            min_tokens=request.min_tokens,
            endings=endings,
            constraint=None if grammar is None else self._grammars.constraint(grammar, endings),
        )

    def _required_bytes(self, request: Request) -> int:
        """Of its states, when it has all its tokens."""
        num_tokens = len(request.prompt) + request.max_tokens
        claims = [Claim(request.placement, num_tokens)]
        if isinstance(request.draft, Placement):
            claims.append(Claim(request.draft, num_tokens, scratch=True))
        return self.memory.required_bytes(claims)

    def _check(self, placement: Placement) -> None:
        """Raise PlacementError if the model has no such placement."""
        if len(placement) != self.num_layers:
            raise PlacementError(
                f"placement '{placement}' has {len(placement)} layers, the model has {self.num_layers}"
            )
        for layer, letter in zip(self.decoder.layers, placement, strict=True):
            assert isinstance(layer, DecoderLayer)
            layer.mixer(letter)

    def _decode(self) -> list[Work]:
        """The next token of every request that has read its prompt, and what was drafted after it."""
        decoding = [a for a in self.scheduler.running if not a.reads and not a.waits_for_draft]
        tasks = self._drafting.tasks(decoding, num_running=len(self.scheduler.running))
        decoding = self.scheduler.secure(decoding, tasks)
        proposals = dict(zip(tasks, propose(self.runner, list(tasks.values())), strict=True))
        works = []
        for active in decoding:
            proposal = proposals.get(active, [])
            num_tokens = 1 + len(proposal)
            tokens = [active.tokens[-1], *(choice.token for choice in proposal)]
            piece = Piece(active.state, tokens, trace=bool(proposal), num_logits=num_tokens)
            works.append(Work(active, piece, num_tokens, proposal))
        return works

    def _advance(self, work: Work, chosen: Sequence[int], logits: torch.Tensor) -> Delta | None:
        """Give a request its chosen tokens; frees its memory if they end it."""
        active, request = work.active, work.active.request
        if work.piece.state is not active.state:
            return None
        if work.proposal and not chosen and active.draft is not None:
            # A drafted token may overflow where the request's own would not: it is tried without.
            active.draft.pace.rest()
            return None
        if work.num_choices and not chosen:
            active.finish_reason = "error"
        reading = active.num_generated == 0
        logprobs = prompt_logprobs(work, logits) if reading and request.prompt_logprobs else []
        tokens: list[int] = []
        text = ""
        for token in chosen:
            tokens.append(token)
            text += active.push(token)
            if active.finish_reason:
                break
        if request.sampling.logprobs is not None and tokens:
            own = logits[len(logits) - work.num_choices :][: len(tokens)]
            logprobs += token_logprobs(own, tokens, request.sampling.logprobs)
        if request.max_tokens == 0 and active.state.length == len(request.prompt):
            active.finish_reason = "length"
        if active.finish_reason:
            self.scheduler.remember(active, active.state)
            self.cancel(active.id)
        elif not (tokens or logprobs):
            return None
        ended_draft = active.draft if active.finish_reason else None
        return Delta(
            request_id=active.id,
            tokens=tokens,
            text=text,
            num_accepted=min(count_accepted(work.proposed, chosen), len(tokens)),
            num_cached=active.num_cached if reading else None,
            logprobs=logprobs,
            finish_reason=active.finish_reason,
            speculation=ended_draft.pace.statistics if ended_draft else None,
        )


def _eos_ids(folder: Path) -> frozenset[int]:
    listed = generation_settings(folder).get("eos_token_id")
    return frozenset([listed] if isinstance(listed, int) else listed or [])
