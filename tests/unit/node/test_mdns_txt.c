/* Announcements in TXT records: what was written is read, in whatever order it comes; nothing else
 * is. */
#include "node/mdns_txt.h"

#include "node/mdns_worker.h"
#include "tests/test.h"

TEST(every_size_of_announcement_passes_in_any_order)
{
    static const size_t sizes[] = {84, 276, 1044};
    uint8_t packet[PX_LAN_PACKET_MAX], got[PX_LAN_PACKET_MAX];
    for (size_t i = 0; i < sizeof(packet); i++)
        packet[i] = (uint8_t)(i * 7);
    for (size_t i = 0; i < PX_ARRAY_LEN(sizes); i++) {
        size_t len = 0;
        AvahiStringList *txt = px_mdns_txt_write(px_slice(packet, sizes[i]));
        CHECK(avahi_string_list_length(txt) == (sizes[i] + PX_MDNS_CHUNK - 1) / PX_MDNS_CHUNK);
        CHECK_OK(px_mdns_txt_read(txt, got, &len));
        CHECK_SLICE(px_slice(got, len), px_slice(packet, sizes[i]));
        txt = avahi_string_list_reverse(txt);
        CHECK_OK(px_mdns_txt_read(txt, got, &len));
        CHECK_SLICE(px_slice(got, len), px_slice(packet, sizes[i]));
        avahi_string_list_free(txt);
    }
}

TEST(strings_that_are_not_ours_are_refused)
{
    static const char *const cases[][3] = {
        {"0=a", "0=b"},                    /* twice */
        {"1=a"},                           /* the first is missing */
        {"0=a", "2=b"},                    /* the second is missing */
        {"0"},                             /* no value */
        {"0="},                            /* an empty one */
        {"x=a"},        {"=a"},   {"9=a"}, /* more than there can be */
        {"version=1"},  {"00=a"},
    };
    uint8_t got[PX_LAN_PACKET_MAX];
    for (size_t i = 0; i < PX_ARRAY_LEN(cases); i++) {
        AvahiStringList *txt = NULL;
        size_t len;
        for (size_t k = 0; k < 3 && cases[i][k] != NULL; k++)
            txt = avahi_string_list_add(txt, cases[i][k]);
        if (px_mdns_txt_read(txt, got, &len) != PX_EPARSE)
            px_test_fail(__FILE__, __LINE__, "%s", cases[i][0]);
        avahi_string_list_free(txt);
    }
}

TEST(more_bytes_than_an_announcement_has_are_refused)
{
    uint8_t part[PX_MDNS_CHUNK + 1] = {0}, got[PX_LAN_PACKET_MAX];
    AvahiStringList *txt = NULL;
    size_t len;
    for (char key[2] = "0"; key[0] < '6'; key[0]++)
        txt = avahi_string_list_add_pair_arbitrary(txt, key, part, PX_MDNS_CHUNK);
    CHECK_ERR(px_mdns_txt_read(txt, got, &len), PX_EPARSE); /* 1200 */
    avahi_string_list_free(txt);
    txt = avahi_string_list_add_pair_arbitrary(NULL, "0", part, sizeof(part));
    CHECK_ERR(px_mdns_txt_read(txt, got, &len), PX_EPARSE);
    avahi_string_list_free(txt);
}
