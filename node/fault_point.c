/* See fault_point.h. Built with PX_FAULTS only. */
#include "node/fault_point.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void px_fault_point(const char *name)
{
    const char *wanted = getenv("PEERIX_TEST_KILL_AT");
    if (wanted != NULL && strcmp(wanted, name) == 0)
        (void)kill(getpid(), SIGKILL);
}
