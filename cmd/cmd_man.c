/* peerix man: the manual page peerix(1). */
#include "cmd/man.h"
#include "node/control.h"
#include "node/net_names_io.h"
#include "node/pairing_export.h"
#include "node/relay_owed.h"
#include "node/state_db.h"
#include "node/trusted_keys.h"

static const struct px_man_row files[] = {
    {PX_HOME_CONFIG, "The configuration, see above. Without it the defaults apply."},
    {PX_HOME_IDENTITY, "The private key that is this node's identity; mode 0600."},
    {PX_HOME_AUTHORIZED_KEYS,
     "Who may connect: PEER-ID [name=NAME] [addr=HOST:PORT]... [grant=cache,cache-own] "
     "# comment, one peer a line. Without grant= a peer may connect and gets nothing. Watched "
     "by the daemon."},
    {PX_HOME_NAMES, "Further names of peers: NAME PEER-ID # comment, one a line."},
    {PX_HOME_TRUSTED_KEYS, "Signing keys of paired peers, each with the peer it is of; a line "
                           "counts while that peer is in authorized_keys."},
    {PX_HOME_PEERS_JSON, "What was paired, for Nix to import. Kept up to date by the daemon."},
    {PX_HOME_RELAYS,
     "The relays this node uses, in the order of preference, one a line. Watched by "
     "the running daemon."},
    {PX_HOME_NET_NAMES, "Names of the network as relays told them, for when none answers. In the "
                        "directory of the state."},
    {PX_HOME_RELAY_OWED, "What relays have yet to be told. In the directory of the state."},
    {PX_HOME_STATE_DB, "Addresses that were good, and pairings under way. In the directory of "
                       "the state."},
    {PX_HOME_CONTROL_SOCKET, "Where the running daemon answers the other commands, and local "
                             "programs over HTTP; mode 0600. In the directory of the state."},
    {PX_HOME_CONTROL_COOKIE, "What a program shows there as a bearer token; mode 0600, new at "
                             "each start."},
    {PX_HOME_NIX_KEY, "The secret key that signs this machine's own builds; mode 0600."},
};

static const struct px_man_row environment[] = {
    {"PEERIX_HOME", "The home when neither --home nor --system is given."},
    {"PEERIX_NIX_KEY_FILE", "The secret signing key, when option nix-key is not set."},
    {"PEERIX_INVITE", "The code for join, when it is not given as an operand."},
    {"CREDENTIALS_DIRECTORY", "Its file nix-key is used after the two above."},
    {"XDG_CONFIG_HOME, XDG_STATE_HOME", "Base directories of the default home."},
    {"NO_COLOR", "When set and not empty, nothing is coloured."},
    {"TERM", "When unset or \"dumb\", nothing is coloured."},
    {"NOTIFY_SOCKET, LISTEN_FDS", "Understood by the daemon as systemd sets them."},
};

static const struct px_man_row signals[] = {
    {"SIGTERM, SIGINT",
     "The daemon takes no more work, lets transfers end for up to 4 seconds, and exits."},
    {"SIGHUP", "The daemon reads config.yaml again, see config apply."},
    {"SIGUSR1", "The daemon logs the counters of the substituter and of every connected peer."},
};

static const struct px_man_row examples[] = {
    {"peerix init && peerix daemon", "A new node with the defaults."},
    {"peerix auth add 12D3KooW... --name desk --addr desk.example:12303",
     "Let another machine in, and dial it there."},
    {"peerix peers desk", "Is it connected, how, and if not, why."},
    {"peerix ping desk -c 5", "How far it is; exit status 11 when it is not connected."},
    {"peerix status --json | jq .peers", "The same numbers for scripts."},
    {"peerix auth remove desk", "Keep it out from now on; its transfers end at once."},
    {"eval \"$(peerix completion bash)\"", "Completion in the running shell."},
};

static const struct px_man page = {
    .title = "PEERIX",
    .about = "let nix fetch store paths from other machines, peer to peer",
    .description =
        "Nodes that list each other share what is in their Nix stores. Each runs a daemon "
        "that serves its peers over authenticated connections and answers nix on a loopback "
        "address as a substituter. Only what is signed by a trusted key, or content "
        "addressed, is passed on to nix.",
    .homes = "All in the directory of --home, or of PEERIX_HOME, or /etc/peerix with --system, or "
             "$XDG_CONFIG_HOME/peerix (~/.config/peerix). State that may be lost is in the same "
             "directory, /var/lib/peerix, or $XDG_STATE_HOME/peerix (~/.local/state/peerix).",
    .files = PX_MAN_ROWS(files),
    .environment = PX_MAN_ROWS(environment),
    .signals = PX_MAN_ROWS(signals),
    .examples = PX_MAN_ROWS(examples),
    .see_also = "nix.conf (5)",
};

int px_cmd_man(const struct px_cli *cli)
{
    (void)cli;
    px_man_print(&page);
    return PX_EXIT_OK;
}
