/*
 * upgrade - the binary on disk replaces this one in place: same process, same sockets, same
 * workers.
 *
 * try (the new binary's -t, in a child, which must also read our state) -> hand over (write the
 * state, execute the binary) -> there: adopt, then reload. To it, our workers are those of a
 * generation before, of a binary that changed; so an upgrade ends as every reload does. Until the
 * binary is executed, whatever fails leaves all as it was. After that, a reload that fails leaves
 * the old workers at work, and is tried again; and if the state can't be gone on with, the new
 * binary begins anew on the listeners that it has (main).
 * Owns:      the trial, the state's way from binary to binary, the environment variable.
 * Knows not: what the state says (handoff), and which caller asked.
 * Called by: master, commands, main, in the master.
 */
#ifndef PREFORKD_MASTER_UPGRADE_H
#define PREFORKD_MASTER_UPGRADE_H

#include "control.h"
#include "handoff.h"

/* What is needed to execute the next binary: main knows. */
struct upgrade_self {
    const char *program;          /* the path that we were started by */
    const char *const *arguments; /* of it, ended by NULL */
    const char *config;
    int pidfile_fd; /* -1: none */
};

enum upgrade_phase {
    UPGRADE_NONE,
    UPGRADE_TRYING,   /* the new binary's -t runs */
    UPGRADE_PASSED,   /* to be executed as soon as nothing else is under way */
    UPGRADE_ARRIVING, /* we are the new binary, and not all pools are ours yet */
};

/* What a trial writes, on one of its two streams. */
struct upgrade_stream {
    struct loop_watch watch;
    struct loop *loop;
    char text[4096]; /* the rest is read and dropped */
    size_t length;
};

struct upgrade {
    struct upgrade_self self;
    enum upgrade_phase phase;
    bool wanted;   /* asked for, and not begun */
    pid_t trial;   /* 0: none runs */
    usec deadline; /* of the trial; of the next reload, when arriving */
    usec began;
    uint64_t ticket;         /* of that reload */
    struct control *control; /* its callers may be carried */
    char refusal[4600];      /* lines: why the last one was refused; empty: it was not */
    struct upgrade_stream out, err;
    char from[STATE_NAME]; /* version of the binary before, when arriving */
    bool logged;           /* that the reload after the arrival was refused */
};

void upgrade_init(struct upgrade *upgrade, const struct upgrade_self *self,
                  struct control *control);

/* The command. */
void upgrade_begin(struct upgrade *upgrade);

/* Whether the last one has come to its end, good or bad. */
bool upgrade_is_over(const struct upgrade *upgrade);

/* The same of the one that made this binary the master, whatever was asked for since. */
bool upgrade_has_arrived(const struct upgrade *upgrade);

/* A child that is no worker ended. True if it was the trial. */
bool upgrade_reaped(struct upgrade *upgrade, pid_t pid, int status);

/* Goes on as far as it can; may not return, but be the other binary. Returns when it wants to be
 * called again. */
usec upgrade_step(struct upgrade *upgrade, struct runtime *runtime, struct reload *reload,
                  usec now);

/* The daemon stops. */
void upgrade_abandon(struct upgrade *upgrade);

/* We are the new binary, and have adopted what the state says: what remains is the reload. */
void upgrade_arrive(struct upgrade *upgrade, const struct state *state);

/* At every start: the descriptor of a state, which is taken out of the environment. -1: none is
 * there. */
int upgrade_state_fd(void);

/* Reads it. 0; or -1 with a sentence in `why`. */
int upgrade_read(int fd, struct state *state, char *why, size_t size);

/* What the trial prints if it could read it. */
#define UPGRADE_UNDERSTOOD "state 2 understood"

#endif
