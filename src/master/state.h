/*
 * state - what a master hands to the binary that replaces it, as text. Pure: text and structs alone.
 *
 * The text is a line a thing: its kind, then KEY=VALUE, and a last line without which it is not whole.
 * Its first line has the version of the form. A reader passes over kinds and keys that it does not know,
 * takes what is missing for its default, and refuses what is out of range: so either side may be the
 * newer one.
 * Knows not: what anything in it means.
 * Called by: handoff, upgrade, spawn, pool, control, in the master, and in the -t of the binary that is
 *            to replace it.
 */
#ifndef PREFORKD_MASTER_STATE_H
#define PREFORKD_MASTER_STATE_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum {
    STATE_VERSION = 2,
    STATE_NAME = 64,
    STATE_TEXT = 256,
    STATE_NUMBERS = 1024, /* a list of numbers, as text */
};

/* Each field once, for its struct here and for its row in state.c: NUMBER(name, least, most, whether it
 * must be there), FD(name, least, the same), TEXT(name, size). Numbers are all of one type. Descriptors
 * are those of the process, which stays the same; -1: none. */
#define MUST true
#define MAY  false

#define STATE_DAEMON_FIELDS(NUMBER, FD, TEXT)                                                      \
    TEXT(version, STATE_NAME) /* of the binary that wrote it */                                    \
    NUMBER(generation, 0, UINT_MAX, MUST)                                                          \
    NUMBER(started, 0, LLONG_MAX, MAY) /* when the first master was */                             \
    NUMBER(started_at, 0, LLONG_MAX, MAY)                                                          \
    NUMBER(reloads, 0, UINT_MAX, MAY)                                                              \
    NUMBER(reloads_refused, 0, UINT_MAX, MAY)                                                      \
    NUMBER(upgrades, 0, UINT_MAX, MAY)                                                             \
    NUMBER(reloaded, 0, LLONG_MAX, MAY)                                                            \
    TEXT(refusal, STATE_TEXT)                                                                      \
    FD(pidfile_fd, -1, MUST)                                                                       \
    NUMBER(nofile, 0, LLONG_MAX, MAY) /* soft limit that the first master was started with */      \
    NUMBER(log_level, 0, 7, MUST)                                                                  \
    NUMBER(log_facility, 0, 255, MUST)                                                             \
    TEXT(log_ident, STATE_NAME)

/* A socket that systemd passed. */
#define STATE_SOCKET_FIELDS(NUMBER, FD, TEXT)                                                      \
    FD(fd, 3, MUST)                                                                                \
    TEXT(name, STATE_TEXT)

#define STATE_LISTENER_FIELDS(NUMBER, FD, TEXT)                                                    \
    FD(fd, 3, MUST)                                                                                \
    NUMBER(origin, 0, 1, MUST)                /* enum listener_origin */                           \
    NUMBER(port, 0, UINT16_MAX, MAY)          /* that was asked for, 0 for any */                  \
    NUMBER(any_family, 0, 1, MAY)             /* *:PORT */                                         \
    NUMBER(lent, 0, 1, MAY)                   /* to programs */                                    \
    NUMBER(device, LLONG_MIN, LLONG_MAX, MAY) /* of the path that we made; 0: none */              \
    NUMBER(inode, LLONG_MIN, LLONG_MAX, MAY)                                                       \
    TEXT(name, STATE_TEXT) /* of one that was passed */

#define STATE_POOL_FIELDS(NUMBER, FD, TEXT)                                                        \
    TEXT(name, STATE_NAME)                                                                         \
    TEXT(handler, STATE_NAME)                                                                      \
    NUMBER(place, 0, INT_MAX, MUST) /* by which workers and the others below name it */            \
    NUMBER(generation, 0, UINT_MAX, MUST)                                                          \
    NUMBER(workers, 0, INT_MAX, MUST) /* that it should have */                                    \
    NUMBER(graceful_timeout, 0, INT_MAX, MUST)                                                     \
    NUMBER(request_timeout, 0, INT_MAX, MAY)                                                       \
    NUMBER(drained, 0, 1, MAY)                                                                     \
    NUMBER(removed, 0, 1, MAY)                                                                     \
    FD(limits_fd, -1, MAY) /* per source */                                                        \
    NUMBER(limits_layout, 0, LLONG_MAX, MAY)

