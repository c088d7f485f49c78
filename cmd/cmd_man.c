/* peerix man: the manual page peerix(1) in groff's man macros, from the same tables as --help. */
#include "cmd/cli.h"
#include "node/control.h"
#include "node/pairing_export.h"
#include "node/state_db.h"
#include "node/trusted_keys.h"

/* groff takes a leading dot or quote for a request, and backslash and dash for more than they are.
 */
static void put_text(const char *text)
{
    if (text[0] == '.' || text[0] == '\'')
        fputs("\\&", stdout);
    for (; *text != '\0'; text++) {
        if (*text == '\\')
            fputs("\\e", stdout);
        else if (*text == '-')
            fputs("\\-", stdout);
        else
            putchar(*text);
    }
}

static void put_line(const char *text)
{
    put_text(text);
    putchar('\n');
}

static void put_term(const char *prefix, const char *bold, const char *arg)
{
    fputs(".TP\n\\fB", stdout);
    put_text(prefix);
    put_text(bold);
    fputs("\\fR", stdout);
    if (arg != NULL && arg[0] != '\0') {
        fputs(" \\fI", stdout);
        put_text(arg);
        fputs("\\fR", stdout);
    }
    putchar('\n');
}

static void put_options(const struct px_command *c, const struct px_cli_option *rows, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        char dash[] = "-x, --", letter = c != NULL ? px_cli_letter(c, rows[i].name) : (char)0;
        dash[1] = letter;
        put_term(letter != 0 ? dash : "--", rows[i].name, rows[i].arg);
        put_line(rows[i].help);
    }
}

static void put_commands(void)
{
    puts(".SH COMMANDS");
    for (size_t i = 0; i < px_command_count; i++) {
        const struct px_command *c = &px_commands[i];
        if (c->hidden)
            continue;
        puts(".SS");
        fputs("\\fB", stdout);
        put_text(c->name);
        fputs("\\fR", stdout);
        if (c->operands[0] != '\0') {
            fputs(" \\fI", stdout);
            put_text(c->operands);
            fputs("\\fR", stdout);
        }
        putchar('\n');
        if (c->alias != NULL)
            printf("(also \\fB%s\\fR) ", c->alias);
        put_text(c->summary);
        puts(".");
        if (c->details != NULL)
            put_line(c->details);
        put_options(c, c->options, c->option_count);
    }
}

static void put_config(void)
{
    char allowed[PX_OPTION_TEXT_MAX];
    puts(".SH CONFIGURATION\nEach option is a key of \\fIconfig.yaml\\fR and a flag of \\fBpeerix "
         "daemon\\fR.\nFlags beat the file, the file beats the default; lists are added up.");
    for (size_t i = 0; i < px_option_count; i++) {
        const struct px_option *o = &px_options[i];
        put_term("", o->name, NULL);
        if (o->flag != NULL) {
            fputs("(flag \\fB\\-\\-", stdout);
            put_text(o->flag);
            puts(o->arg != NULL ? "\\fR)" : "\\fR, alone or with =true, =false)");
        }
        put_line(o->help);
        fputs(px_option_is_list(o) ? "Takes a list, each entry " : "Takes ", stdout);
        put_text(px_option_describe(o, allowed));
        fputs("; default: ", stdout);
        put_text(o->value[0] != '\0' ? o->value : "none");
        puts(".");
    }
}

static void put_files(void)
{
    static const char *const rows[][2] = {
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
        {PX_HOME_STATE_DB, "Addresses that were good, and pairings under way. In the directory of "
                           "the state."},
        {PX_HOME_CONTROL_SOCKET, "Where the running daemon answers the other commands, and local "
                                 "programs over HTTP; mode 0600. In the directory of the state."},
        {PX_HOME_CONTROL_COOKIE, "What a program shows there as a bearer token; mode 0600, new at "
                                 "each start."},
        {PX_HOME_NIX_KEY, "The secret key that signs this machine's own builds; mode 0600."},
    };
    puts(".SH FILES");
    put_line("All in the directory of --home, or of PEERIX_HOME, or /etc/peerix with --system, or "
             "$XDG_CONFIG_HOME/peerix (~/.config/peerix). State that may be lost is in the same "
             "directory, /var/lib/peerix, or $XDG_STATE_HOME/peerix (~/.local/state/peerix).");
    for (size_t i = 0; i < PX_ARRAY_LEN(rows); i++) {
        put_term("", rows[i][0], NULL);
        put_line(rows[i][1]);
    }
}

