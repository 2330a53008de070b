/*
 * state - what a master hands to the binary that replaces it, as text. Pure: text and structs
 * alone.
 *
 * The text is a line a thing: its kind, then KEY=VALUE, and a last line without which it is not
 * whole. Its first line has the version of the form. A reader passes over kinds and keys that it
 * does not know, takes what is missing for its default, and refuses what is out of range: so either
 * side may be the newer one.
 * Knows not: what anything in it means.
 * Called by: handoff, upgrade, spawn, pool, control, in the master, and in the -t of the binary
 *            that is to replace it.
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

/* Each field once, for its struct here and for its row in state.c: NUMBER(struct, name, least,
 * most, whether it must be there), FD(struct, name, least, the same), TEXT(struct, name, size).
 * Numbers are all of one type. Descriptors are those of the process, which stays the same; -1:
 * none. */
#define MUST true
#define MAY  false

#define STATE_DAEMON_FIELDS(OF, NUMBER, FD, TEXT)                                                  \
    TEXT(OF, version, STATE_NAME) /* of the binary that wrote it */                                \
    NUMBER(OF, generation, 0, UINT_MAX, MUST)                                                      \
    NUMBER(OF, started, 0, LLONG_MAX, MAY) /* when the first master was */                         \
    NUMBER(OF, started_at, 0, LLONG_MAX, MAY)                                                      \
    NUMBER(OF, reloads, 0, UINT_MAX, MAY)                                                          \
    NUMBER(OF, reloads_refused, 0, UINT_MAX, MAY)                                                  \
    NUMBER(OF, upgrades, 0, UINT_MAX, MAY)                                                         \
    NUMBER(OF, reloaded, 0, LLONG_MAX, MAY)                                                        \
    TEXT(OF, refusal, STATE_TEXT)                                                                  \
    FD(OF, pidfile_fd, -1, MUST)                                                                   \
    NUMBER(OF, nofile, 0, LLONG_MAX, MAY) /* soft limit that the first master was started with */  \
    NUMBER(OF, log_level, 0, 7, MUST)                                                              \
    NUMBER(OF, log_facility, 0, 255, MUST)                                                         \
    NUMBER(OF, log_json, 0, 1, MAY)                                                                \
    TEXT(OF, log_ident, STATE_NAME)

/* A socket that systemd passed. */
#define STATE_SOCKET_FIELDS(OF, NUMBER, FD, TEXT)                                                  \
    FD(OF, fd, 3, MUST)                                                                            \
    TEXT(OF, name, STATE_TEXT)

#define STATE_LISTENER_FIELDS(OF, NUMBER, FD, TEXT)                                                \
    FD(OF, fd, 3, MUST)                                                                            \
    NUMBER(OF, origin, 0, 1, MUST)                /* enum listener_origin */                       \
    NUMBER(OF, port, 0, UINT16_MAX, MAY)          /* that was asked for, 0 for any */              \
    NUMBER(OF, any_family, 0, 1, MAY)             /* *:PORT */                                     \
    NUMBER(OF, lent, 0, 1, MAY)                   /* to programs */                                \
    NUMBER(OF, device, LLONG_MIN, LLONG_MAX, MAY) /* of the path that we made; 0: none */          \
    NUMBER(OF, inode, LLONG_MIN, LLONG_MAX, MAY)                                                   \
    TEXT(OF, name, STATE_TEXT) /* of one that was passed */

#define STATE_POOL_FIELDS(OF, NUMBER, FD, TEXT)                                                    \
    TEXT(OF, name, STATE_NAME)                                                                     \
    TEXT(OF, handler, STATE_NAME)                                                                  \
    NUMBER(OF, place, 0, INT_MAX, MUST) /* by which workers and the others below name it */        \
    NUMBER(OF, generation, 0, UINT_MAX, MUST)                                                      \
    NUMBER(OF, workers, 0, INT_MAX, MUST) /* that it should have */                                \
    NUMBER(OF, graceful_timeout, 0, INT_MAX, MUST)                                                 \
    NUMBER(OF, request_timeout, 0, INT_MAX, MAY)                                                   \
    NUMBER(OF, model, 0, INT_MAX, MAY)                                                             \
    NUMBER(OF, seats, 0, INT_MAX, MAY) /* of a worker; 0: one */                                   \
    NUMBER(OF, drained, 0, 1, MAY)                                                                 \
    NUMBER(OF, removed, 0, 1, MAY)                                                                 \
    FD(OF, limits_fd, -1, MAY) /* per source */                                                    \
    NUMBER(OF, limits_layout, 0, LLONG_MAX, MAY)

