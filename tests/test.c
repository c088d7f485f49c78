/* The runner behind test.h. */
#include "tests/test.h"

#include <setjmp.h>
#include <stdarg.h>

static struct px_test_case *first_case;
static jmp_buf test_end;
static char test_verdict[512]; /* "" while all is well */
static bool test_skipped;

void px_test_register(struct px_test_case *t)
{
    struct px_test_case **at = &first_case;
    while (*at != NULL)
        at = &(*at)->next;
    *at = t;
}

void px_test_fail(const char *file, int line, const char *fmt, ...)
{
    char what[400];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(what, sizeof(what), fmt, ap);
    va_end(ap);
    snprintf(test_verdict, sizeof(test_verdict), "%s:%d: %s", file, line, what);
    longjmp(test_end, 1);
}

void px_test_skip(const char *reason)
{
    snprintf(test_verdict, sizeof(test_verdict), "%s", reason);
    test_skipped = true;
    longjmp(test_end, 1);
}

static bool wanted(const struct px_test_case *t, int argc, char **argv)
{
    for (int i = 1; i < argc; i++)
        if (strcmp(argv[i], t->name) == 0)
            return true;
    return argc < 2;
}

int main(int argc, char **argv)
{
    volatile int ran = 0, failed = 0; /* they live across longjmp */
    setvbuf(stdout, NULL, _IOLBF, 0);
    for (struct px_test_case *volatile t = first_case; t != NULL; t = t->next) {
        if (!wanted(t, argc, argv))
            continue;
        ran++;
        test_verdict[0] = '\0';
        test_skipped = false;
        if (setjmp(test_end) == 0)
            t->run();
        if (test_skipped) {
            printf("skip - %s (%s)\n", t->name, test_verdict);
        } else if (test_verdict[0] != '\0') {
            failed++;
            printf("not ok - %s (%s)\n", t->name, test_verdict);
        } else {
            printf("ok - %s\n", t->name);
        }
    }
    if (ran == 0) {
        printf("not ok - no test ran\n");
        return 1;
    }
    return failed != 0;
}

uint64_t px_test_rng_next(struct px_test_rng *r)
{
    uint64_t z = (r->state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static void rng_fill(void *ctx, void *buf, size_t len)
{
    uint8_t *at = buf;
    for (size_t i = 0; i < len; i++)
        at[i] = (uint8_t)px_test_rng_next(ctx);
}

struct px_rng px_test_rng(struct px_test_rng *r, uint64_t seed)
{
    r->state = seed;
    return (struct px_rng){rng_fill, r};
}
