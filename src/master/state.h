/*
 * state - what a master hands to the binary that replaces it, as text. Pure: only text and structs.
 *
 * The first line has the version of the format, the last line marks a complete text. Each line in
 * between is a record: its kind, then KEY=VALUE pairs. A reader skips kinds and keys that it does
 * not know, uses the default of an optional field that is missing, and refuses a number out of
 * range. So either side may be the newer one.
 * Knows not: what a record means.
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
    STATE_NUMBERS = 1024, /* a list of numbers as text */
};

/* Each list of fields makes a struct here and a table in state.c: NUMBER(struct, name, least, most,
 * required), FD(struct, name, least, required), TEXT(struct, name, size). Numbers have one type.
 * Descriptors keep their numbers, because the process stays the same; -1: none. */
#define MUST true
#define MAY  false

#define STATE_DAEMON_FIELDS(OF, NUMBER, FD, TEXT)                                                  \
    TEXT(OF, version, STATE_NAME) /* of the old binary */                                          \
    NUMBER(OF, generation, 0, UINT_MAX, MUST)                                                      \
    NUMBER(OF, started, 0, LLONG_MAX, MAY) /* when the first master started */                     \
    NUMBER(OF, started_at, 0, LLONG_MAX, MAY)                                                      \
    NUMBER(OF, reloads, 0, UINT_MAX, MAY)                                                          \
    NUMBER(OF, reloads_refused, 0, UINT_MAX, MAY)                                                  \
    NUMBER(OF, upgrades, 0, UINT_MAX, MAY)                                                         \
    NUMBER(OF, reloaded, 0, LLONG_MAX, MAY)                                                        \
    TEXT(OF, refusal, STATE_TEXT)                                                                  \
    FD(OF, pidfile_fd, -1, MUST)                                                                   \
    NUMBER(OF, nofile, 0, LLONG_MAX, MAY) /* soft limit with which the first master was started */ \
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
    NUMBER(OF, port, 0, UINT16_MAX, MAY)          /* as configured; 0: any */                      \
    NUMBER(OF, any_family, 0, 1, MAY)             /* *:PORT */                                     \
    NUMBER(OF, lent, 0, 1, MAY)                   /* to programs */                                \
    NUMBER(OF, device, LLONG_MIN, LLONG_MAX, MAY) /* of the path that we have made; 0: none */     \
    NUMBER(OF, inode, LLONG_MIN, LLONG_MAX, MAY)                                                   \
    TEXT(OF, pool, STATE_NAME) /* that listens on it */                                            \
    TEXT(OF, name, STATE_TEXT) /* of a passed socket */

#define STATE_POOL_FIELDS(OF, NUMBER, FD, TEXT)                                                    \
    TEXT(OF, name, STATE_NAME)                                                                     \
    TEXT(OF, handler, STATE_NAME)                                                                  \
    NUMBER(OF, place, 0, INT_MAX, MUST) /* by which the records below refer to it */               \
    NUMBER(OF, generation, 0, UINT_MAX, MUST)                                                      \
    NUMBER(OF, workers, 0, INT_MAX, MUST) /* its target */                                         \
    NUMBER(OF, graceful_timeout, 0, INT_MAX, MUST)                                                 \
    NUMBER(OF, request_timeout, 0, INT_MAX, MAY)                                                   \
    NUMBER(OF, model, 0, INT_MAX, MAY)                                                             \
    NUMBER(OF, seats, 0, INT_MAX, MAY) /* per worker; 0: one */                                    \
    NUMBER(OF, drained, 0, 1, MAY)                                                                 \
    NUMBER(OF, removed, 0, 1, MAY)                                                                 \
    FD(OF, limits_fd, -1, MAY) /* per source */                                                    \
    NUMBER(OF, limits_layout, 0, LLONG_MAX, MAY)

/* What a pool has counted in slots that it gave back, or in those of one generation. */
#define STATE_COUNTS_FIELDS(OF, NUMBER, FD, TEXT)                                                  \
    NUMBER(OF, place, 0, INT_MAX, MUST)                                                            \
    NUMBER(OF, generation, 0, UINT_MAX, MUST) /* 0: slots that were given back */                  \
    NUMBER(OF, retirements, 0, LLONG_MAX,                                                          \
           MAY) /* this and the next three: of workers that have ended */                          \
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

/* A scoreboard. A binary with another layout can't use it, and takes the counts of its generation
 * instead. */
