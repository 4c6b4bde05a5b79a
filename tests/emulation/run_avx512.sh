#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Runs an x86-64 Linux program on an emulated CPU with AVX-512, for tests on machines that have none.
# Bochs boots a distribution's kernel with an initramfs of init.c and the program. Correctness only: an
# emulated second says nothing about speed.
#
# What Bochs computes is right but for these (found by our own tests and in its source):
#   VCVTNE2PS2BF16 (_mm512_cvtne2ps_pbh): the upper half of the result is wrong in 3.0
#   VCVTNEPS2BF16 with a merging mask: not merged in 3.0 (by its source); no mask or a zeroing one is right
# Under 2.7, of its CPU models with AVX-512 only corei7_skylake_x lets the kernel switch AVX-512 on.

set -euo pipefail

me=run_avx512.sh
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${RUN_AVX512_CACHE:-${XDG_CACHE_HOME:-${HOME:-/tmp}/.cache}/run_avx512}

usage() {
    cat <<EOF
usage: $me [options] [--] BINARY [ARGUMENTS...]

Runs BINARY (static is best; the libraries of a dynamic one are taken along) with standard output and error
passed on. Its standard input is empty. Exits with its exit code (128 + n where signal n ended it), or
  77   something is missing here: packages, a kernel, a CPU model (what to do is said)
  124  the time limit was reached
  125  the emulated machine did not come up or broke down
  127  the program could not be started in it

options:
  --file HOST=GUEST   put a file into the machine (GUEST: an absolute path; =GUEST left out: the same path)
  --dir HOST=GUEST    put a directory's contents into the machine
  --env NAME=VALUE    set a variable of the program's environment, which is otherwise nearly empty
  --cwd GUEST         the program's working directory; default /
  --timeout SECONDS   of real time, boot included; default 900
  --memory MIB        of the machine; default: enough for what is put into it and 512 more
  --model NAME        Bochs's CPU model; default: sapphire_rapids (AVX512_BF16 too; Bochs 3.0 or later)
                      where this Bochs has it, else corei7_skylake_x (AVX-512 F, VL, BW, DQ, CD)
  --bf16              insist on AVX512_BF16
  --fetch-bochs       use Debian 13's Bochs 3.0, fetched with apt-get from this machine's Debian mirror
                      into the cache (60 MB; nothing is installed): AVX512_BF16 on Debian 12
  --check             run nothing: say what would be used, or what is missing
  --verbose           show the kernel's console and the timing on standard error; keep the working directory

environment:
  RUN_AVX512_CACHE    kernel, compiled init and fetched Bochs; default \$XDG_CACHE_HOME/run_avx512
  RUN_AVX512_KERNEL   a bzImage to use instead of finding one
  RUN_AVX512_MIRROR   where --fetch-bochs finds Debian's packages; default: as apt's own sources say
  CC                  compiler for init.c
EOF
}

say() { printf '%s: %s\n' "$me" "$*" >&2; }
die() { # CODE MESSAGE...
    local code=$1
    shift
    say "$@"
    exit "$code"
}

# ---- options -------------------------------------------------------------------------------------------

files=() dirs=() variables=()
cwd=/ limit=900 memory='' model='' bf16='' fetch_bochs='' check='' verbose=''
while (($#)); do
    case $1 in
        --file | --dir | --env | --cwd | --timeout | --memory | --model)
            (($# >= 2)) || die 2 "$1 needs a value"
            case $1 in
                --file) files+=("$2") ;;
                --dir) dirs+=("$2") ;;
                --env) variables+=("$2") ;;
                --cwd) cwd=$2 ;;
                --timeout) limit=$2 ;;
                --memory) memory=$2 ;;
                --model) model=$2 ;;
            esac
            shift 2
            ;;
        --bf16) bf16=1 && shift ;;
        --fetch-bochs) fetch_bochs=1 && shift ;;
        --check) check=1 && shift ;;
        --verbose) verbose=1 && shift ;;
        --help | -h) usage && exit 0 ;;
        --) shift && break ;;
        -*) die 2 "unknown option $1 (--help lists them)" ;;
        *) break ;;
    esac