static void put_environment(void)
{
    static const char *const rows[][2] = {
        {"PEERIX_HOME", "The home when neither --home nor --system is given."},
        {"PEERIX_NIX_KEY_FILE", "The secret signing key, when option nix-key is not set."},
        {"PEERIX_INVITE", "The code for join, when it is not given as an operand."},
        {"CREDENTIALS_DIRECTORY", "Its file nix-key is used after the two above."},
        {"XDG_CONFIG_HOME, XDG_STATE_HOME", "Base directories of the default home."},
        {"NO_COLOR", "When set and not empty, nothing is coloured."},
        {"TERM", "When unset or \"dumb\", nothing is coloured."},
        {"NOTIFY_SOCKET, LISTEN_FDS", "Understood by the daemon as systemd sets them."},
    };
    puts(".SH ENVIRONMENT");
    for (size_t i = 0; i < PX_ARRAY_LEN(rows); i++) {
        put_term("", rows[i][0], NULL);
        put_line(rows[i][1]);
    }
}

static void put_signals(void)
{
    static const char *const rows[][2] = {
        {"SIGTERM, SIGINT",
         "The daemon takes no more work, lets transfers end for up to 4 seconds, and exits."},
        {"SIGHUP", "The daemon reads config.yaml again, see config apply."},
        {"SIGUSR1", "The daemon logs the counters of the substituter and of every connected peer."},
    };
    puts(".SH SIGNALS");
    for (size_t i = 0; i < PX_ARRAY_LEN(rows); i++) {
        put_term("", rows[i][0], NULL);
        put_line(rows[i][1]);
    }
}

static void put_examples(void)
{
    static const char *const rows[][2] = {
        {"peerix init && peerix daemon", "A new node with the defaults."},
        {"peerix auth add 12D3KooW... --name desk --addr desk.example:12303",
         "Let another machine in, and dial it there."},
        {"peerix peers desk", "Is it connected, how, and if not, why."},
        {"peerix ping desk -c 5", "How far it is; exit status 11 when it is not connected."},
        {"peerix status --json | jq .peers", "The same numbers for scripts."},
        {"peerix auth remove desk", "Keep it out from now on; its transfers end at once."},
        {"eval \"$(peerix completion bash)\"", "Completion in the running shell."},
    };
    puts(".SH EXAMPLES");
    for (size_t i = 0; i < PX_ARRAY_LEN(rows); i++) {
        put_term("", rows[i][0], NULL);
        put_line(rows[i][1]);
    }
}

static void put_exit_codes(void)
{
    puts(".SH EXIT STATUS");
#define X(name, value, text)                                                                       \
    put_term("", #value, NULL);                                                                    \
    put_line(text);
    PX_EXIT_TABLE(X)
#undef X
}

int px_cmd_man(const struct px_cli *cli)
{
    (void)cli;
    puts(".TH PEERIX 1 \"\" \"peerix " PX_VERSION "\"\n.SH NAME\n"
         "peerix \\- let nix fetch store paths from other machines, peer to peer\n"
         ".SH SYNOPSIS\n.B peerix\n.I COMMAND\n[\\fIOPTION\\fR]...\n.SH DESCRIPTION");
    put_line("Nodes that list each other share what is in their Nix stores. Each runs a daemon "
             "that serves its peers over authenticated connections and answers nix on a loopback "
             "address as a substituter. Only what is signed by a trusted key, or content "
             "addressed, is passed on to nix.");
    put_commands();
    puts(".SH OPTIONS OF EVERY COMMAND");
    put_options(NULL, px_common_options, px_common_option_count);
    put_term("", "-h, --help", NULL);
    put_line("show help");
    put_config();
    put_files();
    put_environment();
    put_signals();
    put_exit_codes();
    put_examples();
    puts(".SH SEE ALSO\n.BR nix.conf (5)");
    return PX_EXIT_OK;
}
