/* The options of `peerix`: one row feeds the file, the flags, --help, the sample and the man page.
 */
#include "auth/nix_key.h"
#include "node/config.h"
#include "node/nix/nix_conf.h"

#define ROW(field, yaml, cli)                                                                      \
    .name = (yaml), .flag = (cli), .offset = offsetof(struct px_config, field)
#define SECONDS 1000u

/* clang-format off */
const struct px_option px_options[] = {
    {ROW(network, "network", "network"), .type = PX_OPT_STRING, .min = 1, .max = 64,
     .value = "default", .arg = "NAME",
     .help = "Name of the overlay network; nodes of another network are refused."},
    {ROW(listen, "listen", "listen"), .type = PX_OPT_ADDR,
     .value = "[::]:12303", .arg = "ADDR:PORT",
     .help = "UDP address peers reach this node at; port 0 picks a free one."},
    {ROW(announce_addrs, "announce-addr", "announce-addr"), .type = PX_OPT_HOSTS, .max = 4,
     .value = "", .arg = "HOST:PORT",
     .help = "Where other machines are told to find this node, as written here; without it the addresses of its interfaces."},
    {ROW(http, "http", "http"), .type = PX_OPT_ADDR, .allowed = "loopback",
     .value = "127.0.0.1:12304", .arg = "ADDR:PORT",
     .help = "Loopback TCP address nix asks as a substituter; port 0 picks a free one."},
    {ROW(store, "store", "store"), .type = PX_OPT_STORE,
     .value = "auto", .arg = "URI",
     .help = "The Nix store this node serves from."},
    {ROW(nix_conf, "nix-conf", "nix-conf"), .type = PX_OPT_PATH, .max = 4000,
     .value = "/etc/nix/nix.conf", .arg = "FILE",
     .help = "nix.conf whose trusted-public-keys are trusted here too; empty for none."},
    {ROW(nix_key, "nix-key", "nix-key"), .type = PX_OPT_PATH, .max = 4000,
     .value = "", .arg = "FILE",
     .help = "Secret key that signs this machine's own builds; empty for the one made by init."},
    {ROW(trusted_public_keys, "trusted-public-keys", "trusted-public-key"), .type = PX_OPT_KEYS,
     .value = "", .arg = "KEY",
     .help = "Keys whose signatures are trusted beside those of nix.conf."},
    {ROW(share_keys, "share-keys", "share-key"), .type = PX_OPT_KEYS,
     .value = px_nix_default_key, .arg = "KEY",
     .help = "Paths signed by one of these keys are served to peers granted `cache`."},
    {ROW(trust_peers, "trust-peers", "trust-peers"), .type = PX_OPT_BOOL,
     .value = "false",
     .help = "Pass on what authorized peers offer even without a trusted signature."},
    {ROW(sign_passed, "sign-passed", "sign-passed"), .type = PX_OPT_BOOL,
     .value = "false",
     .help = "Add this node's own signature to everything passed on to nix."},
    {ROW(metrics, "metrics", "metrics"), .type = PX_OPT_BOOL,
     .value = "true",
     .help = "Serve Prometheus metrics at /metrics of the address nix asks."},
    {ROW(priority, "priority", "priority"), .type = PX_OPT_UINT, .min = 1, .max = 1000,
     .value = "30", .arg = "N",
     .help = "Priority told to nix; lower is asked first, cache.nixos.org has 40.", .live = true},
    {ROW(deadline_ms, "deadline", "deadline"), .type = PX_OPT_MSEC, .min = 1, .max = 60 * SECONDS,
     .value = "250ms", .arg = "TIME",
     .help = "How long peers may take to answer a look-up before nix is told there is nothing.", .live = true},
    {ROW(stall_ms, "stall", "stall"), .type = PX_OPT_MSEC, .min = 100, .max = 600 * SECONDS,
     .value = "10s", .arg = "TIME",
     .help = "A peer that sends nothing for so long in a transfer is given up.", .live = true},
    {ROW(dial_max_ms, "dial-max", "dial-max"), .type = PX_OPT_MSEC, .min = SECONDS, .max = 3600 * SECONDS,
     .value = "60s", .arg = "TIME",
     .help = "Longest pause between two attempts to reach a peer."},
    {ROW(packet_max, "packet-max", "packet-max"), .type = PX_OPT_UINT, .min = 1200, .max = 8952,
     .value = "8952", .arg = "BYTES",
     .help = "Largest UDP payload the path to a peer is probed for; lower it where probing misleads."},
    {ROW(mode, "mode", "mode"), .type = PX_OPT_ENUM,
     .allowed = "lan|wan|both", .value = "both", .arg = "MODE",
     .help = "lan: nothing leaves the link, other addresses are neither dialled nor answered; wan: no discovery on the link; both."},
    {ROW(lan_discovery, "lan-discovery", "lan-discovery"), .type = PX_OPT_ENUM,
     .allowed = "both|multicast|mdns|off", .value = "both", .arg = "HOW",
     .help = "How peers on the same link are found: announcements of our own, DNS-SD through Avahi, both; strangers learn nothing."},
    {ROW(lan_port, "lan-port", "lan-port"), .type = PX_OPT_UINT, .min = 1, .max = 65535,
     .value = "12305", .arg = "PORT",
     .help = "UDP port of multicast announcements; the same on all nodes of a link."},
    {ROW(log_level, "log-level", "log-level"), .type = PX_OPT_ENUM,
     .allowed = "error|warn|info|debug", .value = "info", .arg = "LEVEL",
     .help = "Least urgent level that is logged.", .live = true},
    {ROW(log_format, "log-format", "log-format"), .type = PX_OPT_ENUM,
     .allowed = "text|json", .value = "text", .arg = "FORMAT",
     .help = "Form of the log lines on standard error."},
};
/* clang-format on */
const size_t px_option_count = PX_ARRAY_LEN(px_options);
const size_t px_config_size = sizeof(struct px_config);
