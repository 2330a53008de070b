/*
 * daemon - this process: its title, its limits, its pid file, its detaching.
 */
#ifndef PREFORKD_BASE_DAEMON_H
#define PREFORKD_BASE_DAEMON_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/resource.h>
#include <sys/types.h>

/* Takes the memory of argv and environ for the title, and returns a copy of argv to go on with; the
 * environment is copied too. Call it once, first thing in main. Without memory there is no title,
 * and what it returns is argv. */
char **daemon_title_init(int argc, char **argv);

/* What ps(1) shows of this process from now on; cut where it does not fit. Returns how much does.
 * */
size_t daemon_title(const char *title);

/* Where the title stands, so that a worker can change a word of it by a plain memcpy; NULL:
 * nowhere. */
char *daemon_title_memory(void);

/* Raises the soft limit of open files to the hard one, for a master that holds a pipe a worker. */
void daemon_raise_nofile(void);

/* The soft limit of before, for the binary that replaces this one: it finds the limit raised. */
rlim_t daemon_first_nofile(void);
void daemon_set_first_nofile(rlim_t soft);

/* The limit of open files that this process was started with, which its workers get back. */
void daemon_restore_nofile(void);

/* The same path from the root on, for a process that may leave its directory. Without memory, and
 * of NULL, what was given. */
const char *daemon_absolute(const char *path);

/* The path of the program that we are, by the name that it was called: whatever lies there later is
 * what a new start would run. NULL without memory. */
const char *daemon_program(const char *called);

/* Writes our pid into a file, locked for as long as the descriptor is open. The descriptor, or
 * -errno: -EWOULDBLOCK if another process holds the lock, -EEXIST if it is no pid file. */
int daemon_pidfile_open(const char *path);
void daemon_pidfile_close(const char *path, int fd);

/* Detaches: forks twice with a session between. Returns in the daemon the descriptor for
 * daemon_detached; the process that was started waits for it and exits with that. -errno.
 */
int daemon_detach(void);

/* Lets the waiting process end with `status`, and gives up the terminal. */
void daemon_detached(int fd, int status);

/* The word of a signal, "SEGV"; "34" if it has none. */
const char *daemon_signal_word(int number);

#define PLACE_RUN       "/run/preforkd"
#define PLACE_CONTROL   PLACE_RUN "/control.sock" /* where root started it */
#define PLACE_OWN_NAME  "preforkd.sock"           /* else, in ... */
#define PLACE_OWN_UNDER "XDG_RUNTIME_DIR"

/* A directory of sockets: where root started the daemon; else, below PLACE_OWN_UNDER; and where
 * neither can be had, as mkdtemp(3) makes it. */
#define PLACE_NOTIFY      PLACE_RUN "/notify"
#define PLACE_OWN_NOTIFY  "preforkd-notify"
#define PLACE_TEMP_NOTIFY "/tmp/preforkd-notify-XXXXXX"

#endif
