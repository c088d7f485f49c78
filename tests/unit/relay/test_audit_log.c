/* The audit log: a line for each thing with all its fields, and an end to lines in a flood. */
#include "relay/audit_log.h"

#include "auth/crypto.h"
#include "tests/test.h"

static struct {
    unsigned lines;
    char last[1024];
} sink;

static void on_emit(void *ctx, enum px_log_level level, const char *event,
                    const struct px_log_field *fields, size_t count)
{
    struct px_buf line;
    (void)ctx;
    sink.lines++;
    px_buf_init(&line, sizeof(sink.last) - 1);
    CHECK_OK(px_log_format(&line, level, event, fields, count, false));
    struct px_slice s = px_buf_slice(&line);
    memcpy(sink.last, s.data, s.len);
    sink.last[s.len] = '\0';
    px_buf_deinit(&line);
}

static struct px_log sink_log = {.level = PX_LOG_INFO, .emit = on_emit};

static struct px_audit_log *opened(enum px_log_level level)
{
    struct px_audit_log *l;
    memset(&sink, 0, sizeof(sink));
    sink_log.level = level;
    CHECK_OK(px_crypto_init());
    CHECK_OK(px_audit_log_new(&sink_log, PX_SEC, &l));
    return l;
}

static struct px_peer_id id_of(uint8_t n)
{
    return (struct px_peer_id){.key = {n, 1, 2, 3}};
}

static bool has(const char *field, const char *value)
{
    char text[256];
    snprintf(text, sizeof(text), " %s=%s", field, value);
    return strstr(sink.last, text) != NULL;
}

TEST(a_line_has_every_field_and_warns_of_refusals_alone)
{
    static const struct {
        const char *event;
        enum px_relay_status status;
        const char *level;
    } rows[] = {{"relay.node_up", PX_RELAY_OK, "level=info"},
                {"relay.admitted", PX_RELAY_OK, "level=info"},
                {"relay.refused", PX_RELAY_RESOURCE_LIMIT_EXCEEDED, "level=warn"},
                {"circuit.ended", PX_RELAY_BYTES_USED, "level=info"},
                {"circuit.refused", PX_RELAY_NO_RESERVATION, "level=warn"}};
    struct px_audit_log *l = opened(PX_LOG_INFO);
    const struct px_peer_id peer = id_of(1), other = id_of(2);
    char a[PX_PEER_ID_TEXT_MAX], b[PX_PEER_ID_TEXT_MAX];
    struct px_addr addr;
    CHECK_OK(px_addr_parse(PX_SLICE_LIT("192.0.2.1:4000"), &addr));
    for (unsigned i = 0; i < PX_ARRAY_LEN(rows); i++) {
        const struct px_relay_audit said = {.event = rows[i].event,
                                            .peer = &peer,
                                            .other = &other,
                                            .addr = &addr,
                                            .class = PX_RELAY_STRANGER,
                                            .status = rows[i].status,
                                            .bytes = 77};
        px_audit_log_put(l, &said, PX_SEC);
        CHECK_INT(sink.lines, i + 1);
        CHECK(has("event", rows[i].event) && strstr(sink.last, rows[i].level) == sink.last);
        CHECK(has("peer", px_peer_id_format(&peer, a)) &&
              has("other", px_peer_id_format(&other, b)) && has("addr", "192.0.2.1:4000"));
        CHECK(has("class", "stranger") && has("bytes", "77"));
        CHECK(has("status", px_relay_status_name(rows[i].status)));
    }
    px_audit_log_refused(l, NULL, &addr, PX_EUNLISTED, false, PX_SEC);
    CHECK(has("event", "link.refused") && has("peer", "-") && has("addr", "192.0.2.1:4000"));
    CHECK(has("error", "EUNLISTED") && has("by", "us"));
    px_audit_log_free(l);
    CHECK_INT(sink.lines, PX_ARRAY_LEN(rows) + 1);
}

