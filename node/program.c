/* The program `peerix`; peerix-relay has a file of its own in its place. */
#include "node/program.h"

const struct px_program px_program = {
    .name = "peerix",
    .home_variable = "PEERIX_HOME",
    .about = "Lets nix fetch store paths from other machines of yours, peer to peer.",
    .has_nix_key = true,
};
