/*
 * arena - memory that is taken piece by piece and given back as a whole.
 *
 * One anonymous mapping, of this process alone, unless it is shared with one child: this fills it,
 * and its parent finds the content at the same addresses. So the parsing of a configuration can
 * crash or hang in a child, and the master reads the finished struct without a second reading. Then
 * the master makes the mapping its own again.
 */
#ifndef PREFORKD_BASE_ARENA_H
#define PREFORKD_BASE_ARENA_H

#include <stddef.h>

struct arena {
    size_t room; /* bytes mapped, this struct included */
    size_t used; /* bytes taken, this struct included */
};

/* Maps `room` bytes, of which only those touched cost memory. NULL with errno set. */
struct arena *arena_open(size_t room);

/* Takes `size` zeroed bytes, aligned for any type. Never NULL: a full arena aborts the process (its
 * users bound their input far below the room, and fill it in a child that may be lost). */
void *arena_take(struct arena *arena, size_t size);

/* Takes a copy of a text. */
char *arena_text(struct arena *arena, const char *text);
char *arena_format(struct arena *arena, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Shares the mapping with the child that is forked next, and after arena_withhold with no other:
 * a worker that is forked meanwhile could else write into what the master is about to believe. 0 or
 * -errno. */
int arena_share(struct arena *arena);
int arena_withhold(struct arena *arena);

/* Makes the mapping this process's alone again, at the same addresses, with room for `spare` bytes
 * more: what other processes write to it after that is not seen. 0 or -errno. */
int arena_own(struct arena *arena, size_t spare);

/* Gives back the room beyond what is used: nothing can be taken any more. */
void arena_seal(struct arena *arena);

/* Maps zeroed memory that children forked later don't get: each page that a parent goes on writing
 * would else be copied, once by the parent after each fork, and be kept by each child as it was.
 * NULL with errno set; munmap(2) gives it back. */
void *arena_unforked(size_t size);

/* Unmaps it, itself included. NULL is let pass. */
void arena_close(struct arena *arena);

#endif
