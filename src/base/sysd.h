/*
 * sysd - the master's side of systemd's protocols, over libsystemd. Without libsystemd these
 * functions do nothing.
 *
 * At the start, NOTIFY_SOCKET, WATCHDOG_* and LISTEN_* are read and unset, so that no child can
 * speak in our name.
 */
#ifndef PREFORKD_BASE_SYSD_H
#define PREFORKD_BASE_SYSD_H

#include "clock.h"

#include <stdbool.h>

struct sysd_socket {
    int fd; /* close-on-exec */
    const char *name;
};

/* Reads and unsets the variables. Returns how many descriptors were passed to us, or -errno. */
int sysd_open(void);

/* The passed descriptors, by index. */
const struct sysd_socket *sysd_socket(int index);
int sysd_socket_count(void);

/* Half of the watchdog interval; 0: no watchdog. */
usec sysd_watchdog_period(void);

/* Sends a message that systemd must get, "READY=1\nSTATUS=...". Does nothing if there is no
 * systemd. Waits for room, but for 5 s at most. */
void sysd_notify(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Sends a message that can also be sent later. False if there is no room for it now. */
bool sysd_try_notify(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Puts descriptors into systemd's store, each under its name (FDSTORE=1 of sd_notify(3)). The
 * unit's next process gets them like passed sockets. Does nothing if there is no systemd. */
void sysd_store(const struct sysd_socket *sockets, int count);

/* Removes the descriptors of this name from the store. */
void sysd_unstore(const char *name);

/* Waits until systemd has handled all earlier messages, but for 5 s at most. */
void sysd_await(void);

/* sysd_hand_on sets the variables that sysd_open unset, for the binary that replaces us. The
 * sockets go into a variable of our own, because other descriptors have the numbers that LISTEN_FDS
 * implies. sysd_take_back unsets the variables again. */
void sysd_hand_on(void);
void sysd_take_back(void);

/* In that binary: unsets our own variable, and takes the passed sockets from it alone. For a start
 * that can't use the handed-over state. 0 or -errno. */
int sysd_take_handed_on(void);

/* Adds a socket that was passed to the previous binary. 0 or -errno. */
int sysd_add_socket(int fd, const char *name);

/* Forgets a passed socket; its descriptor now belongs to the caller. Later sockets move up. */
void sysd_forget_socket(int index);

#endif
