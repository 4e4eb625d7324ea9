"""The one thing setup.cfg cannot declare: the compiled dense CRF. Without a C++ compiler it is left out."""

from setuptools import Extension, setup

SOURCES = [f"car/refine/_native{part}.cpp" for part in ("", "_filter", "_lattice", "_place", "_rows")]
HEADERS = [f"car/refine/_native{part}.h" for part in ("", "_place", "_rows", "_simd", "_table", "_team")]

setup(
    ext_modules=[
        Extension(
            "car.refine._native",
            SOURCES,
            depends=HEADERS,
            language="c++",
            # Contraction to fused multiply-adds would make the numbers depend on the machine.
            extra_compile_args=["-std=c++17", "-O3", "-g0", "-ffp-contract=off", "-pthread"],
            extra_link_args=["-pthread"],
            optional=True,
        )
    ]
)
