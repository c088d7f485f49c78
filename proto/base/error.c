/* The name table of error.h and the mapping from errno. */
#include "proto/base/error.h"

#include <errno.h>

const char *px_strerror(int err)
{
    switch (err) {
    case 0:
        return "ok";
#define X(name, value, text)                                                                       \
    case name:                                                                                     \
        return text;
        PX_ERROR_TABLE(X)
#undef X
    default: /* any int may come in, not only our enum */
        return "unknown error";
    }
}

const char *px_errname(int err)
{
    switch (err) {
    case 0:
        return "OK";
#define X(name, value, text)                                                                       \
    case name:                                                                                     \
        return &#name[3]; /* without the PX_ */
        PX_ERROR_TABLE(X)
#undef X
    default:
        return "UNKNOWN";
    }
}

int px_err_from_errno(int errnum)
{
    switch (errnum) {
    case 0:
        return 0;
    case ENOMEM:
        return PX_ENOMEM;
    case EINVAL:
        return PX_EINVAL;
    case EAGAIN:
        return PX_EAGAIN;
    case ENOENT:
    case ENOTDIR:
        return PX_ENOENT;
    case EEXIST:
        return PX_EEXIST;
    case EACCES:
    case EPERM:
        return PX_EPERM;
    case ETIMEDOUT:
        return PX_ETIMEDOUT;
    case EADDRNOTAVAIL:
    case EADDRINUSE:
    case EAFNOSUPPORT:
        return PX_EADDR;
    case EPIPE:
    case ECONNRESET:
        return PX_ECLOSED;
    case ENOSPC:
    case EDQUOT:
        return PX_ENOSPC;
    default:
        return PX_EIO;
    }
}
