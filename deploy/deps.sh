#!/usr/bin/env bash
# Installs from Debian's packages what building and testing need and this machine lacks.
# Says what it does; does nothing when nothing is missing. Arguments are further pairs of command:package.
set -eu

say() { printf '%s\n' "$*" >&2; }

# command:package
wanted="cc:gcc ip:iproute2 nft:nftables iptables:iptables $*"
missing=""
for pair in $wanted; do
    # The tools of the network are in /usr/sbin, which is not in everybody's PATH.
    PATH="$PATH:/usr/sbin:/sbin" command -v "${pair%%:*}" >/dev/null || missing="$missing ${pair##*:}"
done
case "$missing" in *gcc*) missing="$missing libc6-dev" ;; esac

if [ -n "$missing" ]; then
    if ! command -v apt-get >/dev/null; then
        say "error: missing:$missing"
        say "  mend: install them with this system's package manager, then run make again"
        exit 1
    fi
    as_root=""
    if [ "$(id -u)" != 0 ]; then
        as_root="sudo"
        command -v sudo >/dev/null || { say "error: missing:$missing"; say "  mend: as root, apt-get install$missing"; exit 1; }
    fi
    say "installing:$missing"
    $as_root apt-get update -qq >/dev/null
    # shellcheck disable=SC2086 # a list of words
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
fi

if ! command -v cargo >/dev/null; then
    say "error: cargo is not installed (or not in PATH)"
    if LC_ALL=C apt-cache policy rustup 2>/dev/null | grep -q 'Candidate: [0-9]'; then
        say "  mend: apt-get install rustup && rustup default stable"
    else
        say "  mend: install Rust 1.90 or newer with rustup (https://rustup.rs); this system has no package of it"
    fi
    exit 1
fi
for tool in fmt clippy; do
    cargo "$tool" --version >/dev/null 2>&1 || {
        say "error: cargo $tool is not installed"
        say "  mend: rustup component add rustfmt clippy"
        exit 1
    }
done
