/* See reach_words.h. */
#include "cmd/reach_words.h"

#include <inttypes.h>
#include <string.h>

#include "cmd/control_client.h"
#include "cmd/json.h"

static const struct {
    const char *name, *words;
} verdicts[] = {
    {"public", "an address of this machine is reached from outside"},
    {"mapped", "reached at an address outside: a forwarded port, or a NAT that lets much in"},
    {"firewalled", "no NAT, but a firewall lets in nothing unasked"},
    {"nat", "behind a NAT that lets in nothing unasked: peers come through a relay"},
    {"blocked", "UDP does not get out: all goes through TLS to a relay"},
    {"local", "the relay is in the same private network and cannot tell"},
};

const char *px_reach_words(const json_t *reach)
{
    const char *verdict = px_json_text(reach, "verdict");
    for (size_t i = 0; i < PX_ARRAY_LEN(verdicts); i++)
        if (strcmp(verdicts[i].name, verdict) == 0)
            return verdicts[i].words;
    return json_is_null(px_json_at(reach, "udp")) ? "no relay is connected, and only one can tell"
                                                  : "no relay has told";
}

const char *px_relay_error_words(const char *name)
{
    if (strcmp(name, px_errname(PX_ETARGET)) == 0)
        return "another relay is at this address, or it has a new key";
    if (strcmp(name, px_errname(PX_EREFUSED)) == 0 || strcmp(name, px_errname(PX_EUNLISTED)) == 0)
        return "the relay does not list this node";
    if (strcmp(name, px_errname(PX_EEXIST)) == 0)
        return "the ID is that of a peer";
    return px_control_error_text(name);
}

bool px_relays_tell_unused(const struct px_cli *cli)
{
    json_t *status = NULL;
    if (px_control_call(cli, "GET", "/v1/status", NULL, &status) != 0)
        return false;
    bool lan = strcmp(px_json_text(status, "mode"), "lan") == 0;
    if (lan)
        fputs("this node has `mode: lan` and uses no relays\n", stderr);
    json_decref(status);
    return lan;
}

const char *px_reach_mapping_words(const char *mapping)
{
    if (strcmp(mapping, "none") == 0)
        return "none: seen at an address of its own";
    if (strcmp(mapping, "same") == 0)
        return "the same for all relays";
    if (strcmp(mapping, "varies") == 0)
        return "depends on who is spoken to (address-dependent)";
    return "not known: two relays can tell";
}

const char *px_reach_color(const struct px_cli_style *style, const char *word)
{
    static const char *const good[] = {"public", "mapped", "reachable"};
    for (size_t i = 0; i < PX_ARRAY_LEN(good); i++)
        if (strcmp(good[i], word) == 0)
            return style->green;
    return strcmp(word, "unknown") == 0 || strcmp(word, "local") == 0 ? style->dim : style->yellow;
}

/* The first address with that source and result; "" for none. */
static const char *find(const json_t *reach, const char *source, const char *result)
{
    const json_t *list = px_json_at(reach, "addresses");
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *a = json_array_get(list, i), *sources = px_json_at(a, "sources");
        for (size_t k = 0; k < json_array_size(sources); k++)
            if (strcmp(json_string_value(json_array_get(sources, k)), source) == 0 &&
                (result == NULL || strcmp(px_json_text(a, "result"), result) == 0))
                return px_json_text(a, "address");
    }
    return "";
}

static void advise_nat(FILE *out, const char *prefix, const json_t *reach)
{
    const char *inside = find(reach, "interface", NULL);
    fprintf(out, "%sto be dialled directly, forward UDP port %" PRIu64 " at the router to %s,\n",
            prefix, px_json_count(reach, "port"), inside[0] != '\0' ? inside : "this machine");
    fprintf(out, "%sand check again; without, peers reach this node through its relays\n", prefix);
    if (strcmp(px_json_text(reach, "mapping"), "varies") == 0)
        fprintf(out, "%s(two NATs like this one never let a direct connection come about)\n",
                prefix);
}

static void advise_unknown(FILE *out, const char *prefix, const json_t *reach, bool listed)
{
    if (!listed)
        fprintf(out, "%sadd a relay outside: `peerix relay add URL`; only one can tell\n", prefix);
    else if (json_is_null(px_json_at(reach, "udp")))
        fprintf(out, "%sno relay is connected: see `peerix relay list`\n", prefix);
    else
        fprintf(out, "%sthe relay gave no answer; check again in a minute\n", prefix);
}

void px_reach_advise(FILE *out, const char *prefix, const json_t *reach, bool listed)
{
    const char *v = px_json_text(reach, "verdict");
    uint64_t port = px_json_count(reach, "port");
    if (strcmp(v, "public") == 0) {
        fprintf(out, "%snothing to do: peers can dial %s\n", prefix,
                find(reach, "interface", "reachable"));
    } else if (strcmp(v, "mapped") == 0) {
        fprintf(out, "%sif you forwarded the port, nothing is to be done; if not, forward UDP\n",
                prefix);
        fprintf(out, "%sport %" PRIu64 ": the NAT may let in only whom this node spoke to\n",
                prefix, port);
    } else if (strcmp(v, "firewalled") == 0) {
        fprintf(out, "%slet UDP to port %" PRIu64 " in, in this machine's firewall and its\n",
                prefix, port);
        fprintf(out, "%snetwork's, and check again\n", prefix);
    } else if (strcmp(v, "nat") == 0) {
        advise_nat(out, prefix, reach);
    } else if (strcmp(v, "blocked") == 0) {
        fprintf(out, "%slet UDP out, to the relays' ports at least, and check again; until then\n",
                prefix);
        fprintf(out, "%sthings work, only slower\n", prefix);
    } else if (strcmp(v, "local") == 0) {
        fprintf(out, "%sto know how the Internet sees this node, add a relay out there\n", prefix);
    } else {
        advise_unknown(out, prefix, reach, listed);
    }
}
