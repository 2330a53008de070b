/*
 * program - what the handlers that run programs share: whether a program can be executed, how long
 * to pause after failed starts, and the environment: the pool's, and on top of it that of a program
 * that inherits listeners (app), or that of a program for one connection (exec).
 *
 * Called by: app, exec, cgi, template; program_environment by worker and check.
 * Runs in:   a worker; program_check and program_environment also in the child that checks a
 *            configuration, once it has become the pool's user.
 */
#ifndef PREFORKD_HANDLERS_PROGRAM_H
#define PREFORKD_HANDLERS_PROGRAM_H

#include "../base/addr.h"
#include "../base/clock.h"
#include "../config/config.h"

#include <sys/types.h>

struct handler_check;

/* Adds a fault if the pool's user can't execute the program that the option names. */
void program_check(const struct handler_check *check, const char *option, const char *path);

/* The pause after `failed` failed starts in a row: none after the first one, then doubling. Half of
 * it is random (rand_r), so that workers do not fall into step. */
int program_pause_msec(int failed, unsigned *chance);

/* To be called when a program whose standard error was the worker's has ended. Ends the last line
 * if the program did not and the master has not read it yet, so that the next program's output is
 * not taken for the rest of that line. */
void program_end_line(void);

/* The environment of a pool's programs: PATH, TZ, LANG, HOME, USER, LOGNAME and the pool's
 * `environment`, which wins. Ended by NULL; lives as long as the worker. NULL: no memory. */
char **program_environment(const struct pool_config *pool);

/* --- a program that inherits listeners -------------------------------------------------------- */

enum { APP_FIRST_FD = 3 }; /* the first socket's descriptor; the others follow (sd_listen_fds(3)) */

struct app_socket {
    const char *name;    /* without a colon */
    const char *address; /* "127.0.0.1:80", "[::1]:80", "/run/x.sock", "@name" */
};

struct app_facts {
    pid_t pid;
    unsigned generation;
    int number; /* among the workers of its pool, from 0 on */
    const struct app_socket *sockets;
    int socket_count;
    const char *notify; /* the address for NOTIFY_SOCKET; NULL: none */
    usec watchdog;      /* for WATCHDOG_USEC, if there is a `notify` */
};

/* `base` followed by the variables of systemd, Server::Starter and einhorn that describe the
 * inherited sockets. A variable that `base` has keeps its value. Ended by NULL. NULL: no memory. */
char **app_environment(char *const *base, const struct app_facts *facts);

/* --- a program for one connection ------------------------------------------------------------- */

/* The variables that UCSPI-TCP and systemd's Accept=yes give to a program. A worker runs one
 * program at a time, so the memory is allocated once, and the values of each connection are written
 * in place, without an allocation, a system call or stdio. */
struct ucspi;

/* `base` comes first in the environment, and must live as long as the result. A variable that
 * `base` has keeps its value. NULL: no memory. */
struct ucspi *ucspi_make(char *const *base);

/* The environment for a TCP connection, valid until the next call. `number`: how many connections
 * the peer's address has, this one included. */
char *const *ucspi_tcp(struct ucspi *ucspi, const struct addr *peer, const struct addr *local,
                       unsigned number);

/* The same for a connection to a Unix socket. */
char *const *ucspi_unix(struct ucspi *ucspi, const struct ucred *peer, const struct addr *local);

#endif