/* What a pool has counted in slots that it gave back; or in those of one generation. */
#define STATE_COUNTS_FIELDS(NUMBER, FD, TEXT)                                                      \
    NUMBER(place, 0, INT_MAX, MUST)                                                                \
    NUMBER(generation, 0, UINT_MAX, MUST)  /* 0: it is of the slots that were given back */        \
    NUMBER(retirements, 0, LLONG_MAX, MAY) /* this and the next three: of workers that ended */    \
    NUMBER(deaths, 0, LLONG_MAX, MAY)                                                              \
    NUMBER(cpu_user, 0, LLONG_MAX, MAY)                                                            \
    NUMBER(cpu_system, 0, LLONG_MAX, MAY)                                                          \
    NUMBER(accepted, 0, LLONG_MAX, MAY)                                                            \
    NUMBER(served, 0, LLONG_MAX, MAY)                                                              \
    NUMBER(errors, 0, LLONG_MAX, MAY)                                                              \
    NUMBER(bytes_in, 0, LLONG_MAX, MAY)                                                            \
    NUMBER(bytes_out, 0, LLONG_MAX, MAY)                                                           \
    TEXT(refused, STATE_NUMBERS)                                                                   \
    TEXT(service, STATE_NUMBERS)                                                                   \
    TEXT(wait, STATE_NUMBERS)

/* A scoreboard. A binary with another layout does without: what is counted in it by then is in the
 * counts of its generation. */
#define STATE_BOARD_FIELDS(NUMBER, FD, TEXT)                                                       \
    NUMBER(place, 0, INT_MAX, MUST)                                                                \
    NUMBER(generation, 0, UINT_MAX, MUST)                                                          \
    FD(fd, -1, MUST)                                                                               \
    FD(wakeup_fd, -1, MUST)                                                                        \
    NUMBER(layout, 0, LLONG_MAX, MUST)

#define STATE_WORKER_FIELDS(NUMBER, FD, TEXT)                                                      \
    NUMBER(seat, 0, INT_MAX, MUST) /* its own in its pool */                                       \
    NUMBER(place, 0, INT_MAX, MUST)                                                                \
    NUMBER(pid, 0, INT_MAX, MUST) /* 0: the seat is taken, and no process has it */                \
    NUMBER(generation, 0, UINT_MAX, MUST)                                                          \
    NUMBER(role, 0, 2, MUST)                                                                       \
    NUMBER(born, 0, LLONG_MAX, MAY)                                                                \
    NUMBER(ready_at, 0, LLONG_MAX, MAY)                                                            \
    NUMBER(was_ready, 0, 1, MAY)                                                                   \
    NUMBER(slow_told, 0, LLONG_MAX, MAY) /* when the request began that was logged as slow */      \
    NUMBER(accepted, LLONG_MIN, LLONG_MAX, MAY) /* of its slot, at its start */                    \
    NUMBER(served, LLONG_MIN, LLONG_MAX, MAY)                                                      \
    NUMBER(cause, 0, INT_MAX, MAY)                                                                 \
    NUMBER(next_signal, 0, 64, MAY)                                                                \
    NUMBER(deadline, 0, LLONG_MAX, MUST)                                                           \
    FD(error_fd, -1, MUST)          /* its standard error's reading end */                         \
    NUMBER(stop_signal, 0, 64, MAY) /* of one that becomes a program, or 0; as are these: */       \
    NUMBER(program, 0, 1, MAY)      /* it has become one */                                        \
    FD(notify_fd, -1, MAY)                                                                         \
    NUMBER(watchdog, 0, LLONG_MAX, MAY)                                                            \
    NUMBER(alive_at, 0, LLONG_MAX, MAY)                                                            \
    NUMBER(uid, 0, UINT_MAX, MUST)                                                                 \
    NUMBER(core, LLONG_MIN, LLONG_MAX, MUST)                                                       \
    TEXT(last, STATE_TEXT) /* line of its standard error */

/* A process group that has to end: see process_groups. */
#define STATE_GROUP_FIELDS(NUMBER, FD, TEXT)                                                       \
    NUMBER(place, 0, INT_MAX, MUST)                                                                \
    NUMBER(session, 2, INT_MAX, MUST)                                                              \
    NUMBER(number, 2, INT_MAX, MUST)                                                               \
    NUMBER(since, 0, LLONG_MAX, MUST)                                                              \
    NUMBER(deadline, 0, LLONG_MAX, MUST)