done
[[ -n $check ]] || (($#)) || { usage >&2 && exit 2; }
[[ $limit =~ ^[1-9][0-9]*$ && $memory =~ ^([1-9][0-9]*)?$ ]] || die 2 "--timeout and --memory take whole numbers"

# ---- what is needed --------------------------------------------------------------------------------------

missing=()
need() { # PACKAGE CONDITION...
    local package=$1
    shift
    "$@" || missing+=("$package")
}
have() { command -v "$1" >/dev/null; }
compiles_static() { echo 'int main(void){return 0;}' | "${CC:-cc}" -static -x c - -o /dev/null 2>/dev/null; }

system_plugins=$(compgen -G '/usr/lib/*/bochs/plugins' | head -n 1 || true)
if [[ -z $fetch_bochs ]]; then
    need bochs have bochs-bin
    need bochs-term test -e "$system_plugins/libbx_term_gui.so" # a display that needs neither X nor a socket
    need bochsbios test -e /usr/share/bochs/BIOS-bochs-latest
    need vgabios test -e /usr/share/bochs/VGABIOS-lgpl-latest
fi
need cpio have cpio
need xorriso have xorriso
need isolinux test -e /usr/lib/ISOLINUX/isolinux.bin
need syslinux-common test -e /usr/lib/syslinux/modules/bios/ldlinux.c32
[[ -x $cache/init && $cache/init -nt $here/init.c ]] || need "gcc libc6-dev" compiles_static
((${#missing[@]} == 0)) ||
    die 77 "packages are missing; as root: apt-get install --no-install-recommends ${missing[*]}"
mkdir -p "$cache"

# One at a time: test runners start several of us at once.
locked() {
    exec 9>"$cache/lock"
    flock 9
    "$@"
    exec 9>&-
}

# The newest version of the kernel image a distribution's meta package stands for, without installing it.
fetch_kernel() {
    local meta package directory=$cache/kernel.part
    for meta in linux-image-cloud-amd64 linux-image-virtual linux-image-amd64 linux-image-generic; do
        package=$(apt-cache depends --no-suggests --no-recommends "$meta" 2>/dev/null |
            sed -n 's/^ *|\?Depends: \(linux-image-[^ ]*\)$/\1/p' | head -n 1)
        [[ -n $package ]] || continue
        say "fetching $package (once, into $cache)"
        rm -rf "$directory" && mkdir -p "$directory"
        (cd "$directory" && apt-get -qq download "$package" 2>apt.log && dpkg-deb -x "$package"_*.deb .) ||
            { cat "$directory/apt.log" >&2 && continue; }
        mv "$directory"/boot/vmlinuz-* "$cache/vmlinuz"
        rm -rf "$directory"
        return 0
    done
    return 1
}

find_kernel() {
    local candidate
    if [[ -n ${RUN_AVX512_KERNEL:-} ]]; then
        kernel=$RUN_AVX512_KERNEL
    elif [[ -r $cache/vmlinuz ]]; then
        kernel=$cache/vmlinuz
    elif candidate=$(compgen -G '/boot/vmlinuz-*-cloud-amd64' | sort -V | tail -n 1) && [[ -r $candidate ]]; then
        kernel=$candidate
    elif fetch_kernel; then
        kernel=$cache/vmlinuz
    elif candidate=$(compgen -G '/boot/vmlinuz-*' | sort -V | tail -n 1) && [[ -r $candidate ]]; then
        kernel=$candidate
    fi
    [[ -r ${kernel:-} ]] || die 77 "no kernel ${kernel:-to boot}: run apt-get update as root," \
        "install linux-image-cloud-amd64 (Ubuntu: linux-image-virtual), or set RUN_AVX512_KERNEL"
}

compile_init() {
    [[ -x $cache/init && $cache/init -nt $here/init.c ]] && return
    "${CC:-cc}" -O2 -static -o "$cache/init.part" "$here/init.c" || die 125 "init.c does not compile"
    mv "$cache/init.part" "$cache/init"
}

# Debian 13's Bochs with every library it needs, in a directory of its own with its own apt state.
fetch_debian_bochs() {
    local root=$cache/bochs-trixie apt=$cache/apt mirror package
    [[ -e $root/complete ]] && return
    mirror=${RUN_AVX512_MIRROR:-$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' \
        'Origin: Debian' 'Label: Debian' 'Component: main' | head -n 1)}
    [[ -n $mirror ]] || die 77 "--fetch-bochs: set RUN_AVX512_MIRROR to a Debian mirror's address"
    [[ -e /usr/share/keyrings/debian-archive-keyring.gpg ]] ||
        die 77 "--fetch-bochs: as root: apt-get install debian-archive-keyring"
    say "fetching Debian 13's Bochs (once, into $cache)"
    rm -rf "$root" "$apt"
    mkdir -p "$root" "$apt/lists/partial" "$apt/archives/partial"
    : >"$apt/status"
    echo "deb [arch=amd64 signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror trixie main" \
        >"$apt/sources.list"
    local options=(-qq -o "Dir::State::lists=$apt/lists" -o "Dir::State::status=$apt/status"
        -o "Dir::Cache=$apt" -o "Dir::Etc::sourcelist=$apt/sources.list" -o Dir::Etc::sourceparts=/dev/null
        -o "APT::Sandbox::User=$(id -un)" -o Debug::NoLocking=true)
    apt-get "${options[@]}" update &&
        apt-get "${options[@]}" --yes --download-only --no-install-recommends install bochs bochs-term >/dev/null ||
        die 77 "--fetch-bochs: apt-get could not fetch it from $mirror"
    for package in "$apt"/archives/*.deb; do
        case ${package##*/} in
            bochs* | vgabios* | lib*) dpkg-deb -x "$package" "$root" ;;
        esac
    done
    rm -rf "$apt"
    touch "$root/complete"
}

# ---- Bochs and its CPU -------------------------------------------------------------------------------------

if [[ -n $fetch_bochs ]]; then
    locked fetch_debian_bochs
    root=$cache/bochs-trixie
    libraries=$root/usr/lib/x86_64-linux-gnu
    share=$root/usr/share/bochs
    export LTDL_LIBRARY_PATH=$libraries/bochs/plugins
    bochs=("$libraries/ld-linux-x86-64.so.2" --library-path "$libraries:$libraries/pulseaudio"
        "$root/usr/bin/bochs-bin")
else
    share=/usr/share/bochs
    bochs=(bochs-bin)
fi
export BXSHARE=$share TERM=vt100 # the screen goes to a file: any terminal that ncurses always knows
bochs_help=$("${bochs[@]}" --help 2>&1 </dev/null || true)
models=$("${bochs[@]}" --help cpu 2>&1 </dev/null | grep -xE '[a-z0-9_]+' || true)
has_model() { grep -qx -- "$1" <<<"$models"; }

if [[ -z $model ]]; then
    model=corei7_skylake_x
    ! has_model sapphire_rapids || model=sapphire_rapids
fi
has_model "$model" || die 77 "this Bochs has no CPU model $model; it has:" $models
[[ -z $bf16 || $model == sapphire_rapids ]] ||
    die 77 "AVX512_BF16 needs the model sapphire_rapids of Bochs 3.0 (Debian 13), or --fetch-bochs"

locked find_kernel
locked compile_init
if [[ -n $check ]]; then
    say "Bochs: ${bochs[-1]}, CPU model: $model, kernel: $kernel"
    exit 0
fi

# ---- the disk ------------------------------------------------------------------------------------------------

work=$(mktemp -d "${TMPDIR:-/tmp}/run_avx512.XXXXXX")
running=()
clean_up() {
    ((${#running[@]} == 0)) || kill -KILL "${running[@]}" 2>/dev/null || true
    [[ -n $verbose ]] && say "working directory: $work" || rm -rf "$work"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

guest=$work/guest
disk=$work/disk
mkdir -p "$guest"/{.run_avx512,dev,proc,sys,tmp} "$disk"
cp "$cache/init" "$guest/init"

split() { # "HOST=GUEST" or "PATH": sets host and target
    host=${1%%=*}
    target=${1#*=}
    [[ $1 == *=* ]] || target=$(realpath -s -- "$1")
    [[ -e $host ]] || die 125 "no $host"
    [[ $target == /* ]] || die 125 "not an absolute path in the machine: $target"
    mkdir -p "$guest/$(dirname "$target")"
}
for entry in ${files[@]+"${files[@]}"}; do
    split "$entry"
    cp -L -- "$host" "$guest/$target"
done
for entry in ${dirs[@]+"${dirs[@]}"}; do
    split "$entry"
    mkdir -p "$guest/$target"
    cp -RL -- "$host/." "$guest/$target/"
done

[[ -f $1 && -x $1 ]] || die 125 "no program $1"
mkdir -p "$guest/program" "$guest/$cwd"
program=/program/$(basename -- "$1")
cp -L -- "$1" "$guest$program"
# ldd runs only the loader, no instruction of the program; of a static program it says so and fails.
if loaded=$(ldd -- "$(realpath -- "$1")" 2>/dev/null); then
    ! grep 'not found' <<<"$loaded" >&2 || die 125 "$1 lacks libraries here"
    while read -r library; do
        mkdir -p "$guest/$(dirname "$library")"
        cp -L -- "$library" "$guest/$library"
    done < <(grep -oE '/[^ ]+ \(0x' <<<"$loaded" | sed 's/ (0x$//')
fi
shift
printf '%s\0' "$program" "$@" >"$guest/.run_avx512/argv"
printf '%s\0' "$cwd" >"$guest/.run_avx512/cwd"
((${#variables[@]} == 0)) || printf '%s\0' "${variables[@]}" >"$guest/.run_avx512/env"

(cd "$guest" && find . -print0 | sort -z | cpio --quiet --null --create --format=newc --owner=0:0) >"$disk/initrd"
payload=$(($(stat -c %s "$disk/initrd") >> 20))
rm -rf "$guest"
cp "$kernel" "$disk/vmlinuz"
cp /usr/lib/ISOLINUX/isolinux.bin /usr/lib/syslinux/modules/bios/ldlinux.c32 "$disk"

# The clock: the emulator takes one instruction for one cycle of $mhz MHz, but the CPU models name a TSC of
# some 3 GHz; without tsc_early_khz the kernel's delays would be a hundred times too long.
mhz=20
# clearcpuid: XSAVEC and XSAVES (321, 323), whose size Bochs 2.7 reports wrong, so that the kernel would switch
# XSAVE off and AVX-512 with it; FSRM (580), with which Bochs 3.0's sapphire_rapids hangs in early boot.
# cryptomgr.notests and the blacklist keep the kernel from self-tests that take half of the boot.
# A panic resets the CPU, which ends the emulator.
cat >"$disk/isolinux.cfg" <<EOF
DEFAULT linux
PROMPT 0
LABEL linux
  KERNEL vmlinuz
  APPEND initrd=initrd console=ttyS0 quiet loglevel=4 nosmp acpi=off mitigations=off nokaslr audit=0 init_on_alloc=0 tsc_early_khz=${mhz}000 tsc=reliable clearcpuid=321,323,580 cryptomgr.notests initcall_blacklist=jent_mod_init panic=-1 reboot=t
EOF
xorriso -as mkisofs -quiet -o "$work/disk.iso" -b isolinux.bin -c boot.cat -no-emul-boot -boot-load-size 4 \
    -boot-info-table "$disk" 2>"$work/xorriso.log" || die 125 "xorriso: $(tail -n 3 "$work/xorriso.log")"
rm -rf "$disk"

# ---- the machine -----------------------------------------------------------------------------------------------

[[ -n $memory ]] || memory=$((512 + 2 * payload))
cat >"$work/bochsrc" <<EOF
config_interface: textconfig
display_library: term
romimage: file=$share/BIOS-bochs-latest
vgaromimage: file=$share/VGABIOS-lgpl-latest
cpu: model=$model, count=1, ips=${mhz}000000, ignore_bad_msrs=1, reset_on_triple_fault=0
memory: guest=$memory, host=$memory
clock: sync=none
ata0: enabled=1, ioaddr1=0x1f0, ioaddr2=0x3f0, irq=14
ata0-master: type=cdrom, path=$work/disk.iso, status=inserted
boot: cdrom
com1: enabled=1, mode=file, dev=$work/console
parport1: enabled=1, file=$work/stdout
parport2: enabled=1, file=$work/stderr
sound: waveoutdrv=dummy, waveindrv=dummy, midioutdrv=dummy
speaker: enabled=0
plugin_ctrl: speaker=0, gameport=0
log: $work/bochs.log
panic: action=fatal
error: action=ignore
info: action=ignore
debug: action=ignore
EOF
arguments=(-q -f "$work/bochsrc")
if grep -q -- '-rc filename' <<<"$bochs_help"; then # built with its debugger, as Debian's is: it waits for a word
    printf 'continue\nquit\n' >"$work/rc"
    arguments+=(-rc "$work/rc")
fi
: >"$work/stdout"
: >"$work/stderr"
: >"$work/console"

began=$(date +%s%N)
seconds() { printf '%d.%d' $((($1 - began) / 1000000000)) $((($1 - began) / 100000000 % 10)); }
# Bochs catches every signal it can and may then hang: only SIGKILL ends it for certain.
"${bochs[@]}" "${arguments[@]}" </dev/null >"$work/screen" 2>&1 &
machine=$!
running=("$machine")
tail --bytes=+1 --follow --sleep-interval=0.1 --pid="$machine" -- "$work/stdout" &
tails=("$!")
tail --bytes=+1 --follow --sleep-interval=0.1 --pid="$machine" -- "$work/stderr" >&2 &
tails+=("$!")
running+=("${tails[@]}")

started='' late=''
while kill -0 "$machine" 2>/dev/null; do
    sleep 0.1
    now=$(date +%s%N)
    if [[ -z $started ]] && grep -q '^run_avx512: started' "$work/console"; then
        started=$now
    fi
    if ((now - began > limit * 1000000000)); then
        late=1
        kill -KILL "$machine" 2>/dev/null || true
        break
    fi
done
wait "$machine" 2>/dev/null || true
wait "${tails[@]}" 2>/dev/null || true # they read on to the end
running=()

ended=$(date +%s%N)
if [[ -n $verbose ]]; then
    tr -d '\r' <"$work/console" | sed 's/^/console: /' >&2
    say "$model: booted in $(seconds "${started:-$ended}") s, ended after $(seconds "$ended") s"
fi
code=$(tr -d '\r' <"$work/console" | sed -n 's/^run_avx512: exit \([0-9]*\)$/\1/p' | tail -n 1)
[[ -z $code ]] || exit "$code"
[[ -z $late || -z $started ]] || die 124 "time limit of $limit s reached"
outcome="broke down"
[[ -z $late ]] || outcome="did not boot in $limit s"
say "the emulated machine $outcome; the last words of its console and of Bochs:"
for log in console screen bochs.log; do
    tail -n 12 "$work/$log" 2>/dev/null | LC_ALL=C tr -cd '[:print:]\n' >&2 || true
done
exit 125
