/*
 * sysd - what systemd and we say to each other, over libsystemd; without it, nothing is ever said.
 *
 * Owns:      NOTIFY_SOCKET, WATCHDOG_* and LISTEN_* of our environment: taken at the start and
 *            unset, so that no child speaks in our name.
 * Called by: main, the master.
 * Runs in:   the master.
 */
#ifndef PREFORKD_BASE_SYSD_H
#define PREFORKD_BASE_SYSD_H

#include "clock.h"

#include <stdbool.h>

struct sysd_socket {
    int fd; /* close-on-exec */
    const char *name;
};

/* Takes the environment. Returns how many descriptors were passed to us, or -errno. */
int sysd_open(void);

/* The descriptors that were passed, by index. */
const struct sysd_socket *sysd_socket(int index);
int sysd_socket_count(void);

/* Half the interval in which systemd wants to hear from us; 0: none. */
usec sysd_watchdog_period(void);

/* Says something, "READY=1\nSTATUS=...". Nothing where nobody listens. */
void sysd_notify(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
