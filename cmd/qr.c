/* See qr.h. */
#include "cmd/qr.h"

#include <errno.h>
#include <qrencode.h>

enum { QUIET = 2 /* light modules around, enough for today's readers */ };

static bool is_dark(const QRcode *qr, int x, int y)
{
    x -= QUIET;
    y -= QUIET;
    if (x < 0 || y < 0 || x >= qr->width || y >= qr->width)
        return false;
    return (qr->data[y * qr->width + x] & 1) != 0;
}

/* Light modules are drawn, dark ones are left: terminals are dark, or made so. */
static const char *cell(bool dark_above, bool dark_below)
{
    static const char *const cells[2][2] = {{"\u2588", "\u2580"}, {"\u2584", " "}};
    return cells[dark_above][dark_below];
}

int px_qr_put(FILE *out, const char *text, bool color)
{
    QRcode *qr = QRcode_encodeString(text, 0, QR_ECLEVEL_L, QR_MODE_8, 0);
    if (qr == NULL)
        return errno == ENOMEM ? PX_ENOMEM : PX_EINVAL;
    int size = qr->width + 2 * QUIET;
    for (int y = 0; y < size; y += 2) {
        fputs(color ? "\033[40;97m" : "", out);
        for (int x = 0; x < size; x++)
            fputs(cell(is_dark(qr, x, y), y + 1 < size ? is_dark(qr, x, y + 1) : true), out);
        fputs(color ? "\033[0m\n" : "\n", out);
    }
    QRcode_free(qr);
    return 0;
}
