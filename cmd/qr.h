/* QR codes for terminals; the one home of libqrencode. */
#ifndef PX_CMD_QR_H
#define PX_CMD_QR_H

#include <stdio.h>

#include "proto/base/base.h"

/* Draws text with half-block characters, two modules a character high; `color`: with attributes
 * that make it black on white whatever the terminal's colours are. PX_EINVAL (too long), PX_ENOMEM.
 */
PX_MUST_CHECK int px_qr_put(FILE *out, const char *text, bool color);

#endif
