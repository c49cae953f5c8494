"""Where a network is trained."""

import os

import torch


def training_device() -> torch.device:
    """CUDA where torch and the machine have it, else the CPU.

    On CUDA, torch's deterministic algorithms need a workspace of fixed size for cuBLAS, which reads
    its environment when it is first used (cuBLAS, "Results reproducibility").
    """
    if not torch.cuda.is_available():
        return torch.device("cpu")
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    return torch.device("cuda")
