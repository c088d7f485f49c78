/* Parked streams: bounded, kept whole, handed out by id. */
#include "tests/test.h"
#include "transport/link.h"
#include "transport/link_park.h"

TEST(streams_come_out_by_id_with_all_that_happened_to_them)
{
    struct px_park p;
    px_park_init(&p);
    CHECK_OK(px_park_opened(&p, 8));
    CHECK_OK(px_park_data(&p, 4, PX_SLICE_LIT("ab"), false));
    CHECK_OK(px_park_data(&p, 8, PX_SLICE_LIT("x"), true));
    CHECK_OK(px_park_data(&p, 4, PX_SLICE_LIT("c"), false));
    CHECK_OK(px_park_reset(&p, 4, 7));
    CHECK_OK(px_park_stop(&p, 2, 9));
    CHECK_OK(px_park_closed(&p, 8));
    CHECK_INT(p.count, 3);
    CHECK_INT(p.bytes, 4);
    struct px_parked *s = px_park_take(&p);
    CHECK(s->id == 2 && s->stop && s->stop_code == 9 && !s->fin);
    px_parked_free(s);
    s = px_park_take(&p);
    CHECK(s->id == 4 && s->reset && s->reset_code == 7 && !s->closed);
    CHECK_SLICE(px_buf_slice(&s->data), PX_SLICE_LIT("abc"));
    px_parked_free(s);
    s = px_park_take(&p);
    CHECK(s->id == 8 && s->fin && s->closed);
    px_parked_free(s);
    CHECK(px_park_take(&p) == NULL);
    CHECK_INT(p.bytes, 0);
    px_park_deinit(&p);
}

TEST(bytes_and_streams_are_bounded)
{
    static uint8_t zeros[PX_LINK_PARKED_MAX];
    struct px_park p;
    px_park_init(&p);
    CHECK_OK(px_park_data(&p, 0, px_slice(zeros, sizeof(zeros) - 1), false));
    CHECK_OK(px_park_data(&p, 4, px_slice(zeros, 1), false));
    CHECK_ERR(px_park_data(&p, 8, px_slice(zeros, 1), false), PX_EOVERRUN);
    for (int64_t i = 2; i < PX_LINK_PARKED_STREAMS; i++)
        CHECK_OK(px_park_opened(&p, 4 * i));
    CHECK_ERR(px_park_opened(&p, 4 * PX_LINK_PARKED_STREAMS), PX_EOVERRUN);
    CHECK_OK(px_park_opened(&p, 4)); /* known already */
    px_park_deinit(&p);
}
