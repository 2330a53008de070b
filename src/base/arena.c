#include "arena.h"

#include <errno.h>
#include <stdalign.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static size_t round_up(size_t size, size_t unit)
{
    return (size + unit - 1) / unit * unit;
}

struct arena *arena_open(size_t room)
{
    struct arena *arena = mmap(NULL, room, PROT_READ | PROT_WRITE,
                               MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (arena == MAP_FAILED)
        return NULL;
    arena->room = room;
    arena->used = round_up(sizeof *arena, alignof(max_align_t));
    return arena;
}

void *arena_take(struct arena *arena, size_t size)
{
    size_t taken = round_up(size, alignof(max_align_t));
    if (size > arena->room || taken > arena->room - arena->used)
        abort();
    void *piece = (char *)arena + arena->used;
    arena->used += taken;
    return piece;
}

char *arena_text(struct arena *arena, const char *text)
{
    size_t size = strlen(text) + 1;
    return memcpy(arena_take(arena, size), text, size);
}

char *arena_format(struct arena *arena, const char *format, ...)
{
    char *made;
    va_list args;
    va_start(args, format);
    int length = vasprintf(&made, format, args);
    va_end(args);
    if (length < 0)
        abort();
    char *text = arena_text(arena, made);
    free(made);
    return text;
}

/* Replaces the mapping by one of another kind, at the same address, with a copy of its content. 0
 * or -errno. */
static int replace(struct arena *arena, size_t used, size_t room, int sharing)
{
    void *copy =
        mmap(NULL, room, PROT_READ | PROT_WRITE, sharing | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (copy == MAP_FAILED)
        return -errno;
    memcpy(copy, arena, used);
    if (mremap(copy, room, room, MREMAP_MAYMOVE | MREMAP_FIXED, arena) != MAP_FAILED)
        return 0;
    int error = -errno;
    munmap(copy, room);
    return error;
}

int arena_share(struct arena *arena)
{
    return replace(arena, arena->used, arena->room, MAP_SHARED);
}

int arena_withhold(struct arena *arena)
{
    return madvise(arena, arena->room, MADV_DONTFORK) == 0 ? 0 : -errno;
}

int arena_own(struct arena *arena, size_t spare)
{
    size_t shared = arena->room, used = arena->used;
    size_t kept = round_up(used + spare, (size_t)sysconf(_SC_PAGESIZE));
    if (used > shared || kept > shared)
        return -EINVAL;
    int error = replace(arena, used, kept, MAP_PRIVATE);
    if (error)
        return error;
    munmap((char *)arena + kept, shared - kept);
    arena->room = kept;
    return 0;
}

void arena_seal(struct arena *arena)
{
    size_t kept = round_up(arena->used, (size_t)sysconf(_SC_PAGESIZE));
    if (kept >= arena->room)
        return;
    munmap((char *)arena + kept, arena->room - kept);
    arena->room = kept;
}

void *arena_unforked(size_t size)
{
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED)
        return NULL;
    if (madvise(memory, size, MADV_DONTFORK) == 0)
        return memory;
    munmap(memory, size);
    return NULL;
}

bool list_grow(void *list, uint32_t *room, uint32_t wanted, size_t size)
{
    char *at;
    uint32_t next = *room ? *room : 16;
    if (wanted <= *room)
        return true;
    while (next < wanted)
        next *= 2;
    memcpy(&at, list, sizeof at);
    at = reallocarray(at, next, size);
    if (!at)
        return false;
    memset(at + *room * size, 0, (next - *room) * size);
    memcpy(list, &at, sizeof at);
    *room = next;
    return true;
}

void arena_close(struct arena *arena)
{
    if (arena)
        munmap(arena, arena->room);
}
