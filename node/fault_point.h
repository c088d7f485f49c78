/* Named places where a test may let the process die, as by SIGKILL. Only builds with PX_FAULTS
 * (which PX_SANITIZE sets) have them; elsewhere a fault point is nothing at all. */
#ifndef PX_NODE_FAULT_POINT_H
#define PX_NODE_FAULT_POINT_H

#ifdef PX_FAULTS
/* Kills the process when $PEERIX_TEST_KILL_AT is this name. */
void px_fault_point(const char *name);
#else
#define px_fault_point(name) ((void)0)
#endif

#endif
