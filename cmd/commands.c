/* The command table: every command with its options, operands and words about it. */
#include "cmd/command.h"

#define OPTIONS(rows) .options = (rows), .option_count = PX_ARRAY_LEN(rows)
#define LETTERS(rows) .letters = (rows), .letter_count = PX_ARRAY_LEN(rows)

const struct px_cli_option px_common_options[] = {
    {"home", "DIR", "keep everything in DIR (default: the XDG directories)"},
    {"system", NULL, "use /etc/peerix and /var/lib/peerix"},
};
const size_t px_common_option_count = PX_ARRAY_LEN(px_common_options);

static const struct px_cli_option init_options[] = {
    {"non-interactive", NULL, "never ask, take the defaults"},
    {"nix-key-name", "NAME",
     "name of the signing key (default: HOSTNAME-ID-peerix-1, ID the end of "
     "the peer ID)"},
    {"json", NULL, "print JSON"},
};
static const struct px_cli_option json_option[] = {
    {"json", NULL, "print JSON"},
};
static const struct px_cli_option ping_options[] = {
    {"count", "N", "stop after N (default: go on until Ctrl-C)"},
    {"interval", "SECONDS", "pause from one to the next, 0.01 to 3600 (default: 1)"},
    {"timeout", "SECONDS", "wait for a reply, 0.01 to 60 (default: 5)"},
    {"json", NULL, "print JSON, a line each"},
};
static const struct px_cli_letter ping_letters[] = {
    {'c', "count"}, {'i', "interval"}, {'W', "timeout"}};
static const struct px_cli_option traceroute_options[] = {
    {"timeout", "SECONDS", "wait for a reply, 0.01 to 60 (default: 5)"},
    {"json", NULL, "print JSON"},
};
static const struct px_cli_letter traceroute_letters[] = {{'W', "timeout"}};
static const struct px_cli_option peers_options[] = {
    {"full", NULL, "show whole peer IDs"},
    {"json", NULL, "print JSON"},
};
static const struct px_cli_option json_lines_option[] = {
    {"json", NULL, "print JSON, a line each"},
};
static const struct px_cli_option auth_add_options[] = {
    {"name", "NAME", "a short name, as in host names: a-z, 0-9 and dashes"},
    {"addr", "HOST:PORT", "where to dial the peer; may be given several times"},
    {"grant", "G,...",
     "what the peer may have: cache (paths signed by a share key), cache-own (own builds); "
     "default: both"},
    {"comment", "TEXT", "a remark for people"},
    {"json", NULL, "print JSON"},
};
static const struct px_cli_option invite_options[] = {
    {"name", "NAME", "what the other node is called here (default: what it calls itself)"},
    {"ttl", "TIME", "how long the invite is good: 1s to 24h (default: 10m)"},
    {"grant", "G,...", "what the other node may have: cache, cache-own (default: both)"},
    {"addr", "HOST:PORT", "where the other node finds this one; may be given several times"},
    {"verify", NULL, "compare a short string on both sides before anything is granted"},
    {"wait", NULL, "wait until it is used, also without a terminal"},
    {"no-wait", NULL, "print the code and end"},
    {"qr", NULL, "draw the QR code, also without a terminal"},
    {"no-qr", NULL, "do not draw it"},
    {"list", NULL, "make none; show those that are remembered"},
    {"withdraw", "ID", "make none; end that one (its ID is in --list)"},
    {"json", NULL, "print JSON; with --wait a line for each step"},
};
static const struct px_cli_option join_options[] = {
    {"name", "NAME", "what the inviter is called here (default: what it calls itself)"},
    {"grant", "G,...", "what the inviter may have: cache, cache-own (default: both)"},
    {"verify", NULL, "compare a short string on both sides before anything is granted"},
    {"non-interactive", NULL, "never ask"},
    {"json", NULL, "print JSON, a line for each step"},
};
static const struct px_cli_option name_add_options[] = {
    {"comment", "TEXT", "a remark for people"},
    {"json", NULL, "print JSON"},
};
static const struct px_cli_option relay_add_options[] = {
    {"id", "ID", "the relay's peer ID, where the address does not tell it"},
    {"trust-first-use", NULL, "without an ID: take the relay that answers, unseen"},
    {"name", "NAME", "a short name, as in host names: a-z, 0-9 and dashes"},
    {"tcp", "PORT", "its TCP port, for networks that let no UDP out (default: 443)"},
    {"comment", "TEXT", "a remark for people"},
    {"json", NULL, "print JSON"},
};
static const struct px_cli_option nix_key_options[] = {
    {"nix-key", "FILE", "the secret key (default: as the daemon finds it)"},
    {"json", NULL, "print JSON"},
};
static const struct px_cli_option rotate_key_options[] = {
    {"status", NULL, "show who knows the new key; change nothing"},
    {"finish", NULL, "take up the new key; the old one is destroyed"},
    {"force", NULL, "with --finish: also while peers do not know it, which must be paired anew"},
    {"abort", NULL, "destroy the new key, keep the old one"},
    {"json", NULL, "print JSON"},
};
static const struct px_cli_option config_apply_options[] = {
    {"confirm-timeout", "TIME", "take it back after TIME (1s to 24h) unless confirmed"},
    {"json", NULL, "print JSON"},
};

