/* A hostile nix-daemon. The first byte chooses the size of the pieces the rest arrives in, the
 * second the requests; whatever is said, in one piece or in many, must come to the same. */
#include <stdlib.h>

#include "node/nix/worker_proto.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

#define EVENTS_MAX 64

struct outcome {
    int err;
    size_t events;
    unsigned kinds[EVENTS_MAX];
    size_t lens[EVENTS_MAX];
};

static void note(struct outcome *o, const struct px_worker_event *ev)
{
    if (o->events >= EVENTS_MAX)
        return;
    o->kinds[o->events] = (unsigned)ev->kind;
    o->lens[o->events++] = ev->owned_info != NULL ? ev->owned_info->ref_count : ev->text.len;
}

static void ask(struct px_worker *w, unsigned choice)
{
    static const enum px_worker_op ops[] = {PX_WORKER_QUERY_PATH_FROM_HASH_PART,
                                            PX_WORKER_QUERY_PATH_INFO, PX_WORKER_ADD_TEMP_ROOT};
    enum px_worker_op op = ops[choice % PX_ARRAY_LEN(ops)];
    struct px_slice path = PX_SLICE_LIT("/nix/store/0123456789abcdfghijklmnpqrsvwxyz-name");
    struct px_buf sent;
    px_buf_init(&sent, 0);
    px_worker_take_output(w, &sent);
    px_buf_deinit(&sent);
    int err = px_worker_request(
        w, op, op == PX_WORKER_QUERY_PATH_FROM_HASH_PART ? px_slice(path.data + 11, 32) : path);
    px_assert(err == 0);
}

/* Text is touched whole, so that a view outside its buffer is seen. */
static void use(const struct px_worker_event *ev)
{
    unsigned sum = 0;
    for (size_t i = 0; i < ev->text.len; i++)
        sum += ev->text.data[i];
    px_assert(sum <= 255 * ev->text.len);
    if (ev->owned_info != NULL)
        px_assert(ev->owned_info->nar_size > 0 && ev->owned_info->ref_count <= PX_NARINFO_REFS_MAX);
}

static int drain(struct px_worker *w, unsigned *choice, struct outcome *o)
{
    struct px_worker_event ev;
    int err;
    while ((err = px_worker_next(w, &ev)) == 0) {
        note(o, &ev);
        use(&ev);
        px_path_info_free(ev.owned_info);
        if (w->state == PX_WORKER_IDLE) {
            ask(w, *choice);
            *choice = *choice / 3 + 1;
        }
    }
    return err;
}

static void run(struct px_slice in, size_t step, unsigned choice, struct outcome *o)
{
    struct px_worker w;
    *o = (struct outcome){0};
    if (px_worker_init(&w, "/nix/store") != 0)
        return;
    while (in.len > 0 && (o->err == 0 || o->err == PX_EAGAIN)) {
        o->err = px_worker_feed(&w, px_slice_take(in, step));
        in = px_slice_skip(in, step);
        if (o->err == 0)
            o->err = drain(&w, &choice, o);
    }
    px_worker_deinit(&w);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct outcome whole, pieces;
    if (len < 2)
        return 0;
    struct px_slice in = px_slice(data + 2, len - 2);
    run(in, in.len + 1, data[1], &whole);
    run(in, (size_t)(data[0] % 32) + 1, data[1], &pieces);
    px_assert(whole.err == pieces.err && whole.events == pieces.events);
    for (size_t i = 0; i < whole.events; i++)
        px_assert(whole.kinds[i] == pieces.kinds[i] && whole.lens[i] == pieces.lens[i]);
    return 0;
}
