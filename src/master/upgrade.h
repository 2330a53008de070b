/*
 * upgrade - the binary on disk replaces this one in place: same process, same sockets, same
 * workers.
 *
 * try (the new binary's -t, in a child, which must also read our state) -> hand over (write the
 * state, execute the binary) -> in the new binary: adopt the state, then reload. To the new binary
 * our workers are an earlier generation, so an upgrade ends as every reload does. A failure before
 * the binary is executed changes nothing. If the reload fails after it, the old workers go on, and
 * the reload is tried again. If the state is unusable, the new binary starts over on the listeners
 * among its open descriptors (main).
 * Owns:      the trial, the file and the environment variable that carry the state, what a binary
 *            inherits without a usable state.
 * Knows not: the contents of the state (handoff), and which client asked.
 * Called by: master, commands, main_loop, main, in the master.
 */
#ifndef PREFORKD_MASTER_UPGRADE_H
#define PREFORKD_MASTER_UPGRADE_H

#include "control.h"
#include "handoff.h"

/* How to execute the next binary. */
struct upgrade_self {
    const char *program;          /* the path by which we were started */
    const char *const *arguments; /* NULL-terminated */
    const char *config;
    int pidfile_fd; /* -1: none */
};

enum upgrade_phase {
    UPGRADE_NONE,
    UPGRADE_TRYING,   /* the new binary's -t runs */
    UPGRADE_PASSED,   /* the binary is executed once no reload is under way */
    UPGRADE_ARRIVING, /* we are the new binary; the reload is not done */
};

/* The standard output or standard error of the trial. */
struct upgrade_stream {
    struct loop_watch watch;
    struct loop *loop;
    char text[4096]; /* we read and drop the rest */
    size_t length;
};

struct upgrade {
    struct upgrade_self self;
    enum upgrade_phase phase;
    bool requested; /* and the trial has not begun */
    pid_t trial;    /* 0: none runs */
    int seconds;    /* that it may take */
    usec deadline;  /* of the trial; when arriving, of the next reload */
    usec began;
    uint64_t ticket;         /* of the reload, when arriving */
    struct control *control; /* whose clients the state includes */
    char refusal[4600];      /* lines: why the last upgrade was refused; empty: it was not */
    struct upgrade_stream out, err;
    char old_version[STATE_NAME]; /* of the binary that we have replaced, when arriving */
    bool reload_refused;          /* after the arrival, and that was logged */
    pid_t *left;                  /* programs of app that no pool knows: see inherited */
    int left_count;
    usec left_until; /* when they are killed */
};

void upgrade_init(struct upgrade *upgrade, const struct upgrade_self *self,
                  struct control *control);

/* Requests an upgrade. */
void upgrade_begin(struct upgrade *upgrade);

/* Whether the last upgrade has succeeded or failed. */
bool upgrade_is_over(const struct upgrade *upgrade);

/* The same of the upgrade that made this binary the master, whatever was requested since. */
bool upgrade_has_arrived(const struct upgrade *upgrade);

/* Call for a child that is no worker. True if it was the trial, or an inherited program. */
bool upgrade_reaped(struct upgrade *upgrade, pid_t pid, int status);

/* Advances as far as possible, maybe by executing the other binary. Returns the time of the next
 * call. */
usec upgrade_step(struct upgrade *upgrade, struct runtime *runtime, struct reload *reload,
                  usec now);

/* The daemon stops. */
void upgrade_abandon(struct upgrade *upgrade);

/* In the new binary, after the state was adopted: prepares the reload. */
void upgrade_arrive(struct upgrade *upgrade, const struct state *state);

/* At every start: takes the descriptor of the state out of the environment. -1: there is none. */
int upgrade_state_fd(void);

/* Reads the state. 0; or -1 with a sentence in `why`. */
int upgrade_read(int fd, struct state *state, char *why, size_t size);

/* The trial prints it if it can use the state. */
#define UPGRADE_UNDERSTOOD "state 2 understood"

/* What a new binary finds if it can't use the state: open descriptors, and children. */
struct inherited {
    struct listener *listeners;
    struct listener *control; /* NULL: not found */
    int pidfile_fd;           /* -1: none */
    pid_t *programs;          /* children that have become programs of app */
    int program_count;
};

/* Keeps listening sockets, the locked pid file of this path (NULL: none), the standard streams and
 * the log's descriptors. Closes every other descriptor. */
void inherited_take(struct inherited *inherited, const char *pidfile);

/* Moves the control socket of this path out of the listeners. */
void inherited_find_control(struct inherited *inherited, const char *path);

/* Sends TERM to every child: the old workers, whose pids are known only to /proc. Notes those that
 * are programs, and that the listeners may be lent to them. */
void inherited_retire_children(struct inherited *inherited);

/* The programs are killed if they have not ended after so many seconds. */
void upgrade_await_programs(struct upgrade *upgrade, const struct inherited *inherited,
                            int graceful_timeout);

#endif
