#!/usr/bin/env bash
# 2000 nodes at one relay for three minutes: they register, watch, call, send, hang up, leave and come back. Over
# the last two minutes the relay's memory and descriptors are flat, and nothing comes that should not.
# NODES and SECONDS_RUN make it shorter; the first third is for coming up.
. "$(dirname "$0")/lib.sh"
[ -x "$PX_RELEASE/peerix-relay" ] && BIN=$PX_RELEASE
. "$HERE/relay_soak.sh"
soak "${NODES:-2000}" "${SECONDS_RUN:-180}"
finish
