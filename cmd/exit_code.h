/* Exit codes of `peerix` and `peerix-relay`: part of the contract with scripts, never renumbered.
 */
#ifndef PX_CMD_EXIT_CODE_H
#define PX_CMD_EXIT_CODE_H

/* X(name, value, text) */
#define PX_EXIT_TABLE(X)                                                                           \
    X(PX_EXIT_OK, 0, "success")                                                                    \
    X(PX_EXIT_FAILURE, 1, "failure, or a validation found problems")                               \
    X(PX_EXIT_USAGE, 2, "the command line makes no sense")                                         \
    X(PX_EXIT_NOT_INITIALISED, 3, "this home has no identity yet: `init` makes one")               \
    X(PX_EXIT_PERMISSION, 4, "permission denied, or a key file is open to others")                 \
    X(PX_EXIT_CONFIG, 5, "config.yaml or a value in it is wrong")                                  \
    X(PX_EXIT_ADDRESS, 6, "an address is in use or cannot be bound")                               \
    X(PX_EXIT_STORE, 7, "the Nix store is not usable")                                             \
    X(PX_EXIT_NOT_RUNNING, 8, "no daemon of this home is running")                                 \
    X(PX_EXIT_RUNNING, 9, "a daemon of this home is running already")                              \
    X(PX_EXIT_NO_PEER, 10, "there is no such peer or name")                                        \
    X(PX_EXIT_OFFLINE, 11, "the peer is not connected or cannot be reached")                       \
    X(PX_EXIT_TIMEOUT, 12, "no answer in time")                                                    \
    X(PX_EXIT_REFUSED, 13, "the peer refused")                                                     \
    /* pairing */                                                                                  \
    X(PX_EXIT_INVITE_TYPO, 20, "the invite code has a typo")                                       \
    X(PX_EXIT_INVITE_JUNK, 21, "this is not an invite code")                                       \
    X(PX_EXIT_INVITE_UNKNOWN, 22, "the inviter knows no such invite")                              \
    X(PX_EXIT_INVITE_EXPIRED, 23, "the invite has expired")                                        \
    X(PX_EXIT_INVITE_USED, 24, "another node has used the invite")                                 \
    X(PX_EXIT_INVITE_BURNT, 25, "the invite was withdrawn after too many wrong attempts")          \
    X(PX_EXIT_INVITE_TOKEN, 26, "the secret of the invite is wrong")                               \
    X(PX_EXIT_INVITE_BUSY, 27, "another node is joining with the invite at this moment")           \
    X(PX_EXIT_INVITE_WITHDRAWN, 28, "the invite was withdrawn")                                    \
    X(PX_EXIT_PAIR_IMPOSTOR, 29, "the other side cannot prove that it made the invite")            \
    X(PX_EXIT_PAIR_REJECTED, 30, "the short authentication string was not confirmed")              \
    X(PX_EXIT_PAIR_HALF, 31, "pairing was interrupted half-way; join again finishes it")           \
    /* rotation */                                                                                 \
    X(PX_EXIT_UNACKED, 40, "listed peers do not know the new key yet")

enum px_exit_code {
#define X(name, value, text) name = value,
    PX_EXIT_TABLE(X)
#undef X
};

#endif
