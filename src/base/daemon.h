/*
 * daemon - this process: its title, limits, pid file and detaching, and the default paths of its
 * sockets.
 */
#ifndef PREFORKD_BASE_DAEMON_H
#define PREFORKD_BASE_DAEMON_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/resource.h>
#include <sys/types.h>

/* Takes over the memory of argv and environ for the title. Copies the environment, and returns a
 * copy of argv. Call it once, first thing in main. If memory is short, there is no title, and it
 * returns argv itself. */
char **daemon_title_init(int argc, char **argv);

/* Sets what ps(1) shows for this process. Cuts a title that does not fit; returns the length that
 * does. */
size_t daemon_title(const char *title);

/* The title's memory, so that a worker can change a word of it by a plain memcpy; NULL: no
 * title. */
char *daemon_title_memory(void);

/* Raises the soft limit of open files to the hard limit: the master holds a pipe for each
 * worker. */
void daemon_raise_nofile(void);

/* The soft limit before it was raised, for the binary that replaces this one: that binary starts
 * with the raised limit. */
rlim_t daemon_first_nofile(void);
void daemon_set_first_nofile(rlim_t soft);

/* In a worker: restores the limit of open files that the daemon was started with. */
void daemon_restore_nofile(void);

/* Makes a path absolute, for a process that may change its directory. Returns `path` itself if it
 * is NULL or memory is short. */
const char *daemon_absolute(const char *path);

/* The path of this program, from the name by which it was called: a later start would run whatever
 * that path leads to by then. NULL if memory is short. */
const char *daemon_program(const char *called);

/* Writes our pid into a file, locked while the descriptor is open. The descriptor, or -errno:
 * -EWOULDBLOCK if another process holds the lock, -EEXIST if the file is not a pid file. */
int daemon_pidfile_open(const char *path);
void daemon_pidfile_close(const char *path, int fd);

/* Detaches: forks twice, with setsid(2) in between. Returns, in the daemon, the descriptor for
 * daemon_detached, or -errno. The original process waits for the status, and exits with it. */
int daemon_detach(void);

/* Lets the waiting process exit with `status`, and gives up the terminal. */
void daemon_detached(int fd, int status);

/* The name of a signal, "SEGV"; its number, "34", if it has no name. */
const char *daemon_signal_word(int number);

/* Where the control socket is by default, for preforkd and preforkctl: */
#define PLACE_RUN       "/run/preforkd"
#define PLACE_CONTROL   PLACE_RUN "/control.sock" /* if root starts it */
#define PLACE_OWN_NAME  "preforkd.sock"           /* otherwise, in ... */
#define PLACE_OWN_UNDER "XDG_RUNTIME_DIR"

/* Where programs' notify sockets are: if root starts the daemon; otherwise, below PLACE_OWN_UNDER;
 * if neither can be made, a template for mkdtemp(3). */
#define PLACE_NOTIFY      PLACE_RUN "/notify"
#define PLACE_OWN_NOTIFY  "preforkd-notify"
#define PLACE_TEMP_NOTIFY "/tmp/preforkd-notify-XXXXXX"

#endif
