"""silu(gate) * up of a gated MLP in inference on a CPU in float32, in one pass.

Torch's silu takes another exponential for what is left over behind whole vectors and at a thread's end: a
number depends on where in the batch it stands. The twin is that of `torch.nn.functional`.
"""

import math

import numpy as np
from numba.np.numpy_support import carray
from torch import Tensor

from derailleur.compiled import compiled, pointer

_LOWEST, _HIGHEST = np.float32(-87), np.float32(88)  # what exp may be asked for in float32
_LOG2_E = np.float32(math.log2(math.e))
_LN_2_HIGH = np.float32(355 / 512)  # few bits, so that its product with a whole number is exact
_LN_2_LOW = np.float32(math.log(2) - 355 / 512)
_T2, _T3, _T4, _T5, _T6, _T7 = (np.float32(1 / math.factorial(n)) for n in range(2, 8))
_ONE, _HALF = np.float32(1), np.float32(0.5)


def silu_product(gate: Tensor, up: Tensor) -> Tensor:
    """gate and up [...] -> [...]."""
    gate, up = gate.contiguous(), up.contiguous()
    out = gate.new_empty(gate.shape)
    _silu_product(gate.data_ptr(), up.data_ptr(), out.data_ptr(), gate.numel())
    return out


@compiled
def _silu_product(gate: int, up: int, out: int, size: int) -> None:
    gates = carray(pointer(gate), size, np.float32)
    ups = carray(pointer(up), size, np.float32)
    results = carray(pointer(out), size, np.float32)
    for i in range(size):
        x = -gates[i]
        x = _LOWEST if x < _LOWEST else x  # NaN stays NaN
        x = _HIGHEST if x > _HIGHEST else x
        # Taylor's series around the nearest power of two.
        whole = np.floor(x * _LOG2_E + _HALF)
        power = np.int32((np.int32(whole) + np.int32(127)) << np.int32(23)).view(np.float32)
        x = (x - whole * _LN_2_HIGH) - whole * _LN_2_LOW
        series = ((((((_T7 * x + _T6) * x + _T5) * x + _T4) * x + _T3) * x + _T2) * x + _ONE) * x + _ONE
        results[i] = np.divide(gates[i], _ONE + power * series) * ups[i]
