/* peerix-relay man: the manual page peerix-relay(1). */
#include "cmd/man.h"
#include "cmd_relay/commands.h"
#include "cmd_relay/store_db.h"
#include "node/control.h"

static const struct px_man_row files[] = {
    {PX_HOME_CONFIG, "The configuration, see above. Without it the defaults apply."},
    {PX_HOME_IDENTITY, "The private key that is the relay's identity; mode 0600."},
    {PX_HOME_AUTHORIZED_KEYS, "The members: PEER-ID [name=NAME] # comment, one a line. Watched by "
                              "the running relay."},
    {PX_RELAY_DB, "Records, held names, invites, joiners, vouchings and transfer totals. In the "
                  "directory of the state."},
    {PX_HOME_CONTROL_SOCKET, "Where the running relay answers status; mode 0600. In the directory "
                             "of the state."},
};

static const struct px_man_row environment[] = {
    {"PEERIX_RELAY_HOME", "The home when neither --home nor --system is given."},
    {"XDG_CONFIG_HOME, XDG_STATE_HOME", "Base directories of the default home."},
    {"NO_COLOR", "When set and not empty, nothing is coloured."},
    {"TERM", "When unset or \"dumb\", nothing is coloured."},
    {"NOTIFY_SOCKET, WATCHDOG_USEC", "Understood by the daemon as systemd sets them."},
};

static const struct px_man_row signals[] = {
    {"SIGTERM, SIGINT", "The relay tells every node, waits for leave, ends circuits and links, and "
                        "exits. A second one does not wait."},
    {"SIGHUP", "The relay reads open and the limits again."},
    {"SIGUSR1", "The relay logs its totals."},
};

static const struct px_man_row examples[] = {
    {"peerix-relay init && peerix-relay daemon --public-addr relay.example:12307",
     "A new relay; the line with event=ready has its URL."},
    {"peerix-relay auth add 12D3KooW... --name desk", "Make a node a member."},
    {"peerix-relay status --json | jq .circuits", "What it forwards, for scripts."},
    {"peerix-relay auth remove desk", "Keep it out, with all it invited or vouched for."},
};

static const struct px_man page = {
    .title = "PEERIX-RELAY",
    .about = "let peerix nodes behind NATs find and reach each other",
    .description =
        "A relay runs on a machine with a public address. Its members register there, find each "
        "other, and reach each other through it where neither can be dialled. It forwards packets "
        "of connections between nodes without being able to read them.",
    .homes = "All in the directory of --home, or of PEERIX_RELAY_HOME, or /etc/peerix-relay with "
             "--system, or $XDG_CONFIG_HOME/peerix-relay (~/.config/peerix-relay). State is in the "
             "same directory, /var/lib/peerix-relay, or $XDG_STATE_HOME/peerix-relay "
             "(~/.local/state/peerix-relay).",
    .files = PX_MAN_ROWS(files),
    .environment = PX_MAN_ROWS(environment),
    .signals = PX_MAN_ROWS(signals),
    .examples = PX_MAN_ROWS(examples),
    .see_also = "peerix (1)",
};

int px_relay_cmd_man(const struct px_cli *cli)
{
    (void)cli;
    px_man_print(&page);
    return PX_EXIT_OK;
}