/* An entry of the ledger. */
#define STATE_DEATH_FIELDS(NUMBER, FD, TEXT)                                                       \
    NUMBER(number, 1, LLONG_MAX, MUST)                                                             \
    NUMBER(when, 0, LLONG_MAX, MAY)                                                                \
    NUMBER(pid, 0, INT_MAX, MAY)                                                                   \
    NUMBER(generation, 0, UINT_MAX, MAY)                                                           \
    NUMBER(status, INT_MIN, INT_MAX, MAY)                                                          \
    NUMBER(cause, 0, INT_MAX, MAY)                                                                 \
    NUMBER(age, 0, LLONG_MAX, MAY)                                                                 \
    NUMBER(served, 0, LLONG_MAX, MAY)                                                              \
    NUMBER(cpu_user, 0, LLONG_MAX, MAY)                                                            \
    NUMBER(cpu_system, 0, LLONG_MAX, MAY)                                                          \
    NUMBER(memory, 0, LLONG_MAX, MAY)                                                              \
    NUMBER(was_ready, 0, 1, MAY)                                                                   \
    NUMBER(out_of_memory, 0, 1, MAY)                                                               \
    TEXT(pool, STATE_NAME)                                                                         \
    TEXT(why, STATE_TEXT)                                                                          \
    TEXT(core, STATE_TEXT)                                                                         \
    TEXT(last, STATE_TEXT)                                                                         \
    TEXT(peer, STATE_NAME) /* its bytes, in hexadecimal */

/* The standard error of a worker that has ended, to which something of it still writes. */
#define STATE_DETACHED_FIELDS(NUMBER, FD, TEXT)                                                    \
    FD(fd, 3, MUST)                                                                                \
    NUMBER(pid, 0, INT_MAX, MUST)                                                                  \
    TEXT(pool, STATE_NAME)

/* Who waits at the control socket for the upgrade's result. */
#define STATE_CALLER_FIELDS(NUMBER, FD, TEXT)                                                      \
    FD(fd, 3, MUST)                                                                                \
    NUMBER(pid, 0, INT_MAX, MAY)                                                                   \
    NUMBER(uid, 0, UINT_MAX, MAY)                                                                  \
    NUMBER(json, 0, 1, MAY)

#define STATE_MEMBER(name, ...) long long name;
#define STATE_CHARS(name, size) char name[size];
#define STATE_STRUCT(name, FIELDS)                                                                 \
    struct name {                                                                                  \
        FIELDS(STATE_MEMBER, STATE_MEMBER, STATE_CHARS)                                            \
    }
STATE_STRUCT(state_daemon, STATE_DAEMON_FIELDS);
STATE_STRUCT(state_socket, STATE_SOCKET_FIELDS);
STATE_STRUCT(state_listener, STATE_LISTENER_FIELDS);
STATE_STRUCT(state_pool, STATE_POOL_FIELDS);
STATE_STRUCT(state_counts, STATE_COUNTS_FIELDS);
STATE_STRUCT(state_board, STATE_BOARD_FIELDS);
STATE_STRUCT(state_worker, STATE_WORKER_FIELDS);
STATE_STRUCT(state_group, STATE_GROUP_FIELDS);
STATE_STRUCT(state_death, STATE_DEATH_FIELDS);
STATE_STRUCT(state_detached, STATE_DETACHED_FIELDS);
STATE_STRUCT(state_caller, STATE_CALLER_FIELDS);

enum state_kind {
    STATE_DAEMON, /* exactly one */
    STATE_SOCKET,
    STATE_LISTENER,
    STATE_POOL,
    STATE_WORKER,
    STATE_CONTROL, /* a state_listener: the control socket; one or none */
    STATE_CALLER,
    STATE_COUNTS,
    STATE_BOARD,
    STATE_GROUP,
    STATE_DEATH,
    STATE_DETACHED,
    STATE_KINDS,
};

struct state_list {
    void *at;
    int count, room;
};

struct state {
    struct state_list lists[STATE_KINDS];
    bool cut; /* something was not added, for want of memory */
};

/* Another one of a kind, zeroed, behind the last. It holds until the next one of its kind is added. If
 * there is no memory for it, what is written there is lost, and the state is `cut`. */
void *state_add(struct state *state, enum state_kind kind);

/* The one at an index, in the order of their adding; NULL behind the last. */
void *state_at(const struct state *state, enum state_kind kind, int index);

/* The descriptors that it names, one after another; -1 behind the last. */
struct state_cursor {
    int kind, index, field; /* all 0 at first */
};
int state_next_fd(const struct state *state, struct state_cursor *cursor);

void state_write(const struct state *state, FILE *out);

/* Fills an empty one. 0; or -1 with a sentence in `why`. */
int state_read(struct state *state, const char *text, size_t length, char *why, size_t size);

/* Empties it. */
void state_free(struct state *state);

#endif
