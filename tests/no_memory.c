/* See no_memory.h. */
#include "tests/no_memory.h"

void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *old, size_t size);
void *__wrap_reallocarray(void *old, size_t count, size_t size);
char *__wrap_strdup(const char *text);
char *__wrap_strndup(const char *text, size_t max);

struct no_memory heap;

static bool fails(void)
{
    if (heap.armed == 0)
        return false;
    heap.seen++;
    return heap.lasting ? heap.seen >= heap.fail_at : heap.seen == heap.fail_at;
}

void *__wrap_malloc(size_t size)
{
    return fails() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
    return fails() ? NULL : __real_calloc(count, size);
}

void *__wrap_realloc(void *old, size_t size)
{
    return fails() ? NULL : __real_realloc(old, size);
}

void *__wrap_reallocarray(void *old, size_t count, size_t size)
{
    return fails() ? NULL : __real_reallocarray(old, count, size);
}

char *__wrap_strdup(const char *text)
{
    return fails() ? NULL : __real_strdup(text);
}

char *__wrap_strndup(const char *text, size_t max)
{
    return fails() ? NULL : __real_strndup(text, max);
}

void sweep(void (*scenario)(void), size_t least)
{
    for (int lasting = 0; lasting < 2; lasting++) {
        heap.fail_at = 0;
        do {
            heap.fail_at++;
            heap.seen = 0;
            heap.armed = 0;
            heap.lasting = lasting;
            scenario();
            CHECK_INT(heap.armed, 0);
        } while (heap.seen >= heap.fail_at);
        CHECK(heap.fail_at > least);
    }
}
