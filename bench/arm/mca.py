# SPDX-License-Identifier: Apache-2.0
"""Cycles of AArch64 code by LLVM's models of cores (llvm-mca), and what a core can multiply and add at most."""
import dataclasses
import pathlib
import re
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
import llvm_mca  # noqa: E402

FEATURES = "+fullfp16,+dotprod,+bf16,+i8mm,+sve,+fp16fml"


@dataclasses.dataclass(frozen=True)
class Core:
    """A core, and the model of it."""

    name: str
    cpu: str  # LLVM's name of the model
    fmla: float  # of four floats, a cycle; check() holds the model to it
    ghz: float  # of the machine named
    machine: str
    issue: int  # instructions a cycle, for what is not modelled one by one


# LLVM 19 has other cores under names of their own, with another core's model or wrong rates, so they are left out:
# cortex-a76 is cortex-a57's (neoverse-n1 is the same core as A76 and has a model), cortex-x4 has neoverse-n2's two
# multipliers where it has four; apple-m1 is an old core's. cortex-a53 writes results back in order, so that every load
# behind an fmla waits for it, which the core does not do. cortex-a55 begins two fmla of four floats a cycle, the core one:
# they stand there as sdot, which has the rate and latency that fmla should have. neoverse-v1 lets an fmla wait four cycles
# for the one before it on the same sum, where Arm's guide and LLVM's later versions have two, as its sdot has.
CORES = [
    Core("A55", "cortex-a55", 1, 1.8, "little core of phones", 2),
    Core("A72", "cortex-a72", 1, 1.8, "Raspberry Pi 4", 3),
    Core("A76/N1", "neoverse-n1", 2, 2.4, "Raspberry Pi 5, Graviton 2", 4),
    Core("V1", "neoverse-v1", 4, 2.6, "Graviton 3", 8),
    Core("V2", "neoverse-v2", 4, 2.8, "Graviton 4", 8),
]

# Products of one instruction, by the shape of its result and of what it multiplies.
PRODUCTS = [
    (r"(fmla|fmls|fmlal2?|fmlsl2?)\s+v\d+\.4s", 4),
    (r"(fmla|fmls)\s+v\d+\.2s", 2),
    (r"(fmla|fmls)\s+v\d+\.8h", 8),
    (r"(fmla|fmls)\s+v\d+\.4h", 4),
    (r"(fmadd|fmsub|fnmadd|fnmsub)\s", 1),
    (r"(sdot|udot|usdot|sudot)\s+v\d+\.4s", 16),
    (r"(sdot|udot|usdot|sudot)\s+v\d+\.2s", 8),
    (r"(smmla|ummla|usmmla)\s", 32),
    (r"bfdot\s+v\d+\.4s", 8),
    (r"bfmmla\s", 16),
    (r"bfmlal[bt]\s", 4),
    (r"(smlal2?|umlal2?)\s+v\d+\.4s", 4),
    (r"(smlal2?|umlal2?|mla)\s+v\d+\.8h", 8),
    (r"(fmla|fmls|fmad)\s+z\d+\.s", 4),  # 128 bits: N1 has no SVE, V2 no longer vectors; V1's are twice that
]
MULTIPLYING = {"f", "s", "u", "b", "m"}  # first letters of these
PRODUCTS = [(re.compile(pattern), count) for pattern, count in PRODUCTS]
BRANCH = re.compile(r"^(b|bl|b\.\w+|bc\.\w+|cbn?z|tbn?z|adrp?)\s")
LOAD = re.compile(r"^(ld\w+)\s")
STACK = re.compile(r"\[sp\b")


def products(instruction):
    if instruction[:1] not in MULTIPLYING:
        return 0
    return next((count for pattern, count in PRODUCTS if pattern.match(instruction)), 0)


def assembly(instruction):
    """An instruction as llvm-mca reads it: targets of branches and addresses are in no model."""
    if BRANCH.match(instruction):
        return instruction.rpartition(" ")[0] + " nowhere"
    return instruction


def stand_in(core, instruction):
    if core.cpu not in ("cortex-a55", "neoverse-v1"):
        return instruction
    match = re.match(r"(fmla|fmls)\s+(v\d+)\.(4s|8h), (v\d+)\.\w+, (v\d+)\.(?:[sh]\[(\d)\]|\w+)$", instruction)
    if not match:
        return instruction
    _, sum_, _, a, b, lane = match.groups()
    return f"sdot {sum_}.4s, {a}.16b, {b}." + ("16b" if lane is None else f"4b[{int(lane) % 4}]")


def cycles(core, pieces, iterations=200):
    """Cycles that each piece (a list of instructions), repeated, takes once. None where the model knows no such code."""
    codes = [[assembly(stand_in(core, instruction)) for instruction in piece] for piece in pieces]
    return llvm_mca.cycles(codes, ["-march=aarch64", f"-mcpu={core.cpu}", f"-mattr={FEATURES}"], iterations)


def multiply_adds(core):
    """fmla of four floats that the model begins in a cycle."""
    piece = [f"fmla v{i}.4s, v30.4s, v31.s[0]" for i in range(24)]
    return 24 / cycles(core, [piece])[0]


def check():
    for core in CORES:
        modelled = multiply_adds(core)
        if abs(modelled - core.fmla) > 0.05 * core.fmla:
            raise SystemExit(f"{core.name}: LLVM's model begins {modelled:.2f} fmla a cycle, the core {core.fmla}")
