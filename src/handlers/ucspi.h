/*
 * ucspi - what a program gets to know of its connection: the environment variables that UCSPI-TCP
 * programs and systemd's Accept=yes give it.
 *
 * A worker runs one program at a time: the memory is taken once, and a connection's values are
 * written in place, without an allocation, a system call or stdio.
 */
#ifndef PREFORKD_HANDLERS_UCSPI_H
#define PREFORKD_HANDLERS_UCSPI_H

#include "../base/addr.h"

struct ucspi;

/* `base` is what each program gets beside; a variable that stands there keeps its value. It must
 * last as long. NULL if there is no memory. */
struct ucspi *ucspi_make(char *const *base);

/* The environment for a connection over TCP, valid until the next one is asked for. `number`: how
 * many there are of the peer's address, this one included. */
char *const *ucspi_tcp(struct ucspi *ucspi, const struct addr *peer, const struct addr *local,
                       unsigned number);

/* The same for a connection to a Unix socket. */
char *const *ucspi_unix(struct ucspi *ucspi, const struct ucred *peer, const struct addr *local);

#endif
