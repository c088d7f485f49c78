/* Byte streams of two whole nodes when things do not go straight: no credit, no more streams,
 * resets, a large transfer beside a small one, the end of the overlay. */
#include "tests/sim/sim_raw.h"
#include "tests/sim/sim_world.h"

TEST(a_reader_that_does_not_read_stops_the_writer_and_nothing_is_lost)
{
    struct world w;
    world_init(&w, 1, &sim_rough);
    w.a.window = w.b.window = 64 * 1024;
    w.b.lazy = true;
    host_start(&w.a, 1);
    host_start(&w.b, 2);
    world_connect(&w);
    CHECK(host_send(&w.a, w.a.links[0], 300000));
    world_run(&w, 5 * PX_SEC);
    CHECK_INT(w.b.bulk_count, 1);
    uint64_t got = w.b.bulks[0].in_pos;
    CHECK(got > 30000 && got <= 64 * 1024);
    world_run(&w, 5 * PX_SEC);
    CHECK_INT(w.b.bulks[0].in_pos, got);
    host_wake_up(&w.b);
    CHECK(world_run_until(&w, world_bulks_done, 60 * PX_SEC));
    CHECK_INT(w.b.bulks[0].in_pos, 300000);
    world_deinit(&w);
}

TEST(streams_run_out_and_come_back)
{
    struct world w;
    world_start(&w, 2, &sim_calm);
    world_connect(&w);
    w.b.lazy = true;
    size_t opened = 0;
    while (opened < HOST_BULKS_MAX && host_send(&w.a, w.a.links[0], 10))
        opened++;
    CHECK(opened > 50 && opened < HOST_BULKS_MAX);
    CHECK_INT(w.a.available_count, 0);
    CHECK(world_run_until(&w, world_bulks_done, 5 * PX_SEC));
    world_run(&w, 100 * PX_MSEC);
    CHECK(w.a.available_count > 0);
    CHECK(host_send(&w.a, w.a.links[0], 10));
    CHECK(world_run_until(&w, world_bulks_done, 5 * PX_SEC));
    CHECK_INT(w.b.bulk_count, opened + 1);
    world_deinit(&w);
}

TEST(an_aborted_stream_ends_at_both_sides_with_its_code)
{
    for (int side = 0; side < 2; side++) {
        struct world w;
        world_start(&w, 3, side == 0 ? &sim_rough : &sim_calm);
        w.b.answer_max = 1000000;
        world_connect(&w);
        CHECK(host_send(&w.a, w.a.links[0], 3000000));
        world_run(&w, (side == 0 ? 250 : 60) * PX_MSEC);
        struct host *h = side == 0 ? &w.a : &w.b;
        CHECK_INT(w.b.bulk_count, 1);
        CHECK(w.b.bulks[0].in_pos > 0 && !w.a.bulks[0].closed);
        px_stream_abort(h->bulks[0].stream, 0x77);
        sim_node_kick(h->node);
        world_run(&w, 3 * PX_SEC);
        const struct bulk *ends[] = {&w.a.bulks[0], &w.b.bulks[0]};
        for (int i = 0; i < 2; i++) {
            CHECK(ends[i]->closed && !ends[i]->wrong);
            CHECK_ERR(ends[i]->err, PX_ECANCELED);
            /* a STOP_SENDING that overtakes the reset has no code that ngtcp2 would tell */
            CHECK(ends[i]->code == 0x77 || (ends[i]->code == 0 && i != side));
        }
        /* the link goes on */
        w.a.bulk_count = w.b.bulk_count = 0;
        CHECK(host_send(&w.b, w.b.links[0], 1000));
        CHECK(world_run_until(&w, world_bulks_done, 10 * PX_SEC));
        world_deinit(&w);
    }
}

TEST(a_small_stream_does_not_wait_for_a_large_one)
{
    struct world w;
    world_start(&w, 4, &sim_narrow);
    world_connect(&w);
    CHECK(host_send(&w.a, w.a.links[0], 4000000));
    world_run(&w, PX_SEC);
    px_nsec start = sim_net_now(w.net);
    CHECK(host_send(&w.a, w.a.links[0], 20000));
    CHECK(world_run_until(&w, world_bulks_done, 120 * PX_SEC));
    CHECK_INT(w.b.bulks[1].in_pos, 20000);
    CHECK(w.b.bulks[1].ended_at - start < (w.b.bulks[0].ended_at - start) / 2);
    world_deinit(&w);
}

TEST(writing_after_the_end_is_refused)
{
    struct world w;
    world_start(&w, 5, &sim_calm);
    world_connect(&w);
    CHECK(host_send(&w.a, w.a.links[0], 10));
    CHECK_ERR(px_stream_write(w.a.bulks[0].stream, px_chunk_copy(PX_SLICE_LIT("x"))), PX_ESTATE);
    CHECK(px_stream_link(w.a.bulks[0].stream) == w.a.links[0]);
    CHECK_INT(px_stream_id(w.a.bulks[0].stream), 4);
    world_deinit(&w);
}

static void count(void *ctx, struct px_link *link)
{
    CHECK(px_link_is_up(link));
    ++*(size_t *)ctx;
}

TEST(a_shutdown_tells_every_peer_and_ends_every_stream)
{
    struct world w;
    struct host c;
    size_t links = 0;
    world_start(&w, 6, &sim_calm);
    host_init(&c, w.net, 3, 66);
    host_start(&c, 67);
    world_connect(&w);
    CHECK_OK(host_dial(&w.a, &c));
    world_run(&w, PX_SEC);
    px_overlay_each(w.a.overlay, count, &links);
    CHECK_INT(links, 2);
    CHECK(host_send(&w.b, w.b.links[0], 5000000));
    world_run(&w, 50 * PX_MSEC);
    px_overlay_shutdown(w.a.overlay);
    sim_node_kick(w.a.node);
    world_run(&w, PX_SEC);
    CHECK_INT(w.a.link_count + w.b.link_count + c.link_count, 0);
    CHECK_ERR(w.b.down_err, PX_ECLOSED);
    CHECK_ERR(c.down_err, PX_ECLOSED);
    CHECK(w.b.down_by_peer && c.down_by_peer && !w.a.down_by_peer);
    CHECK_ERR(w.a.bulks[0].err, PX_ECLOSED);
    CHECK_ERR(w.b.bulks[0].err, PX_ECLOSED);
    host_deinit(&c);
    world_deinit(&w);
}
