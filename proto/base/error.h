/* Error codes of the whole program: one enum, one name table.
 *
 * Fallible functions return int: 0 or one of these, always negative. Counts and sizes never share
 * that int. Foreign errors (errno, ngtcp2, GnuTLS, SQLite) are mapped in one function per adapter.
 * What travels between peers is a separate enum: proto/close.h. */
#ifndef PX_PROTO_BASE_ERROR_H
#define PX_PROTO_BASE_ERROR_H

#define PX_MUST_CHECK __attribute__((warn_unused_result))

/* X(name, value, text) */
#define PX_ERROR_TABLE(X)                                                                          \
    X(PX_ENOMEM, -1, "out of memory")                                                              \
    X(PX_EINVAL, -2, "invalid argument")                                                           \
    X(PX_EPARSE, -3, "malformed input")                                                            \
    X(PX_ETRUNC, -4, "input ends too early")                                                       \
    X(PX_ELIMIT, -5, "limit exceeded")                                                             \
    X(PX_EAGAIN, -6, "would block")                                                                \
    X(PX_EIO, -7, "input/output error")                                                            \
    X(PX_ENOENT, -8, "not found")                                                                  \
    X(PX_EEXIST, -9, "already exists")                                                             \
    X(PX_EPERM, -10, "permission denied")                                                          \
    X(PX_ETIMEDOUT, -11, "timed out")                                                              \
    X(PX_ECLOSED, -12, "closed")                                                                   \
    X(PX_EPROTO, -13, "protocol violation")                                                        \
    X(PX_ECRYPTO, -14, "cryptographic check failed")                                               \
    X(PX_EUNSUPPORTED, -15, "not supported")                                                       \
    X(PX_ESTATE, -16, "not possible in this state")                                                \
    X(PX_ECANCELED, -17, "canceled")                                                               \
    X(PX_EADDR, -18, "address not usable")                                                         \
    X(PX_ENOSPC, -19, "no space left on device")                                                   \
    /* what can go wrong between two nodes; each is told apart by the caller and in the log */     \
    X(PX_EUNLISTED, -30, "the peer is not in our authorized_keys")                                 \
    X(PX_EREFUSED, -31, "we are not in the peer's authorized_keys")                                \
    X(PX_EWRONGPEER, -32, "the peer proved another identity than the one dialled")                 \
    X(PX_ENETWORK, -33, "the peer belongs to another network")                                     \
    X(PX_EBINDING, -34, "the Noise handshake is not bound to this TLS channel")                    \
    X(PX_ETARGET, -35, "the dialler does not know whom it dials")                                  \
    X(PX_ENOISE, -36, "a Noise handshake message was refused")                                     \
    X(PX_EHANDSHAKE_TIMEOUT, -37, "the handshake did not finish in time")                          \
    X(PX_EDUPLICATE, -38, "a newer connection to the same peer took over")                         \
    X(PX_EOVERRUN, -39, "the peer sent more than its limit before it was authenticated")           \
    X(PX_EOFFLINE, -40, "the peer is not connected")                                               \
    X(PX_ENOSERVICE, -41, "the peer has no such service")                                          \
    X(PX_EFORBIDDEN, -42, "the peer does not grant this")                                          \
    X(PX_EHASH, -43, "content does not match its hash")                                            \
    X(PX_EBUSY, -44, "too much is under way already")                                              \
    X(PX_ETLS, -45, "the TLS handshake failed")                                                    \
    X(PX_EREVOKED, -46, "the peer was removed from authorized_keys")                               \
    X(PX_ESELF, -47, "the address leads to this very node")                                        \
    X(PX_EOFFLINK, -48, "the address is not on this link, and the mode is lan")                    \
    X(PX_EAUTH, -49, "the caller did not prove who it is")                                         \
    X(PX_EHELD, -50, "the peer hung up by hand and waits until it is told to connect")             \
    /* pairing (docs/spec/pairing.md) */                                                           \
    X(PX_EINVITE_TYPO, -60, "the invite code has a typo")                                          \
    X(PX_EINVITE_JUNK, -61, "this is not an invite code")                                          \
    X(PX_EINVITE_UNKNOWN, -62, "the other node knows no such invite")                              \
    X(PX_EINVITE_EXPIRED, -63, "the invite has expired")                                           \
    X(PX_EINVITE_USED, -64, "another node has used the invite")                                    \
    X(PX_EINVITE_BURNT, -65, "the invite was withdrawn after too many wrong attempts")             \
    X(PX_EINVITE_TOKEN, -66, "the secret of the invite is wrong")                                  \
    X(PX_EINVITE_BUSY, -67, "another node is joining with the invite at this moment")              \
    X(PX_EINVITE_WITHDRAWN, -68, "the invite was withdrawn")                                       \
    X(PX_EPAIR_IMPOSTOR, -69, "the other side cannot prove that it made the invite")               \
    X(PX_EPAIR_REJECTED, -70, "the short authentication string was not confirmed")                 \
    X(PX_EPAIR_HALF, -71, "the other side went away half-way")                                     \
    /* rotation */                                                                                 \
    X(PX_EUNACKED, -80, "listed peers do not know the new key yet")

enum px_err {
#define X(name, value, text) name = value,
    PX_ERROR_TABLE(X)
#undef X
};

/* The text of the table for a code of this enum, "ok" for 0; never NULL. */
const char *px_strerror(int err);
/* The bare name, e.g. "EUNLISTED", for logs and tests; "OK" for 0; never NULL. */
const char *px_errname(int err);
/* Maps an errno value; unknown ones become PX_EIO. */
int px_err_from_errno(int errnum);

#endif
