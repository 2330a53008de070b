/*
 * app_env - the variables by which a program that accepts by itself learns of the sockets that it
 * inherits, in the words of systemd, Server::Starter and einhorn at once.
 */
#ifndef PREFORKD_HANDLERS_APP_ENV_H
#define PREFORKD_HANDLERS_APP_ENV_H

#include "../base/clock.h"

#include <sys/types.h>

enum { APP_FIRST_FD = 3 }; /* of the sockets, which follow each other (sd_listen_fds(3)) */

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
    const char *notify; /* where it says that it is ready; NULL: nobody hears */
    usec watchdog;      /* how often it may say that it is alive, where it does */
};

/* The variables of `base`, which have precedence, and ours behind them; ended by NULL. NULL if
 * there is no memory. */
char **app_environment(char *const *base, const struct app_facts *facts);

#endif
