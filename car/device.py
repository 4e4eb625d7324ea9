"""Where the networks run and in which precision, decided once."""

import torch

from car.errors import InputError

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def choose_device(device: str | torch.device = "auto") -> torch.device:
    """CUDA where it is, else the CPU; or what the user named ("cpu", "cuda", "cuda:1", "0", "mps")."""
    if isinstance(device, torch.device):
        return device
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        chosen = torch.device(f"cuda:{device}" if device.isdigit() else device)
        torch.empty(0, device=chosen)
    except (RuntimeError, AssertionError, ValueError, NotImplementedError):
        raise InputError(f"Device {device!r} is not available here; `--device auto` picks one that is.") from None
    return chosen


def choose_dtype(dtype: str | torch.dtype, device: torch.device) -> torch.dtype:
    """bf16 where the hardware multiplies it fast (CUDA, AMX, AVX512-bf16), else fp32; or "fp32", "bf16", "fp16"."""
    if isinstance(dtype, torch.dtype):
        return dtype
    if dtype == "auto":
        return torch.bfloat16 if fast_bf16(device) else torch.float32
    if dtype not in DTYPES:
        raise InputError(f"Expected argument `dtype` to be auto, {', '.join(DTYPES)}, but got {dtype!r}.")
    return DTYPES[dtype]


def fast_bf16(device: torch.device) -> bool:
    """Whether bf16 products are faster than fp32 ones on this device."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type != "cpu" or not hasattr(torch.cpu, "get_capabilities"):
        return False
    features = torch.cpu.get_capabilities()
    return bool(features.get("amx_bf16") or features.get("avx512_bf16"))
