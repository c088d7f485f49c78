/* The file of trusted keys: a key set on any text is there once and the peer's only one, lines of
 * other peers stay as they were, and setting it again changes nothing. */
#include "auth/list_line.h"
#include "node/trusted_keys.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static const struct px_peer_id ours = {{1, 2, 3}};
static const char key[] = "ann-1:6NCHdD59X431o0gWypbMrAURkbJ16ZPMQFGspcDShjY=";

struct counts {
    size_t ours, others, bad;
};

static struct counts count(struct px_slice text)
{
    struct counts c = {0};
    struct px_slice line;
    while (px_list_next_line(&text, &line)) {
        struct px_trusted_key k;
        int err = px_trusted_key_parse_line(line, &k);
        px_assert(err == 0 || err == PX_ENOENT || err == PX_EPARSE);
        c.bad += err != 0;
        if (err != 0)
            continue;
        px_assert(k.key.name[0] != '\0');
        c.ours += px_peer_id_eq(&k.peer, &ours);
        c.others += !px_peer_id_eq(&k.peer, &ours);
    }
    return c;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct px_slice text = px_slice(data, len);
    struct px_buf once, twice;
    px_buf_init(&once, len + 2 * PX_AUTH_LINE_MAX);
    px_buf_init(&twice, len + 4 * PX_AUTH_LINE_MAX);
    const struct counts before = count(text);
    px_assert(px_trusted_keys_text_set(text, &ours, key, "ann", &once) == 0);
    const struct counts after = count(px_buf_slice(&once));
    px_assert(after.ours == 1 && after.others == before.others && after.bad == before.bad);
    px_assert(px_trusted_keys_text_set(px_buf_slice(&once), &ours, key, "ann", &twice) == 0);
    px_assert(px_slice_eq(px_buf_slice(&once), px_buf_slice(&twice)));
    px_buf_deinit(&once);
    px_buf_deinit(&twice);
    return 0;
}