#define STATE_BOARD_FIELDS(OF, NUMBER, FD, TEXT)                                                   \
    NUMBER(OF, place, 0, INT_MAX, MUST)                                                            \
    NUMBER(OF, generation, 0, UINT_MAX, MUST)                                                      \
    FD(OF, fd, -1, MUST)                                                                           \
    FD(OF, wakeup_fd, -1, MUST)                                                                    \
    NUMBER(OF, layout, 0, LLONG_MAX, MUST)

#define STATE_WORKER_FIELDS(OF, NUMBER, FD, TEXT)                                                  \
    NUMBER(OF, seat, 0, INT_MAX, MUST) /* its first, in its pool */                                \
    NUMBER(OF, seats, 0, INT_MAX, MAY) /* count; 0: one */                                         \
    NUMBER(OF, request_timeout, 0, INT_MAX, MAY)                                                   \
    NUMBER(OF, place, 0, INT_MAX, MUST)                                                            \
    NUMBER(OF, pid, 0, INT_MAX, MUST) /* 0: the seats are taken, but no process has them */        \
    NUMBER(OF, generation, 0, UINT_MAX, MUST)                                                      \
    NUMBER(OF, role, 0, 2, MUST)                                                                   \
    NUMBER(OF, born, 0, LLONG_MAX, MAY)                                                            \
    NUMBER(OF, ready_at, 0, LLONG_MAX, MAY)                                                        \
    NUMBER(OF, was_ready, 0, 1, MAY)                                                               \
    NUMBER(OF, slow_told, 0, LLONG_MAX, MAY) /* start of the slow request that was logged */       \
    NUMBER(OF, accepted, LLONG_MIN, LLONG_MAX, MAY) /* in its slots, before its start */           \
    NUMBER(OF, served, LLONG_MIN, LLONG_MAX, MAY)                                                  \
    NUMBER(OF, cause, 0, INT_MAX, MAY)                                                             \
    NUMBER(OF, next_signal, 0, 64, MAY)                                                            \
    NUMBER(OF, deadline, 0, LLONG_MAX, MUST)                                                       \
    FD(OF, error_fd, -1, MUST)          /* reading end of its standard error */                    \
    NUMBER(OF, stop_signal, 0, 64, MAY) /* of a worker that becomes a program, as the next four */ \
    NUMBER(OF, program, 0, 1, MAY)      /* it has become one */                                    \
    FD(OF, notify_fd, -1, MAY)                                                                     \
    NUMBER(OF, watchdog, 0, LLONG_MAX, MAY)                                                        \
    NUMBER(OF, alive_at, 0, LLONG_MAX, MAY)                                                        \
    FD(OF, reporter_fd, -1, MAY) /* of a worker that reports */                                    \
    NUMBER(OF, uid, 0, UINT_MAX, MUST)                                                             \
    NUMBER(OF, core, LLONG_MIN, LLONG_MAX, MUST)                                                   \
    TEXT(OF, last, STATE_TEXT) /* last line of its standard error */

/* A process group that must end: see stop. */
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
    NUMBER(OF, served, -1, LLONG_MAX, MAY)                                                         \
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

/* The standard error of a worker that has ended, to which a process that it left still writes. */
#define STATE_DETACHED_FIELDS(OF, NUMBER, FD, TEXT)                                                \
    FD(OF, fd, 3, MUST)                                                                            \
    NUMBER(OF, pid, 0, INT_MAX, MUST)                                                              \
    TEXT(OF, pool, STATE_NAME)

/* A client of the control socket that waits for the upgrade's result. */
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
    int count;
    uint32_t room;
};

struct state {
    struct state_list lists[STATE_KINDS];
    bool cut; /* a record is missing, because memory ran out */
};

/* Appends a zeroed record. The pointer is valid until the next record of the kind is added. If
 * memory runs out, returns a spare record that is lost, and the state is `cut`. */
void *state_add(struct state *state, enum state_kind kind);

/* The record at an index, in the order of state_add; NULL behind the last. */
void *state_at(const struct state *state, enum state_kind kind, int index);

/* Iterates over the descriptors in the state; -1 behind the last. */
struct state_cursor {
    int kind, index, field; /* zeroed at first */
};
int state_next_fd(const struct state *state, struct state_cursor *cursor);

void state_write(const struct state *state, FILE *out);

/* Fills `state`, which must be empty. 0; or -1 with a sentence in `why`. */
int state_read(struct state *state, const char *text, size_t length, char *why, size_t size);

/* Empties it. */
void state_free(struct state *state);

#endif