/* What a pool has counted in slots that it gave back; or in those of one generation. */
#define STATE_COUNTS_FIELDS(OF, NUMBER, FD, TEXT)                                                  \
    NUMBER(OF, place, 0, INT_MAX, MUST)                                                            \
    NUMBER(OF, generation, 0, UINT_MAX, MUST) /* 0: it is of the slots that were given back */     \
    NUMBER(OF, retirements, 0, LLONG_MAX,                                                          \
           MAY) /* this and the next three: of workers that ended */                               \
    NUMBER(OF, deaths, 0, LLONG_MAX, MAY)                                                          \
    NUMBER(OF, cpu_user, 0, LLONG_MAX, MAY)                                                        \
    NUMBER(OF, cpu_system, 0, LLONG_MAX, MAY)                                                      \
    NUMBER(OF, accepted, 0, LLONG_MAX, MAY)                                                        \
    NUMBER(OF, served, 0, LLONG_MAX, MAY)                                                          \
    NUMBER(OF, errors, 0, LLONG_MAX, MAY)                                                          \
    NUMBER(OF, bytes_in, 0, LLONG_MAX, MAY)                                                        \
    NUMBER(OF, forks, 0, LLONG_MAX, MAY) /* this and the next two: of templates */                 \
    NUMBER(OF, cold_starts, 0, LLONG_MAX, MAY)                                                     \
    NUMBER(OF, restarts, 0, LLONG_MAX, MAY)                                                        \
    NUMBER(OF, bytes_out, 0, LLONG_MAX, MAY)                                                       \
    TEXT(OF, refused, STATE_NUMBERS)                                                               \
    TEXT(OF, service, STATE_NUMBERS)                                                               \
    TEXT(OF, wait, STATE_NUMBERS)

/* A scoreboard. A binary with another layout does without: what is counted in it by then is in the
 * counts of its generation. */
#define STATE_BOARD_FIELDS(OF, NUMBER, FD, TEXT)                                                   \
    NUMBER(OF, place, 0, INT_MAX, MUST)                                                            \
    NUMBER(OF, generation, 0, UINT_MAX, MUST)                                                      \
    FD(OF, fd, -1, MUST)                                                                           \
    FD(OF, wakeup_fd, -1, MUST)                                                                    \
    NUMBER(OF, layout, 0, LLONG_MAX, MUST)

#define STATE_WORKER_FIELDS(OF, NUMBER, FD, TEXT)                                                  \
    NUMBER(OF, seat, 0, INT_MAX, MUST) /* the first of its own in its pool */                      \
    NUMBER(OF, seats, 0, INT_MAX, MAY) /* how many; 0: one */                                      \
    NUMBER(OF, place, 0, INT_MAX, MUST)                                                            \
    NUMBER(OF, pid, 0, INT_MAX, MUST) /* 0: the seat is taken, and no process has it */            \
    NUMBER(OF, generation, 0, UINT_MAX, MUST)                                                      \
    NUMBER(OF, role, 0, 2, MUST)                                                                   \
    NUMBER(OF, born, 0, LLONG_MAX, MAY)                                                            \
    NUMBER(OF, ready_at, 0, LLONG_MAX, MAY)                                                        \
    NUMBER(OF, was_ready, 0, 1, MAY)                                                               \
    NUMBER(OF, slow_told, 0, LLONG_MAX, MAY)        /* when it began: the logged slow request */   \
    NUMBER(OF, accepted, LLONG_MIN, LLONG_MAX, MAY) /* of its slot, at its start */                \
    NUMBER(OF, served, LLONG_MIN, LLONG_MAX, MAY)                                                  \
    NUMBER(OF, cause, 0, INT_MAX, MAY)                                                             \
    NUMBER(OF, next_signal, 0, 64, MAY)                                                            \
    NUMBER(OF, deadline, 0, LLONG_MAX, MUST)                                                       \
    FD(OF, error_fd, -1, MUST)          /* its standard error's reading end */                     \
    NUMBER(OF, stop_signal, 0, 64, MAY) /* of one that becomes a program, or 0; as are these: */   \
    NUMBER(OF, program, 0, 1, MAY)      /* it has become one */                                    \
    FD(OF, notify_fd, -1, MAY)                                                                     \
    NUMBER(OF, watchdog, 0, LLONG_MAX, MAY)                                                        \
    NUMBER(OF, alive_at, 0, LLONG_MAX, MAY)                                                        \
    NUMBER(OF, uid, 0, UINT_MAX, MUST)                                                             \
    NUMBER(OF, core, LLONG_MIN, LLONG_MAX, MUST)                                                   \
    TEXT(OF, last, STATE_TEXT) /* line of its standard error */

