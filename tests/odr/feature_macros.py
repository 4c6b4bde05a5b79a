# SPDX-License-Identifier: Apache-2.0
"""Asks a compiler which macros its -m, -march and -mcpu flags define, and whether baseline.hpp has them.

feature_macros.py INCLUDE_DIR COMPILER...   Each flag that changes a macro must change the namespace of code too, unless
                                            all that it changes is among the exceptions below.
"""
import concurrent.futures
import os
import re
import subprocess
import sys

# Macros that may differ between two units whose functions merge, by the reason why.
HARMLESS = {
    "the name of a CPU, or of one that code is tuned for: not what it may use":
        r"__(tune_)?(k8|amdfam10|bdver\d|btver\d|znver\d|nocona|core2|core_avx2|corei7(_avx)?|\w+mont(_plus)?|"
        r"\w+lake(_s)?|atom|bonnell|slm|nehalem|westmere|\w+bridge|haswell|broadwell|skylake_avx512|icelake_\w+|"
        r"lujiazui|yongfeng|shijidadao|\w+rapids(_d)?|\w+forest|grandridge|kn[lm])(__)?",
    "instructions that only intrinsics give, and none that this library calls":
        r"__(CLDEMOTE|CLFLUSHOPT|CLWB|CLZERO|ENQCMD|FSGSBASE|HRESET|INVPCID|(WIDE)?KL|LWP|MOVDIR64B|MOVDIRI|MWAITX|"
        r"MWAIT|PCONFIG|PKU|PTWRITE|RDPID|RDPRU|RDRND|RDSEED|SERIALIZE|SGX|SHSTK|TSXLDTRK|UINTR|USER_?MSR|WAITPKG|"
        r"WBNOINVD|XSAVE(C|OPT|S)?)__|"
        r"__ARM_FEATURE_MEMORY_TAGGING",
    "part of every x86-64": r"__(MMX|MMX_WITH_SSE|SSE|SSE2|SSE_MATH|SSE2_MATH)__",
    "what others that are in the table say too":
        r"__ABM__|__AMX(BF16|FP16|INT8|TILE|COMPLEX|FP8|TF32|AVX512|MOVRS|TRANSPOSE)__|__EVEX(256|512)__|"
        r"__BIGGEST_ALIGNMENT__|__FP_FAST_FMA\w*|__GCC_HAVE_SYNC_COMPARE_AND_SWAP_16|__GCC_IEC_559\w*|"
        r"__FLT_EVAL_METHOD\w*|__FLT16_\w+|"
        r"__ARM_(NEON_)?FP|__ARM_FP16_\w+|__ARM_FEATURE_SVE_(BITS|\w+_OPERATORS)|__ARM_FEATURE_COPROC",
    "the level of the architecture, which is behind the table's digits": r"__ARM_ARCH(_PROFILE)?",
    "of caches, not of instructions": r"__GCC_(CON|DE)STRUCTIVE_SIZE",
    "of where code lies, not of what it does": r"__(pie|PIE|pic|PIC)__",
}
# Another ABI, byte order or C library: such units fit together neither with this library nor without.
OTHER_ABI = re.compile(r"-m(16|32|x32|iamcu|big-endian|general-regs-only|android|bionic|musl|uclibc|glibc|soft-float|"
                       r"long-double-\d+)")
HARMLESS = [(re.compile(pattern), reason) for reason, pattern in HARMLESS.items()]


def run(command, text=""):
    return subprocess.run(command, input=text, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                          env={**os.environ, "LC_ALL": "C"})


def flags_of(compiler):
    """All flags of a compiler that might allow instructions: options without a value, values of -march and -mcpu."""
    flags = set()
    for option in re.findall(r"^\s+(-m[\w.-]+)\s", run([*compiler, "-Q", "--help=target"]).stdout, re.M):
        flags.add(option)
    for option in re.findall(r"^\s+(-m[\w.-]+)\s", run([*compiler, "--help-hidden"]).stdout, re.M):
        flags.add(option)
    for option in ("-march", "-mcpu"):
        said = run([*compiler, f"{option}=?", "-x", "c++", "-E", "-"]).stderr
        for values in re.findall(r"(?:valid arguments|valid target CPU values)[^:]* are:? (.*)", said):
            flags.update(f"{option}={value.strip(',;')}" for value in values.split(";")[0].split())
    architecture = "armv8-a" if any(flag.startswith("-march=armv8") for flag in flags) else None
    if architecture:
        said = run([*compiler, f"-march={architecture}+?", "-x", "c++", "-E", "-"]).stderr
        for values in re.findall(r"valid arguments are:? (.*)", said):
            flags.update(f"-march={architecture}+{value.strip(',;')}" for value in values.split(";")[0].split())
    return sorted(flag for flag in flags if not flag.endswith("=native") and not OTHER_ABI.fullmatch(flag))


def macros(compiler, flag):
    """The macros that are defined with a flag; None where the compiler refuses it."""
    seen = run([*compiler, *flag.split(), "-x", "c++", "-std=c++20", "-w", "-E", "-dM", "-"])
    if seen.returncode:
        return None
    return dict((line + " ").split(" ", 2)[1:] for line in seen.stdout.splitlines())


def namespace(compiler, flag, include):
    text = "#include <efficientvit/config.hpp>\nEFFICIENTVIT_CODE_NAMESPACE\n"
    seen = run([*compiler, *flag.split(), f"-I{include}", "-x", "c++", "-std=c++20", "-w", "-E", "-P", "-"], text)
    return seen.stdout.split()[-1] if seen.returncode == 0 else "refused"


def check(compiler, include):
    flags, default = flags_of(compiler), macros(compiler, "")
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        answers = {flag: found for flag, found in zip(flags, pool.map(lambda f: macros(compiler, f), flags)) if found}
        matters = {}
        for flag, found in answers.items():
            changed = {name for name in found.keys() | default.keys() if found.get(name) != default.get(name)}
            matters[flag] = {name for name in changed if not any(pattern.fullmatch(name) for pattern, _ in HARMLESS)}
        changing = [flag for flag in answers if matters[flag]]
        names = dict(zip(changing, pool.map(lambda f: namespace(compiler, f, include), changing)))
    print(f"{' '.join(compiler)}: {len(answers)} flags, {len(changing)} of them with macros that matter")
    if len(answers) < 100 or len(changing) < 40:
        sys.exit("too few: not what this test is about")
    plain = namespace(compiler, "", include)
    bad = [f"{flag}: {', '.join(sorted(matters[flag]))}: the namespace is as without it"
           for flag in changing if names[flag] == plain]
    # A flag with two macros of which one is in the table: the other may come alone with the next compiler.
    with open(f"{include}/efficientvit/baseline.hpp") as file:
        table = set(re.findall(r"\w+", file.read()))
    missing = {name: flag for flag in changing for name in matters[flag] - table}
    return bad + [f"{flag}: {name}: neither in baseline.hpp nor among the exceptions" for name, flag in missing.items()]


def main():
    include, compilers = sys.argv[1], sys.argv[2:]
    bad = [f"{compiler} {line}" for compiler in compilers for line in check(compiler.split(), include)]
    print(*bad, sep="\n")
    return 1 if bad else 0


sys.exit(main())