TEST(a_flood_of_refusals_writes_few_lines_and_hides_no_member)
{
    enum { PER_SECOND = 1000, SECONDS = 60 };
    struct px_audit_log *l = opened(PX_LOG_INFO);
    const struct px_peer_id member = id_of(1);
    const struct px_addr from = {.ip = {192, 0, 2, 9}, .family = PX_ADDR_IP4};
    struct px_relay_audit up = {
        .event = "relay.node_up", .peer = &member, .class = PX_RELAY_MEMBER};
    unsigned told = 0, flood = 0;
    px_nsec now = PX_SEC;
    for (unsigned i = 0; i < PER_SECOND * SECONDS; i++, now += PX_SEC / PER_SECOND) {
        unsigned before = sink.lines;
        px_audit_log_refused(l, &member, &from, PX_EUNLISTED, false, now);
        flood += sink.lines - before;
        if (now >= px_audit_log_deadline(l)) {
            before = sink.lines;
            px_audit_log_run(l, now);
            told += sink.lines - before;
            CHECK(has("event", "audit.left_out") && has("lines", "") && has("total", ""));
        }
        if (i % 1000 == 500) {
            before = sink.lines;
            px_audit_log_put(l, &up, now);
            CHECK_INT(sink.lines, before + 1);
        }
    }
    CHECK(flood >= PX_AUDIT_LOG_BURST && flood <= PX_AUDIT_LOG_BURST + PX_AUDIT_LOG_RATE * SECONDS);
    CHECK(told >= SECONDS / 10 - 1 && told <= SECONDS / 10);
    CHECK_INT(px_audit_log_left_out(l), PER_SECOND * SECONDS - flood);
    unsigned before = sink.lines;
    px_audit_log_free(l); /* the rest is told at the end */
    CHECK(sink.lines <= before + 1);
    char total[32];
    snprintf(total, sizeof(total), "%u", PER_SECOND * SECONDS - flood);
    CHECK(has("event", "audit.left_out") && has("total", total));
}

TEST(members_write_a_bounded_number_of_lines_too)
{
    struct px_audit_log *l = opened(PX_LOG_INFO);
    const struct px_peer_id member = id_of(1);
    const struct px_relay_audit down = {
        .event = "relay.node_down", .peer = &member, .class = PX_RELAY_VOUCHED};
    for (unsigned i = 0; i < 10 * PX_AUDIT_LOG_FRIEND_BURST; i++)
        px_audit_log_put(l, &down, PX_SEC);
    CHECK_INT(sink.lines, PX_AUDIT_LOG_FRIEND_BURST);
    for (unsigned i = 0; i < 10 * PX_AUDIT_LOG_FRIEND_RATE; i++)
        px_audit_log_put(l, &down, 2 * PX_SEC);
    CHECK_INT(sink.lines, PX_AUDIT_LOG_FRIEND_BURST + PX_AUDIT_LOG_FRIEND_RATE);
    px_audit_log_free(l);
}

TEST(lines_nobody_sees_are_not_counted)
{
    struct px_audit_log *l = opened(PX_LOG_WARN);
    const struct px_peer_id node = id_of(1);
    const struct px_relay_audit up = {
        .event = "relay.node_up", .peer = &node, .status = PX_RELAY_OK};
    const struct px_relay_audit refused = {
        .event = "relay.refused", .peer = &node, .status = PX_RELAY_PERMISSION_DENIED};
    for (unsigned i = 0; i < 2 * PX_AUDIT_LOG_BURST; i++)
        px_audit_log_put(l, &up, PX_SEC);
    px_audit_log_put(l, &refused, PX_SEC);
    CHECK_INT(sink.lines, 1);
    CHECK_INT(px_audit_log_left_out(l), 0);
    CHECK(px_audit_log_deadline(l) == PX_NEVER);
    px_audit_log_free(l);
    px_audit_log_free(NULL);
}