/* clang-format off */
const struct px_command px_commands[] = {
    {.name = "init", OPTIONS(init_options), .config_options = true, .operands = "",
     .run = px_cmd_init, .summary = "create identity, signing key and sample configuration",
     .details = "Creates what is missing and never overwrites, so it may be run again. Prints the "
                "peer ID and what to do next. On a terminal it asks a few questions first; what "
                "is given by flags is not asked, and goes into the new config.yaml."},
    {.name = "daemon", .alias = "serve", .config_options = true, .operands = "", .run = px_cmd_daemon,
     .summary = "run the node: overlay, cache for peers, substituter for nix",
     .details = "Flags beat config.yaml, which beats the defaults; lists are added up. Logs go to "
                "standard error; the line with event=ready tells the bound addresses. SIGTERM "
                "and Ctrl-C let transfers end for up to 4 seconds."},
    {.name = "invite", OPTIONS(invite_options), .operands = "", .run = px_cmd_invite,
     .summary = "make a code with which another machine pairs with this one",
     .details = "The code is good for one machine and holds a secret: give it to nobody else. On a "
                "terminal the code is drawn as a QR code too, and the command waits until it was "
                "used. Without one it prints the code alone and ends, unless --wait says "
                "otherwise. Both sides then list each other, with addresses, grants and nix key."},
    {.name = "join", OPTIONS(join_options), .operands = "[CODE]", .operands_max = 1,
     .run = px_cmd_join, .summary = "pair with the machine that made the code",
     .details = "Without CODE it is taken from $PEERIX_INVITE or standard input. Case, blanks and "
                "dashes do not matter, and a typo is told with its place. What was interrupted is "
                "finished by the same command, or by the daemon itself."},
    {.name = "nix-conf", OPTIONS(json_option), .operands = "", .run = px_cmd_nix_conf,
     .summary = "print what nix.conf needs for everything paired so far",
     .details = "Two lines, to be written to a file that nix.conf includes. With --json the same "
                "as HOME/peers.json, which the daemon keeps up to date, for Nix to import."},
    {.name = "status", OPTIONS(json_option), .operands = "", .run = px_cmd_status,
     .summary = "show what the running daemon is and does"},
    {.name = "peers", OPTIONS(peers_options), .operands = "[PEER]", .operands_max = 1,
     .run = px_cmd_peers,
     .summary = "list peers with state and path, or tell all about one",
     .details = "A peer is given by ID, by name, or by the beginning of its ID as the list shows "
                "it."},
    {.name = "services", OPTIONS(json_option), .operands = "", .run = px_cmd_services,
     .summary = "show what this node serves, and to whom"},
    {.name = "ping", OPTIONS(ping_options), LETTERS(ping_letters), .operands = "PEER",
     .operands_min = 1, .operands_max = 1, .run = px_cmd_ping,
     .summary = "measure round trips to a connected peer",
     .details = "Until Ctrl-C, or as often as --count says; then prints how many came back, the "
                "shortest, mean and longest time, and the jitter: the mean difference between one "
                "and the next. Without any reply the exit code says why."},
    {.name = "traceroute", OPTIONS(traceroute_options), LETTERS(traceroute_letters),
     .operands = "PEER", .operands_min = 1,
     .operands_max = 1, .run = px_cmd_traceroute,
     .summary = "show which way packets to a peer take, with the time of each hop"},
    {.name = "connect", OPTIONS(json_option), .operands = "PEER [HOST:PORT]", .operands_min = 1,
     .operands_max = 2, .run = px_cmd_connect,
     .summary = "dial a listed peer now, and wait until it is connected",
     .details = "An address given is tried first, and only this time."},
    {.name = "disconnect", OPTIONS(json_option), .operands = "PEER", .operands_min = 1,
     .operands_max = 1, .run = px_cmd_disconnect,
     .summary = "hang up, and do not dial the peer again until `connect`",
     .details = "The peer may still come by itself; `auth remove` keeps it away."},
    {.name = "netcheck", OPTIONS(json_option), .operands = "", .run = px_cmd_netcheck,
     .summary = "ask the relays whether this node can be reached from outside",
     .details = "The running daemon asks each relay to dial its addresses back, which takes some "
                "seconds, and says what to do next. Ends with 0 when there is a verdict, whichever; "
                "with 11 when no relay could tell; with 8 when no daemon is running."},
    {.name = "events", OPTIONS(json_lines_option), .operands = "", .run = px_cmd_events,
     .summary = "print what the daemon does as it happens, until Ctrl-C"},
    {.name = "stop", OPTIONS(json_option), .operands = "", .run = px_cmd_stop,
     .summary = "end the running daemon, and wait until it is gone"},
    {.name = "whoami", OPTIONS(json_option), .operands = "", .run = px_cmd_whoami,
     .summary = "print this node's peer ID"},
    {.name = "auth add", OPTIONS(auth_add_options), .operands = "ID", .operands_min = 1,
     .operands_max = 1, .run = px_cmd_auth_add,
     .summary = "authorize a peer, or change its entry",
     .details = "For a peer that is listed already only what is given is changed. A running "
                "daemon takes it up by itself."},
    {.name = "auth list", OPTIONS(json_option), .operands = "", .run = px_cmd_auth_list,
     .summary = "list authorized peers"},
    {.name = "auth remove", OPTIONS(json_option), .operands = "PEER", .operands_min = 1, .operands_max = 1,
     .run = px_cmd_auth_remove,
     .summary = "remove a peer; a running daemon ends its connection"},
    {.name = "auth validate", OPTIONS(json_option), .operands = "", .run = px_cmd_auth_validate,
     .summary = "check authorized_keys, printing every bad line with its number"},
    {.name = "name add", OPTIONS(name_add_options), .operands = "NAME PEER", .operands_min = 2,
     .operands_max = 2, .run = px_cmd_name_add,
     .summary = "give a peer a further name",
     .details = "Names may be used wherever a peer is asked for. A peer ID always means that peer; "
                "then come the names of authorized_keys, then these, then the beginning of a known "
                "peer's ID (12 characters or more)."},
    {.name = "name list", OPTIONS(json_option), .operands = "", .run = px_cmd_name_list,
     .summary = "list all names, those of authorized_keys first"},
    {.name = "name remove", OPTIONS(json_option), .operands = "NAME", .operands_min = 1, .operands_max = 1,
     .run = px_cmd_name_remove, .summary = "remove a name that `name add` gave"},
    {.name = "relay add", OPTIONS(relay_add_options), .operands = "RELAY", .operands_min = 1,
     .operands_max = 1, .run = px_cmd_relay_add,
     .summary = "use a relay to reach peers that cannot be dialled, or change its entry",
     .details = "RELAY is the URL that the relay prints when it starts. It may also be IP, IP:PORT, HOST, "
                "HOST:PORT or a multiaddr; then --id tells the relay's peer ID. Without one the relay "
                "is asked for it and you are asked whether it is right; scripts give --id or "
                "--trust-first-use. The ID is kept, and another relay at the address is refused. Peers "
                "are called through a relay when their own addresses did not answer at once; both "
                "must use it, and it must list both. What it forwards it cannot read. The first "
                "two relays that work are used. A running daemon takes a change up by itself."},
    {.name = "relay list", OPTIONS(json_option), .operands = "", .run = px_cmd_relay_list,
     .summary = "list the relays, with their state if the daemon runs"},
    {.name = "relay remove", OPTIONS(json_option), .operands = "RELAY", .operands_min = 1,
     .operands_max = 1, .run = px_cmd_relay_remove,
     .summary = "use a relay no more, given by name, address or peer ID"},
    {.name = "resolve", OPTIONS(json_option), .operands = "PEER", .operands_min = 1,
     .operands_max = 1, .run = px_cmd_resolve,
     .summary = "print the peer ID that a name or the beginning of an ID stands for",
     .details = "PEER is looked for among IDs, the names of authorized_keys, those of `peerix name`, and "
                "beginnings of IDs, in this order. HOST.NETWORK, wherever a PEER is taken, is asked "
                "of the relays; without one, what they said last is taken and its age told. Such a "
                "name lets nobody in: who is not in authorized_keys is not dialled."},
    {.name = "rotate-key", OPTIONS(rotate_key_options), .operands = "", .run = px_cmd_rotate_key,
     .summary = "give this node a new identity key without pairing anew",
     .details = "Makes the new key and tells the peers, over connections of the old one. When all "
                "of them know it, --finish takes it up: names, addresses and grants at the peers "
                "move to it by themselves. A peer that was away all the time must be paired anew. "
                "A key that somebody else may have is no case for this: have it removed at the "
                "peers (`peerix auth remove`) and pair anew."},
    {.name = "nix-key", OPTIONS(nix_key_options), .operands = "", .run = px_cmd_nix_key,
     .summary = "print this node's public signing key, as nix.conf takes it"},
    {.name = "config sample", .operands = "", .run = px_cmd_config_sample,
     .summary = "print a configuration file with every option and its default"},
    {.name = "config validate", OPTIONS(json_option), .operands = "[FILE]", .operands_max = 1,
     .run = px_cmd_config_validate,
     .summary = "check config.yaml, or another file before it is applied"},
    {.name = "config show", OPTIONS(json_option), .operands = "", .run = px_cmd_config_show,
     .summary = "print every option with the value config.yaml gives it"},
    {.name = "config apply", OPTIONS(config_apply_options), .operands = "FILE", .operands_min = 1,
     .operands_max = 1, .run = px_cmd_config_apply,
     .summary = "put FILE in place of config.yaml; a running daemon takes it up",
     .details = "FILE is checked first; - stands for standard input. The earlier text is kept, see "
                "`config history`. With --confirm-timeout it comes back by itself unless `config "
                "confirm` follows in time, also when the daemon or the machine was restarted "
                "meanwhile, and at once when the daemon does not start with the new one. log-level, "
                "priority, deadline and stall are taken up as they are; for everything else the "
                "daemon starts its parts anew, letting transfers end for up to 4 seconds. SIGHUP "
                "makes it read the file too."},
    {.name = "config confirm", OPTIONS(json_option), .operands = "", .run = px_cmd_config_confirm,
     .summary = "keep the change that waits"},
    {.name = "config rollback", OPTIONS(json_option), .operands = "[NUMBER]", .operands_max = 1,
     .run = px_cmd_config_rollback,
     .summary = "take back the change that waits, or bring an earlier text back",
     .details = "Without NUMBER and with nothing waiting: the latest that differs."},
    {.name = "config history", OPTIONS(json_option), .operands = "", .run = px_cmd_config_history,
     .summary = "list the earlier texts of config.yaml, at most 10"},
    {.name = "completion", .operands = "bash|zsh|fish", .operands_min = 1, .operands_max = 1,
     .run = px_cmd_completion, .summary = "print a completion script for the shell"},
    {.name = "version", OPTIONS(json_option), .operands = "", .run = px_cmd_version,
     .summary = "print the version"},
    {.name = "help", .operands = "[COMMAND]", .operands_max = 2, .run = px_cmd_help,
     .summary = "explain a command"},
    {.name = "complete", .operands = "peer|name|relay", .operands_min = 1, .operands_max = 1,
     .hidden = true, .run = px_cmd_complete, .summary = "print words for completion scripts"},
    {.name = "man", .operands = "", .hidden = true, .run = px_cmd_man,
     .summary = "print the manual page as groff"},
};
/* clang-format on */
const size_t px_command_count = PX_ARRAY_LEN(px_commands);