/* A process group that has to end: see stop. */
#define STATE_GROUP_FIELDS(OF, NUMBER, FD, TEXT)                                                   \
    NUMBER(OF, place, 0, INT_MAX, MUST)                                                            \
    NUMBER(OF, session, 2, INT_MAX, MUST)                                                          \
    NUMBER(OF, number, 2, INT_MAX, MUST)                                                           \
    NUMBER(OF, since, 0, LLONG_MAX, MUST)                                                          \
    NUMBER(OF, deadline, 0, LLONG_MAX, MUST)

/* An entry of the ledger. */
#define STATE_DEATH_FIELDS(OF, NUMBER, FD, TEXT)                                                   \
    NUMBER(OF, number, 1, LLONG_MAX, MUST)                                                         \
    NUMBER(OF, when, 0, LLONG_MAX, MAY)                                                            \
    NUMBER(OF, pid, 0, INT_MAX, MAY)                                                               \
    NUMBER(OF, generation, 0, UINT_MAX, MAY)                                                       \
    NUMBER(OF, status, INT_MIN, INT_MAX, MAY)                                                      \
    NUMBER(OF, cause, 0, INT_MAX, MAY)                                                             \
    NUMBER(OF, age, 0, LLONG_MAX, MAY)                                                             \
    NUMBER(OF, served, 0, LLONG_MAX, MAY)                                                          \
    NUMBER(OF, cpu_user, 0, LLONG_MAX, MAY)                                                        \
    NUMBER(OF, cpu_system, 0, LLONG_MAX, MAY)                                                      \
    NUMBER(OF, memory, 0, LLONG_MAX, MAY)                                                          \
    NUMBER(OF, was_ready, 0, 1, MAY)                                                               \
    NUMBER(OF, out_of_memory, 0, 1, MAY)                                                           \
    NUMBER(OF, in_hand, 0, UINT_MAX, MAY)                                                          \
    TEXT(OF, pool, STATE_NAME)                                                                     \
    TEXT(OF, why, STATE_TEXT)                                                                      \
    TEXT(OF, core, STATE_TEXT)                                                                     \
    TEXT(OF, last, STATE_TEXT)                                                                     \
    TEXT(OF, peer, STATE_NAME) /* its bytes, in hexadecimal */

/* The standard error of a worker that has ended, to which something of it still writes. */
#define STATE_DETACHED_FIELDS(OF, NUMBER, FD, TEXT)                                                \
    FD(OF, fd, 3, MUST)                                                                            \
    NUMBER(OF, pid, 0, INT_MAX, MUST)                                                              \
    TEXT(OF, pool, STATE_NAME)

/* A caller that waits at the control socket for the upgrade's result. */
#define STATE_CALLER_FIELDS(OF, NUMBER, FD, TEXT)                                                  \
    FD(OF, fd, 3, MUST)                                                                            \
    NUMBER(OF, pid, 0, INT_MAX, MAY)                                                               \
    NUMBER(OF, uid, 0, UINT_MAX, MAY)                                                              \
    NUMBER(OF, json, 0, 1, MAY)

#define STATE_MEMBER(OF, name, ...) long long name;
#define STATE_CHARS(OF, name, size) char name[size];
#define STATE_STRUCT(name, FIELDS)                                                                 \
    struct name {                                                                                  \
        FIELDS(name, STATE_MEMBER, STATE_MEMBER, STATE_CHARS)                                      \
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

/* Another one of a kind, zeroed, behind the last. It holds until the next one of its kind is added.
 * If there is no memory for it, what is written there is lost, and the state is `cut`. */
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
