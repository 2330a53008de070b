/*
 * state - what a master tells the program that replaces it, as text. Pure: text and structs alone.
 *
 * The text is a line a thing: its kind, then KEY=VALUE, and a last line without which it is not
 * whole. Its first line has the version of the form. A reader passes over kinds and keys that it does
 * not know, takes what is missing for its default, and refuses what is out of range: so either side
 * may be the newer one.
 * Knows not: what anything in it means.
 * Called by: handoff, upgrade.
 * Runs in:   the master, and the -t of the program that is to replace it.
 */
#ifndef PREFORKD_MASTER_STATE_H
#define PREFORKD_MASTER_STATE_H

#include <stddef.h>
#include <stdio.h>

enum {
    STATE_VERSION = 2,
    STATE_NAME = 64,
    STATE_TEXT = 256,
    STATE_NUMBERS = 1024, /* a list of numbers, as text */
};

/* Numbers are all of one type: their ranges are in the table of state.c. Descriptors are those of
 * the process, which stays the same. */
struct state_daemon {
    char version[STATE_NAME]; /* of the program that wrote it */
    long long generation;
    long long started, started_at; /* when the first master was */
    long long reloads, reloads_refused, upgrades, reloaded;
    char refusal[STATE_TEXT];
    long long pidfile_fd; /* -1: none */
    long long nofile;     /* the soft limit of open files that the first master was started with */
    long long log_level, log_facility;
    char log_ident[STATE_NAME];
};

/* A socket that systemd passed. */
struct state_socket {
    long long fd;
    char name[STATE_TEXT];
};

struct state_listener {
    long long fd;
    long long origin;        /* enum listener_origin */
    long long port;          /* that was asked for, 0 for any */
    long long any_family;    /* *:PORT */
    long long lent;          /* to programs */
    long long device, inode; /* of the path that we made; 0: none */
    char name[STATE_TEXT];   /* of one that was passed */
};

struct state_pool {
    char name[STATE_NAME], handler[STATE_NAME];
    long long place; /* by which workers and the others below name it */
    long long generation;
    long long workers; /* that it should have */
    long long graceful_timeout, request_timeout;
    long long drained, removed;
    long long limits_fd, limits_layout; /* per source; -1: none */
};

/* What a pool has counted in slots that it gave back; or in those of one generation. */
struct state_counts {
    long long place;
    long long generation;                                /* 0: it is of those that are given back */
    long long retirements, deaths, cpu_user, cpu_system; /* of workers that ended */
    long long accepted, served, errors, bytes_in, bytes_out;
    char refused[STATE_NUMBERS], service[STATE_NUMBERS], wait[STATE_NUMBERS];
};

/* A scoreboard. Whoever has another layout does without: what is counted in it by then is told by the
 * state_counts of its generation. */
struct state_board {
    long long place, generation;
    long long fd, wakeup_fd; /* -1: none */
    long long layout;
};

struct state_worker {
    long long seat, place; /* its own in its pool, and its pool */
    long long pid;         /* 0: the seat is taken, and nobody lives in it */
    long long generation, role;
    long long born, ready_at, was_ready;
    long long slow_told;        /* since when the request began that was told of as slow */
    long long accepted, served; /* of its slot, at its start */
    long long cause, next_signal, deadline;
    long long error_fd;    /* its standard error's reading end; -1: closed */
    long long stop_signal; /* of one that becomes a program, or 0; as are all of these: */
    long long program;     /* it has become one */
    long long notify_fd;   /* where it says how it is; -1: nowhere */
    long long watchdog, alive_at;
    long long uid, core;
    char last[STATE_TEXT]; /* line of its standard error */
};

/* A process group that has to end: see groups. */
struct state_group {
    long long place, session, number, since, deadline;
};

/* An entry of the ledger. */
struct state_death {
    long long number, when, pid, generation, status, cause, age, served, cpu_user, cpu_system;
    long long memory, was_ready, out_of_memory;
    char pool[STATE_NAME], why[STATE_TEXT], core[STATE_TEXT], last[STATE_TEXT];
    char peer[STATE_NAME]; /* its bytes, in hexadecimal */
};

/* The standard error of a worker that has ended, to which something of it still writes. */
struct state_detached {
    long long fd, pid;
    char pool[STATE_NAME];
};

/* Who waits at the control socket for the upgrade's result. */
struct state_caller {
    long long fd;
    long long pid, uid;
    long long json;
};

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
};

/* Another one of a kind, zeroed, behind the last; NULL where there is no memory. It holds until the
 * next one of its kind is added. */
void *state_add(struct state *state, enum state_kind kind);

/* The one at an index, in the order of their adding; NULL behind the last. */
void *state_at(const struct state *state, enum state_kind kind, int index);

void state_write(const struct state *state, FILE *out);

/* Fills an empty one. 0; or -1 with a sentence in `why`. */
int state_read(struct state *state, const char *text, size_t length, char *why, size_t size);

/* Empties it. */
void state_free(struct state *state);

#endif
