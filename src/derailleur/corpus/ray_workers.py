"""Tasks on a Ray cluster whose machines share a file system: the same tasks, the same bytes out."""

import socket
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any, TypeVar

from derailleur.corpus.workers import prepare_worker
from derailleur.errors import DerailleurError, UserError

Argument = TypeVar("Argument")
Result = TypeVar("Result")

_AHEAD = 2
_ANSWER_SECONDS = 10
_RETRIES = 3  # of a task whose process or machine was lost


def _knock(address: str) -> None:
    """Ask whether anyone is there: Ray itself would ask for five minutes."""
    host, colon, port = address.rpartition(":")
    if colon and port.isdecimal() and "://" not in address:
        socket.create_connection((host, int(port)), timeout=_ANSWER_SECONDS).close()


class RayWorkers:
    """Runs tasks as Ray tasks of one core; those of a machine that is lost are done again elsewhere."""

    def __init__(self, address: str) -> None:
        try:
            import ray
        except ImportError:
            raise UserError("--ray: ray is not installed; pip install 'derailleur[ray]'") from None
        try:
            _knock(address)
            ray.init(address=address, log_to_driver=False, configure_logging=False)
        except (OSError, ValueError, RuntimeError) as error:
            raise UserError(f"--ray {address}: {str(error).splitlines()[0]}") from None
        self._ray: Any = ray
        self.count = max(int(self._ray.cluster_resources().get("CPU", 1)), 1)

    def map(self, function: Callable[[Argument], Result], arguments: Sequence[Argument]) -> Iterator[Result]:
        """Yield `function(argument)` for each argument, in their order.

        Raises:
            DerailleurError: if a task's process was lost again and again.
        """

        def task(argument: Argument) -> Result:
            prepare_worker()
            return function(argument)

        remote = self._ray.remote(num_cpus=1, max_retries=_RETRIES)(task)
        rest = iter(arguments)
        under_way: deque[tuple[Argument, Any]] = deque()
        while True:
            for argument in islice(rest, self.count * _AHEAD - len(under_way)):
                under_way.append((argument, remote.remote(argument)))
            if not under_way:
                return
            argument, reference = under_way.popleft()
            try:
                yield self._ray.get(reference)
            except self._ray.exceptions.RayTaskError as error:
                raise error.cause from None
            except self._ray.exceptions.RayError as error:
                raise DerailleurError(
                    f"{argument}: {str(error).splitlines()[0]}; the same command resumes"
                ) from None

    def close(self) -> None:
        """Leave the cluster."""
        self._ray.shutdown()
