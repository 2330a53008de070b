/*
 * sysd - what systemd and the master say to each other, over libsystemd; without it, nothing is
 * ever said.
 *
 * NOTIFY_SOCKET, WATCHDOG_* and LISTEN_* are taken from our environment at the start and unset, so
 * that no child speaks in our name.
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

/* Says something that systemd must hear, "READY=1\nSTATUS=...". Nothing if nobody listens. Waits
 * if there is no room for it, but for 5 s at most. */
void sysd_notify(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Says something that can be said later as well. False if there is no room for it now. */
bool sysd_offer(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Puts descriptors into systemd's store, each under its name (FDSTORE=1 of sd_notify(3)): the next
 * process of the unit is passed them like sockets. Nothing if nobody listens. */
void sysd_store(const struct sysd_socket *sockets, int count);

/* Takes what has this name out of the store again. */
void sysd_unstore(const char *name);

/* Waits until systemd has done what it was told last, but for 5 s at most. */
void sysd_await(void);

/* Puts back into the environment what sysd_open took, for the program that replaces us; the sockets
 * in a variable of our own, since the numbers that LISTEN_FDS means are taken by others. Or takes
 * it out again. */
void sysd_hand_on(void);
void sysd_take_back(void);

/* In that binary, takes the variable out of the environment, and the sockets from it alone: for a
 * start that can't go on with the state. 0 or -errno. */
int sysd_take_handed_on(void);

/* A socket that was passed to the program of before. 0 or -errno. */
int sysd_add_socket(int fd, const char *name);

/* Forgets a passed one, whose descriptor is the caller's from now on. Those behind it move up. */
void sysd_forget_socket(int index);

#endif
