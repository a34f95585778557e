"""The kernels in Triton, for CUDA; each is held to a twin in torch.

Importing this package imports triton, so it is imported where a kernel is used, never before. With
`TRITON_INTERPRET=1` the same kernels run on a CPU, slowly: that is how they are tested.
"""

from derailleur.kernels.triton.chunk_rule import chunk_delta_rule
from derailleur.kernels.triton.decode_step import decode_step
from derailleur.kernels.triton.paged_attention import paged_attention

__all__ = ["chunk_delta_rule", "decode_step", "paged_attention"]
