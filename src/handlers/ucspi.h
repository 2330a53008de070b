/*
 * ucspi - what a program gets to know of its connection: the environment variables that UCSPI-TCP
 * programs and systemd's Accept=yes give it.
 *
 * Owns:      the environment of the programs that one worker runs, one at a time: its memory is taken
 *            once, and a connection's values are written in place, without an allocation, a system
 *            call or stdio.
 * Knows not: sockets, workers.
 * Called by: handlers that run a program per connection.
 * Runs in:   a worker.
 */
#ifndef PREFORKD_HANDLERS_UCSPI_H
#define PREFORKD_HANDLERS_UCSPI_H

#include "../base/addr.h"

struct ucspi;

/* `base` is what each program gets beside; a variable that stands there keeps its value. It must last
 * as long. NULL where there is no memory. */
struct ucspi *ucspi_make(char *const *base);

/* The environment for a connection over TCP, valid until the next one is asked for. `number`: how
 * many there are of the peer's address, this one included. */
char *const *ucspi_tcp(struct ucspi *ucspi, const struct addr *peer, const struct addr *local,
                       unsigned number);

/* The same for a connection to a Unix socket. */
char *const *ucspi_unix(struct ucspi *ucspi, const struct ucred *peer, const struct addr *local);

#endif
