#!/usr/bin/env bash
# The soak of full_relay_soak.sh in small: 150 nodes come, go, call and watch for 24 s.
# Runs alone: it measures times, or fills the machine.
. "$(dirname "$0")/lib.sh"
. "$HERE/relay_soak.sh"
soak 150 24
finish
