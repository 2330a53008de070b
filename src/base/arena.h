/*
 * arena - memory that is allocated piece by piece and freed as a whole; and lists that grow.
 *
 * An arena is one private anonymous mapping. It can be shared with a single child: the child fills
 * it, and the parent finds the content at the same addresses. So a configuration is parsed in a
 * child that may crash or hang, and the master reads the finished struct without parsing again.
 * Then the master makes the mapping private again.
 */
#ifndef PREFORKD_BASE_ARENA_H
#define PREFORKD_BASE_ARENA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct arena {
    size_t room; /* bytes mapped, this struct included */
    size_t used; /* bytes taken, this struct included */
};

/* Maps `room` bytes; only touched pages cost memory. NULL with errno set. */
struct arena *arena_open(size_t room);

/* Allocates `size` zeroed bytes, aligned for any type. Never NULL: a full arena aborts the process.
 * Callers bound their input far below the room, and fill the arena in an expendable child. */
void *arena_take(struct arena *arena, size_t size);

/* Copies a text into the arena. */
char *arena_text(struct arena *arena, const char *text);
char *arena_format(struct arena *arena, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* arena_share shares the mapping with the child forked next. arena_withhold, called after that
 * fork, keeps it from all later children: a worker forked before arena_own could otherwise write to
 * data that the master is about to believe. 0 or -errno. */
int arena_share(struct arena *arena);
int arena_withhold(struct arena *arena);

/* Makes the mapping private again, at the same addresses, with room for `spare` more bytes. Later
 * writes by other processes have no effect on it. 0 or -errno. */
int arena_own(struct arena *arena, size_t spare);

/* Unmaps the unused room: nothing can be allocated any more. */
void arena_seal(struct arena *arena);

/* Maps zeroed memory that later children don't inherit. Otherwise the parent would copy each page
 * that it writes to after a fork, and each child would keep the old copy. NULL with errno set;
 * munmap(2) frees it. */
void *arena_unforked(size_t size);

/* Gives a list from malloc(), whose address is at `list`, room for so many elements of this size.
 * New ones are zero. False: out of memory, and nothing has changed. */
bool list_grow(void *list, uint32_t *room, uint32_t wanted, size_t size);

/* Unmaps the arena, this struct included. NULL is ignored. */
void arena_close(struct arena *arena);

#endif
